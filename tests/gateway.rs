//! The AI API over HTTP: what callers get, and that the cluster says the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod support;

use std::collections::HashSet;

use ai_api_operator::api::Kind;
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};
use support::{
    World,
    control_plane::{ControlPlane, PROJECT},
    gateway::{Caller, Gateway, apply_manifests},
    until, until_ok,
};

const OTHER: &str = "pipelines.example.com/runner";

async fn gateway(name: &str) -> (World, Gateway, Caller) {
    let world = World::running(name).await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    (world, gateway, caller)
}

fn all(kind: Kind) -> String {
    format!("/v2/lm/{}", kind.plural())
}

fn item(id: &str, target: &str) -> Value {
    json!({"id": id, "targetStatus": target})
}

async fn state(world: &World, kind: Kind, name: &str) -> Option<String> {
    let object = world.find(kind, name).await?;
    Some(object.data["status"]["state"].as_str().unwrap().to_owned())
}

/// The BulkUpdate that a request has made.
async fn made(world: &World, id: &str) -> ai_api_operator::api::BulkUpdate {
    world.bulk_updates().get(&format!("request-{id}")).await.unwrap()
}

async fn bulk_updates(world: &World) -> usize {
    world.bulk_updates().list(&ListParams::default()).await.unwrap().items.len()
}

#[tokio::test]
async fn mixed_outcomes_come_in_the_order_of_the_request() {
    let (world, gateway, caller) = gateway("gw-mixed").await;
    for (kind, not_found) in [(Kind::Execution, "01010020"), (Kind::Deployment, "01010016")] {
        for (name, state) in [
            ("running-1", "RUNNING"),
            ("pending-1", "PENDING"),
            ("running-2", "RUNNING"),
            ("stopped-1", "STOPPED"),
            ("dead-1", "DEAD"),
            ("completed-1", "COMPLETED"),
        ] {
            world.own(kind, name, state).await;
        }
        let asked = json!({"state": "RUNNING", "targetStatus": "STOPPED"});
        world.target(kind, "asked-1", json!({"managedBy": OTHER}), asked).await;
        world.target(kind, "slow-1", json!({"managedBy": OTHER}), json!({"state": "RUNNING"})).await;
        let items = [
            ("stopped-1", "DELETED", None),
            (
                "running-2",
                "DELETED",
                Some(("01010076", "Current status RUNNING cannot be changed to DELETED")),
            ),
            ("not-there", "STOPPED", Some((not_found, "does not exist"))),
            ("running-1", "STOPPED", None),
            ("Upper_Case", "DELETED", Some((not_found, "does not exist"))),
            ("asked-1", "STOPPED", Some(("StopPending", "a stop was asked for before"))),
            (
                "completed-1",
                "STOPPED",
                Some(("01010076", "Current status COMPLETED cannot be changed to STOPPED")),
            ),
            ("slow-1", "STOPPED", None),
            ("dead-1", "DELETED", None),
            ("pending-1", "STOPPED", None),
        ];
        let list: Vec<_> = items.iter().map(|(id, target, _)| item(id, target)).collect();
        let answer = caller.patch(&all(kind), &json!({kind.plural(): list})).await;
        let body = answer.ok(202);
        let entries = body[kind.plural()].as_array().unwrap();
        assert_eq!((body.as_object().unwrap().len(), entries.len()), (1, items.len()), "{body:#}");
        for ((id, _, error), entry) in items.iter().zip(entries) {
            match error {
                None => {
                    let message = format!("{} modification scheduled", kind.name());
                    assert_eq!(*entry, json!({"id": id, "message": message}));
                }
                Some((code, says)) => {
                    let told = entry["error"]["message"].as_str().unwrap_or_default();
                    let expected = json!({"id": id, "error": {"code": code, "message": told,
                        "requestId": answer.id(), "target": all(kind), "details": {}}});
                    assert!(*entry == expected && told.contains(says), "{entry:#}");
                }
            }
        }
        for (name, now) in [
            ("running-1", Some("STOPPED")),
            ("pending-1", Some("STOPPED")),
            ("running-2", Some("RUNNING")),
            ("stopped-1", None),
            ("dead-1", None),
            ("completed-1", Some("COMPLETED")),
            ("slow-1", Some("RUNNING")),
        ] {
            assert_eq!(state(&world, kind, name).await.as_deref(), now, "{name}");
        }
        // The same id stands in the log and on the BulkUpdate.
        let bulk = made(&world, answer.id()).await;
        assert_eq!(bulk.annotations()["aiapi.dev/request-id"], answer.id());
        let log = gateway.log();
        let line = |what: &str| log.lines().any(|l| l.contains(answer.id()) && l.contains(what));
        assert!(line("answered") && line("status=202") && line(&bulk.uid().unwrap()), "{log}");
    }
}

