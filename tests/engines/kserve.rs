//! Deployments that serve as `InferenceServices`. No model server runs in their Pods: KWOK says that they are ready.

use std::time::Duration;

use ai_api_operator::api::EngineKind;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use support::{
    on_nodes::{pods, status},
    until_ok, within,
};

use crate::{
    Tests,
    engine::{Engine, NAME},
    history::Change,
    life::{self, nothing},
    traps,
};

pub const TESTS: Tests = crate::tests![
    it_serves,
    one_that_is_invalid_is_dead_and_says_why,
    one_that_does_not_get_ready_says_why,
    it_is_stopped_and_deleted,
    one_whose_stop_kserve_ignores_says_so_after_a_while,
    one_that_is_resumed_by_hand_is_stopped_again,
    a_name_that_is_taken_is_left_alone,
    a_name_that_kserve_cannot_use_is_not_used,
];

const INFERENCE_SERVICE: Engine = Engine {
    name: "InferenceService",
    kind: EngineKind::InferenceService,
    components: &["engine-inferenceservice"],
    template,
    pods: 1,
    is_stop: is_stopped,
};

fn template() -> Value {
    wants("1")
}

/// A model server that wants so many CPUs.
fn wants(cpus: &str) -> Value {
    json!({"spec": {"predictor": {"minReplicas": 1, "maxReplicas": 1, "containers": [
        {"name": "kserve-container", "image": "none", "resources": {"requests": {"cpu": cpus}}}]}}})
}

fn is_stopped(change: &Change) -> bool {
    change.kind == "InferenceService" && asks_to_stop(&change.object)
}

fn asks_to_stop(object: &Value) -> bool {
    object["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"
}

async fn it_serves() {
    let world = INFERENCE_SERVICE.world("kserve-serves").await;
    let history = INFERENCE_SERVICE.history(&world).await;
    INFERENCE_SERVICE.create(&world, NAME).await;
    INFERENCE_SERVICE.running(&world, NAME).await;
    until_ok("it has an address", || async {
        let status = status(&world, INFERENCE_SERVICE.of(), NAME).await;
        let there = status["url"].as_str().is_some_and(|url| url.contains(NAME));
        if there { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    assert_eq!(history.states("Deployment", NAME), ["UNKNOWN", "PENDING", "RUNNING"]);
}

/// No runtime is installed.
async fn one_that_is_invalid_is_dead_and_says_why() {
    let world = INFERENCE_SERVICE.world("kserve-invalid").await;
    let history = INFERENCE_SERVICE.history(&world).await;
    let mut spec = INFERENCE_SERVICE.spec();
    spec["template"]["spec"] = json!({"predictor": {"model": {"modelFormat": {"name": "sklearn"}}}});
    world.target(INFERENCE_SERVICE.of(), NAME, spec, json!({})).await;
    let dead = INFERENCE_SERVICE.state(&world, NAME, "DEAD").await;
    assert!(dead["message"].as_str().unwrap().starts_with("NoSupportingRuntime"), "{dead}");
    life::delete(&INFERENCE_SERVICE, &world, &history).await;
}

/// It may get ready yet, so it is not DEAD.
async fn one_that_does_not_get_ready_says_why() {
    let world = INFERENCE_SERVICE.world("kserve-waits").await;
    let history = INFERENCE_SERVICE.history(&world).await;
    let mut spec = INFERENCE_SERVICE.spec();
    spec["template"]["spec"] = wants("5000")["spec"].clone();
    world.target(INFERENCE_SERVICE.of(), NAME, spec, json!({})).await;
    until_ok("it says why", || async {
        let status = status(&world, INFERENCE_SERVICE.of(), NAME).await;
        let says =
            status["message"].as_str().is_some_and(|message| message.contains("MinimumReplicasUnavailable"));
        if says && status["state"] == "PENDING" { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    life::stop(&INFERENCE_SERVICE, &world, &history, nothing).await;
}

async fn it_is_stopped_and_deleted() {
    life::stops(&INFERENCE_SERVICE, "kserve-stops", nothing).await;
}

/// As versions before 0.16 ignore all.
async fn one_whose_stop_kserve_ignores_says_so_after_a_while() {
    let world = INFERENCE_SERVICE.world("kserve-ignores").await;
    let history = INFERENCE_SERVICE.history(&world).await;
    let mut spec = INFERENCE_SERVICE.spec();
    spec["template"]["metadata"] = json!({"annotations": {"serving.kserve.io/disable-auto-update": "true"}});
    world.target(INFERENCE_SERVICE.of(), NAME, spec, json!({})).await;
    INFERENCE_SERVICE.running(&world, NAME).await;
    world.submit("stop", INFERENCE_SERVICE.request(NAME, "STOPPED")).await;
    history.until("the request to stop", is_stopped).await;
    let overdue = || async {
        let status = status(&world, INFERENCE_SERVICE.of(), NAME).await;
        status["state"] == "STOPPING" && status["conditions"][0]["reason"] == "StopOverdue"
    };
    assert!(within(Duration::from_secs(100), Duration::from_millis(200), overdue).await);
    assert_eq!(pods(&world).await, 1);
    let heed = json!({"metadata": {"annotations": {"serving.kserve.io/disable-auto-update": null}}});
    INFERENCE_SERVICE
        .objects(&world)
        .patch(NAME, &PatchParams::default(), &Patch::Merge(heed))
        .await
        .unwrap();
    INFERENCE_SERVICE.state(&world, NAME, "STOPPED").await;
}

async fn one_that_is_resumed_by_hand_is_stopped_again() {
    let resume = json!({"metadata": {"annotations": {"serving.kserve.io/stop": null}}});
    traps::undone(&INFERENCE_SERVICE, "kserve-resumed", resume, asks_to_stop).await;
}

async fn a_name_that_is_taken_is_left_alone() {
    traps::name_taken(&INFERENCE_SERVICE, "kserve-taken").await;
}

async fn a_name_that_kserve_cannot_use_is_not_used() {
    traps::name_not_possible(&INFERENCE_SERVICE, "kserve-digit", "1-model").await;
}
