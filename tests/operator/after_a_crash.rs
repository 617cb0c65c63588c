//! Planned items when objects have changed while the operator was down: each row of the table of planned items,
//! arranged by hand between a SIGKILL and a restart.

use ai_api_operator::api::{BulkUpdateStatus, ItemResult, Kind};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use support::{World, conditions, count, item, outcome, until};

const KIND: Kind = Kind::Execution;

/// Stops that are written first, one at a time, so that the operator is killed before it reaches the others.
const FIRST: usize = 60;

/// Lets the operator plan `FIRST` stops and then `items`, and kills it before it reaches those.
async fn plan_and_kill(world: &mut World, more: Value) {
    let mut items = Vec::new();
    for n in 0..FIRST {
        let id = format!("first-{n}");
        world.own(KIND, &id, "RUNNING").await;
        items.push(json!({"id": id, "targetStatus": "STOPPED"}));
    }
    items.extend(more.as_array().unwrap().clone());
    // The objects must not be younger than the request by the API server's clock of whole seconds, and some of the
    // cases ask for older ones.
    next_second().await;
    world.operator.start(&["--max-in-flight", "1"]);
    world.submit("planned", json!({"executions": items})).await;
    until("some writes", || async { world.writes().len() >= 3 }).await;
    world.operator.kill();
    assert!(world.writes().len() < FIRST, "it was not in the middle of the work");
    let status = recorded(world).await;
    for entry in &status.items(KIND)[FIRST..] {
        assert_eq!(entry.result, ItemResult::Planned, "{entry:?}");
    }
    assert_eq!(
        conditions(&status),
        ["Accepted True Planned", "Ready False Applying", "Reconciling True Applying"]
    );
    next_second().await;
}

async fn next_second() {
    let now = Timestamp::now().as_second();
    until("the next second", || async { Timestamp::now().as_second() > now }).await;
}

async fn recorded(world: &World) -> BulkUpdateStatus {
    world.bulk_updates().get("planned").await.unwrap().status.unwrap()
}

fn stop(id: &str) -> Value {
    json!({"id": id, "targetStatus": "STOPPED"})
}

fn delete(id: &str) -> Value {
    json!({"id": id, "targetStatus": "DELETED"})
}

async fn remove(world: &World, name: &str) {
    world.targets(KIND).delete(name, &DeleteParams::default()).await.unwrap();
}

/// Deletes a target that a finalizer keeps.
async fn begin_to_delete(world: &World, name: &str) {
    let keep = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/keep"]}}));
    world.targets(KIND).patch(name, &PatchParams::default(), &keep).await.unwrap();
    remove(world, name).await;
}

#[tokio::test]
async fn each_planned_item_becomes_what_its_object_says() {
    let mut world = World::new("moved-on").await;
    for name in [
        "stop-gone",
        "stop-replaced",
        "stop-terminating",
        "stop-wrong-state",
        "stop-pending",
        "stop-corrected",
    ] {
        world.own(KIND, name, "RUNNING").await;
    }
    for name in
        ["delete-gone", "delete-replaced", "delete-terminating", "delete-wrong-state", "delete-corrected"]
    {
        world.own(KIND, name, "STOPPED").await;
    }
    let items = json!([
        stop("stop-gone"),
        stop("stop-replaced"),
        stop("stop-terminating"),
        stop("stop-wrong-state"),
        stop("stop-pending"),
        stop("stop-corrected"),
        delete("delete-gone"),
        delete("delete-replaced"),
        delete("delete-terminating"),
        delete("delete-wrong-state"),
        delete("delete-corrected"),
    ]);
    plan_and_kill(&mut world, items).await;

    for name in ["stop-gone", "stop-replaced", "delete-gone", "delete-replaced"] {
        remove(&world, name).await;
    }
    world.own(KIND, "stop-replaced", "RUNNING").await;
    world.own(KIND, "delete-replaced", "STOPPED").await;
    begin_to_delete(&world, "stop-terminating").await;
    begin_to_delete(&world, "delete-terminating").await;
    world.set_status(KIND, "stop-wrong-state", json!({"state": "COMPLETED"})).await;
    world.set_status(KIND, "delete-wrong-state", json!({"state": "RUNNING"})).await;
    world.set_status(KIND, "stop-pending", json!({"targetStatus": "STOPPED"})).await;
    // A plan from a stale cache names an older object: this cannot be timed from outside, so the record is edited.
    let mut status = recorded(&world).await;
    let lists = status.executions.as_mut().unwrap();
    for entry in lists.iter_mut().filter(|e| e.id.ends_with("corrected")) {
        entry.uid = Some("00000000-0000-0000-0000-000000000000".into());
    }
    let patch = Patch::Merge(json!({"status": {"executions": lists}}));
    world.bulk_updates().patch_status("planned", &PatchParams::default(), &patch).await.unwrap();
    let before = world.requests().len();

    world.operator.start(&[]);
    world.ready_reason("planned", "Settling").await;
    let finalizers = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.targets(KIND).patch("delete-terminating", &PatchParams::default(), &finalizers).await.unwrap();
    let status = world.finished("planned").await;
    for (id, expected) in [
        ("stop-gone", "Failed Gone"),
        ("stop-replaced", "Failed Replaced"),
        ("stop-terminating", "Failed Terminating"),
        ("stop-wrong-state", "Failed WrongState"),
        ("stop-pending", "Failed StopPending"),
        ("stop-corrected", "Settled"),
        ("delete-gone", "Settled Gone"),
        ("delete-replaced", "Settled Gone"),
        ("delete-terminating", "Settled"),
        ("delete-wrong-state", "Failed WrongState"),
        ("delete-corrected", "Settled"),
    ] {
        assert_eq!(outcome(&status, KIND, id), expected, "{id}");
    }
    assert_eq!(count(&status, ItemResult::Settled), FIRST + 5);
    assert_eq!(status.condition("Ready").unwrap().reason, "ItemsFailed");
    for untouched in ["stop-replaced", "delete-replaced", "delete-wrong-state"] {
        let object = world.find(KIND, untouched).await.unwrap();
        assert_eq!(object.data["status"]["stopRequest"], Value::Null, "{untouched}");
    }

    // Every item found Planned was read once, and the two corrections were recorded together before their writes.
    let after: Vec<_> = world.requests().split_off(before);
    let reads = after.iter().filter(|r| r.is_target() && r.verb == "get").count();
    let planned = FIRST + 11;
    assert!(reads <= planned + 2, "{reads} reads");
    let corrected =
        |r: &&support::audit::Request| r.is_target_write() && r.name.ends_with("corrected") && r.succeeded();
    let first = after.iter().find(corrected).unwrap();
    let records = after.iter().filter(|r| r.is_record());
    let record = records.take_while(|r| r.answered < first.received).last().unwrap();
    let entry = record.body["status"]["executions"].as_array().unwrap();
    let entry = entry.iter().find(|e| e["id"] == first.name.as_str()).unwrap();
    assert_ne!(entry["uid"], "00000000-0000-0000-0000-000000000000");
}

