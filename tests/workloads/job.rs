//! Executions that run as Jobs, with the real Job controller: their states, a stop, a deletion, and everything that people do to a
//! Job meanwhile.

use ai_api_operator::api::{ItemResult, Kind};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{World, item, until};

use crate::on_nodes::{self, pods, world};

/// With this annotation a Pod ends: `complete` or `fail` (dev/control-plane/kwok).
const END: &str = "test.aiapi.dev/end";

const RUN: &str = "train-1";

fn template(annotations: &Value) -> Value {
    json!({"template": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"parallelism": 2, "completions": 2, "backoffLimit": 0,
        "template": {"metadata": {"annotations": annotations}, "spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": "none"}]}}}}})
}

async fn status(world: &World, name: &str) -> Value {
    on_nodes::status(world, Kind::Execution, name).await
}

async fn state(world: &World, name: &str, wanted: &str) -> Value {
    on_nodes::state(world, Kind::Execution, name, wanted).await
}

fn jobs(world: &World) -> Api<Job> {
    Api::namespaced(world.client.clone(), &world.namespace)
}

async fn execution(world: &World, annotations: &Value) {
    world.target(Kind::Execution, RUN, template(annotations), json!({})).await;
}

async fn stop(world: &World) {
    world.submit("stop", json!({"executions": [{"id": RUN, "targetStatus": "STOPPED"}]})).await;
}

#[tokio::test]
async fn it_runs_and_completes() {
    let world = world("job-completes").await;
    execution(&world, &json!({})).await;
    let running = state(&world, RUN, "RUNNING").await;
    let uid = jobs(&world).get(RUN).await.unwrap().metadata.uid;
    assert_eq!(
        running["workload"],
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": RUN, "uid": uid})
    );
    let end = Patch::Merge(json!({"metadata": {"annotations": {END: "complete"}}}));
    let all = Api::<Pod>::namespaced(world.client.clone(), &world.namespace);
    for pod in all.list(&ListParams::default()).await.unwrap() {
        all.patch(&pod.metadata.name.unwrap(), &PatchParams::default(), &end).await.unwrap();
    }
    let completed = state(&world, RUN, "COMPLETED").await;
    for time in ["submissionTime", "startTime", "completionTime", "stateTime"] {
        assert!(completed[time].is_string(), "{time}: {completed}");
    }
    assert_eq!(completed["conditions"][0]["type"], "Ready");
    // It is gone, and is not created again.
    jobs(&world).delete(RUN, &DeleteParams::background()).await.unwrap();
    until("the Job is gone", || async { jobs(&world).get_opt(RUN).await.unwrap().is_none() }).await;
    assert_eq!(status(&world, RUN).await["state"], "COMPLETED");
}

#[tokio::test]
async fn one_that_fails_is_dead_and_says_why() {
    let world = world("job-fails").await;
    execution(&world, &json!({END: "fail"})).await;
    let dead = state(&world, RUN, "DEAD").await;
    assert!(dead["message"].as_str().unwrap().starts_with("BackoffLimitExceeded"), "{dead}");
}

#[tokio::test]
async fn a_stop_has_settled_when_its_pods_are_gone_and_a_deletion_too() {
    let world = world("job-stops").await;
    execution(&world, &json!({})).await;
    state(&world, RUN, "RUNNING").await;
    until("two Pods", || async { pods(&world).await == 2 }).await;
    stop(&world).await;
    let stopped = state(&world, RUN, "STOPPED").await;
    assert_eq!(pods(&world).await, 0, "{stopped}");
    let finished = world.finished("stop").await;
    assert_eq!(item(&finished, Kind::Execution, RUN).result, ItemResult::Settled);
    let deleted =
        world.carry_out("delete", json!({"executions": [{"id": RUN, "targetStatus": "DELETED"}]})).await;
    assert_eq!(item(&deleted, Kind::Execution, RUN).result, ItemResult::Settled);
    assert!(jobs(&world).get_opt(RUN).await.unwrap().is_none(), "gone before its Execution");
}

#[tokio::test]
async fn a_stop_that_somebody_undoes_is_requested_again() {
    let world = world("job-resumed").await;
    execution(&world, &json!({})).await;
    state(&world, RUN, "RUNNING").await;
    stop(&world).await;
    state(&world, RUN, "STOPPED").await;
    let resume = Patch::Merge(json!({"spec": {"suspend": false}}));
    jobs(&world).patch(RUN, &PatchParams::default(), &resume).await.unwrap();
    until("it is suspended again", || async {
        let job = jobs(&world).get(RUN).await.unwrap();
        job.spec.unwrap().suspend == Some(true) && pods(&world).await == 0
    })
    .await;
    assert_eq!(status(&world, RUN).await["state"], "STOPPED");
}

