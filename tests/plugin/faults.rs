//! What an API server, a network and other users may do in the middle of a run.

use std::sync::Arc;

use http::StatusCode;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use support::{signal, until};
use tokio::sync::Notify;

use crate::{
    interrupted::{RUNS, with_executions, writes},
    plugin::{Plugin, end, run_of, sent},
    proxy::{Fault, Proxy},
};

#[tokio::test]
async fn what_is_lost_or_refused_for_a_while_is_sent_again_and_carried_out_once() {
    let world = with_executions("plugin-lost", RUNS).await;
    let mut plugin = Plugin::of_editor(&world).await;
    // Six refusals in a row are longer than a read at the beginning would be tried.
    let refusals = (0..6).map(|_| Fault::Refused(StatusCode::SERVICE_UNAVAILABLE));
    let faults = [Fault::LostAnswer, Fault::Refused(StatusCode::TOO_MANY_REQUESTS), Fault::LostAnswer];
    let proxy = Proxy::start(&mut plugin, faults.into_iter().chain(refusals)).await;
    let ended = end(plugin.start("delete execution --all --yes")).await;
    assert!(ended.code == 0 && ended.out.contains("450 settled of 450"), "{ended:?}");
    assert!(proxy.is_through());
    assert_eq!(sent(&world).await.len(), 5);
    let writes = writes(&world);
    assert_eq!((writes.len(), writes.values().max()), (RUNS, Some(&1)));
}

#[tokio::test]
async fn a_name_that_somebody_else_has_taken_ends_the_run() {
    let world = with_executions("plugin-squatted", 150).await;
    let mut plugin = Plugin::of_editor(&world).await;
    let spec = json!({"executions": [{"id": "run-0000", "targetStatus": "STOPPED"}]});
    let proxy = Proxy::start(&mut plugin, [Fault::None, Fault::NameTaken(spec)]).await;
    let ended = end(plugin.start("delete execution --all --yes")).await;
    assert!(proxy.is_through() && ended.code == 1, "{ended:?}");
    assert!(ended.err.contains("somebody else has created another BulkUpdate with the name"), "{ended:?}");
    assert!(ended.err.contains("1 of 2 BulkUpdates sent"), "{ended:?}");
}

/// Removes what says to which run the first BulkUpdate belongs; returns the run.
async fn first_without_label(world: &support::World) -> String {
    let first = sent(world).await.swap_remove(0).metadata;
    let remove = Patch::Merge(json!({"metadata": {"labels": {"aiapi.dev/run": null}}}));
    world.bulk_updates().patch(&first.name.unwrap(), &PatchParams::default(), &remove).await.unwrap();
    first.labels.unwrap()["aiapi.dev/run"].clone()
}

#[tokio::test]
async fn one_that_has_lost_its_label_still_belongs_to_the_run() {
    let mut world = with_executions("plugin-unlabelled", RUNS).await;
    let plugin = Plugin::of_editor(&world).await;
    world.operator.signal("STOP");
    let child = plugin.start("delete execution --all --yes");
    until("all are sent", || async { sent(&world).await.len() == 5 }).await;
    let run = first_without_label(&world).await;
    assert_eq!(plugin.ok(&format!("status {run}")).out.matches("BulkUpdate plugin-unlabelled/").count(), 5);
    world.operator.signal("CONT");
    let ended = end(child).await;
    assert!(ended.code == 0 && ended.out.contains("450 settled of 450"), "{ended:?}");
    world.operator.stop();
}

