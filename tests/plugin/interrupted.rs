//! Ctrl-C at any moment, and how to go on.

use std::{collections::BTreeMap, time::Duration};

use ai_api_operator::api::Kind;
use kube::api::ListParams;
use serde_json::json;
use support::{World, audit::Request, signal, until};

use crate::plugin::{Plugin, create, end, run_of, sent};

pub const RUNS: usize = 450;

pub async fn with_executions(name: &str, count: usize) -> World {
    let world = World::running(name).await;
    create(&world, count);
    world
}

/// How many successful writes each target had.
pub fn writes(world: &World) -> BTreeMap<String, usize> {
    let mut writes = BTreeMap::new();
    for write in world.writes().into_iter().filter(Request::succeeded) {
        *writes.entry(write.name).or_default() += 1;
    }
    writes
}

#[tokio::test]
async fn whenever_it_is_interrupted_the_rest_is_sent_once_by_resume_or_by_the_same_command() {
    for (round, wait) in [0, 30, 60, 90, 120, 160, 200, 260, 330, 420].into_iter().enumerate() {
        let world = with_executions(&format!("plugin-interrupted-{round}"), RUNS).await;
        let plugin = Plugin::of_editor(&world).await;
        let child = plugin.start("delete execution --all --yes");
        // Before anything is sent, or in the middle, or after the end: that is the question.
        let begun = std::time::Instant::now();
        until("it is time", || async { begun.elapsed() >= Duration::from_millis(wait) }).await;
        signal(child.id(), "INT");
        let stopped = end(child).await;
        let before = sent(&world).await.len();
        if stopped.err.contains("nothing more is sent") && round % 2 == 0 {
            assert_eq!(stopped.code, 4, "{stopped:?}");
            let run = run_of(&stopped.err);
            assert!(stopped.err.contains(&format!("kubectl aiapi resume {run}")), "{stopped:?}");
            let resumed = plugin.run(&format!("resume {run}"));
            assert_eq!(resumed.code, 0, "round {round}, {before} sent: {stopped:?} {resumed:?}");
            assert_eq!(sent(&world).await.len(), 5);
        } else {
            // Killed before it could answer, or over, or begun again.
            let again = plugin.run("delete execution --all --yes");
            assert!(again.code == 0 || again.code == 1, "{again:?}");
        }
        until("all are gone", || async {
            world.targets(Kind::Execution).list(&ListParams::default()).await.unwrap().items.is_empty()
        })
        .await;
        let writes = writes(&world);
        assert_eq!((writes.len(), writes.values().max()), (RUNS, Some(&1)), "round {round}");
    }
}

#[tokio::test]
async fn what_is_called_off_is_not_written_any_more() {
    let mut world = with_executions("plugin-cancels", RUNS).await;
    let plugin = Plugin::of_editor(&world).await;
    world.operator.signal("STOP");
    let child = plugin.start("delete execution --all --yes");
    until("all are sent", || async { sent(&world).await.len() == 5 }).await;
    let run = sent(&world).await[0].metadata.labels.as_ref().unwrap()["aiapi.dev/run"].clone();
    assert_eq!(plugin.run(&format!("cancel {run}")).code, 2, "nobody can answer");
    let cancelled = plugin.ok(&format!("cancel {run} --yes"));
    assert_eq!(cancelled.out.matches("called off").count(), 5, "{cancelled:?}");
    assert!(cancelled.out.contains("none of 100 written"), "{cancelled:?}");
    // The one that follows it ends.
    let followed = end(child).await;
    assert_eq!(followed.code, 4, "{followed:?}");
    assert!(followed.err.contains("Called off: 5 BulkUpdates deleted"), "{followed:?}");
    world.operator.signal("CONT");
    // One that is created later is carried out, so the operator has seen everything before.
    world.next_second().await;
    world.carry_out("later", json!({"executions": [{"id": "run-0000", "targetStatus": "DELETED"}]})).await;
    assert_eq!(writes(&world).len(), 1);
    let resumed = plugin.run(&format!("resume {run}"));
    assert_eq!(resumed.code, 1, "what was called off is not sent again: {resumed:?}");
    world.operator.stop();
}