#[tokio::test]
async fn a_hundred_items_are_answered_and_each_is_written_once() {
    let (world, _gateway, caller) = gateway("gw-hundred").await;
    let names: Vec<_> = (0..100).map(|n| format!("exec-{n}")).collect();
    for name in &names {
        world.own(Kind::Execution, name, "RUNNING").await;
    }
    let list: Vec<_> = names.iter().rev().map(|id| item(id, "STOPPED")).collect();
    let path = all(Kind::Execution);
    // The bulk PATCH is JSON too.
    let body = json!({"executions": list}).to_string();
    let headers = [("Content-Type", "application/json; charset=utf-8")];
    let answer = caller.send("PATCH", &path, &headers, &body).await.ok(202);
    let expected: Vec<_> = names
        .iter()
        .rev()
        .map(|id| json!({"id": id, "message": "Execution modification scheduled"}))
        .collect();
    assert_eq!(answer, json!({"executions": expected}));
    let written: HashSet<_> = world.writes().into_iter().map(|w| w.name).collect();
    assert_eq!((written.len(), world.writes().len()), (100, 100));
}

#[tokio::test]
async fn one_object_is_stopped_and_deleted() {
    let (world, _gateway, caller) = gateway("gw-single").await;
    for (kind, not_found) in [(Kind::Execution, "01010020"), (Kind::Deployment, "01010016")] {
        world.own(kind, "running-1", "RUNNING").await;
        let path = |id: &str| format!("{}/{id}", all(kind));
        let stop = json!({"targetStatus": "STOPPED"});
        let name = kind.name();

        let (code, message) = caller.delete(&path("running-1")).await.error(412);
        assert_eq!(code, "01010076");
        assert!(message.contains("Current status RUNNING cannot be changed to DELETED"), "{message}");
        let answer = caller.patch(&path("running-1"), &stop).await;
        let expected = json!({"id": "running-1", "message": format!("{name} modification scheduled")});
        assert_eq!(answer.ok(202), expected);
        assert_eq!(made(&world, answer.id()).await.spec.items(kind).len(), 1);
        assert_eq!(state(&world, kind, "running-1").await.as_deref(), Some("STOPPED"));
        assert_eq!(caller.patch(&path("running-1"), &stop).await.error(412).0, "01010076");

        let answer = caller.delete(&path("running-1")).await;
        assert_eq!(
            answer.ok(202),
            json!({"id": "running-1", "message": format!("{name} deletion scheduled")})
        );
        assert_eq!(state(&world, kind, "running-1").await, None);
        for answer in [caller.delete(&path("running-1")).await, caller.patch(&path("No_Name"), &stop).await] {
            let (code, message) = answer.error(404);
            assert_eq!(code, not_found);
            assert!(message.contains("does not exist"), "{message}");
        }
    }
}

