//! The operator's identity: tokens, names, plugins, impersonation.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::atomic::Ordering};

use serde_json::{Value, json};
use support::{World, until};

use super::{
    admin,
    compare::{
        Expected::{self, Neither, Works},
        Given,
    },
    file, folder, kubeconfig,
    servers::refusing_server,
};

/// Compares with the control plane, as this user.
fn as_user(folder: &Path, row: &str, user: &Value, expected: Expected) {
    let (server, authority, _) = admin();
    let config = kubeconfig(&json!({"server": server, "certificate-authority": authority}), user);
    Given::kubeconfig(file(folder, "config", config.to_string())).compare(row, expected);
}

#[test]
fn tokens() {
    let folder = folder("tokens");
    let (_, _, token) = admin();
    let config = folder.join("config").display().to_string();
    let gone = "/no/such/token";
    for (row, bytes, expected) in [
        ("as it is", token.clone().into_bytes(), Works),
        ("LF", format!("{token}\n").into_bytes(), Works),
        ("CRLF", format!("{token}\r\n").into_bytes(), Works),
        ("blanks", format!("\n  {token}\t\r\n\r\n").into_bytes(), Works),
        ("empty", vec![], Neither(&["/token", "is empty"])),
        ("a line break alone", b"\r\n".to_vec(), Neither(&["/token", "is empty"])),
        ("another token", b"hidden\n".to_vec(), Neither(&["401", "/token", "renew or correct"])),
        ("two tokens", format!("{token}\n{token}\n").into_bytes(), Neither(&["/token", "line breaks"])),
        (
            "binary",
            vec![0x7f, b'E', b'L', b'F', 0, 1, 2],
            Neither(&["/token", "does not hold a bearer token"]),
        ),
        ("no UTF-8", vec![0xff, 0xfe, b'a'], Neither(&["/token", "does not hold a bearer token"])),
        ("another encoding", token.encode_utf16().flat_map(u16::to_le_bytes).collect(), Neither(&["/token"])),
    ] {
        file(&folder, "token", bytes);
        as_user(&folder, &format!("token file: {row}"), &json!({"tokenFile": "token"}), expected);
    }
    file(&folder, "token", format!("{token}\n"));
    file(&folder, "wrong", "hidden");
    let folder_itself = folder.display().to_string();
    for (row, user, expected) in [
        ("a missing file", json!({"tokenFile": gone}), Neither(&[gone, "cannot be read"])),
        ("a folder", json!({"tokenFile": folder_itself}), Neither(&[&folder_itself, "cannot be read"])),
        ("inline", json!({"token": token}), Works),
        ("inline, blanks", json!({"token": format!("{token} ")}), Works),
        ("inline, LF", json!({"token": format!("{token}\n")}), Neither(&[&config, "line break"])),
        (
            "inline, wrong",
            json!({"token": "hidden"}),
            Neither(&["401", "the token of user \"main\"", &config]),
        ),
        ("inline, umlaut", json!({"token": "sekrät"}), Neither(&[&config, "the token of user \"main\""])),
        // The file wins; the token is used if the file cannot be read.
        ("both", json!({"token": "hidden", "tokenFile": "token"}), Works),
        (
            "both, wrong in the file",
            json!({"token": token, "tokenFile": "wrong"}),
            Neither(&["401", "/wrong"]),
        ),
        ("both, no file", json!({"token": token, "tokenFile": gone}), Works),
        ("with a name", json!({"token": token, "username": "a"}), Neither(&[&config, "both a token and"])),
        // An API server does not know these: the request is anonymous.
        ("a name and a password", json!({"username": "a", "password": "hidden"}), Works),
        ("a password alone is nothing", json!({"password": "hidden", "tokenFile": "token"}), Works),
        ("an auth-provider", json!({"auth-provider": {"name": "gcp"}}), Neither(&[&config, "auth-provider"])),
        ("as itself", json!({"token": token, "as": "admin", "as-groups": ["system:masters"]}), Works),
        ("as somebody else", json!({"token": token, "as": "nobody", "as-uid": "1"}), Works),
        ("as groups alone", json!({"token": token, "as-groups": ["a"]}), Neither(&[&config, "add as"])),
        ("as with a line break", json!({"token": token, "as": "a\nb"}), Neither(&[&config, "as-groups"])),
        ("a key alone is nothing", json!({"token": token, "client-key": gone}), Works),
        (
            "a certificate alone",
            json!({"token": token, "client-certificate": "token"}),
            Neither(&[&config, "without a key"]),
        ),
    ] {
        as_user(&folder, row, &user, expected);
    }
}

/// Anonymous users may not read the version. The following shows that the operator is anonymous.
#[test]
fn nobody() {
    let folder = folder("nobody");
    let (server, authority, _) = admin();
    let cluster = json!({"server": server, "certificate-authority": authority});
    for (user, named) in [
        (json!({}), "none (user \"main\""),
        (json!({"username": "a", "password": "hidden"}), "the username and password of user \"main\""),
    ] {
        let given = Given::kubeconfig(file(&folder, "config", kubeconfig(&cluster, &user).to_string()));
        let (code, line) = given.ends();
        assert!(code == Some(2) && line.contains("403") && line.contains(named), "{line}");
    }
}

