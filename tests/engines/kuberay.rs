//! Executions that run as `RayJobs`. No Ray runs in their Pods: [`ray`] answers for it.

use ai_api_operator::api::EngineKind;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
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
    life::{self, nothing},
    ray, traps,
};

pub const TESTS: Tests = crate::tests![
    it_runs_and_completes,
    one_that_fails_is_dead_and_says_why,
    it_is_stopped_and_deleted,
    one_that_is_suspended_by_hand_alone_is_dead_and_runs_until_it_is_deleted,
    one_on_a_cluster_of_others_cannot_be_stopped,
    one_that_is_resumed_by_hand_is_stopped_again,
    one_whose_cluster_is_not_ready_is_stopped,
    a_name_that_is_taken_is_left_alone,
    the_longest_name_runs,
    a_name_that_is_too_long_is_not_used,
    a_name_that_begins_with_a_digit_is_not_used,
];

/// It has not `shutdownAfterJobFinishes`, without which KubeRay does not suspend it.
const RAY_JOB: Engine = Engine {
    name: "RayJob",
    kind: EngineKind::RayJob,
    components: &["engine-rayjob"],
    template,
    pods: 3,
    is_stop: is_suspended,
};

/// A head, a worker, and the Pod that submits the Ray job.
pub fn template() -> Value {
    json!({"spec": {"entrypoint": "python train.py", "submitterConfig": {"backoffLimit": 0}, "rayClusterSpec": cluster("1")}})
}

/// A Ray cluster whose head wants so many CPUs.
fn cluster(cpus: &str) -> Value {
    let pod = |name: &str, cpus: &str| json!({"spec": {"containers": [{"name": name, "image": "none", "resources": {"requests": {"cpu": cpus}}}]}});
    json!({"rayVersion": "2.52.0", "headGroupSpec": {"rayStartParams": {}, "template": pod("ray-head", cpus)},
        "workerGroupSpecs": [{"groupName": "workers", "replicas": 1, "minReplicas": 1, "maxReplicas": 1, "rayStartParams": {},
            "template": pod("ray-worker", "1")}]})
}

fn is_suspended(change: &Change) -> bool {
    change.kind == "RayJob" && change.get("/spec/suspend") == true
}

/// The Ray job has ended like this, and so does the Pod that has submitted it.
async fn end(world: &World, status: &'static str, message: &'static str, how: &str) {
    ray::say(&world.namespace, status, message);
    until("KubeRay has noticed", || async {
        RAY_JOB.objects(world).get(NAME).await.unwrap().data["status"]["jobStatus"] == status
    })
    .await;
    end_pods(world, &format!("batch.kubernetes.io/job-name={NAME}"), how).await;
}

async fn it_runs_and_completes() {
    let end = async |world: &World| end(world, "SUCCEEDED", "it has finished", "complete").await;
    life::completes(&RAY_JOB, "ray-completes", end).await;
}

async fn one_that_fails_is_dead_and_says_why() {
    let end = async |world: &World| end(world, "FAILED", "exit code 1", "fail").await;
    let (world, history) = life::dies(&RAY_JOB, "ray-fails", end, "AppFailed: exit code 1").await;
    // Its cluster runs on.
    assert_eq!(pods(&world).await, RAY_JOB.pods);
    life::delete(&RAY_JOB, &world, &history).await;
}

async fn it_is_stopped_and_deleted() {
    life::stops(&RAY_JOB, "ray-stops", nothing).await;
}

/// Why a stop sets two fields: without the other one KubeRay gives up, and the Pods run on.
async fn one_that_is_suspended_by_hand_alone_is_dead_and_runs_until_it_is_deleted() {
    let (world, history) = RAY_JOB.running_in("ray-suspended", NAME).await;
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    RAY_JOB.objects(&world).patch(NAME, &PatchParams::default(), &suspend).await.unwrap();
    let dead = RAY_JOB.state(&world, NAME, "DEAD").await;
    assert!(dead["message"].as_str().unwrap().starts_with("ValidationFailed"), "{dead}");
    assert_eq!(pods(&world).await, 3);
    life::delete(&RAY_JOB, &world, &history).await;
    assert_eq!(pods(&world).await, 0);
}

async fn one_on_a_cluster_of_others_cannot_be_stopped() {
    let world = RAY_JOB.world("ray-shared").await;
    let kind = GroupVersionKind::gvk("ray.io", "v1", "RayCluster");
    apply(
        &world.client,
        json!({"apiVersion": "ray.io/v1", "kind": "RayCluster", "spec": cluster("1"),
            "metadata": {"name": "shared", "namespace": world.namespace}}),
    )
    .await;
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &ApiResource::from_gvk(&kind));
    until("the cluster is ready", || async {
        clusters.get("shared").await.unwrap().data["status"]["state"] == "ready"
    })
    .await;
    let mut spec = RAY_JOB.spec();
    spec["template"]["spec"] =
        json!({"entrypoint": "python train.py", "clusterSelector": {"ray.io/cluster": "shared"}});
    world.target(RAY_JOB.of(), NAME, spec, json!({})).await;
    RAY_JOB.state(&world, NAME, "RUNNING").await;
    world.submit("stop", RAY_JOB.request(NAME, "STOPPED")).await;
    until_ok("a condition says so", || async {
        let status = status(&world, RAY_JOB.of(), NAME).await;
        let ready = &status["conditions"][0];
        if ready["reason"] == "StopImpossible" && status["state"] == "RUNNING" {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert_ne!(RAY_JOB.objects(&world).get(NAME).await.unwrap().data["spec"]["suspend"], true);
}

async fn one_that_is_resumed_by_hand_is_stopped_again() {
    let resume = json!({"spec": {"suspend": false}});
    traps::undone(&RAY_JOB, "ray-resumed", resume, |ray_job| ray_job["spec"]["suspend"] == true).await;
}

async fn one_whose_cluster_is_not_ready_is_stopped() {
    let world = RAY_JOB.world("ray-initializing").await;
    let history = RAY_JOB.history(&world).await;
    let mut spec = RAY_JOB.spec();
    spec["template"]["spec"]["rayClusterSpec"] = cluster("5000");
    world.target(RAY_JOB.of(), NAME, spec, json!({})).await;
    until("its Pods", || async { pods(&world).await == 2 }).await;
    RAY_JOB.state(&world, NAME, "PENDING").await;
    life::stop(&RAY_JOB, &world, &history, nothing).await;
}

async fn a_name_that_is_taken_is_left_alone() {
    traps::name_taken(&RAY_JOB, "ray-taken").await;
}

async fn a_name_that_is_too_long_is_not_used() {
    traps::name_not_possible(&RAY_JOB, "ray-long", &"n".repeat(48)).await;
}

async fn the_longest_name_runs() {
    RAY_JOB.running_in("ray-longest", &"n".repeat(47)).await;
}

async fn a_name_that_begins_with_a_digit_is_not_used() {
    traps::name_not_possible(&RAY_JOB, "ray-digit", "1-job").await;
}