#[tokio::test]
async fn objects_are_read_listed_filtered_and_counted() {
    let (world, _gateway, caller) = gateway("gw-read").await;
    for kind in Kind::ALL {
        let path = all(kind);
        for n in 0..5 {
            let spec = json!({"scenarioId": format!("scen-{}", n % 2), "configurationId": "conf-1",
                "configurationName": "a name", "executableId": format!("exe-{n}")});
            let state = if n < 3 { "RUNNING" } else { "DEAD" };
            let status = json!({"state": state, "startTime": "2026-01-02T03:04:05Z"});
            world.target(kind, &format!("item-{n}"), spec, status).await;
        }
        let one = caller.get(&format!("{path}/item-1")).await.ok(200);
        for (name, value) in [
            ("id", "item-1"),
            ("scenarioId", "scen-1"),
            ("configurationId", "conf-1"),
            ("configurationName", "a name"),
            ("executableId", "exe-1"),
            ("status", "RUNNING"),
            ("startTime", "2026-01-02T03:04:05.000000Z"),
        ] {
            assert_eq!(one[name], value, "{one:#}");
        }
        assert_eq!(one.get("deploymentUrl").is_some(), kind == Kind::Deployment);
        let part = caller.get(&format!("{path}/item-1?$select=status")).await.ok(200);
        let names: Vec<_> = part.as_object().unwrap().keys().collect();
        assert_eq!(names, ["configurationId", "createdAt", "id", "modifiedAt", "status"]);

        let whole = caller.get(&path).await.ok(200);
        assert_eq!(whole["count"], 5);
        assert_eq!(whole["resources"][1], one);
        for (query, ids) in [
            ("", "0 1 2 3 4"),
            ("?status=DEAD", "3 4"),
            ("?status=RUNNING&scenarioId=scen-0", "0 2"),
            ("?executableIds=exe-4,exe-0,exe-9", "0 4"),
            ("?configurationId=conf-2", ""),
            ("?$top=2", "0 1"),
            ("?top=2&skip=1", "1 2"),
            ("?$skip=4", "4"),
            ("?$skip=5", ""),
            ("?$top=0", ""),
            ("?status=RUNNING&%24skip=1&%24top=5", "1 2"),
        ] {
            let list = caller.get(&format!("{path}{query}")).await.ok(200);
            let found: Vec<_> =
                list["resources"].as_array().unwrap().iter().map(|r| r["id"].clone()).collect();
            let expected: Vec<_> = ids.split_whitespace().map(|n| format!("item-{n}")).collect();
            assert_eq!(found, expected, "{query}");
            assert_eq!(list["count"], expected.len(), "{query}");
        }
        for (query, count) in [("", "5"), ("?status=DEAD", "2"), ("?scenarioId=scen-9", "0"), ("?top=1", "5")]
        {
            for name in ["$count", "%24count"] {
                let answer = caller.get(&format!("{path}/{name}{query}")).await;
                assert_eq!((answer.status, &*answer.text), (200, count), "{name}{query}");
                assert_eq!(answer.header("content-type"), "text/plain");
            }
        }
        let (code, _) = caller.get(&format!("{path}/not-there")).await.error(404);
        assert_eq!(code, if kind == Kind::Execution { "01010020" } else { "01010016" });
        caller.get(&format!("{path}/Upper_Case")).await.error(404);
    }
    // Reading makes nothing.
    assert_eq!(bulk_updates(&world).await, 0);
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let (world, _gateway, caller) = gateway("gw-pages").await;
    let manifests: Vec<_> = (0..501)
        .map(|n| {
            json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "metadata": {"name": format!("exec-{n:03}")},
                "spec": {}})
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string();
    world.kubectl_ok(&["create", "-f", "-"], &list);
    let path = all(Kind::Execution);
    assert_eq!(caller.get(&format!("{path}/$count")).await.text, "501");
    let list = caller.get(&format!("{path}?$skip=499")).await.ok(200);
    let ids: Vec<_> = list["resources"].as_array().unwrap().iter().map(|r| r["id"].clone()).collect();
    assert_eq!(ids, ["exec-499", "exec-500"]);
    let pages = world.plane.requests(&caller.user);
    let pages: Vec<_> = pages.iter().filter(|r| r.verb == "list" && r.resource == "executions").collect();
    assert_eq!(pages.len(), 4);
}

