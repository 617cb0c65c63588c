//! What an Execution is to run while nobody checks its author: nothing is created for it, then or later.

use ai_api_operator::api::Kind;
use serde_json::json;
use support::{World, until, until_ok};

use super::put;
use crate::alone;

const WORK_POLICY: &str = "validatingadmissionpolicy/work.aiapi.dev";

/// Waits until the Lease says that work is accepted, or is not.
async fn accepted(world: &World, wanted: bool) {
    let path = r"jsonpath={.metadata.annotations.aiapi\.dev/work-admission-accepted}";
    let says =
        || world.kubectl_ok(&["get", "lease", "ai-api-operator", "--ignore-not-found", "-o", path], "");
    until("the Lease says so", || async { says().is_empty() != wanted }).await;
}

async fn execution(world: &World, name: &str) {
    let template = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}}});
    world.target(Kind::Execution, name, json!({"template": template}), json!({})).await;
}

async fn reason(world: &World, name: &str, wanted: &str) {
    until_ok(&format!("{name}: {wanted}"), || async {
        let status = world.find(Kind::Execution, name).await.unwrap().data["status"].clone();
        if status["conditions"][0]["reason"] == wanted { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn what_was_created_while_nobody_checked_is_not_run() {
    let _alone = alone().await;
    let mut world = World::new("unchecked-work").await;
    world.may_run("engine-job").await;
    world.operator.start(&["--require-admission-policy"]);
    accepted(&world, true).await;
    world.kubectl_ok(&["delete", WORK_POLICY], "");
    accepted(&world, false).await;
    execution(&world, "unchecked").await;
    reason(&world, "unchecked", "Waiting").await;
    put(&world);
    accepted(&world, true).await;
    reason(&world, "unchecked", "NotAuthorized").await;
    execution(&world, "checked").await;
    reason(&world, "checked", "Pending").await;
    until("its Job", || async { world.kubectl(&["get", "job", "checked"], "").0 }).await;
    assert!(!world.kubectl(&["get", "job", "unchecked"], "").0);
    // UNKNOWN: nothing runs, so it may be deleted.
    assert_eq!(world.find(Kind::Execution, "unchecked").await.unwrap().data["status"]["state"], "UNKNOWN");
}