#[tokio::test]
async fn one_that_has_lost_its_label_is_called_off_with_the_others() {
    let mut world = with_executions("plugin-unlabelled-off", RUNS).await;
    let plugin = Plugin::of_editor(&world).await;
    world.operator.signal("STOP");
    let child = plugin.start("delete execution --all --yes");
    until("all are sent", || async { sent(&world).await.len() == 5 }).await;
    let run = first_without_label(&world).await;
    // On another machine there is no record.
    let other = Plugin::with_role(&world, "colleague", "aiapi-editor").await;
    let cancelled = other.ok(&format!("cancel {run} --yes"));
    assert_eq!(cancelled.out.matches("called off").count(), 5, "{cancelled:?}");
    assert_eq!(end(child).await.code, 4);
    assert!(sent(&world).await.is_empty());
    world.operator.signal("CONT");
    world.operator.stop();
}

#[tokio::test]
async fn what_was_on_its_way_when_the_run_was_called_off_is_called_off_too() {
    // The third one, or the second one for a second time, because nobody has heard of the first.
    for (round, second) in [Fault::None, Fault::LostAnswer].into_iter().enumerate() {
        let mut world = with_executions(&format!("plugin-on-its-way-{round}"), RUNS).await;
        let mut plugin = Plugin::of_editor(&world).await;
        let other = Plugin::with_role(&world, "colleague", "aiapi-editor").await;
        let arrives = Arc::new(Notify::new());
        let faults = [Fault::None, second, Fault::Held(Arc::clone(&arrives))];
        let proxy = Proxy::start(&mut plugin, faults).await;
        world.operator.signal("STOP");
        let child = plugin.start("delete execution --all --yes");
        until("the last is on its way", || async { proxy.is_through() }).await;
        let run = sent(&world).await[0].metadata.labels.as_ref().unwrap()["aiapi.dev/run"].clone();
        let cancelled = other.ok(&format!("cancel {run} --yes"));
        assert_eq!(cancelled.out.matches("called off").count(), 2, "{cancelled:?}");
        arrives.notify_one();
        let ended = end(child).await;
        assert_eq!(ended.code, 4, "{ended:?}");
        assert!(sent(&world).await.is_empty(), "{ended:?}");
        world.operator.signal("CONT");
        world.operator.stop();
    }
}

#[tokio::test]
async fn a_run_is_sent_by_one_process_of_the_user_who_has_chosen_it() {
    let world = with_executions("plugin-twice", RUNS).await;
    let mut plugin = Plugin::of_editor(&world).await;
    let direct = plugin.kubeconfig.clone();
    let arrives = Arc::new(Notify::new());
    let proxy = Proxy::start(&mut plugin, [Fault::None, Fault::Held(Arc::clone(&arrives))]).await;
    world.operator.signal("STOP");
    let child = plugin.start("delete execution --all --yes");
    until("the second is on its way", || async { proxy.is_through() }).await;
    let run = sent(&world).await[0].metadata.labels.as_ref().unwrap()["aiapi.dev/run"].clone();
    let resumes = async || end(plugin.start(&format!("resume {run}"))).await;
    let twice = resumes().await;
    assert!(twice.code == 1 && twice.err.contains("another process is sending run"), "{twice:?}");
    signal(child.id(), "INT");
    arrives.notify_one();
    let stopped = end(child).await;
    assert!(stopped.code == 4 && run_of(&stopped.err) == run, "{stopped:?}");
    let other = Plugin::with_role(&world, "colleague", "aiapi-editor").await;
    proxy.identify(&other.kubeconfig).await;
    let of_other = resumes().await;
    assert!(
        of_other.code == 2 && of_other.err.contains("and you are system:serviceaccount:"),
        "{of_other:?}"
    );
    proxy.identify(&direct).await;
    world.operator.signal("CONT");
    // By another way, it could be another cluster.
    let proxied = std::mem::replace(&mut plugin.kubeconfig, direct);
    let elsewhere = plugin.run(&format!("resume {run}"));
    assert!(elsewhere.code == 2 && elsewhere.err.contains("choose the context"), "{elsewhere:?}");
    plugin.kubeconfig = proxied;
    let rest = end(plugin.start(&format!("resume {run}"))).await;
    assert_eq!((rest.code, writes(&world).len()), (0, RUNS), "{rest:?}");
}
