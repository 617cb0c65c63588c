//! Choosing by name, label, state and age, and what comes of it.

use ai_api_operator::api::Kind;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use support::World;

use crate::plugin::{Plugin, create, end, sent, states};

async fn label(world: &World, name: &str, label: &str, value: &str) {
    let patch = Patch::Merge(json!({"metadata": {"labels": {label: value}}}));
    world.targets(Kind::Execution).patch(name, &PatchParams::default(), &patch).await.unwrap();
}

fn days_ago(days: i64) -> String {
    let time = Timestamp::now() - SignedDuration::from_hours(24 * days);
    Timestamp::from_second(time.as_second()).unwrap().to_string()
}

#[tokio::test]
async fn what_was_chosen_is_shown_pinned_sent_and_followed_to_its_end() {
    let world = World::running("plugin-chooses").await;
    let plugin = Plugin::of_editor(&world).await;
    for (name, state) in
        [("run-1", "RUNNING"), ("run-2", "PENDING"), ("run-3", "COMPLETED"), ("run-4", "RUNNING")]
    {
        world.own(Kind::Execution, name, state).await;
        label(&world, name, "team", if name == "run-4" { "other" } else { "churn" }).await;
    }
    world.next_second().await;
    let shown = plugin.ok("stop execution -l team=churn --dry-run=client");
    assert!(shown.out.contains("2 Executions eligible, 1 left out:"), "{shown:?}");
    assert!(shown.out.contains("COMPLETED: only PENDING or RUNNING can be stopped"), "{shown:?}");
    assert!(sent(&world).await.is_empty());

    let ended = plugin.ok("stop execution -l team=churn --yes");
    assert!(ended.out.contains("2 settled of 2"), "{ended:?}");
    let sent = sent(&world).await;
    let items = sent[0].spec.items(Kind::Execution);
    assert_eq!((sent.len(), items.len()), (1, 2));
    assert!(items.iter().all(|item| item.uid.is_some()) && sent[0].spec.not_after.is_some());
    let wanted = ["STOPPED", "STOPPED", "COMPLETED", "RUNNING"].map(|state| Some(state.to_owned()));
    assert_eq!(states(&world, &["run-1", "run-2", "run-3", "run-4"]).await, wanted);
    // A second run finds nothing to do, which is no failure.
    let again = plugin.ok("stop execution -l team=churn --yes");
    assert!(again.out.contains("0 Executions eligible, 3 left out"), "{again:?}");
}

#[tokio::test]
async fn what_has_been_in_its_state_for_long_enough_is_deleted_and_nothing_else() {
    let world = World::running("plugin-age").await;
    let plugin = Plugin::of_editor(&world).await;
    for (name, status) in [
        ("dead-old", json!({"state": "DEAD", "stateTime": days_ago(8)})),
        ("dead-new", json!({"state": "DEAD", "stateTime": days_ago(6)})),
        ("dead-ended", json!({"state": "DEAD", "completionTime": days_ago(9)})),
        ("dead-since", json!({"state": "DEAD"})),
        ("busy-old", json!({"state": "RUNNING", "stateTime": days_ago(8)})),
        ("stopped-old", json!({"state": "STOPPED", "stateTime": days_ago(8)})),
    ] {
        world.target(Kind::Execution, name, json!({}), status).await;
    }
    let ended = plugin.ok("delete execution --state DEAD,STOPPED --older-than 7d --yes");
    assert!(ended.out.contains("3 Executions eligible, 1 left out"), "{ended:?}");
    assert!(ended.out.contains("it is not known since when it is in its state"), "{ended:?}");
    let names = ["dead-old", "dead-ended", "stopped-old", "dead-new", "dead-since", "busy-old"];
    let left: Vec<_> = states(&world, &names).await.iter().map(Option::is_some).collect();
    assert_eq!(left, [false, false, false, true, true, true]);
}

#[tokio::test]
async fn an_object_that_is_replaced_after_the_choice_is_not_struck() {
    let world = World::running("plugin-replaced").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Execution, "run-1", "DEAD").await;
    let printed = plugin.ok("delete execution run-1 -o yaml");
    world.targets(Kind::Execution).delete("run-1", &DeleteParams::default()).await.unwrap();
    world.own(Kind::Execution, "run-1", "DEAD").await;
    world.kubectl_ok(&["apply", "-f", "-"], &printed.out);
    let name = sent(&world).await[0].metadata.name.clone().unwrap();
    let status = world.finished(&name).await;
    assert_eq!(support::outcome(&status, Kind::Execution, "run-1"), "Refused Replaced");
    // And the plugin says so, and chooses nothing that nobody has chosen.
    let retried = plugin.run(&format!("retry {name} --yes"));
    assert!(retried.code == 1 && retried.out.contains("another object has the name now"), "{retried:?}");
    assert!(world.find(Kind::Execution, "run-1").await.is_some());
}

