//! A world on nodes, in which the operator may run workloads.

use serde_json::json;
use support::{World, control_plane::ControlPlane};

/// What the components of the engines grant.
fn rights(namespace: &str) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "engines", "namespace": namespace}, "rules": [
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "watch", "create", "patch"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch", "create", "update", "patch"]},
            {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        ]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "engines", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "engines"},
            "subjects": [{"kind": "ServiceAccount", "name": "ai-api-operator", "namespace": namespace}]},
    ]})
    .to_string()
}

/// A world on nodes, in which the operator runs and may run workloads.
pub async fn world(name: &str) -> World {
    let world = World::running(name).await;
    ControlPlane::with_nodes();
    world.kubectl_ok(&["apply", "-f", "-"], &rights(name));
    world
}
