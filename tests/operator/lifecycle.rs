//! The life of a BulkUpdate beyond the main job: order, deadlines, TTL, deletion, restarts.

use std::collections::{HashMap, HashSet};

use ai_api_operator::api::{ItemResult, Kind};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use support::{World, audit::Request, conditions, count, outcome, until};

const OTHER: &str = "pipelines.example.com/runner";

async fn running(world: &World, count: usize) -> Value {
    let mut items = Vec::new();
    for n in 0..count {
        let id = format!("running-{n}");
        world.own(Kind::Execution, &id, "RUNNING").await;
        items.push(json!({"id": id, "targetStatus": "STOPPED"}));
    }
    items.into()
}

fn each_was_written_once(world: &World) {
    let mut times = HashMap::new();
    for write in world.writes() {
        *times.entry((write.resource, write.name)).or_insert(0) += 1;
    }
    assert!(times.values().all(|n| *n == 1), "{times:?}");
}

#[tokio::test]
async fn not_after_rejects_what_is_made_too_late() {
    let world = World::running("not-after").await;
    let items = running(&world, 1).await;
    let now = Timestamp::now();
    let past = now - SignedDuration::from_secs(60);
    let status = world.carry_out("late", json!({"executions": items, "notAfter": past.to_string()})).await;
    let expected = ["Accepted False", "Ready False", "Stalled True"].map(|c| format!("{c} DeadlineExceeded"));
    assert_eq!(conditions(&status), expected);
    assert!(world.writes().is_empty());
    let ahead = now + SignedDuration::from_secs(3600);
    let status =
        world.carry_out("in-time", json!({"executions": items, "notAfter": ahead.to_string()})).await;
    assert_eq!(count(&status, ItemResult::Settled), 1);
}

#[tokio::test]
async fn a_missed_starting_deadline_rejects() {
    let mut world = World::new("starting-deadline").await;
    let items = running(&world, 1).await;
    let bulk = world.submit("late", json!({"executions": items, "startingDeadlineSeconds": 1})).await;
    let created = bulk.metadata.creation_timestamp.unwrap().0;
    until("the deadline", || async { Timestamp::now().as_second() > created.as_second() + 2 }).await;
    world.operator.start(&[]);
    let status = world.finished("late").await;
    assert_eq!(status.condition("Accepted").unwrap().reason, "DeadlineExceeded");
    assert!(world.writes().is_empty());
}

#[tokio::test]
async fn what_has_not_settled_in_time_fails_and_says_that_it_was_accepted() {
    let world = World::running("active-deadline").await;
    world.target(Kind::Execution, "slow", json!({"managedBy": OTHER}), json!({"state": "RUNNING"})).await;
    let spec = json!({"executions": [{"id": "slow", "targetStatus": "STOPPED"}], "activeDeadlineSeconds": 3});
    let status = world.carry_out("impatient", spec).await;
    assert_eq!(outcome(&status, Kind::Execution, "slow"), "Failed NotSettledInTime");
    let accepted = "STOPPED was accepted and may still take effect";
    assert_eq!(support::item(&status, Kind::Execution, "slow").message.as_deref(), Some(accepted));
    assert_eq!(
        conditions(&status),
        ["Accepted True Planned", "Ready False ItemsFailed", "Stalled True ItemsFailed"]
    );
}

#[tokio::test]
async fn a_delete_settles_when_the_finalizers_are_gone() {
    let world = World::running("finalizers").await;
    world.own(Kind::Execution, "kept", "STOPPED").await;
    let finalizers = |list: Value| Patch::Merge(json!({"metadata": {"finalizers": list}}));
    let targets = world.targets(Kind::Execution);
    targets.patch("kept", &PatchParams::default(), &finalizers(json!(["example.com/keep"]))).await.unwrap();
    world.submit("patient", json!({"executions": [{"id": "kept", "targetStatus": "DELETED"}]})).await;
    let status = world.ready_reason("patient", "Settling").await;
    assert_eq!(outcome(&status, Kind::Execution, "kept"), "Scheduled");
    targets.patch("kept", &PatchParams::default(), &finalizers(json!(null))).await.unwrap();
    let status = world.finished("patient").await;
    assert_eq!(outcome(&status, Kind::Execution, "kept"), "Settled");
    each_was_written_once(&world);
}

#[tokio::test]
async fn field_managers_keep_their_labels_after_a_status_write() {
    let world = World::running("owners").await;
    let items = running(&world, 1).await;
    let apply = |metadata: Value| {
        let manifest = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "metadata": metadata,
            "spec": {"executions": items}});
        world
            .kubectl_ok(&["apply", "--server-side", "--field-manager=git", "-f", "-"], &manifest.to_string());
    };
    let (labels, annotations) = (json!({"team": "a"}), json!({"example.com/from": "git"}));
    apply(json!({"name": "owned", "labels": labels, "annotations": annotations}));
    world.finished("owned").await;
    let metadata = world.bulk_updates().get("owned").await.unwrap().metadata;
    assert_eq!((metadata.labels.unwrap().len(), metadata.annotations.unwrap().len()), (1, 1));
    // Removing a label from Git removes it from the object.
    apply(json!({"name": "owned"}));
    let metadata = world.bulk_updates().get("owned").await.unwrap().metadata;
    assert_eq!((metadata.labels, metadata.annotations), (None, None));
}

