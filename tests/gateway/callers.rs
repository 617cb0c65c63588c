//! Callers' permissions, and which parts of a request reach the cluster.

use std::collections::HashSet;

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::{World, gateway::Caller, until};

use crate::{all, bulk_updates, gateway, item, made, state};

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
    // The right to create BulkUpdates includes no other.
    let creator = gateway.caller_with(&world, "creator", "create get watch").await;
    world.kubectl_ok(
        &["patch", "role", "creator", "--type=json", "-p", r#"[{"op": "remove", "path": "/rules/1"}]"#],
        "",
    );
    let can = ["auth", "can-i", "stop", "executions.aiapi.dev", "--as", &creator.user];
    until("the right is revoked", || async { !world.kubectl(&can, "").0 }).await;
    let (code, message) = creator.patch(&path, &body).await.error(403);
    assert_eq!(code, "Forbidden");
    let why = format!("{} may not stop executions.aiapi.dev in namespace gw-rights", creator.user);
    assert!(message.contains(&why), "{message}");
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
    // Each caller's requests are about their own namespace, the gateway's own about the flag's.
    for (caller, own, other) in [(&of_first, "gw-two-a", "gw-two-b"), (&of_second, "gw-two-b", "gw-two-a")] {
        for request in first.plane.requests(&caller.user) {
            assert!(
                request.namespace == own || (request.namespace == other && request.code == 403),
                "{request:?}"
            );
        }
    }
    for request in first.plane.requests("system:serviceaccount:gw-two-a:ai-api-gateway") {
        // At its start it reads the version, to check its credentials.
        assert!(
            request.verb == "get" && matches!(&*request.resource, "configmaps" | "leases" | ""),
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn only_the_token_of_a_request_reaches_the_cluster() {
    let (world, gateway, caller) = gateway("gw-headers").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    // Passed on, the first two would be refused: the caller has no right to impersonate.
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
    let listed = caller.send("GET", &path, &headers, "").await;
    listed.ok(200);
    // Requests of others are logged as they were sent, which need not be UTF-8.
    let log = std::fs::read(world.plane.audit_log()).unwrap();
    let lines: Vec<Value> = String::from_utf8_lossy(&log)
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
        // By the id of the answer all that was asked for is found.
        let id = line["auditID"].as_str().unwrap();
        assert!([answer.id(), listed.id()].contains(&id), "{line:#}");
        assert_eq!(line["verb"] == "list", id == listed.id(), "{line:#}");
    }
    // And who asked, and for what, in the log.
    let log = gateway.log();
    let of_list = log.lines().find(|line| line.contains("answered") && line.contains(listed.id())).unwrap();
    for part in ["namespace=\"gw-headers\"", "peer=\"127.0.0.1\"", "method=GET", "status=200"] {
        assert!(of_list.contains(part), "{of_list}");
    }
}