#[tokio::test]
async fn a_job_that_is_deleted_is_not_created_again() {
    let world = world("job-deleted").await;
    execution(&world, &json!({})).await;
    state(&world, RUN, "RUNNING").await;
    jobs(&world).delete(RUN, &DeleteParams::background()).await.unwrap();
    let dead = state(&world, RUN, "DEAD").await;
    assert!(dead["message"].as_str().unwrap().contains("gone"), "{dead}");
    assert!(jobs(&world).get_opt(RUN).await.unwrap().is_none());
}

#[tokio::test]
async fn a_name_that_is_taken_is_left_alone() {
    let world = world("job-taken").await;
    let mut job: Job = serde_json::from_value(template(&json!({}))["template"].clone()).unwrap();
    job.metadata.name = Some(RUN.into());
    let job = jobs(&world).create(&PostParams::default(), &job).await.unwrap();
    execution(&world, &json!({})).await;
    until("a condition says so", || async {
        status(&world, RUN).await["conditions"][0]["reason"] == "NameTaken"
    })
    .await;
    let same = jobs(&world).get(RUN).await.unwrap();
    assert_eq!((same.metadata.uid, same.metadata.owner_references), (job.metadata.uid, None));
    assert_eq!(status(&world, RUN).await["state"], "UNKNOWN");
}

#[tokio::test]
async fn what_the_api_server_refuses_is_reported_in_its_words() {
    let world = world("job-refused").await;
    let template =
        json!({"template": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"parallelism": -1}}});
    world.target(Kind::Execution, RUN, template, json!({})).await;
    let dead = state(&world, RUN, "DEAD").await;
    assert!(dead["message"].as_str().unwrap().contains("parallelism"), "{dead}");
}

#[tokio::test]
async fn a_job_without_an_owner_is_adopted_stopped_and_deleted() {
    let world = world("job-adopted").await;
    let mut job: Job = serde_json::from_value(template(&json!({}))["template"].clone()).unwrap();
    job.metadata.name = Some("nightly".into());
    let job = jobs(&world).create(&PostParams::default(), &job).await.unwrap();
    let uid = job.metadata.uid.unwrap();
    let reference =
        json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "nightly", "uid": uid}});
    world.target(Kind::Execution, RUN, reference, json!({})).await;
    state(&world, RUN, "RUNNING").await;
    stop(&world).await;
    state(&world, RUN, "STOPPED").await;
    world.carry_out("delete", json!({"executions": [{"id": RUN, "targetStatus": "DELETED"}]})).await;
    assert!(jobs(&world).get_opt("nightly").await.unwrap().is_none());
}

#[tokio::test]
async fn a_stop_waits_while_bulk_updates_are_disabled() {
    let world = world("job-gate").await;
    execution(&world, &json!({})).await;
    state(&world, RUN, "RUNNING").await;
    world.flag(Some(r#"{"executions": false}"#)).await;
    let asked = json!({"state": "STOPPING", "targetStatus": "STOPPED"});
    world.set_status(Kind::Execution, RUN, asked).await;
    until("a condition says so", || async {
        let status = status(&world, RUN).await;
        status["state"] == "STOPPING" && status["conditions"][0]["reason"] == "BulkUpdatesDisabled"
    })
    .await;
    assert_eq!(jobs(&world).get(RUN).await.unwrap().spec.unwrap().suspend, Some(false));
    world.flag(Some(support::ON)).await;
    state(&world, RUN, "STOPPED").await;
}

#[tokio::test]
async fn an_execution_that_is_deleted_with_orphans_lets_its_job_go_on() {
    let world = world("job-orphaned").await;
    execution(&world, &json!({})).await;
    state(&world, RUN, "RUNNING").await;
    let uid = jobs(&world).get(RUN).await.unwrap().metadata.uid;
    world.kubectl_ok(&["delete", "aiexec,deployments.aiapi.dev", "--all", "--cascade=orphan"], "");
    until("it is gone", || async { world.find(Kind::Execution, RUN).await.is_none() }).await;
    let job = jobs(&world).get(RUN).await.unwrap();
    assert_eq!((job.metadata.uid, job.metadata.owner_references), (uid, None));
    assert_eq!(job.spec.unwrap().suspend, Some(false));
    assert_eq!(pods(&world).await, 2);
}
