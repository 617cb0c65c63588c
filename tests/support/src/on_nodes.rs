//! A world on nodes, in which the operator may run workloads, and what is seen there.

use ai_api_operator::api::Kind;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{World, control_plane::ControlPlane, until_ok};

/// With this annotation a Pod ends: `complete` or `fail` (dev/control-plane/kwok).
pub const END: &str = "test.aiapi.dev/end";

/// A world on nodes, in which the operator runs and has the permissions that these components of deploy/components give, in its
/// namespace.
pub async fn world(name: &str, components: &[&str]) -> World {
    let world = World::running(name).await;
    ControlPlane::with_nodes();
    for component in components {
        world.may_run(component).await;
    }
    world
}

/// How many Pods there are.
pub async fn pods(world: &World) -> usize {
    let api = Api::<Pod>::namespaced(world.client.clone(), &world.namespace);
    api.list(&ListParams::default()).await.unwrap().items.len()
}

/// Lets the Pods that this label selector matches end: `complete` or `fail`.
pub async fn end_pods(world: &World, labels: &str, how: &str) {
    let api = Api::<Pod>::namespaced(world.client.clone(), &world.namespace);
    let end = Patch::Merge(json!({"metadata": {"annotations": {END: how}}}));
    for pod in api.list(&ListParams::default().labels(labels)).await.unwrap() {
        api.patch(&pod.metadata.name.unwrap(), &PatchParams::default(), &end).await.unwrap();
    }
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
