//! The example of docs/managed-by.md: a controller that is not the operator runs an Execution, and is asked to stop it. It
//! has no rights but those of its own role.

use std::time::Duration;

use ai_api_operator::api::{ItemResult, Kind, Reason};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use support::{World, item, until_ok};

#[path = "../../examples/runner/runner.rs"]
mod runner;

use runner::OnStop;

const RUN: &str = "pipeline-1";

/// As its ServiceAccount, in the namespace of the world.
async fn client(world: &World) -> Client {
    let kubeconfig = Kubeconfig::read_from(world.plane.admin_kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_namespace.clone_from(&world.namespace);
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{}:runner", world.namespace));
    Client::try_from(config).unwrap()
}

/// The example runs, and has started an Execution of its own.
async fn runs(name: &str, on_stop: OnStop) -> World {
    let world = World::running(name).await;
    let role = ["apply", "-n", name, "-f", "-"];
    let (applied, output) = world.plane.kubectl(&role, include_str!("../../examples/runner/rbac.yaml"));
    assert!(applied, "{output}");
    tokio::spawn(runner::run(client(&world).await, on_stop));
    let none = json!({});
    world.target(Kind::Execution, RUN, json!({"managedBy": runner::NAME}), none.clone()).await;
    world.target(Kind::Execution, "of-another", json!({"managedBy": "example.com/another"}), none).await;
    state(&world, RUN, "RUNNING").await;
    world
}

async fn state(world: &World, name: &str, wanted: &str) -> Value {
    let now = || async { world.find(Kind::Execution, name).await.unwrap().data["status"].clone() };
    until_ok(&format!("{name} is {wanted}"), || async {
        let status = now().await;
        if status["state"] == wanted { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    now().await
}

fn stop_it(also: &Value) -> Value {
    let mut spec = json!({"executions": [{"id": RUN, "targetStatus": "STOPPED"}]});
    spec.as_object_mut().unwrap().extend(also.as_object().cloned().unwrap());
    spec
}

#[tokio::test]
async fn a_stop_is_settled_once_its_controller_says_so_and_then_it_can_be_deleted() {
    let world = runs("managed-stops", OnStop::Stops(Duration::from_secs(2))).await;
    world.submit("stop-it", stop_it(&json!({}))).await;
    state(&world, RUN, "STOPPING").await;
    let status = world.ready_reason("stop-it", "Settling").await;
    assert_eq!(item(&status, Kind::Execution, RUN).result, ItemResult::Scheduled);
    let status = world.finished("stop-it").await;
    assert_eq!(item(&status, Kind::Execution, RUN).result, ItemResult::Settled);
    let stopped = state(&world, RUN, "STOPPED").await;
    assert!(stopped["completionTime"].is_string() && stopped["stopRequest"].is_object(), "{stopped}");
    let delete_it = json!({"executions": [{"id": RUN, "targetStatus": "DELETED"}]});
    let status = world.carry_out("delete-it", delete_it).await;
    assert_eq!(item(&status, Kind::Execution, RUN).result, ItemResult::Settled);
    assert!(world.find(Kind::Execution, RUN).await.is_none());
    // It has touched nothing of others.
    assert_eq!(state(&world, "of-another", "UNKNOWN").await, json!({"state": "UNKNOWN"}));
}

#[tokio::test]
async fn what_cannot_be_stopped_goes_on_and_the_deadline_ends_the_waiting() {
    let world = runs("managed-goes-on", OnStop::GoesOn).await;
    let status = world.carry_out("stop-it", stop_it(&json!({"activeDeadlineSeconds": 3}))).await;
    assert_eq!(item(&status, Kind::Execution, RUN).reason, Some(Reason::NotSettledInTime), "{status:?}");
    let running = state(&world, RUN, "RUNNING").await;
    assert_eq!(running["conditions"][0]["reason"], "CannotStop", "{running}");
    assert!(running["message"].as_str().unwrap().contains("cannot be interrupted"), "{running}");
}

#[tokio::test]
async fn what_ends_by_itself_settles_a_stop_as_well() {
    let world = runs("managed-completes", OnStop::Completes).await;
    let status = world.carry_out("stop-it", stop_it(&json!({}))).await;
    assert_eq!(item(&status, Kind::Execution, RUN).result, ItemResult::Settled);
    state(&world, RUN, "COMPLETED").await;
}