#[tokio::test]
async fn a_retry_strikes_nothing_that_was_not_there_when_it_was_asked_for() {
    let world = World::running("plugin-retries").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Execution, "busy-1", "RUNNING").await;
    world.own(Kind::Execution, "dead-1", "DEAD").await;
    world.next_second().await;
    let items = ["busy-1", "later-1"].map(|id| json!({"id": id, "targetStatus": "DELETED"}));
    world.carry_out("by-hand", json!({"executions": items})).await;
    world
        .carry_out(
            "tried",
            json!({"dryRun": true, "executions": [{"id": "dead-1", "targetStatus": "DELETED"}]}),
        )
        .await;
    world.own(Kind::Execution, "later-1", "DEAD").await;
    world.set_status(Kind::Execution, "busy-1", json!({"state": "STOPPED"})).await;
    let retried = plugin.run("retry by-hand --yes");
    assert_eq!(retried.code, 1, "{retried:?}");
    assert!(retried.out.contains("another object has the name now"), "{retried:?}");
    assert!(
        world.find(Kind::Execution, "later-1").await.is_some()
            && world.find(Kind::Execution, "busy-1").await.is_none()
    );
    let dry = plugin.run("retry tried --yes");
    assert!(dry.code == 2 && dry.err.contains("was a dry run"), "{dry:?}");
    assert!(world.find(Kind::Execution, "dead-1").await.is_some());
}

#[tokio::test]
async fn one_that_was_named_and_is_not_done_is_a_failure_and_one_that_is_done_already_is_none() {
    let world = World::running("plugin-named").await;
    let plugin = Plugin::of_editor(&world).await;
    for (name, state) in [("run-1", "RUNNING"), ("done-1", "COMPLETED")] {
        world.own(Kind::Execution, name, state).await;
    }
    assert_eq!(plugin.run("stop execution run-1 done-1 --yes").code, 1);
    assert_eq!(states(&world, &["run-1"]).await, [Some("STOPPED".to_owned())]);
    plugin.ok("stop execution run-1 --yes");
    // Who names the state leaves the decision to the operator.
    let completed = plugin.run("delete execution done-1 --state COMPLETED --yes");
    assert!(completed.code == 1 && completed.out.contains("WrongState"), "{completed:?}");
}

#[tokio::test]
async fn what_runs_is_stopped_first_and_then_deleted() {
    let world = World::running("plugin-stop-first").await;
    let plugin = Plugin::of_editor(&world).await;
    for (name, state) in [("run-1", "RUNNING"), ("dead-1", "DEAD"), ("done-1", "COMPLETED")] {
        world.own(Kind::Execution, name, state).await;
    }
    let other = json!({"managedBy": "example.com/other"});
    world.target(Kind::Execution, "slow-1", other, json!({"state": "RUNNING"})).await;
    let stops_later = async {
        let asked = || async {
            world.find(Kind::Execution, "slow-1").await.unwrap().data["status"]["targetStatus"] == "STOPPED"
        };
        support::until("its stop is requested", asked).await;
        world.set_status(Kind::Execution, "slow-1", json!({"state": "STOPPED"})).await;
    };
    let child = plugin.start("delete execution --all --stop-first --timeout 60s --yes");
    stops_later.await;
    let ended = end(child).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let names = ["run-1", "dead-1", "slow-1", "done-1"];
    let left: Vec<_> = states(&world, &names).await.iter().map(Option::is_some).collect();
    assert_eq!(left, [false, false, false, true], "{ended:?}");
    let sent: Vec<_> = sent(&world).await.iter().map(|bulk| bulk.metadata.name.clone().unwrap()).collect();
    assert!(sent[0].starts_with("delete-") && sent[1].starts_with("stop-") && sent.len() == 2, "{sent:?}");
}

#[tokio::test]
async fn a_dry_run_asks_the_operator_and_changes_nothing() {
    let world = World::running("plugin-dry-run").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Deployment, "model-1", "RUNNING").await;
    let ended = plugin.ok("stop deployments --all --dry-run=server");
    assert!(ended.out.contains("1 eligible of 1"), "{ended:?}");
    assert_eq!(world.find(Kind::Deployment, "model-1").await.unwrap().data["status"]["state"], "RUNNING");
    assert_eq!(sent(&world).await[0].spec.dry_run, Some(true));
}

#[tokio::test]
async fn a_thousand_are_ten_bulk_updates_of_one_run() {
    let world = World::running("plugin-thousand").await;
    let plugin = Plugin::of_editor(&world).await;
    create(&world, 1000);
    // UNKNOWN, as they are without a status.
    let ended = plugin.ok("delete execution --all --yes");
    assert!(ended.out.contains("1000 settled of 1000"), "{ended:?}");
    let sent = sent(&world).await;
    assert_eq!(sent.len(), 10);
    assert!(world.targets(Kind::Execution).list(&ListParams::default()).await.unwrap().items.is_empty());
    assert_eq!(plugin.records(), 0, "the record of a run that is sent is removed");
}
