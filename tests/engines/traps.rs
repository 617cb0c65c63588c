//! What people do to what runs, the same for each engine.

use kube::{
    ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{
    on_nodes::{pods, status},
    until, until_ok,
};

use crate::{
    engine::{Engine, NAME},
    life::{self, nothing},
};

/// It is stopped, and somebody starts it again with this merge patch: the stop is requested again, `is_stopped` by its object, and
/// nothing runs.
pub async fn undone(engine: &Engine, namespace: &str, undo: Value, is_stopped: fn(&Value) -> bool) {
    let (world, history) = engine.running_in(namespace, NAME).await;
    life::stop(engine, &world, &history, nothing).await;
    let undone = engine.objects(&world).patch(NAME, &PatchParams::default(), &Patch::Merge(undo)).await;
    let undone: u64 = undone.unwrap().resource_version().unwrap().parse().unwrap();
    let kind = engine.kind.kind();
    let again = |change: &crate::history::Change| {
        change.kind == kind && change.version > undone && is_stopped(&change.object)
    };
    history.until("the stop is requested again", again).await;
    until("no Pod is left", || async { pods(&world).await == 0 }).await;
    assert_eq!(status(&world, engine.of(), NAME).await["state"], "STOPPED");
}

/// An object of nobody has the name: it is left alone, and a condition says so.
pub async fn name_taken(engine: &Engine, namespace: &str) {
    let world = engine.world(namespace).await;
    let mut manifest = engine.spec()["template"].clone();
    manifest["metadata"] = json!({"name": NAME});
    let object = serde_json::from_value(manifest).unwrap();
    let object = engine.objects(&world).create(&PostParams::default(), &object).await.unwrap();
    engine.create(&world, NAME).await;
    until_ok("a condition says so", || async {
        let status = status(&world, engine.of(), NAME).await;
        if status["conditions"][0]["reason"] == "NameTaken" { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let same = engine.objects(&world).get(NAME).await.unwrap();
    assert_eq!((same.metadata.uid, same.metadata.owner_references), (object.metadata.uid, None));
    assert_eq!(status(&world, engine.of(), NAME).await["state"], "UNKNOWN");
}

/// The engine's objects cannot have this name: a condition says so, and nothing is created.
pub async fn name_not_possible(engine: &Engine, namespace: &str, name: &str) {
    let world = engine.world(namespace).await;
    engine.create(&world, name).await;
    until_ok("a condition says so", || async {
        let status = status(&world, engine.of(), name).await;
        if status["conditions"][0]["reason"] == "NameInvalid" { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    assert!(engine.objects(&world).get_opt(name).await.unwrap().is_none());
}

/// The engine's own admission webhook, or its schema, refuses what the template says: the status has its words.
pub async fn refused(engine: &Engine, namespace: &str, template: Value, words: &str) {
    let world = engine.world(namespace).await;
    world.target(engine.of(), NAME, json!({"template": template}), json!({})).await;
    until_ok("the status says so", || async {
        let status = status(&world, engine.of(), NAME).await;
        if status["message"].as_str().unwrap_or_default().contains(words)
            || status["conditions"][0]["message"].as_str().unwrap_or_default().contains(words)
        {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert!(engine.objects(&world).get_opt(NAME).await.unwrap().is_none());
}
