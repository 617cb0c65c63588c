//! Stopping and deleting, one and many.

use std::collections::HashSet;

use ai_api_operator::api::Kind;
use kube::ResourceExt;
use serde_json::json;
use support::{operator::LONG_LEASE, until};

use crate::{OTHER, all, bulk_updates, gateway, item, made, state};

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
            ("asked-1", "STOPPED", Some(("StopPending", "a stop was requested before"))),
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
                    let message = entry["error"]["message"].as_str().unwrap_or_default();
                    let expected = json!({"id": id, "error": {"code": code, "message": message,
                        "requestId": answer.id(), "target": all(kind), "details": {}}});
                    assert!(*entry == expected && message.contains(says), "{entry:#}");
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
        // The log and the BulkUpdate have the same id.
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
async fn with_the_flag_off_the_answer_says_which() {
    let (world, _gateway, caller) = gateway("gw-off").await;
    for kind in Kind::ALL {
        world.own(kind, "running-1", "RUNNING").await;
        world.own(kind, "running-2", "RUNNING").await;
    }
    let place = "ConfigMap gw-off/ai-api-meta";
    let stop = json!({"targetStatus": "STOPPED"});
    for (off, on) in [(Kind::Execution, Kind::Deployment), (Kind::Deployment, Kind::Execution)] {
        world.flag(Some(&json!({on.plural(): true}).to_string())).await;
        let says = format!("bulk updates of {} are disabled in {place}", off.plural());
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
    assert!(
        code == "MetaInvalid" && message.starts_with(&format!("invalid bulkUpdates of {place}: ")),
        "{code} {message}"
    );
    assert_eq!(state(&world, Kind::Execution, "running-1").await.as_deref(), Some("RUNNING"));
}

#[tokio::test]
async fn an_unplanned_request_is_withdrawn_although_the_caller_has_disconnected() {
    let (mut world, _gateway, caller) = gateway("gw-hung-up").await;
    assert!(world.operator.stop().success());
    world.operator.start(&LONG_LEASE);
    world.operator.until_ready().await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    world.operator.signal("STOP");
    let patch = tokio::spawn({
        let caller = caller.clone();
        async move {
            caller.patch(&all(Kind::Execution), &json!({"executions": [item("running-1", "STOPPED")]})).await
        }
    });
    until("a BulkUpdate", || async { bulk_updates(&world).await == 1 }).await;
    // With the task its connection is closed.
    patch.abort();
    assert!(patch.await.unwrap_err().is_cancelled());
    until("it is taken back", || async { bulk_updates(&world).await == 0 }).await;
    world.operator.signal("CONT");
    // A later request is carried out, and this one was not.
    world.own(Kind::Execution, "running-2", "RUNNING").await;
    let body = json!({"executions": [item("running-2", "STOPPED")]});
    caller.patch(&all(Kind::Execution), &body).await.ok(202);
    assert_eq!(state(&world, Kind::Execution, "running-1").await.as_deref(), Some("RUNNING"));
}