#[tokio::test]
async fn with_the_flag_off_it_says_what_it_does_not_know() {
    let mut world = World::new("unknown").await;
    plan_and_kill(&mut world, json!([])).await;
    world.flag(Some("{}")).await;
    let done = stopped(&world).await;
    let before = world.writes().len();
    world.operator.start(&[]);
    let status = world.finished("planned").await;
    // What had been done is visible on the objects; the rest might still be done by a request of the killed process.
    assert_eq!(count(&status, ItemResult::Settled), done);
    for entry in status.items(KIND).iter().filter(|e| e.result != ItemResult::Settled) {
        assert_eq!(outcome(&status, KIND, &entry.id), "Failed OutcomeUnknown");
    }
    let unknown = "a write may have been sent and got no answer; check the object";
    let failed = status.items(KIND).iter().find(|e| e.result == ItemResult::Failed).unwrap();
    assert_eq!(failed.message.as_deref(), Some(unknown));
    assert_eq!(world.writes().len(), before);
}

/// How many of the first targets are STOPPED by now.
async fn stopped(world: &World) -> usize {
    let all = world.targets(KIND).list(&kube::api::ListParams::default()).await.unwrap();
    all.iter().filter(|o| o.data["status"]["state"] == "STOPPED").count()
}

#[tokio::test]
async fn items_missing_from_the_status_or_the_spec_are_not_carried_out() {
    let mut world = World::new("tampered").await;
    world.own(KIND, "removed", "RUNNING").await;
    world.own(KIND, "swapped", "STOPPED").await;
    world.own(KIND, "smuggled-in", "STOPPED").await;
    plan_and_kill(&mut world, json!([stop("removed"), delete("swapped")])).await;
    let mut status = recorded(&world).await;
    let list = status.executions.as_mut().unwrap();
    let mut smuggled = list.last().unwrap().clone();
    smuggled.id = "smuggled-in".into();
    smuggled.uid = world.find(KIND, "smuggled-in").await.unwrap().metadata.uid.map(Into::into);
    list.retain(|e| *e.id != *"removed");
    list.iter_mut().find(|e| *e.id == *"swapped").unwrap().target_status =
        ai_api_operator::api::TargetStatus::Stopped;
    list.push(smuggled);
    let patch = Patch::Merge(json!({"status": {"executions": list}}));
    world.bulk_updates().patch_status("planned", &PatchParams::default(), &patch).await.unwrap();

    world.operator.start(&[]);
    let status = world.finished("planned").await;
    for id in ["removed", "swapped"] {
        assert_eq!(outcome(&status, KIND, id), "Failed OutcomeUnknown");
        let message = item(&status, KIND, id).message.clone().unwrap();
        assert_eq!(&*message, "the status has no record of this item; check the object");
    }
    for (id, state) in [("removed", "RUNNING"), ("swapped", "STOPPED"), ("smuggled-in", "STOPPED")] {
        assert_eq!(world.find(KIND, id).await.unwrap().data["status"]["state"], state);
    }
    assert!(status.items(KIND).iter().all(|e| *e.id != *"smuggled-in"));
}

#[tokio::test]
async fn a_dry_run_deletes_nothing_whatever_its_status_says() {
    let mut world = World::new("dry-run-widened").await;
    let uid = world.own(KIND, "stopped-1", "STOPPED").await;
    world.submit("dry-run", json!({"dryRun": true, "executions": [delete("stopped-1")]})).await;
    let entry = json!({"id": "stopped-1", "targetStatus": "DELETED", "result": "Planned", "uid": uid});
    let patch = Patch::Merge(json!({"status": {"startTime": Timestamp::now(), "executions": [entry]}}));
    world.bulk_updates().patch_status("dry-run", &PatchParams::default(), &patch).await.unwrap();
    world.operator.start(&[]);
    let status = world.finished("dry-run").await;
    assert_eq!(outcome(&status, KIND, "stopped-1"), "Failed OutcomeUnknown");
    assert!(world.find(KIND, "stopped-1").await.is_some());
    assert_eq!(world.writes().len(), 0);
}
