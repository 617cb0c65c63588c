//! A world on nodes, in which the operator may run workloads.

use serde_json::json;
use support::{
    World,
    control_plane::{ControlPlane, apply},
};

/// The components whose permissions the operator gets.
const ENGINES: [&str; 2] = ["engine-job", "engine-deployment"];

/// A world on nodes, in which the operator runs and has the permissions that the components of the engines give, in its namespace.
pub async fn world(name: &str) -> World {
    let world = World::running(name).await;
    ControlPlane::with_nodes();
    for engine in ENGINES {
        let component = format!("{}/deploy/components/{engine}/rbac.yaml", support::control_plane::PROJECT);
        let manifests: Vec<serde_json::Value> =
            serde_saphyr::from_multiple(&std::fs::read_to_string(component).unwrap()).unwrap();
        let role = manifests.into_iter().find(|manifest| manifest["kind"] == "ClusterRole").unwrap();
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": engine, "namespace": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role["metadata"]["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": "ai-api-operator", "namespace": name}]});
        apply(&world.client, role).await;
        apply(&world.client, binding).await;
    }
    world
}
