//! Executions that run as `JobSets`.

use ai_api_operator::api::EngineKind;
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use support::{World, on_nodes::end_pods, until};

use crate::{
    Tests,
    engine::{Engine, NAME},
    history::Change,
    life::{self, nothing},
    traps,
};

pub const TESTS: Tests = crate::tests![
    it_runs_and_completes,
    one_that_fails_is_dead_and_says_why,
    it_is_stopped_and_deleted,
    one_that_is_resumed_by_hand_is_stopped_again,
    a_name_that_is_taken_is_left_alone,
    a_name_that_is_too_long_is_not_used,
    what_its_webhook_refuses_is_reported_in_its_words,
];

const JOB_SET: Engine = Engine {
    name: "JobSet",
    kind: EngineKind::JobSet,
    components: &["engine-jobset"],
    template,
    pods: 3,
    is_stop: is_suspended,
};

/// A group of one Pod and one of two.
pub fn template() -> Value {
    let group = |name: &str, pods: u32| {
        json!({"name": name, "template": {"spec": {"parallelism": pods, "completions": pods, "backoffLimit": 0,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}}}})
    };
    json!({"spec": {"replicatedJobs": [group("driver", 1), group("workers", 2)]}})
}

/// How many Jobs there are.
async fn jobs(world: &World) -> usize {
    let api = Api::<Job>::namespaced(world.client.clone(), &world.namespace);
    api.list(&ListParams::default()).await.unwrap().items.len()
}

fn is_suspended(change: &Change) -> bool {
    change.kind == "JobSet" && change.get("/spec/suspend") == true
}

async fn it_runs_and_completes() {
    let end = async |world: &World| end_pods(world, "", "complete").await;
    life::completes(&JOB_SET, "jobset-completes", end).await;
}

async fn one_that_fails_is_dead_and_says_why() {
    let end = async |world: &World| {
        end_pods(world, "jobset.sigs.k8s.io/replicatedjob-name=driver", "fail").await;
    };
    let why = "first failed job: work-1-driver-0";
    let (world, history) = life::dies(&JOB_SET, "jobset-fails", end, why).await;
    // JobSet deletes the other Job. An owner that is deleted meanwhile does not wait for it, as the garbage collector suspects a
    // circle.
    history.last_pod_ended(NAME).await;
    until("the other Job is gone", || async { jobs(&world).await == 1 }).await;
    life::delete(&JOB_SET, &world, &history).await;
}

async fn it_is_stopped_and_deleted() {
    life::stops(&JOB_SET, "jobset-stops", nothing).await;
}

async fn one_that_is_resumed_by_hand_is_stopped_again() {
    let resume = json!({"spec": {"suspend": false}});
    traps::undone(&JOB_SET, "jobset-resumed", resume, |job_set| job_set["spec"]["suspend"] == true).await;
}

async fn a_name_that_is_taken_is_left_alone() {
    traps::name_taken(&JOB_SET, "jobset-taken").await;
}

async fn a_name_that_is_too_long_is_not_used() {
    traps::name_not_possible(&JOB_SET, "jobset-long", &"n".repeat(60)).await;
}

/// What JobSet's webhook refuses: the name of a Job would be too long.
async fn what_its_webhook_refuses_is_reported_in_its_words() {
    let mut template = JOB_SET.spec()["template"].clone();
    template["spec"]["replicatedJobs"][0]["name"] = "n".repeat(60).into();
    traps::refused(&JOB_SET, "jobset-refused", template, "JobSet name is too long").await;
}
