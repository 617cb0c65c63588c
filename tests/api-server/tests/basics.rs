//! What the simulation rests on. The differential test compares everything else with a real server.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

use std::time::Duration;

use api_server::{Answer, Kubernetes, Server, User, Watch};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Request, Response};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const CRDS: [&str; 3] = [
    include_str!("../../../crds/executions.aiapi.dev.yaml"),
    include_str!("../../../crds/deployments.aiapi.dev.yaml"),
    include_str!("../../../crds/bulkupdates.aiapi.dev.yaml"),
];
const ADMISSION: &str = include_str!("../../../deploy/cluster/admission.yaml");
const ROLES: [&str; 2] =
    [include_str!("../../../deploy/cluster/people.yaml"), include_str!("../../../deploy/cluster/rbac.yaml")];
const EXECUTIONS: &str = "/apis/aiapi.dev/v1alpha1/namespaces/team-a/executions";
const BULK_UPDATES: &str = "/apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates";

fn start() -> Timestamp {
    "2026-01-01T00:00:00.25Z".parse().unwrap()
}

/// A server with the shipped CRDs and roles, and alice, who may edit in team-a.
fn server() -> Server {
    server_like(Kubernetes::V1_37)
}

fn server_like(kubernetes: Kubernetes) -> Server {
    let server = Server::new(kubernetes, start());
    CRDS.into_iter().chain(ROLES).for_each(|manifests| server.apply(manifests));
    server.apply("{apiVersion: v1, kind: Namespace, metadata: {name: team-a}}");
    bind(&server, "alice", "aiapi-editor");
    server
}

fn bind(server: &Server, user: &str, role: &str) {
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": {"name": user, "namespace": "team-a"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}]});
    server.apply(&binding.to_string());
}

fn named(name: &str) -> User {
    User::Named { name: name.to_owned(), groups: Vec::new() }
}

fn send(server: &Server, user: &User, method: &str, uri: &str, body: &Value) -> Answer {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(uri).header("content-type", content_type);
    server.handle(user, "test/1", request.body(body).unwrap())
}

fn answer(server: &Server, user: &User, method: &str, uri: &str, body: &Value) -> (u16, Value) {
    let Answer::Whole(answer) = send(server, user, method, uri, body) else { panic!("{uri} is a watch") };
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
}

fn ask(server: &Server, method: &str, uri: &str, body: &Value) -> (u16, Value) {
    answer(server, &User::Admin, method, uri, body)
}

fn watch(server: &Server, uri: &str) -> (Response<()>, Watch) {
    match send(server, &User::Admin, "GET", uri, &Value::Null) {
        Answer::Watch(head, watch) => (head, watch),
        Answer::Whole(answer) => panic!("{answer:?}"),
    }
}

/// The events so far: type, name and resource version.
fn events(watch: &mut Watch) -> Vec<String> {
    let lines = std::iter::from_fn(|| watch.next().now_or_never().flatten());
    let word =
        |event: &Value, at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let shown = |line: Bytes| {
        let event: Value = serde_json::from_slice(&line).unwrap();
        format!("{} {}", word(&event, "/type"), word(&event, "/object/metadata/name"))
    };
    lines.map(shown).collect()
}

fn execution(name: &str) -> Value {
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "metadata": {"name": name}, "spec": {}})
}

fn bulk_update(name: &str, status: &str) -> Value {
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "metadata": {"name": name},
        "spec": {"executions": [{"id": "run-1", "targetStatus": status}]}})
}