/// Until it has read its roles, an API server refuses everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_may_have_just_started_is_asked_again() {
    let folder = folder("just-started");
    for (outages, asks_again) in [(0, false), (1, true)] {
        let (port, refused) = refusing_server(outages);
        let cluster = json!({"server": format!("http://127.0.0.1:{port}")});
        let given = Given::kubeconfig(file(&folder, "config", kubeconfig(&cluster, &json!({})).to_string()));
        let (code, line) = given.ends();
        assert!(code == Some(2) && line.contains("403") && line.contains("grant"), "{line}");
        // The version and the custom resources.
        assert_eq!(refused.load(Ordering::Relaxed) > 2, asks_again);
    }
}

#[test]
fn plugins() {
    let folder = folder("plugins");
    let (_, _, token) = admin();
    let script = |name: &str, text: &str| {
        let path = file(&folder, name, format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let credential = |status: Value| {
        let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
        format!("echo '{credential}'")
    };
    script("good", &credential(json!({"token": token})));
    script("expires", &credential(json!({"token": token, "expirationTimestamp": "2100-01-01T00:00:00Z"})));
    script("variable", &format!("TOKEN=$MINE\n{}", credential(json!({"token": "'$TOKEN'"}))));
    script("wrong", &credential(json!({"token": "hidden"})));
    script("fails", "echo plugin: no >&2; exit 3");
    script("babbles", "echo hidden");
    let plugin = |command: &str, more: Value| {
        let mut exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": command});
        for (name, value) in more.as_object().unwrap() {
            exec[name] = value.clone();
        }
        json!({"exec": exec})
    };
    let config = folder.join("config").display().to_string();
    for (row, user, expected) in [
        ("a plugin", plugin("./good", json!({})), Works),
        ("one whose token expires", plugin("./expires", json!({})), Works),
        ("a variable", plugin("./variable", json!({"env": [{"name": "MINE", "value": token}]})), Works),
        ("cluster information", plugin("./good", json!({"provideClusterInfo": true})), Works),
        ("in PATH", plugin("sh", json!({"args": [folder.join("good")]})), Works),
        ("a wrong token", plugin("./wrong", json!({})), Neither(&["401", "exec plugin", "/wrong"])),
        (
            "missing",
            plugin("./gone", json!({"installHint": "get it at example.com"})),
            Neither(&["/gone", "get it at example.com"]),
        ),
        ("missing in PATH", plugin("no-such-plugin", json!({})), Neither(&["no-such-plugin"])),
        ("fails", plugin("./fails", json!({})), Neither(&["/fails", "exit status: 3"])),
        ("babbles", plugin("./babbles", json!({})), Neither(&["/babbles", "no ExecCredential"])),
        ("no command", plugin("", json!({})), Neither(&[&config, "no command"])),
        ("no version", plugin("./good", json!({"apiVersion": ""})), Neither(&[&config, "apiVersion"])),
        (
            "an old version",
            plugin("./good", json!({"apiVersion": "client.authentication.k8s.io/v1alpha1"})),
            Neither(&[&config, "apiVersion"]),
        ),
        (
            "no mode",
            plugin("./good", json!({"interactiveMode": null})),
            Neither(&[&config, "interactiveMode"]),
        ),
        (
            "wants a terminal",
            plugin("./good", json!({"interactiveMode": "Always"})),
            Neither(&[&config, "terminal"]),
        ),
    ] {
        as_user(&folder, row, &user, expected);
    }
}

/// The impersonated user's rights count: without them the operator exits and names what is missing.
#[tokio::test]
async fn who_is_impersonated_is_who_asks() {
    let _world = World::new("impersonation").await;
    let folder = folder("impersonation");
    let (server, authority, token) = admin();
    let user =
        json!({"token": token, "as": "system:serviceaccount:a:b", "as-groups": ["system:authenticated"]});
    let config = kubeconfig(&json!({"server": server, "certificate-authority": authority}), &user);
    let (code, line) = Given::kubeconfig(file(&folder, "config", config.to_string())).ends();
    assert!(code == Some(2) && line.contains("permissions are missing"), "{line}");
}

/// A token that is renewed in its file is picked up: at once where the old one is not accepted any more.
#[tokio::test]
async fn a_token_is_renewed_while_it_runs() {
    let mut world = World::new("renewed-token").await;
    let folder = folder("renewed-token");
    let (server, authority, _) = admin();
    let token = |kubeconfig: &Path| {
        let config: Value = serde_json::from_slice(&std::fs::read(kubeconfig).unwrap()).unwrap();
        config["users"][0]["user"]["token"].as_str().unwrap().to_owned()
    };
    let given = token(&world.operator.kubeconfig());
    file(&folder, "token", format!("{given}\r\n"));
    let config = kubeconfig(
        &json!({"server": server, "certificate-authority": authority}),
        &json!({"tokenFile": folder.join("token")}),
    );
    std::fs::write(world.operator.kubeconfig(), config.to_string()).unwrap();
    world.operator.start(&[]);
    let ready = async |world: &World| world.operator.probe("/readyz").await.0 == 200;
    until("it is ready", || ready(&world)).await;
    // The ServiceAccount is created again: its old tokens become invalid, whether they have expired or not.
    world.kubectl_ok(&["delete", "serviceaccount", "ai-api-operator"], "");
    world.kubectl_ok(&["create", "serviceaccount", "ai-api-operator"], "");
    until("it is refused", || async { world.operator.log().contains("401") }).await;
    let new_token = support::operator::token_of(&world.client, &world.namespace, "ai-api-operator").await;
    file(&folder, "token", format!("{new_token}\n"));
    assert!(world.operator.is_running());
    world.own(ai_api_operator::api::Kind::Execution, "stopped-1", "STOPPED").await;
    world.carry_out("delete", json!({"executions": [{"id": "stopped-1", "targetStatus": "DELETED"}]})).await;
}
