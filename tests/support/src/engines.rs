//! The permissions to run workloads.

use serde_json::{Value, json};

use crate::{
    World,
    control_plane::{PROJECT, apply},
};

impl World {
    /// Gives the operator the permissions of this component of deploy/components, in its namespace.
    pub async fn may_run(&self, component: &str) {
        let manifests = self.roles_of(component).await;
        let role = manifests.iter().find(|manifest| manifest["kind"] == "ClusterRole").unwrap();
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": component, "namespace": self.home},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role["metadata"]["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": "ai-api-operator", "namespace": self.home}]});
        apply(&self.client, binding).await;
    }

    /// Gives the operator's ServiceAccount of this namespace the permissions of a component, as they are shipped: everywhere.
    pub async fn may_run_everywhere(&self, component: &str, namespace: &str) {
        let manifests = self.roles_of(component).await;
        self.plane.install(&self.client, namespace, &manifests).await;
    }

    /// The manifests of a component's permissions, after its role was created.
    async fn roles_of(&self, component: &str) -> Vec<Value> {
        let file = format!("{PROJECT}/deploy/components/{component}/rbac.yaml");
        let manifests: Vec<Value> =
            serde_saphyr::from_multiple(&std::fs::read_to_string(file).unwrap()).unwrap();
        for role in manifests.iter().filter(|manifest| manifest["kind"] == "ClusterRole") {
            apply(&self.client, role.clone()).await;
        }
        manifests
    }
}