#[tokio::test]
async fn what_is_called_off_in_the_middle_ends_with_what_is_in_flight() {
    let world = with_executions("plugin-cancels-in-the-middle", 1300).await;
    let plugin = Plugin::of_editor(&world).await;
    let child = plugin.start("delete execution --all --yes");
    until("it has begun", || async { sent(&world).await.len() >= 3 }).await;
    let run = sent(&world).await[0].metadata.labels.as_ref().unwrap()["aiapi.dev/run"].clone();
    let cancelled = plugin.ok(&format!("cancel {run} --yes"));
    let followed = end(child).await;
    assert_eq!(followed.code, 4, "{followed:?} {cancelled:?}");
    let kept = sent(&world).await;
    assert!(kept.len() < 13, "all was sent before: {cancelled:?}");
    assert!(kept.iter().all(|bulk| bulk.status.as_ref().unwrap().completion_time.is_some()), "{cancelled:?}");
    // Those in flight have landed when something that was asked for later is done.
    world.own(Kind::Execution, "later-1", "DEAD").await;
    world.next_second().await;
    world.carry_out("later", json!({"executions": [{"id": "later-1", "targetStatus": "DELETED"}]})).await;
    let written = writes(&world).len();
    let resumed = plugin.run(&format!("resume {run}"));
    assert!(resumed.code == 0 || resumed.code == 1, "{resumed:?}");
    assert!(written < 1301 && writes(&world).len() == written, "{written}");
}

#[tokio::test]
async fn a_run_that_somebody_else_has_called_off_is_not_resumed() {
    let mut world = with_executions("plugin-called-off", RUNS).await;
    let plugin = Plugin::of_editor(&world).await;
    world.operator.signal("STOP");
    // Five BulkUpdates, of which the first two are sent before the others are held up.
    let child = plugin.start("delete execution --all --yes");
    until("some are sent", || async { !sent(&world).await.is_empty() }).await;
    signal(child.id(), "INT");
    let stopped = end(child).await;
    let run = run_of(&stopped.err);
    let unsent = 5 - sent(&world).await.len();
    // On another machine there is no record.
    let other = Plugin::with_role(&world, "colleague", "aiapi-editor").await;
    other.ok(&format!("cancel {run} --yes"));
    world.operator.signal("CONT");
    let resumed = plugin.run(&format!("resume {run}"));
    assert!(resumed.code == 4 || unsent == 0, "{stopped:?} {resumed:?}");
    world.next_second().await;
    world.carry_out("later", json!({"executions": [{"id": "run-0000", "targetStatus": "DELETED"}]})).await;
    assert_eq!(writes(&world).len(), 1, "{resumed:?}");
    world.operator.stop();
}

#[tokio::test]
async fn waiting_for_a_stop_can_be_interrupted() {
    let world = World::running("plugin-waits").await;
    let plugin = Plugin::of_editor(&world).await;
    let other = json!({"managedBy": "example.com/other"});
    world.target(Kind::Execution, "slow-1", other, json!({"state": "STOPPING"})).await;
    world.own(Kind::Execution, "run-1", "RUNNING").await;
    let child = plugin.start("delete execution --all --stop-first --yes");
    until("one has stopped", || async {
        world.find(Kind::Execution, "run-1").await.unwrap().data["status"]["state"] == "STOPPED"
    })
    .await;
    // Its end is reported, and it waits for the other.
    let begun = std::time::Instant::now();
    until("it waits", || async { begun.elapsed() > Duration::from_secs(3) }).await;
    signal(child.id(), "INT");
    let stopped = end(child).await;
    assert_eq!(stopped.code, 4, "{stopped:?}");
    assert!(stopped.err.contains("nothing was deleted"), "{stopped:?}");
    assert!(world.find(Kind::Execution, "run-1").await.is_some());
}

#[tokio::test]
async fn who_does_not_wait_sends_all_and_can_look_later() {
    let world = with_executions("plugin-does-not-wait", 150).await;
    let plugin = Plugin::of_editor(&world).await;
    let sends = plugin.ok("delete execution --all --yes --wait=false");
    let run = run_of(&sends.err);
    assert_eq!(sent(&world).await.len(), 2);
    for bulk in sent(&world).await {
        world.finished(&bulk.metadata.name.unwrap()).await;
    }
    let status = plugin.ok(&format!("status {run}"));
    assert_eq!(status.out.matches("True Settled").count(), 2, "{status:?}");
    assert_eq!(plugin.ok(&format!("resume {run}")).out.matches("150 settled of 150").count(), 1);
}