#[tokio::test]
async fn the_ttl_may_be_set_after_the_end_and_deletes_only_the_bulk_update() {
    let world = World::running("ttl").await;
    let items = running(&world, 1).await;
    let before = world.carry_out("kept", json!({"executions": items, "activeDeadlineSeconds": 60})).await;
    let ttl = |seconds: i32| Patch::Merge(json!({"spec": {"ttlSecondsAfterFinished": seconds}}));
    let patch = async |seconds| {
        world.bulk_updates().patch("kept", &PatchParams::default(), &ttl(seconds)).await.unwrap()
    };
    let edited = patch(3600).await;
    let generation = edited.metadata.generation.unwrap();
    let seen = world
        .bulk_until("kept", "the new generation", |b| {
            b.status.as_ref().is_some_and(|s| s.observed_generation == generation)
        })
        .await;
    // Nothing else has changed.
    let after = seen.status.unwrap();
    assert!(after.conditions.iter().all(|c| c.observed_generation == Some(generation)));
    assert_eq!((after.completion_time, after.executions), (before.completion_time, before.executions));
    patch(0).await;
    until("the TTL", || async { world.bulk_updates().get_opt("kept").await.unwrap().is_none() }).await;
    assert!(world.find(Kind::Execution, "running-0").await.is_some());
    let delete =
        world.requests().into_iter().find(|r| r.resource == "bulkupdates" && r.verb == "delete").unwrap();
    assert!(delete.guard().is_some() && delete.body.pointer("/preconditions/uid").is_some(), "{delete:?}");
}

#[tokio::test]
async fn deleting_a_bulk_update_stops_it() {
    let mut world = World::new("deleted").await;
    let items = running(&world, 100).await;
    world.operator.start(&["--max-in-flight", "1"]);
    world.submit("regretted", json!({"executions": items})).await;
    until("some writes", || async { world.writes().len() >= 5 }).await;
    world.bulk_updates().delete("regretted", &DeleteParams::default()).await.unwrap();
    // Others that are carried out take turns with it, so it would continue for a while if it did not stop.
    let mut others = Vec::new();
    for n in 0..100 {
        let id = format!("another-{n}");
        world.own(Kind::Execution, &id, "RUNNING").await;
        others.push(json!({"id": id, "targetStatus": "STOPPED"}));
    }
    world.carry_out("another", json!({"executions": others})).await;
    let deleted =
        world.requests_of_all().into_iter().rfind(|r| r.resource == "bulkupdates" && r.verb == "delete");
    let regretted =
        |w: &Request| w.body.pointer("/status/stopRequest/bulkUpdate") == Some(&json!("regretted"));
    let writes: Vec<_> = world.writes().into_iter().filter(regretted).collect();
    let late = writes.iter().filter(|w| w.received > deleted.as_ref().unwrap().answered).count();
    println!("{} writes, {late} after the answer to the delete", writes.len());
    assert!(late <= 6, "{late}");
    each_was_written_once(&world);
}

#[tokio::test]
async fn one_that_lingers_while_it_is_deleted_keeps_its_record() {
    let mut world = World::new("lingering").await;
    let items = running(&world, 100).await;
    world.operator.start(&["--max-in-flight", "1"]);
    world.submit("regretted", json!({"executions": items})).await;
    let keep = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/keep"]}}));
    world.bulk_updates().patch("regretted", &PatchParams::default(), &keep).await.unwrap();
    until("some writes", || async { world.writes().len() >= 5 }).await;
    world.bulk_updates().delete("regretted", &DeleteParams::default()).await.unwrap();
    let bulk = world
        .bulk_until("regretted", "the record", |b| {
            let status = b.status.clone().unwrap_or_default();
            b.metadata.deletion_timestamp.is_some() && count(&status, ItemResult::Settled) > 0
        })
        .await;
    world.operator.stop();
    let status = bulk.status.unwrap();
    assert_eq!(count(&status, ItemResult::Settled), world.writes().len());
    assert!(count(&status, ItemResult::Planned) > 0 && status.completion_time.is_none());
    // Started again, the operator leaves it alone.
    world.operator.start(&[]);
    world.own(Kind::Execution, "another", "RUNNING").await;
    world.carry_out("another", json!({"executions": [{"id": "another", "targetStatus": "STOPPED"}]})).await;
    assert_eq!(world.bulk_updates().get("regretted").await.unwrap().status.unwrap(), status);
}

#[tokio::test]
async fn killed_in_the_middle_it_resumes() {
    let mut world = World::new("killed").await;
    let items = running(&world, 100).await;
    world.operator.start(&["--max-in-flight", "1"]);
    world.submit("resumed", json!({"executions": items})).await;
    until("some writes", || async { world.writes().len() >= 10 }).await;
    world.operator.kill();
    let before = world.writes().len();
    assert!(0 < before && before < 100, "it was not in the middle of the work: {before}");
    println!("killed after {before} of 100 writes");
    world.operator.start(&[]);
    let status = world.finished("resumed").await;
    assert_eq!(count(&status, ItemResult::Settled), 100);
    each_was_written_once(&world);
    // The API server may carry out requests of a client that has disconnected; it then logs a 504.
    let cut_off = world.requests().into_iter().filter(|r| r.is_target_write() && r.code == 504);
    let landed: HashSet<_> = world.writes().into_iter().chain(cut_off).map(|w| w.name).collect();
    assert_eq!(landed.len(), 100);
}

