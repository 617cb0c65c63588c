//! Executions that run as Argo Workflows. No executor runs in their Pods: the tests do what it would do.

use ai_api_operator::api::EngineKind;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use support::{
    World,
    control_plane::apply,
    on_nodes::{end_pods, pods, status},
    until, until_ok,
};

use crate::{
    Tests,
    engine::{Engine, NAME},
    history::Change,
    life, traps,
};

pub const TESTS: Tests = crate::tests![
    it_runs_and_completes,
    one_that_fails_is_dead_and_says_why,
    it_is_stopped_and_deleted,
    one_whose_exit_handler_runs_has_not_stopped_yet,
    one_that_is_suspended_by_hand_is_stopped,
    one_that_waits_for_a_lock_is_terminated_and_never_runs,
    one_whose_nodes_take_a_megabyte_is_stopped,
    a_name_that_is_taken_is_left_alone,
];

const WORKFLOW: Engine = Engine {
    name: "Workflow",
    kind: EngineKind::Workflow,
    components: &["engine-workflow"],
    template,
    pods: 2,
    is_stop: is_shut_down,
};

/// Two steps side by side.
fn template() -> Value {
    let step = |name: &str| json!({"name": name, "template": "train"});
    json!({"spec": {"entrypoint": "main", "templates": [
        {"name": "main", "steps": [[step("left"), step("right")]]},
        {"name": "train", "container": {"image": "none", "command": ["train"]}}]}})
}

fn is_shut_down(change: &Change) -> bool {
    change.kind == "Workflow" && change.get("/spec/shutdown") == "Stop"
}

async fn all_pods(world: &World) -> Vec<Pod> {
    let api = Api::<Pod>::namespaced(world.client.clone(), &world.namespace);
    api.list(&ListParams::default()).await.unwrap().items
}

/// The steps have ended like this, and their executors have reported.
async fn end(world: &World, how: &str) {
    for pod in all_pods(world).await {
        let workflow = &pod.labels()["workflows.argoproj.io/workflow"];
        let labels = json!({"workflows.argoproj.io/workflow": workflow, "workflows.argoproj.io/report-outputs-completed": "true"});
        let node = &pod.annotations()["workflows.argoproj.io/node-id"];
        apply(
            &world.client,
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTaskResult",
                "metadata": {"name": node, "namespace": world.namespace, "labels": labels}}),
        )
        .await;
    }
    end_pods(world, "", how).await;
}

async fn it_runs_and_completes() {
    let end = async |world: &World| end(world, "complete").await;
    life::completes(&WORKFLOW, "argo-completes", end).await;
}

/// Failed means that it has failed where nobody has shut it down.
async fn one_that_fails_is_dead_and_says_why() {
    let end = async |world: &World| end(world, "fail").await;
    let (world, history) = life::dies(&WORKFLOW, "argo-fails", end, "child 'work-1-").await;
    life::delete(&WORKFLOW, &world, &history).await;
}

/// Failed means that it was stopped where somebody has, and says so before its Pods have ended.
async fn it_is_stopped_and_deleted() {
    life::stops(&WORKFLOW, "argo-stops", end_after_failure).await;
}

/// It says that it has failed. Only then do its steps end, which is for their executors.
async fn end_after_failure(world: &World) {
    until("it has failed", || async {
        WORKFLOW.objects(world).get(NAME).await.unwrap().data["status"]["phase"] == "Failed"
    })
    .await;
    WORKFLOW.state(world, NAME, "STOPPING").await;
    assert_eq!(pods(world).await, WORKFLOW.pods);
    end(world, "fail").await;
}

async fn one_whose_exit_handler_runs_has_not_stopped_yet() {
    let world = WORKFLOW.world("argo-exit-handler").await;
    let history = WORKFLOW.history(&world).await;
    let mut spec = WORKFLOW.spec();
    spec["template"]["spec"]["onExit"] = "train".into();
    world.target(WORKFLOW.of(), NAME, spec, json!({})).await;
    WORKFLOW.running(&world, NAME).await;
    let meanwhile = async |world: &World| {
        end(world, "fail").await;
        until("its exit handler runs", || async { pods(world).await == WORKFLOW.pods + 1 }).await;
        WORKFLOW.state(world, NAME, "STOPPING").await;
        end(world, "complete").await;
    };
    life::stop(&WORKFLOW, &world, &history, meanwhile).await;
}

/// Suspended, it would never end: the stop resumes it.
async fn one_that_is_suspended_by_hand_is_stopped() {
    let (world, history) = WORKFLOW.running_in("argo-suspended", NAME).await;
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    WORKFLOW.objects(&world).patch(NAME, &PatchParams::default(), &suspend).await.unwrap();
    life::stop(&WORKFLOW, &world, &history, end_after_failure).await;
}

/// The controller would not look at a `Stop` of it before it has the lock.
async fn one_that_waits_for_a_lock_is_terminated_and_never_runs() {
    let world = WORKFLOW.world("argo-waits").await;
    let history = WORKFLOW.history(&world).await;
    let mut spec = WORKFLOW.spec();
    spec["template"]["spec"]["synchronization"] = json!({"mutexes": [{"name": "gpus"}]});
    world.target(WORKFLOW.of(), "work-2", spec.clone(), json!({})).await;
    WORKFLOW.running(&world, "work-2").await;
    world.target(WORKFLOW.of(), NAME, spec, json!({})).await;
    until_ok("it waits", || async {
        let status = status(&world, WORKFLOW.of(), NAME).await;
        let waits = status["message"].as_str().is_some_and(|message| message.contains("lock"));
        if waits && status["state"] == "PENDING" { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    world.carry_out("stop", WORKFLOW.request(NAME, "STOPPED")).await;
    WORKFLOW.state(&world, NAME, "STOPPED").await;
    let workflow = WORKFLOW.objects(&world).get(NAME).await.unwrap();
    assert_eq!(workflow.data["spec"]["shutdown"], "Terminate");
    end(&world, "complete").await;
    WORKFLOW.state(&world, "work-2", "COMPLETED").await;
    let pods = history.all(|change| change.kind == "Pod" && change.is_of(NAME));
    assert!(pods.is_empty(), "{pods:?}");
    assert_eq!(history.states("Execution", NAME), ["UNKNOWN", "PENDING", "STOPPING", "STOPPED"]);
}

/// As those of a Workflow of many steps do.
async fn one_whose_nodes_take_a_megabyte_is_stopped() {
    let (world, history) = WORKFLOW.running_in("argo-large", NAME).await;
    let workflow = WORKFLOW.objects(&world).get(NAME).await.unwrap();
    let node = workflow.data["status"]["nodes"].as_object().unwrap().keys().next().unwrap();
    let inputs = json!({"parameters": [{"name": "large", "value": "x".repeat(1 << 20)}]});
    let large = Patch::Merge(json!({"status": {"nodes": {node: {"inputs": inputs}}}}));
    WORKFLOW.objects(&world).patch(NAME, &PatchParams::default(), &large).await.unwrap();
    life::stop(&WORKFLOW, &world, &history, end_after_failure).await;
}

async fn a_name_that_is_taken_is_left_alone() {
    traps::name_taken(&WORKFLOW, "argo-taken").await;
}