#[test]
fn a_status_is_patched_under_its_resource_version_only() {
    let server = server();
    let (code, made) = ask(&server, "POST", EXECUTIONS, &execution("run-1"));
    assert_eq!((code, &made["status"]), (201, &json!({"state": "UNKNOWN"})));
    assert_eq!(made["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
    let status = format!("{EXECUTIONS}/run-1/status");
    let version = made["metadata"]["resourceVersion"].clone();
    let patch = |state: &str| json!({"metadata": {"resourceVersion": version}, "status": {"state": state}});
    let (code, patched) = ask(&server, "PATCH", &status, &patch("RUNNING"));
    assert_eq!((code, &patched["status"]["state"]), (200, &json!("RUNNING")));
    assert_eq!(patched["metadata"]["generation"], 1);
    assert_eq!(patched["metadata"]["managedFields"][1]["subresource"], "status");
    assert_eq!(ask(&server, "PATCH", &status, &patch("DEAD")).0, 409);
    // Nothing changes, so nothing is written.
    let revision = server.revision();
    assert_eq!(ask(&server, "PATCH", &status, &json!({"status": {"state": "RUNNING"}})).0, 200);
    assert_eq!(server.revision(), revision);
    let (code, refused) = ask(&server, "PATCH", &status, &json!({"status": {"state": "LOST"}}));
    assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")));
    let versions = server.versions();
    let of_run = versions.iter().filter(|version| version.name == "run-1");
    assert_eq!(
        of_run.map(|version| version.object["status"]["state"].clone()).collect::<Vec<_>>(),
        ["UNKNOWN", "RUNNING"]
    );
}

#[test]
fn a_deletion_needs_what_it_asks_for_and_waits_for_finalizers() {
    let server = server();
    let mut run = execution("run-1");
    run["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let (_, made) = ask(&server, "POST", EXECUTIONS, &run);
    let uri = format!("{EXECUTIONS}/run-1");
    let stale = json!({"preconditions": {"uid": made["metadata"]["uid"], "resourceVersion": "1"}});
    assert_eq!(ask(&server, "DELETE", &uri, &stale).0, 409);
    let (code, marked) = ask(&server, "DELETE", &uri, &Value::Null);
    assert_eq!((code, marked["metadata"]["deletionTimestamp"].is_string()), (200, true));
    let (code, _) = ask(&server, "PATCH", &uri, &json!({"metadata": {"finalizers": null}}));
    assert_eq!((code, ask(&server, "GET", &uri, &Value::Null).0), (200, 404));
    assert!(server.versions().last().unwrap().deleted);
}

#[test]
fn a_watch_sees_what_has_happened_since_its_revision() {
    let server = server();
    ask(&server, "POST", EXECUTIONS, &execution("run-1"));
    let (_, list) = ask(&server, "GET", EXECUTIONS, &Value::Null);
    let since = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    ask(&server, "POST", EXECUTIONS, &execution("run-2"));
    let uri = format!(
        "{EXECUTIONS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=290&resourceVersion={since}"
    );
    let (head, mut follower) = watch(&server, &uri);
    assert_eq!(head.headers()["date"], "Thu, 01 Jan 2026 00:00:00 GMT");
    assert_eq!(follower.timeout(), Some(Duration::from_secs(290)));
    ask(&server, "PATCH", &format!("{EXECUTIONS}/run-1/status"), &json!({"status": {"state": "DEAD"}}));
    server.bookmark();
    ask(&server, "DELETE", &format!("{EXECUTIONS}/run-1"), &Value::Null);
    assert_eq!(events(&mut follower), ["ADDED run-2", "MODIFIED run-1", "BOOKMARK ", "DELETED run-1"]);
    // The copy goes on by itself.
    let fork = server.fork();
    ask(&fork, "POST", EXECUTIONS, &execution("run-3"));
    assert_eq!(events(&mut follower), Vec::<String>::new());
    assert_eq!(ask(&server, "GET", &format!("{EXECUTIONS}/run-3"), &Value::Null).0, 404);
    server.compact(server.revision());
    assert_eq!(events(&mut watch(&server, &uri).1), ["ERROR "]);
}

#[test]
fn a_list_continues_as_it_was_until_that_is_forgotten() {
    let server = server();
    for name in ["run-1", "run-2", "run-3"] {
        ask(&server, "POST", EXECUTIONS, &execution(name));
    }
    let (_, first) = ask(&server, "GET", &format!("{EXECUTIONS}?limit=1"), &Value::Null);
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    ask(&server, "DELETE", &format!("{EXECUTIONS}/run-2"), &Value::Null);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let next = format!("{EXECUTIONS}?limit=5&continue={token}");
    let names = |list: &Value| {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&ask(&server, "GET", &next, &Value::Null).1), ["run-2", "run-3"]);
    server.compact(server.revision());
    let (code, gone) = ask(&server, "GET", &next, &Value::Null);
    assert_eq!((code, &gone["reason"]), (410, &json!("Expired")));
    let token = gone["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = ask(&server, "GET", &format!("{EXECUTIONS}?continue={token}"), &Value::Null);
    assert_eq!(names(&rest), ["run-3"]);
}

#[test]
fn the_policy_checks_authors_once_it_is_in_force() {
    let server = server();
    bind(&server, "bob", "aiapi-editor");
    let rules = json!([{"apiGroups": ["aiapi.dev"], "resources": ["bulkupdates"], "verbs": ["create"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "author"}, "rules": rules});
    server.apply(&role.to_string());
    bind(&server, "mallory", "author");
    server.set_policy_delay(Duration::from_secs(2));
    server.apply(ADMISSION);
    let create = |user: &str, name: &str| {
        answer(&server, &named(user), "POST", BULK_UPDATES, &bulk_update(name, "DELETED"))
    };
    assert_eq!(create("mallory", "early").0, 201);
    server.set_time(start() + SignedDuration::from_secs(2));
    assert_eq!(create("alice", "allowed").0, 201);
    let (code, denied) = create("mallory", "denied");
    let message = "bulkupdates.aiapi.dev \"denied\" is forbidden: ValidatingAdmissionPolicy 'bulkupdates.aiapi.dev' with \
        binding 'bulkupdates.aiapi.dev' denied request: mallory may not delete executions.aiapi.dev in namespace team-a: ask \
        for the verb \"delete\" in a Role";
    assert_eq!((code, &denied["message"]), (403, &json!(message)));
    // BulkUpdates have a namespace.
    server.apply(
        &ADMISSION
            .replace("operations: [CREATE, UPDATE]", "operations: [CREATE, UPDATE]\n      scope: Cluster"),
    );
    server.set_time(start() + SignedDuration::from_secs(4));
    assert_eq!(create("mallory", "late").0, 201);
}

#[test]
fn each_request_is_authorized() {
    let server = server();
    let get = |user: &User| answer(&server, user, "GET", EXECUTIONS, &Value::Null);
    assert_eq!(get(&User::Unknown).0, 401);
    assert_eq!(get(&named("alice")).0, 200);
    let operator = User::ServiceAccount { namespace: "team-a".into(), name: "operator".into() };
    let (code, refused) = get(&operator);
    let message = "executions.aiapi.dev is forbidden: User \"system:serviceaccount:team-a:operator\" cannot list resource \
        \"executions\" in API group \"aiapi.dev\" in the namespace \"team-a\"";
    assert_eq!((code, &refused["message"]), (403, &json!(message)));
    let codes: Vec<_> = server.requests().iter().map(|request| request.code).collect();
    assert_eq!(codes, [401, 200, 403]);
}

/// What is said to be wrong with these fields of a refused object.
fn causes(refused: &Value, fields: &[&str]) -> Vec<String> {
    let causes = refused["details"]["causes"].as_array().into_iter().flatten();
    let causes = causes.filter(|cause| fields.contains(&cause["field"].as_str().unwrap()));
    causes.map(|cause| cause["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_rule_that_cannot_read_a_value_says_so() {
    let server = server();
    let mut request = bulk_update("bulk-1", "STOPPED");
    let refused = |request: &Value| ask(&server, "POST", BULK_UPDATES, request).1;
    request["spec"]["notAfter"] = "2026-01-01t00:00:00z".into();
    // The schema takes it for a time, but not for one of this form.
    let said = causes(&refused(&request), &["spec.notAfter"]);
    assert!(said[0].contains("should match") && said.len() == 2, "{said:?}");
    // Of another kind, nothing but the rules is checked.
    request["kind"] = "Other".into();
    let layout = " as \"2006-01-02T15:04:05\": cannot parse";
    for (text, why) in [
        ("2026-01-01t00:00:00z", format!("{layout} \"t00:00:00z\" as \"T\"")),
        ("text", format!("{layout} \"text\" as \"2006\"")),
        ("2026-01-01", format!("{layout} \"\" as \"T\"")),
        ("2026-13-01T00:00:00Z", ": month out of range".to_owned()),
        ("2026-02-30T00:00:00Z", ": extra text: \"Z\"".to_owned()),
        ("2026-02-30T00:00:00", ": day out of range".to_owned()),
        ("2026-01-01T00:00:60Z", ": second out of range".to_owned()),
    ] {
        request["spec"]["notAfter"] = text.into();
        let said = causes(&refused(&request), &["spec.notAfter"]);
        let wanted = format!(
            "Invalid value: \"string\": Invalid date-time formatted string {text}: parsing time {text:?}{why} evaluating \
             rule: notAfter must be a string such as 2026-12-31T00:00:00Z"
        );
        assert_eq!(said, [wanted]);
    }
    for text in ["2026-01-01T00:00:00", "2026-01-01T00:00:00.5+02:00", ""] {
        request["spec"]["notAfter"] = text.into();
        assert_eq!(causes(&refused(&request), &["spec.notAfter"]), Vec::<String>::new());
    }
    request["spec"] = "text".into();
    let said = causes(&refused(&request), &["spec"]);
    assert!(said[0].contains("expected a map for the provided schema with type=object"), "{said:?}");
    let mut nameless = execution("run-1");
    (nameless["kind"], nameless["metadata"]) = ("Other".into(), json!({}));
    let said = causes(&ask(&server, "POST", EXECUTIONS, &nameless).1, &["<nil>"]);
    assert!(said[0].contains("no such key: name evaluating rule: the name is the AI API id"), "{said:?}");
}

#[test]
fn a_patch_that_cannot_be_read_is_refused_as_each_version_does() {
    for (kubernetes, validation, message) in [
        (Kubernetes::V1_33, "Ignore", "Invalid JSON Patch"),
        (Kubernetes::V1_33, "Warn", "error decoding patch"),
        (Kubernetes::V1_37, "Ignore", "invalid JSON patch"),
    ] {
        let server = server_like(kubernetes);
        ask(&server, "POST", EXECUTIONS, &execution("run-1"));
        let uri = format!("{EXECUTIONS}/run-1?fieldValidation={validation}");
        let (code, refused) = ask(&server, "PATCH", &uri, &Value::Null);
        assert_eq!(code, 400);
        assert!(refused["message"].as_str().unwrap().starts_with(message), "{refused}");
    }
}

#[test]
fn a_watch_of_a_kind_without_a_cache_is_too_old_in_the_words_of_etcd() {
    let server = server();
    server.compact(server.revision());
    let said = |path: &str| {
        let (_, mut watch) = watch(&server, &format!("{path}?watch=true&resourceVersion=1"));
        String::from_utf8(watch.next().now_or_never().flatten().unwrap().to_vec()).unwrap()
    };
    assert!(said(EXECUTIONS).contains("too old resource version: 1 ("));
    let events = "/apis/events.k8s.io/v1/namespaces/team-a/events";
    assert!(said(events).contains("The resourceVersion for the provided watch is too old."));
}

#[test]
fn a_rule_about_an_object_reads_the_fields_that_it_looks_for() {
    let server = server();
    let (_, mut made) = ask(&server, "POST", BULK_UPDATES, &bulk_update("bulk-1", "STOPPED"));
    // The schema takes a list in place of a text with a format.
    made["spec"]["notAfter"] = json!(["text"]);
    let (code, refused) = ask(&server, "PUT", &format!("{BULK_UPDATES}/bulk-1"), &made);
    let wanted = "Invalid value: \"object\": invalid data, expected string, got []interface {} evaluating rule: notAfter \
        cannot be set or unset after creation: create a new BulkUpdate";
    assert_eq!((code, causes(&refused, &["spec"])), (422, vec![wanted.to_owned()]));
    made["spec"]["notAfter"].take();
    made["spec"]["activeDeadlineSeconds"] = json!(2.0);
    let (_, refused) = ask(&server, "PUT", &format!("{BULK_UPDATES}/bulk-1"), &made);
    assert!(causes(&refused, &["spec"])[0].contains("expected int, got float64"), "{refused}");
}

#[test]
fn a_merge_patch_leaves_no_nulls_in_what_is_new() {
    let server = server();
    ask(&server, "POST", EXECUTIONS, &execution("run-1"));
    let warnings = |value: Value| {
        let patch = json!({"status": {"conditions": [{"unknown": value}]}});
        match send(&server, &User::Admin, "PATCH", &format!("{EXECUTIONS}/run-1/status"), &patch) {
            Answer::Whole(answer) => answer.headers().get_all("warning").iter().count(),
            Answer::Watch(..) => panic!("a watch"),
        }
    };
    assert_eq!((warnings("text".into()), warnings(Value::Null)), (1, 0));
}

#[test]
fn unknown_fields_are_named_in_order() {
    let mut request = bulk_update("bulk-1", "STOPPED");
    request["spec"]["unknown"] = 1.into();
    request["spec"]["executions"][0]["unknown"] = 1.into();
    let (_, refused) = ask(&server(), "POST", &format!("{BULK_UPDATES}?fieldValidation=Strict"), &request);
    let wanted = "unknown field \"spec.executions[0].unknown\", unknown field \"spec.unknown\"";
    assert!(refused["message"].as_str().unwrap().ends_with(wanted), "{refused}");
}

#[test]
fn a_whole_number_is_an_integer_however_it_is_written() {
    let server = server();
    let mut request = bulk_update("bulk-1", "STOPPED");
    request["spec"]["ttlSecondsAfterFinished"] = json!(2.0);
    let (code, shown) = ask(&server, "POST", &format!("{BULK_UPDATES}?dryRun=All"), &request);
    assert_eq!((code, &shown["spec"]["ttlSecondsAfterFinished"]), (201, &json!(2)));
    ask(&server, "POST", EXECUTIONS, &execution("run-1"));
    let patch = |seen: Value| {
        let patch = json!({"status": {"observedGeneration": seen}});
        ask(&server, "PATCH", &format!("{EXECUTIONS}/run-1/status"), &patch).1
    };
    assert_eq!(patch(json!(2)), patch(json!(2.0)));
}

#[test]
fn what_does_not_fit_into_the_schema_changes_no_managers() {
    let server = server();
    ask(&server, "POST", EXECUTIONS, &execution("run-1"));
    let managers = |time: Value| {
        let patch = json!({"status": {"completionTime": time}});
        let (code, object) = ask(&server, "PATCH", &format!("{EXECUTIONS}/run-1/status"), &patch);
        (code, object["metadata"]["managedFields"].as_array().map_or(0, Vec::len))
    };
    // Neither a write of it counts, nor the next one.
    assert_eq!(managers(json!(["text"])), (200, 1));
    assert_eq!(managers("2026-01-01T00:00:00Z".into()), (200, 1));
    assert_eq!(managers("2026-01-01T00:00:01Z".into()), (200, 2));
}

#[test]
fn a_dry_run_of_a_deletion_that_drops_finalizers_shows_nothing_of_the_object() {
    let server = server();
    let mut run = execution("run-1");
    run["metadata"]["finalizers"] = json!(["orphan"]);
    ask(&server, "POST", EXECUTIONS, &run);
    let options = json!({"dryRun": ["All"], "propagationPolicy": "Background"});
    let answer = ask(&server, "DELETE", &format!("{EXECUTIONS}/run-1"), &options);
    assert_eq!(answer, (200, json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution"})));
    assert_eq!(ask(&server, "GET", &format!("{EXECUTIONS}/run-1"), &Value::Null).0, 200);
}

#[test]
#[should_panic(expected = "does not know the CEL rule")]
fn an_unknown_rule_cannot_be_applied() {
    let changed = CRDS[0].replace("self == oldSelf", "self != oldSelf");
    server().apply(&changed);
}
