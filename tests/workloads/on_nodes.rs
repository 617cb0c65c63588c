//! A world on nodes, in which the operator may run workloads, and what is seen there.

use ai_api_operator::api::Kind;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;
use support::{World, control_plane::ControlPlane, until_ok};

/// The components whose permissions the operator gets.
const ENGINES: [&str; 2] = ["engine-job", "engine-deployment"];

/// A world on nodes, in which the operator runs and has the permissions that the components of the engines give, in its namespace.
pub async fn world(name: &str) -> World {
    let world = World::running(name).await;
    ControlPlane::with_nodes();
    for engine in ENGINES {
        world.may_run(engine).await;
    }
    world
}

/// How many Pods there are.
pub async fn pods(world: &World) -> usize {
    let api = Api::<Pod>::namespaced(world.client.clone(), &world.namespace);
    api.list(&ListParams::default()).await.unwrap().items.len()
}

/// The status of an Execution or Deployment.
pub async fn status(world: &World, kind: Kind, name: &str) -> Value {
    world.find(kind, name).await.unwrap().data["status"].clone()
}

/// Waits for a state; returns the status then.
pub async fn state(world: &World, kind: Kind, name: &str, wanted: &str) -> Value {
    until_ok(&format!("{name} is {wanted}"), || async {
        let status = status(world, kind, name).await;
        if status["state"] == wanted { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    status(world, kind, name).await
}
