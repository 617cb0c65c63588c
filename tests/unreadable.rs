//! Objects that this version can't decode, put there behind its back by a CRD loosened for the purpose: one bad object
//! harms only itself. A program of its own, because it changes the CRDs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod support;

use ai_api_operator::api::Kind;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::json;
use support::{World, item, outcome, until};

#[tokio::test]
async fn the_others_are_served_and_the_bad_one_is_reported() {
    let mut world = World::new("unreadable").await;
    world.loosen("executions.aiapi.dev", &["spec", "status"]);
    world.loosen("bulkupdates.aiapi.dev", &["spec", "status"]);
    for (name, status) in [
        ("newer-state", json!({"state": "PAUSED"})),
        ("no-object", json!("STOPPED")),
        ("lower-case", json!({"state": "stopped"})),
        ("number", json!({"state": 7})),
    ] {
        world.own(Kind::Execution, name, "STOPPED").await;
        // The schema in force changes a moment after the CRD has.
        let patch = Patch::Merge(json!({"status": status}));
        until("the loosened schema", || async {
            world.targets(Kind::Execution).patch_status(name, &PatchParams::default(), &patch).await.is_ok()
        })
        .await;
    }
    world.own(Kind::Execution, "good-1", "STOPPED").await;
    let managed = json!({"managedBy": "example.com/other"});
    world.target(Kind::Execution, "managed-1", managed, json!({"state": "RUNNING"})).await;
    let bad: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "metadata": {"name": "bad"},
        "spec": {"executions": [{"id": "good-1", "targetStatus": "EXPLODED"}]}
    }))
    .unwrap();
    let bulk_updates = kube::Api::<DynamicObject>::namespaced_with(
        world.client.clone(),
        &world.namespace,
        &kube::core::ApiResource::erase::<ai_api_operator::api::BulkUpdate>(&()),
    );
    world.next_second().await;
    until("the loosened schema", || async {
        bulk_updates.create(&PostParams::default(), &bad).await.is_ok()
    })
    .await;
    world.operator.start(&[]);

    let ids = ["newer-state", "no-object", "lower-case", "number", "good-1"];
    let items: Vec<_> = ids.iter().map(|id| json!({"id": id, "targetStatus": "DELETED"})).collect();
    let status = world.carry_out("mixed", json!({"executions": items})).await;
    for id in &ids[..4] {
        assert_eq!(outcome(&status, Kind::Execution, id), "Refused Unreadable");
        assert!(world.find(Kind::Execution, id).await.is_some(), "{id}");
    }
    assert_eq!(outcome(&status, Kind::Execution, "good-1"), "Settled");
    let message = item(&status, Kind::Execution, "newer-state").message.clone().unwrap();
    assert!(message.starts_with("status: unknown variant `PAUSED`"), "{message}");
    let log = world.operator.log();
    for id in &ids[..4] {
        assert!(log.contains(&format!("target=Execution/unreadable/{id}")), "{id}: {log}");
    }

    until("the event about the bad BulkUpdate", || async {
        let events = world.kubectl_ok(
            &[
                "get",
                "events.events.k8s.io",
                "-o",
                r#"jsonpath={range .items[?(@.regarding.name=="bad")]}{.reason} {.note}{end}"#,
            ],
            "",
        );
        events.contains("Unreadable it can't be decoded, so nothing is done for it")
            && events.contains("EXPLODED")
    })
    .await;
    let bad = bulk_updates.get("bad").await.unwrap();
    assert!(bad.data["status"].get("startTime").is_none());

    // Mended, it is carried out.
    let make = async |target_status: &str| {
        let spec = json!({"executions": [{"id": "managed-1", "targetStatus": target_status}]});
        let patch = Patch::Merge(json!({"spec": spec}));
        bulk_updates.patch("bad", &PatchParams::default(), &patch).await.unwrap();
    };
    make("STOPPED").await;
    world.ready_reason("bad", "Settling").await;
    // Once more, and the same event counts up.
    make("EXPLODED").await;
    until("the event counts two", || async {
        let of_bad = r#"jsonpath={range .items[?(@.regarding.name=="bad")]}{.reason}={.series.count} {end}"#;
        world.kubectl_ok(&["get", "events.events.k8s.io", "-o", of_bad], "").contains("Unreadable=2")
    })
    .await;
    make("STOPPED").await;
    world.set_status(Kind::Execution, "managed-1", json!({"state": "STOPPED"})).await;
    let status = world.finished("bad").await;
    assert_eq!(outcome(&status, Kind::Execution, "managed-1"), "Settled");
}
