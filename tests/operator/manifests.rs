//! What the API server itself refuses, each with a message, and what it accepts; and what the shipped roles give to
//! people.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};
use support::control_plane::{ControlPlane, PROJECT};

fn manifest(kind: &str, name: &str, spec: &Value) -> String {
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
        .to_string()
}

fn items(count: usize) -> Value {
    (0..count).map(|n| json!({"id": format!("item-{n}"), "targetStatus": "STOPPED"})).collect()
}

fn item(id: &str, target: &str) -> Value {
    json!([{"id": id, "targetStatus": target}])
}

/// Applies a manifest as users do.
fn apply(manifest: &str) -> (bool, String) {
    ControlPlane::get().kubectl(&["apply", "-f", "-"], manifest)
}

#[test]
fn refused_manifests() {
    let long = "x".repeat(65);
    let name = "the name is the AI API id: it must have 4 to 64 characters";
    let too_many = "a BulkUpdate takes at most 100 items, executions and deployments together: split it";
    let none = "a BulkUpdate needs at least one item in executions or deployments";
    let twice = json!([{"id": "same", "targetStatus": "STOPPED"}, {"id": "same", "targetStatus": "DELETED"}]);
    for (kind, object, spec, expected) in [
        ("BulkUpdate", "none", json!({}), none),
        ("BulkUpdate", "empty", json!({"executions": [], "deployments": []}), none),
        ("BulkUpdate", "empty-one", json!({"executions": []}), none),
        ("BulkUpdate", "many", json!({"executions": items(101)}), "must have at most 100 items"),
        ("BulkUpdate", "many-2", json!({"executions": items(51), "deployments": items(50)}), too_many),
        ("BulkUpdate", "twice", json!({"executions": twice}), "Duplicate value"),
        (
            "BulkUpdate",
            "target",
            json!({"executions": item("item", "RUNNING")}),
            r#"supported values: "STOPPED", "DELETED""#,
        ),
        ("BulkUpdate", "target-case", json!({"executions": item("item", "stopped")}), "supported values"),
        ("BulkUpdate", "no-target", json!({"executions": [{"id": "item"}]}), "targetStatus: Required value"),
        ("BulkUpdate", "no-id", json!({"executions": [{"targetStatus": "STOPPED"}]}), "id: Required value"),
        ("BulkUpdate", "short", json!({"executions": item("abc", "STOPPED")}), "at least 4 chars long"),
        ("BulkUpdate", "long", json!({"executions": item(&long, "STOPPED")}), "may not be more than 64"),
        ("BulkUpdate", "slash", json!({"executions": item("a/../b", "STOPPED")}), "should match"),
        ("BulkUpdate", "space", json!({"deployments": item("a b c", "STOPPED")}), "should match"),
        ("BulkUpdate", "newline", json!({"deployments": item("abcd\n", "STOPPED")}), "should match"),
        ("BulkUpdate", "umlaut", json!({"deployments": item("äöüß", "STOPPED")}), "should match"),
        (
            "BulkUpdate",
            "empty-uid",
            json!({"executions": [{"id": "item", "targetStatus": "STOPPED", "uid": ""}]}),
            "at least 1 chars long",
        ),
        ("BulkUpdate", "no-date", json!({"executions": items(1), "notAfter": "tomorrow"}), "should match"),
        (
            "BulkUpdate",
            "no-zone",
            json!({"executions": items(1), "notAfter": "2026-01-01T00:00:00"}),
            "should match",
        ),
        (
            "BulkUpdate",
            "bad-day",
            json!({"executions": items(1), "notAfter": "2026-02-30T00:00:00Z"}),
            "date-time",
        ),
        (
            "BulkUpdate",
            "negative",
            json!({"executions": items(1), "ttlSecondsAfterFinished": -1}),
            "should be greater than or equal to 0",
        ),
        (
            "BulkUpdate",
            "zero",
            json!({"executions": items(1), "activeDeadlineSeconds": 0}),
            "should be greater than or equal to 1",
        ),
        (
            "BulkUpdate",
            "never",
            json!({"executions": items(1), "startingDeadlineSeconds": 0}),
            "should be greater than or equal to 1",
        ),
        ("BulkUpdate", "string", json!({"executions": items(1), "dryRun": "yes"}), "must be of type boolean"),
        (
            "BulkUpdate",
            "typo",
            json!({"executions": items(1), "dryrun": true}),
            "unknown field \"spec.dryrun\"",
        ),
        ("Execution", "abc", json!({}), name),
        ("Execution", &long, json!({}), name),
        ("Deployment", "abc", json!({}), name),
        ("Execution", "long-scenario", json!({"scenarioId": "x".repeat(257)}), "may not be more than 256"),
        ("Deployment", "no-manager", json!({"managedBy": ""}), "at least 1 chars long"),
    ] {
        let (ok, message) = apply(&manifest(kind, object, &spec));
        assert!(!ok, "{kind} {object} was accepted");
        assert!(message.contains(expected), "{kind} {object}: {message}");
    }
    let no_spec = r#"{"apiVersion":"aiapi.dev/v1alpha1","kind":"BulkUpdate","metadata":{"name":"no-spec"}}"#;
    let (ok, message) = apply(no_spec);
    assert!(!ok && message.contains("spec: Required value"), "{message}");
}

