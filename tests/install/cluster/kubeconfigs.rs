//! Which files are read, and how they are merged.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{
    admin,
    compare::{
        Expected::{KubectlAlone, Neither, Works},
        Given,
    },
    file, folder, kubeconfig,
};

/// The control plane's kubeconfig.
fn whole() -> Value {
    let (server, authority, token) = admin();
    kubeconfig(&json!({"server": server, "certificate-authority": authority}), &json!({"token": token}))
}

/// The same with a change.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut config = whole();
    change(&mut config);
    config.to_string()
}

#[test]
fn lists_and_places() {
    let folder = folder("lists");
    let config = file(&folder, "config", whole().to_string());
    let empty = file(&folder, "empty", "");
    let broken = file(&folder, "broken", "clusters: [\nusers: {{");
    let context = file(&folder, "context", json!({"current-context": "main"}).to_string());
    let other_context = file(&folder, "other", json!({"current-context": "elsewhere"}).to_string());
    let without_context = file(&folder, "without", changed(|c| c["current-context"] = json!("")));
    // The first entry of a name wins, with all of its fields.
    let first = changed(|c| {
        c["current-context"] = json!("");
        c["users"][0]["user"] = json!({"token": "wrong"});
        c["clusters"] = json!([]);
        c["contexts"] = json!([]);
    });
    let wrong_user = file(&folder, "wrong-user", first);
    std::fs::create_dir_all(folder.join("home/.kube")).unwrap();
    std::fs::create_dir_all(folder.join("bare")).unwrap();
    file(&folder.join("home/.kube"), "config", whole().to_string());
    let home = folder.join("home").display().to_string();
    let bare = folder.join("bare").display().to_string();
    let list = |files: &[&str]| files.join(":");
    let [config, empty, broken, context, other_context, without_context, wrong_user] =
        [&config, &empty, &broken, &context, &other_context, &without_context, &wrong_user]
            .map(|p| p.to_str().unwrap());
    let gone = "/no/such/kubeconfig";
    let variable = |value: &str| Given::default().with("KUBECONFIG", value).with("HOME", &*bare);

    for (row, given, expected) in [
        ("one", variable(config), Works),
        ("a missing one first", variable(&list(&[gone, config])), Works),
        ("a missing one last", variable(&list(&[config, gone])), Works),
        ("an empty one", variable(&list(&[empty, config])), Works),
        ("empty names", variable(&list(&["", config, "", ""])), Works),
        ("one twice", variable(&list(&[config, config])), Works),
        ("parts", variable(&list(&[context, without_context])), Works),
        ("an empty current-context does not count", variable(&list(&[without_context, context])), Works),
        ("a relative one", Given { folder: Some(folder.clone()), ..variable("config") }, Works),
        ("HOME", Given::default().with("HOME", &*home), Works),
        ("an empty variable", Given::default().with("HOME", &*home).with("KUBECONFIG", ""), Works),
        ("empty settings", variable(config).with("AI_API_KUBECONFIG", "").with("AI_API_CONTEXT", ""), Works),
        (
            "every setting empty",
            [
                "NAMESPACE",
                "META_CONFIGMAP",
                "LOG_FORMAT",
                "WATCH_NAMESPACE",
                "MAX_IN_FLIGHT",
                "DELETE_COMPLETED",
                "REQUIRE_ADMISSION_POLICY",
                "LEADER_ELECT_LEASE_DURATION",
                "LEADER_ELECT_RENEW_DEADLINE",
                "LEADER_ELECT_RETRY_PERIOD",
            ]
            .into_iter()
            .fold(variable(config), |given, name| given.with(format!("AI_API_{name}").leak(), ""))
            .with("RUST_LOG", "")
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
            Works,
        ),
        (
            "the context of the first",
            variable(&list(&[other_context, config])),
            Neither(&["no context \"elsewhere\""]),
        ),
        (
            "another's user of the same name",
            variable(&list(&[wrong_user, config])),
            Neither(&["401", wrong_user]),
        ),
        ("a broken one", variable(&list(&[config, broken])), Neither(&[broken, "cannot be understood"])),
        ("a folder", variable(&bare), Neither(&[&bare, "cannot be read"])),
        (
            "all missing",
            variable(&list(&[gone, "/nor/this"])),
            Neither(&["KUBECONFIG", gone, "--kubeconfig"]),
        ),
        ("only an empty one", variable(empty), Neither(&[empty, "current-context"])),
        (
            "no current-context",
            variable(without_context),
            Neither(&[without_context, "current-context", "--context"]),
        ),
        ("nothing in HOME", Given::default().with("HOME", &*bare), Neither(&[&bare, "does not exist"])),
        ("nothing at all", Given::default(), Neither(&["HOME", "--kubeconfig"])),
        (
            "a missing one that was asked for",
            Given::kubeconfig(gone.into()),
            Neither(&[gone, "does not exist"]),
        ),
        ("a context", Given { context: Some("main"), ..variable(without_context) }, Works),
        (
            "no such context",
            Given { context: Some("nowhere"), ..variable(config) },
            Neither(&["nowhere", config]),
        ),
    ] {
        given.compare(row, expected);
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "it is a table")]
fn contents() {
    let folder = folder("contents");
    let (_, authority, token) = admin();
    let subfolder = folder.join("subfolder");
    std::fs::create_dir(&subfolder).unwrap();
    std::fs::copy(&authority, subfolder.join("ca.crt")).unwrap();
    file(&subfolder, "token", &token);
    let text = whole().to_string();
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = folder.join("config").display().to_string();
    let path = &*path;

    for (row, bytes, expected) in [
        ("as it is", text.clone().into_bytes(), Works),
        ("with a mark", format!("\u{feff}{text}").into_bytes(), Works),
        ("with a comment and a marker", format!("# mine\n---\n{text}\n").into_bytes(), Works),
        ("CRLF", text.replace(',', ",\r\n").into_bytes(), Works),
        ("no kind", changed(|c| (c["kind"], c["apiVersion"]) = (json!(""), json!(""))).into_bytes(), Works),
        (
            "unknown fields",
            changed(|c| c["clusters"][0]["cluster"]["new"] = json!({"a": [1]})).into_bytes(),
            Works,
        ),
        (
            "nulls",
            changed(|c| (c["preferences"], c["extensions"]) = (json!(null), json!(null))).into_bytes(),
            Works,
        ),
        (
            "empty fields",
            changed(|c| {
                let cluster = &mut c["clusters"][0]["cluster"];
                for name in ["certificate-authority-data", "proxy-url", "tls-server-name"] {
                    cluster[name] = json!("");
                }
                let user = &mut c["users"][0]["user"];
                for name in [
                    "tokenFile",
                    "client-certificate",
                    "client-key",
                    "client-key-data",
                    "username",
                    "password",
                    "as",
                ] {
                    user[name] = json!("");
                }
            })
            .into_bytes(),
            Works,
        ),
        (
            "relative paths",
            changed(|c| {
                c["clusters"][0]["cluster"]["certificate-authority"] = json!("subfolder/ca.crt");
                c["users"][0]["user"] = json!({"tokenFile": "subfolder/../subfolder/token"});
            })
            .into_bytes(),
            Works,
        ),
        (
            "a namespace",
            changed(|c| c["contexts"][0]["context"]["namespace"] = json!("team-a")).into_bytes(),
            Works,
        ),
        (
            "other users may be wrong",
            changed(|c| {
                c["users"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!({"name": "x", "user": {"token": "a", "username": "b"}}));
            })
            .into_bytes(),
            Works,
        ),
        ("no text", vec![0xc3, 0x28, 0xff], Neither(&[path])),
        ("UTF-16", [vec![0xff, 0xfe], utf16].concat(), KubectlAlone(&[path, "UTF-8"])),
        ("a list", "[]".into(), Neither(&[path])),
        ("a word", "hidden".into(), Neither(&[path])),
        ("another kind", changed(|c| c["kind"] = json!("Pod")).into_bytes(), Neither(&[path, "kind Config"])),
        (
            "another version",
            changed(|c| c["apiVersion"] = json!("v2")).into_bytes(),
            Neither(&[path, "apiVersion"]),
        ),
        (
            "a user that is a word",
            changed(|c| c["users"][0]["user"] = json!("hidden")).into_bytes(),
            Neither(&[path, "line"]),
        ),
        (
            "a name twice",
            changed(|c| {
                let again = c["users"][0].clone();
                c["users"].as_array_mut().unwrap().push(again);
            })
            .into_bytes(),
            Neither(&[path, "twice"]),
        ),
        (
            "two documents",
            format!("{text}\n---\n{text}").into_bytes(),
            KubectlAlone(&[path, "several YAML documents"]),
        ),
        (
            "no cluster of that name",
            changed(|c| c["clusters"][0]["name"] = json!("x")).into_bytes(),
            Neither(&[path, "the cluster \"main\""]),
        ),
        (
            "no cluster named",
            changed(|c| c["contexts"][0]["context"]["cluster"] = json!("")).into_bytes(),
            Neither(&[path, "names no cluster"]),
        ),
        (
            "no server",
            changed(|c| c["clusters"][0]["cluster"]["server"] = json!("")).into_bytes(),
            Neither(&[path, "has no server"]),
        ),
        (
            "no namespace's name",
            changed(|c| c["contexts"][0]["context"]["namespace"] = json!("Not a name")).into_bytes(),
            KubectlAlone(&[path, "Not a name"]),
        ),
        // kubectl would prompt for a name and a password.
        (
            "no user of that name",
            changed(|c| c["users"][0]["name"] = json!("x")).into_bytes(),
            Neither(&[path, "the user \"main\""]),
        ),
        (
            "two authorities",
            changed(|c| c["clusters"][0]["cluster"]["certificate-authority-data"] = json!("QQ=="))
                .into_bytes(),
            Neither(&[path, "both certificate-authority and"]),
        ),
        (
            "an authority, and none wanted",
            changed(|c| c["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = json!(true)).into_bytes(),
            Neither(&[path, "insecure-skip-tls-verify"]),
        ),
    ] {
        let given = Given::kubeconfig(file(&folder, "config", bytes)).with("HOME", folder.to_str().unwrap());
        given.compare(row, expected);
    }
}

/// Root may read everything: this only shows something if another user runs the tests.
#[test]
fn one_that_may_not_be_read() {
    let folder = folder("unreadable");
    let config = file(&folder, "config", whole().to_string());
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o0)).unwrap();
    let expected: &[&str] = &[config.to_str().unwrap(), "cannot be read"];
    let expected = if std::fs::read(&config).is_ok() { Works } else { Neither(expected) };
    Given::kubeconfig(config.clone()).compare("unreadable", expected);
}
