//! The life of what runs, the same for each engine: it runs and completes, it fails, it is stopped, and it is deleted.

use std::time::{Duration, Instant};

use ai_api_operator::api::ItemResult;
use support::{World, item};

use crate::{
    engine::{Engine, NAME},
    history::{Change, History},
    table::{self, Row},
};

/// For where nothing has to be done meanwhile.
pub async fn nothing(_: &World) {}

/// UNKNOWN, PENDING, RUNNING, and COMPLETED after `end`.
pub async fn completes(engine: &Engine, namespace: &str, end: impl AsyncFnOnce(&World)) {
    let (world, history) = engine.running_in(namespace, NAME).await;
    end(&world).await;
    let completed = engine.state(&world, NAME, "COMPLETED").await;
    for time in ["submissionTime", "completionTime", "stateTime"] {
        assert!(completed[time].is_string(), "{time}: {completed}");
    }
    let states = history.states(engine.of().name(), NAME);
    assert_eq!(states, ["UNKNOWN", "PENDING", "RUNNING", "COMPLETED"]);
}

/// After `end` it is DEAD, and says why.
pub async fn dies(
    engine: &Engine,
    namespace: &str,
    end: impl AsyncFnOnce(&World),
    why: &str,
) -> (World, History) {
    let (world, history) = engine.running_in(namespace, NAME).await;
    end(&world).await;
    let dead = engine.state(&world, NAME, "DEAD").await;
    assert!(dead["message"].as_str().unwrap().contains(why), "{dead}");
    (world, history)
}

/// It is stopped while it runs, and is STOPPED once its last Pod has ended; then it is deleted. The times go into the table.
/// `meanwhile` is called when the stop was requested of the engine.
pub async fn stops(engine: &Engine, namespace: &str, meanwhile: impl AsyncFnOnce(&World)) {
    let (world, history) = engine.running_in(namespace, NAME).await;
    let stop = stop(engine, &world, &history, meanwhile).await;
    let deletion = delete(engine, &world, &history).await;
    table::measured(engine.name, Row { stop, deletion });
}

/// Stops it; returns when the stop was requested of the engine, the last Pod had ended, and it was STOPPED.
pub async fn stop(
    engine: &Engine,
    world: &World,
    history: &History,
    meanwhile: impl AsyncFnOnce(&World),
) -> [Duration; 3] {
    let begin = request(engine, world, "STOPPED").await;
    let requested = history.until("the request to stop", engine.is_stop).await;
    meanwhile(world).await;
    engine.state(world, NAME, "STOPPED").await;
    let finished = world.finished("stopped").await;
    assert_eq!(item(&finished, engine.of(), NAME).result, ItemResult::Settled);
    let ended = history.last_pod_ended(NAME).await;
    let is_stopped = |change: &Change| {
        change.kind == engine.of().name() && change.name == NAME && change.get("/status/state") == "STOPPED"
    };
    let stopped = history.until("the state", is_stopped).await;
    let versions = [&requested, &ended, &stopped].map(|change| change.version);
    assert!(versions.is_sorted(), "requested, its last Pod gone, STOPPED: {versions:?}");
    [requested, ended, stopped].map(|change| change.at - begin)
}

/// Deletes it; returns how long that took.
pub async fn delete(engine: &Engine, world: &World, history: &History) -> Duration {
    let begin = request(engine, world, "DELETED").await;
    let finished = world.finished("deleted").await;
    assert_eq!(item(&finished, engine.of(), NAME).result, ItemResult::Settled);
    let gone = |kind: &'static str| {
        move |change: &Change| change.kind == kind && change.name == NAME && change.deleted
    };
    let owner = history.until("the deletion", gone(engine.of().name())).await;
    let work = history.until("the deletion of its work", gone(engine.kind.kind())).await;
    assert!(work.version < owner.version, "what it runs is gone before it");
    if let Some(pod) = history.last_pod_gone(NAME).await {
        assert!(pod.version < owner.version, "its last Pod is gone before it");
    }
    owner.at - begin
}

/// Creates a BulkUpdate of one item, which has its name from what it asks for; returns when.
async fn request(engine: &Engine, world: &World, target_status: &str) -> Instant {
    world.next_second().await;
    let begin = Instant::now();
    world.submit_at_once(&target_status.to_lowercase(), engine.request(NAME, target_status)).await;
    begin
}