#[tokio::test]
async fn meta_says_what_the_flag_says() {
    let (world, _gateway, caller) = gateway("gw-meta").await;
    for (text, executions, deployments) in [
        (r#"{"executions": true, "deployments": true}"#, true, true),
        (r#"{"executions": false, "deployments": true}"#, false, true),
        ("executions: true", true, false),
        ("execution: true\ndeployments: true", false, false),
        ("{", false, false),
        ("{}", false, false),
    ] {
        world.flag(Some(text)).await;
        let expected = json!({"executions": executions, "deployments": deployments});
        until_ok("meta", || async {
            let meta = caller.get("/v2/lm/meta").await.ok(200);
            let told = &meta["aiApi"]["capabilities"]["bulkUpdates"];
            if *told == expected { Ok(()) } else { Err(format!("{text}: {told}")) }
        })
        .await;
    }
    world.flag(Some(support::ON)).await;
    until("on again", || async {
        let meta = caller.get("/v2/lm/meta").await.ok(200);
        meta["aiApi"]["capabilities"]["bulkUpdates"]["executions"] == true
    })
    .await;
    world.flag(None).await;
    until("a missing flag is off", || async {
        let meta = caller.get("/v2/lm/meta").await.ok(200);
        meta["aiApi"]["capabilities"]["bulkUpdates"]["executions"] == false
    })
    .await;
    // It names no resource group.
    let token = format!("Bearer {}", caller.token);
    let meta = caller.raw("GET", "/v2/lm/meta", &[("Authorization", &token)], "").await.unwrap().ok(200);
    assert_eq!(meta["runtimeIdentifier"], "ai-api-operator");
    // Where the gateway may not read the flag, it does not guess.
    world.kubectl_ok(&["delete", "rolebinding", "ai-api-gateway"], "");
    until("no right to read the flag", || async { caller.get("/v2/lm/meta").await.status == 503 }).await;
    let (code, message) = caller.get("/v2/lm/meta").await.error(503);
    assert!(code == "ServiceUnavailable" && message.starts_with("the flag can't be read: 403"), "{message}");
}

#[tokio::test]
async fn with_the_flag_off_the_answer_says_which() {
    let (world, _gateway, caller) = gateway("gw-off").await;
    for kind in Kind::ALL {
        world.own(kind, "running-1", "RUNNING").await;
        world.own(kind, "running-2", "RUNNING").await;
    }
    let place = "bulkUpdates of ConfigMap gw-off/ai-api-meta";
    let stop = json!({"targetStatus": "STOPPED"});
    for (off, on) in [(Kind::Execution, Kind::Deployment), (Kind::Deployment, Kind::Execution)] {
        world.flag(Some(&json!({on.plural(): true}).to_string())).await;
        let says = format!("{} is not true in {place}", off.plural());
        let body = json!({off.plural(): [item("running-1", "STOPPED")]});
        for answer in [
            caller.patch(&all(off), &body).await,
            caller.patch(&format!("{}/running-1", all(off)), &stop).await,
            caller.delete(&format!("{}/running-1", all(off))).await,
        ] {
            assert_eq!(answer.error(400), ("BulkUpdatesDisabled".into(), says.clone()));
        }
        let name = if off == Kind::Execution { "running-1" } else { "running-2" };
        caller.patch(&all(on), &json!({on.plural(): [item(name, "STOPPED")]})).await.ok(202);
    }
    world.flag(Some("execution: true")).await;
    let body = json!({"executions": [item("running-1", "STOPPED")]});
    let (code, message) = caller.patch(&all(Kind::Execution), &body).await.error(400);
    assert!(code == "MetaInvalid" && message.starts_with(&format!("invalid {place}: ")), "{code} {message}");
    assert_eq!(state(&world, Kind::Execution, "running-1").await.as_deref(), Some("RUNNING"));
}

#[tokio::test]
async fn a_caller_without_rights_gets_403_and_nothing_changes() {
    let (world, gateway, _) = gateway("gw-rights").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    let nobody = gateway.caller_with(&world, "nobody", "").await;
    let reader = gateway.caller_with(&world, "reader", "get list watch").await;
    let path = all(Kind::Execution);
    let body = json!({"executions": [item("running-1", "STOPPED")]});
    for (caller, reads) in [(&nobody, false), (&reader, true)] {
        for answer in [
            caller.patch(&path, &body).await,
            caller.patch(&format!("{path}/running-1"), &json!({"targetStatus": "STOPPED"})).await,
            caller.delete(&format!("{path}/running-1")).await,
        ] {
            let (code, message) = answer.error(403);
            assert_eq!(code, "Forbidden");
            assert!(message.contains(&caller.user) && message.contains("cannot create"), "{message}");
        }
        for path in [path.clone(), format!("{path}/running-1"), format!("{path}/$count")] {
            let answer = caller.get(&path).await;
            if reads {
                assert_eq!(answer.status, 200, "{}", answer.text);
            } else {
                assert_eq!(answer.error(403).0, "Forbidden");
            }
        }
    }
    for token in ["nonsense", &format!("{}x", reader.token)] {
        let forged = Caller { token: token.into(), ..nobody.clone() };
        let answer = forged.patch(&path, &body).await;
        assert_eq!(answer.error(401).0, "Unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        forged.get(&path).await.error(401);
    }
    assert_eq!(bulk_updates(&world).await, 0);
    assert_eq!(state(&world, Kind::Execution, "running-1").await.as_deref(), Some("RUNNING"));
    assert!(world.writes().is_empty());
}

#[tokio::test]
async fn two_callers_at_once_never_see_each_others_namespace() {
    let (first, gateway, of_first) = gateway("gw-two-a").await;
    let second = World::running("gw-two-b").await;
    let of_second = gateway.caller(&second, "caller").await;
    let path = all(Kind::Execution);
    for (world, other) in [(&first, "gw-two-b"), (&second, "gw-two-a")] {
        for n in 0..20 {
            world.own(Kind::Execution, &format!("exec-{n}"), "RUNNING").await;
        }
        world.own(Kind::Execution, &format!("not-{other}"), "RUNNING").await;
    }
    let one = async |caller: &Caller, world: &World, other: &str, n: usize| {
        let target =
            if n.is_multiple_of(2) { format!("exec-{n}") } else { format!("not-{}", caller.namespace) };
        let list = caller.get(&path).await;
        assert!(!list.text.contains(&format!("not-{}", caller.namespace)), "{}", list.text);
        assert!(list.text.contains(&format!("not-{other}")), "{}", list.text);
        let answer = caller.patch(&path, &json!({"executions": [item(&target, "STOPPED")]})).await;
        let entry = &answer.ok(202)["executions"][0];
        assert_eq!(entry["error"]["code"] == "01010020", n % 2 == 1, "{entry}");
        assert_eq!(made(world, answer.id()).await.spec.items(Kind::Execution)[0].id, target);
        let elsewhere = Caller { namespace: other.into(), ..caller.clone() };
        elsewhere.get(&path).await.error(403);
        elsewhere.patch(&path, &json!({"executions": [item("exec-1", "STOPPED")]})).await.error(403);
    };
    let both = (0..20)
        .flat_map(|n| [one(&of_first, &first, "gw-two-b", n), one(&of_second, &second, "gw-two-a", n)]);
    futures::future::join_all(both).await;
    for world in [&first, &second] {
        assert_eq!(bulk_updates(world).await, 20);
        assert_eq!(state(world, Kind::Execution, "exec-0").await.as_deref(), Some("STOPPED"));
        assert_eq!(state(world, Kind::Execution, "exec-1").await.as_deref(), Some("RUNNING"));
    }
    // Who has asked for what: each caller for their own namespace, the gateway itself for the flag's alone.
    for (caller, own, other) in [(&of_first, "gw-two-a", "gw-two-b"), (&of_second, "gw-two-b", "gw-two-a")] {
        for request in first.plane.requests(&caller.user) {
            assert!(
                request.namespace == own || (request.namespace == other && request.code == 403),
                "{request:?}"
            );
        }
    }
    for request in first.plane.requests("system:serviceaccount:gw-two-a:ai-api-gateway") {
        assert!(request.resource == "configmaps" && request.verb == "get", "{request:?}");
    }
}

#[tokio::test]
async fn nothing_of_a_request_but_its_token_speaks_to_the_cluster() {
    let (world, _gateway, caller) = gateway("gw-headers").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    // Passed on, the first two would be refused for want of the right to impersonate.
    let headers = [
        ("Impersonate-User", "admin"),
        ("Impersonate-Group", "system:masters"),
        ("X-Remote-User", "admin"),
        ("X-Remote-Group", "system:masters"),
        ("User-Agent", "somebody-elses-agent"),
        ("Cookie", "a=b"),
        ("X-Request-Id", "mine"),
        ("Audit-ID", "mine-too"),
        ("Connection", "close"),
        ("Content-Type", "application/json"),
    ];
    let body = json!({"executions": [item("running-1", "STOPPED")]}).to_string();
    let path = all(Kind::Execution);
    let answer = caller.send("PATCH", &path, &headers, &body).await;
    answer.ok(202);
    assert_ne!(answer.id(), "mine");
    caller.send("GET", &path, &headers, "").await.ok(200);
    let log = std::fs::read_to_string(world.plane.audit_log()).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("\"gw-headers\"") && line.contains(&caller.user))
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["user"]["username"] == *caller.user)
        .collect();
    let verbs: HashSet<_> = lines.iter().map(|line| line["verb"].as_str().unwrap()).collect();
    assert!(verbs.contains("create") && verbs.contains("list"), "{verbs:?}");
    for line in lines {
        assert!(line["impersonatedUser"].is_null(), "{line:#}");
        assert!(line["userAgent"].as_str().unwrap().starts_with("ai-api-operator-gateway/"), "{line:#}");
        assert_ne!(line["auditID"], "mine-too");
    }
}

#[tokio::test]
async fn metrics_and_probes_say_what_goes_on() {
    let (_world, gateway, caller) = gateway("gw-metrics").await;
    caller.get("/v2/lm/executions/not-there").await.error(404);
    caller.get("/nowhere").await.error(404);
    for path in ["/livez", "/readyz"] {
        let answer = gateway.probe(path).await;
        assert_eq!((answer.status, &*answer.text), (200, "ok"));
    }
    let metrics = gateway.probe("/metrics").await.text;
    for line in [
        r#"aiapi_gateway_requests_total{method="GET",route="/v2/lm/executions/{id}",code="404"} 1"#,
        r#"aiapi_gateway_requests_total{method="GET",route="none",code="404"} 1"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert!(!metrics.contains("not-there") && !metrics.contains("nowhere"), "{metrics}");
}

#[tokio::test]
async fn the_manifests_are_taken_by_a_real_api_server() {
    let plane = ControlPlane::get();
    let (ok, message) = apply_manifests(plane, &format!("{PROJECT}/deploy/gateway"));
    assert!(ok, "{message}");
    let example = format!("{PROJECT}/deploy/gateway/ingress-example.yaml");
    let (ok, message) = plane.kubectl(&["apply", "--dry-run=server", "-f", &example], "");
    assert!(ok, "{message}");
    // All that the gateway may do itself.
    let rules: Vec<_> = plane
        .manifests("gateway")
        .into_iter()
        .filter(|m| m["kind"].as_str().unwrap().ends_with("Role"))
        .flat_map(|m| m["rules"].as_array().unwrap().clone())
        .collect();
    let expected = json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["ai-api-meta"],
        "verbs": ["get"]});
    assert_eq!(rules, [expected]);
}