#[test]
fn accepted_manifests() {
    for (kind, object, spec) in [
        ("BulkUpdate", "one", json!({"executions": items(1)})),
        ("BulkUpdate", "hundred", json!({"executions": items(100)})),
        ("BulkUpdate", "fifty-fifty", json!({"executions": items(50), "deployments": items(50)})),
        ("BulkUpdate", "empty-list", json!({"executions": [], "deployments": items(1)})),
        ("BulkUpdate", "null", json!({"executions": null, "deployments": items(1), "dryRun": null})),
        (
            "BulkUpdate",
            "both-kinds",
            json!({"executions": item("same", "STOPPED"), "deployments": item("same", "DELETED")}),
        ),
        ("BulkUpdate", "any-id", json!({"executions": item("A_b.C-9", "STOPPED")})),
        ("BulkUpdate", "long-id", json!({"executions": item(&"x".repeat(64), "DELETED")})),
        (
            "BulkUpdate",
            "everything",
            json!({
            "executions": [{"id": "item", "targetStatus": "DELETED", "uid": "6f1c9c3e-1b1f-4b55-a0a5-1a3b8f1d2e3f"}],
            "dryRun": true, "notAfter": "2026-12-31T23:59:59.5+01:00", "startingDeadlineSeconds": 1,
            "activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 0}),
        ),
        ("Execution", "four", json!({})),
        (
            "Execution",
            &"x".repeat(64),
            json!({"scenarioId": "s", "configurationId": "c", "configurationName": "n",
            "executableId": "e", "managedBy": "aiapi.dev/operator"}),
        ),
        ("Deployment", "of-another", json!({"managedBy": "example.com/runner"})),
    ] {
        let (ok, message) = apply(&manifest(kind, object, &spec));
        assert!(ok, "{kind} {object}: {message}");
    }
}

#[test]
fn the_items_are_immutable() {
    let all = json!({
        "executions": [{"id": "item-1", "targetStatus": "STOPPED"}, {"id": "item-2", "targetStatus": "DELETED"}],
        "deployments": items(1), "dryRun": true, "notAfter": "2026-12-31T00:00:00Z",
        "startingDeadlineSeconds": 10, "activeDeadlineSeconds": 10, "ttlSecondsAfterFinished": 10,
    });
    let fixed = [
        "executions",
        "deployments",
        "dryRun",
        "notAfter",
        "startingDeadlineSeconds",
        "activeDeadlineSeconds",
    ];
    let changed = json!({"executions": items(2), "deployments": items(2), "dryRun": false,
        "notAfter": "2027-12-31T00:00:00Z", "startingDeadlineSeconds": 11, "activeDeadlineSeconds": 11});
    let replace = |name: &str, spec: &Value| {
        ControlPlane::get().kubectl(&["replace", "-f", "-"], &manifest("BulkUpdate", name, spec))
    };
    let (ok, message) = apply(&manifest("BulkUpdate", "fixed", &all));
    assert!(ok, "{message}");
    for field in fixed {
        let mut spec = all.clone();
        spec[field] = changed[field].clone();
        let (ok, message) = replace("fixed", &spec);
        assert!(
            !ok && message.contains("cannot be changed after creation: create a new BulkUpdate"),
            "{field}: {message}"
        );
        spec.as_object_mut().unwrap().remove(field);
        let (ok, message) = replace("fixed", &spec);
        let sentence = format!("{field} cannot be set or unset after creation: create a new BulkUpdate");
        assert!(!ok && message.contains(&sentence), "unset {field}: {message}");

        // The other way round: created without it, it cannot be set.
        let name = format!("without-{}", field.to_lowercase());
        let (ok, message) = apply(&manifest("BulkUpdate", &name, &spec));
        assert!(ok, "{message}");
        let (ok, message) = replace(&name, &all);
        assert!(!ok && message.contains(&sentence), "set {field}: {message}");
    }
    // The TTL may change, and so may the order of the items.
    let mut free = all.clone();
    free["ttlSecondsAfterFinished"] = json!(20);
    free["executions"].as_array_mut().unwrap().reverse();
    let (ok, message) = replace("fixed", &free);
    assert!(ok, "{message}");
    free.as_object_mut().unwrap().remove("ttlSecondsAfterFinished");
    let (ok, message) = replace("fixed", &free);
    assert!(ok, "{message}");
}

#[test]
fn managed_by_is_immutable() {
    let replace = |kind: &str, name: &str, spec: Value| {
        ControlPlane::get().kubectl(&["replace", "-f", "-"], &manifest(kind, name, &spec))
    };
    for kind in ["Execution", "Deployment"] {
        for (name, before, after, sentence) in [
            ("changed", json!({"managedBy": "a"}), json!({"managedBy": "b"}), "managedBy cannot be changed"),
            ("unset", json!({"managedBy": "a"}), json!({}), "managedBy cannot be set or unset"),
            ("set-later", json!({}), json!({"managedBy": "b"}), "managedBy cannot be set or unset"),
        ] {
            let (ok, message) = apply(&manifest(kind, name, &before));
            assert!(ok, "{message}");
            let (ok, message) = replace(kind, name, after);
            assert!(!ok && message.contains(sentence), "{kind} {name}: {message}");
            let (ok, message) =
                replace(kind, name, json!({"scenarioId": "new", "managedBy": before["managedBy"]}));
            assert!(ok, "{message}");
        }
    }
}

#[test]
fn an_object_without_a_status_says_so() {
    let plane = ControlPlane::get();
    for (kind, spec) in
        [("Execution", json!({})), ("Deployment", json!({})), ("BulkUpdate", json!({"executions": items(1)}))]
    {
        let (ok, message) = apply(&manifest(kind, "unseen", &spec));
        assert!(ok, "{message}");
    }
    let status = |object: &str| plane.kubectl(&["get", object, "-o", "jsonpath={.status}"], "").1;
    assert_eq!(status("aiexec/unseen"), r#"{"state":"UNKNOWN"}"#);
    assert_eq!(status("aideploy/unseen"), r#"{"state":"UNKNOWN"}"#);
    assert_eq!(status("bu/unseen"), r#"{"observedGeneration":-1}"#);
    let (_, columns) = plane.kubectl(&["get", "bu", "unseen"], "");
    let header: Vec<_> = columns.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "READY", "MESSAGE", "TOTAL", "SETTLED", "REFUSED", "FAILED", "AGE"]);
    let (ok, all) = plane.kubectl(&["get", "ai"], "");
    assert!(ok && ["execution.", "deployment.", "bulkupdate."].iter().all(|k| all.contains(k)), "{all}");
    for field in
        ["bu.spec.executions", "bu.spec.notAfter", "bu.status.executions.reason", "aiexec.spec.managedBy"]
    {
        let (ok, text) = plane.kubectl(&["explain", field], "");
        assert!(ok && text.contains("DESCRIPTION:") && !text.contains("<empty>"), "{text}");
    }
}

#[test]
fn users_without_rights_are_refused() {
    let (ok, message) = ControlPlane::get().kubectl_as("alice", &["get", "bu"], "");
    assert!(!ok && message.contains("forbidden"), "{message}");
}

/// Everything that is shipped: what Kustomize makes, and the examples.
fn shipped() -> Vec<Value> {
    let mut all = Vec::new();
    for folder in ["base", "gateway", "overlays/requester", "overlays/single-namespace"] {
        all.extend(ControlPlane::get().manifests(folder));
    }
    for file in fs::read_dir(Path::new(PROJECT).join("examples")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            all.extend(serde_saphyr::from_multiple::<Value>(&fs::read_to_string(file).unwrap()).unwrap());
        }
    }
    all
}

fn texts(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

const AGGREGATED: &str = "rbac.authorization.k8s.io/aggregate-to-";

/// The Kubernetes roles into which a role is aggregated.
fn aggregated(role: &Value) -> BTreeSet<&str> {
    let labels = role["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(label, value)| label.strip_prefix(AGGREGATED).filter(|_| value == "true")).collect()
}

/// What a role grants: resource and verb, of the group `aiapi.dev` only.
fn granted(role: &Value) -> BTreeSet<(String, String)> {
    let name = &role["metadata"]["name"];
    assert!(role.get("aggregationRule").is_none(), "{name} is an aggregated role");
    let mut granted = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        assert_eq!(texts(&rule["apiGroups"]), BTreeSet::from(["aiapi.dev".to_owned()]), "{name}");
        assert!(rule.get("nonResourceURLs").is_none(), "{name}");
        for resource in texts(&rule["resources"]) {
            granted.extend(texts(&rule["verbs"]).into_iter().map(|verb| (resource.clone(), verb)));
        }
    }
    granted
}

fn rights(of: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    let each = of.iter().flat_map(|(resources, verbs)| {
        let verbs = move || verbs.split(' ');
        resources.split(' ').flat_map(move |resource| verbs().map(move |verb| (resource, verb)))
    });
    each.map(|(resource, verb)| (resource.to_owned(), verb.to_owned())).collect()
}

/// The role of those who read logs.
const LOGS: &str = "ai-api-logs";

/// It reads what runs, and nothing of this group's.
fn reads_what_runs(role: &Value) {
    for rule in role["rules"].as_array().unwrap() {
        assert!(!texts(&rule["apiGroups"]).contains("aiapi.dev"), "{rule}");
        assert!(texts(&rule["verbs"]).iter().all(|verb| ["get", "list"].contains(&&**verb)), "{rule}");
    }
}

#[test]
fn user_roles_grant_only_reading_requesting_and_what_is_requested() {
    let shipped = shipped();
    let of_kind = |kinds: [&'static str; 2]| {
        shipped.iter().filter(move |object| kinds.iter().any(|kind| object["kind"] == *kind))
    };
    let name = |role: &Value| role["metadata"]["name"].as_str().unwrap().to_owned();
    // Roles bound to a ServiceAccount are the operator's or the gateway's; all others are for people.
    let mut of_programs = BTreeSet::new();
    for binding in of_kind(["RoleBinding", "ClusterRoleBinding"]) {
        for subject in binding["subjects"].as_array().unwrap() {
            assert_eq!(subject["kind"], "ServiceAccount", "nobody gets a role by default: {binding}");
        }
        of_programs.insert((binding["roleRef"]["kind"].to_string(), binding["roleRef"]["name"].to_string()));
    }
    let of_people: Vec<_> = of_kind(["Role", "ClusterRole"])
        .filter(|role| {
            let bound =
                of_programs.contains(&(role["kind"].to_string(), role["metadata"]["name"].to_string()));
            !bound || !aggregated(role).is_empty()
        })
        .collect();
    let names: BTreeSet<_> = of_people.iter().map(|role| name(role)).collect();
    assert_eq!(names.iter().collect::<Vec<_>>(), ["ai-api-caller", LOGS, "aiapi-editor", "aiapi-viewer"]);

    let see = rights(&[("executions deployments bulkupdates", "get list watch")]);
    let ask =
        rights(&[("bulkupdates", "create update patch delete"), ("executions deployments", "stop delete")]);
    let all: BTreeSet<_> = see.union(&ask).cloned().collect();
    for role in of_people {
        if name(role) == LOGS {
            reads_what_runs(role);
            continue;
        }
        let (name, granted) = (name(role), granted(role));
        // No /status, no wildcard, no creation of targets: none of these is among them.
        let beyond: Vec<_> = granted.difference(&all).collect();
        assert!(beyond.is_empty(), "{name} grants {beyond:?}");
        let (whole, part_of) = match &*name {
            "aiapi-viewer" => (Some(&see), ["admin", "edit", "view"].as_slice()),
            "aiapi-editor" => (Some(&all), ["admin", "edit"].as_slice()),
            _ => (None, [].as_slice()),
        };
        if let Some(whole) = whole {
            assert_eq!(&granted, whole, "{name}");
        }
        assert_eq!(aggregated(role), part_of.iter().copied().collect(), "{name}");
    }
}