#[tokio::test]
async fn on_sigterm_it_records_what_it_has_done_and_exits_cleanly() {
    let mut world = World::new("drained").await;
    let items = running(&world, 100).await;
    world.operator.start(&["--max-in-flight", "1", "--log-format", "json"]);
    world.submit("drained", json!({"executions": items})).await;
    until("some writes", || async { world.writes().len() >= 5 }).await;
    assert!(world.operator.stop().success(), "{}", world.operator.log());
    let status = world.bulk_updates().get("drained").await.unwrap().status.unwrap();
    assert_eq!(count(&status, ItemResult::Settled), world.writes().len());
    assert!(status.completion_time.is_none(), "it was not in the middle of the work");
    let lines = world.operator.log();
    assert!(
        lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|l| l["level"].is_string()))
    );
    world.operator.start(&[]);
    assert_eq!(count(&world.finished("drained").await, ItemResult::Settled), 100);
    each_was_written_once(&world);
}

#[tokio::test]
async fn a_small_one_is_not_held_up_behind_large_ones() {
    let mut world = World::new("fair").await;
    for large in 0..5 {
        let mut items = Vec::new();
        for n in 0..100 {
            let id = format!("running-{large}-{n}");
            world.own(Kind::Execution, &id, "RUNNING").await;
            items.push(json!({"id": id, "targetStatus": "STOPPED"}));
        }
        world.submit(&format!("large-{large}"), json!({"executions": items})).await;
    }
    world.own(Kind::Execution, "small", "RUNNING").await;
    world.operator.start(&["--max-in-flight", "2"]);
    until("some writes", || async { world.writes().len() >= 20 }).await;
    world.submit("small", json!({"executions": [{"id": "small", "targetStatus": "STOPPED"}]})).await;
    world.finished("small").await;
    let all = world.writes();
    let before = all.iter().position(|w| w.name == "small").unwrap();
    println!("{before} of 500 writes of the large ones came before");
    assert!(before < 250, "{before}");
    for large in 0..5 {
        assert_eq!(count(&world.finished(&format!("large-{large}")).await, ItemResult::Settled), 100);
    }
}

/// Counted in turns, by the API server's audit log: independent of time.
#[tokio::test]
async fn a_tenant_with_one_has_as_many_turns_as_a_tenant_with_many() {
    const CROWD: usize = 60;
    const LONE: usize = 20;
    let mut crowd = World::new("crowd").await;
    let lone = World::new("lone").await;
    for n in 0..CROWD {
        let mut items = Vec::new();
        for m in 0..10 {
            let id = format!("running-{n}-{m}");
            crowd.own(Kind::Execution, &id, "RUNNING").await;
            items.push(json!({"id": id, "targetStatus": "STOPPED"}));
        }
        crowd.submit(&format!("one-of-many-{n}"), json!({"executions": items})).await;
    }
    let items = running(&lone, LONE).await;
    crowd.operator.start(&["--watch-namespace", "lone", "--max-in-flight", "1"]);
    until("some writes", || async { crowd.writes().len() >= CROWD / 2 }).await;
    lone.submit("lone", json!({"executions": items})).await;
    assert_eq!(count(&lone.finished("lone").await, ItemResult::Settled), LONE);
    let writes = crowd.writes();
    let of_lone = |w: &Request| w.namespace == "lone";
    let first = writes.iter().position(of_lone).unwrap();
    let last = writes.iter().rposition(of_lone).unwrap();
    let between = (last + 1 - first) - LONE;
    println!("{between} writes of the crowd during {LONE} others; {first} came before");
    assert!(writes.len() < CROWD * 10 + LONE, "the crowd had finished");
    assert!(between <= 2 * LONE, "{between} writes of the crowd during {LONE} others");
}

#[tokio::test]
async fn only_the_configured_namespaces_are_watched() {
    let mut first = World::new("watched-1").await;
    let second = World::new("watched-2").await;
    let third = World::new("watched-3").await;
    for world in [&first, &second, &third] {
        running(world, 1).await;
    }
    let items = json!([{"id": "running-0", "targetStatus": "STOPPED"}]);
    // Naming it twice is the same as once.
    first.operator.start(&["--watch-namespace", "watched-2", "--watch-namespace", "watched-1,watched-2"]);
    third.submit("unheard", json!({"executions": items})).await;
    for world in [&first, &second] {
        let status = world.carry_out("heard", json!({"executions": items})).await;
        assert_eq!(count(&status, ItemResult::Settled), 1);
    }
    let status = third.bulk_updates().get("unheard").await.unwrap().status.unwrap();
    assert_eq!(status.observed_generation, -1);
}
