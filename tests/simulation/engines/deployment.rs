//! The controllers of Deployments (`apps/v1`) and of their `ReplicaSets`, in one.

use std::hash::{DefaultHasher, Hash, Hasher};

use api_server::Kubernetes;
use http::Method;
use serde_json::{Value, json};

use super::{APPS, Key, has_ended, is_terminating, text};
use crate::world::World;

/// The end of the name of the ReplicaSet with this template.
fn hash(template: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    format!("{:09x}", hasher.finish() >> 28)
}

impl World {
    /// One sync of a Deployment as it was seen. Returns its status.
    pub fn run_deployment(&mut self, (_, namespace, _): &Key, deployment: &Value) -> Value {
        let [uid, name] = ["uid", "name"].map(|field| text(&deployment["metadata"], &format!("/{field}")));
        let sets_path = format!("{APPS}/namespaces/{namespace}/replicasets");
        let mut template = deployment["spec"]["template"].clone();
        let hash = hash(&template);
        let own = format!("{name}-{hash}");
        template["metadata"]["labels"]["pod-template-hash"] = hash.into();
        let mut sets = self.controlled_by(uid, &sets_path);
        let goes = is_terminating(deployment);
        if !goes && !sets.iter().any(|set| text(set, "/metadata/name") == own) {
            let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid,
                "controller": true, "blockOwnerDeletion": true});
            let labels = &template["metadata"]["labels"];
            let spec = json!({"replicas": deployment["spec"]["replicas"], "selector": {"matchLabels": labels},
                "template": template});
            let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": spec,
                "metadata": {"name": own, "labels": labels, "ownerReferences": [owner]}});
            self.as_admin(Method::POST, &sets_path, &set);
            sets = self.controlled_by(uid, &sets_path);
        }
        let replicas = usize::try_from(deployment["spec"]["replicas"].as_u64().unwrap_or(1)).unwrap_or(1);
        let (mut active, mut available, mut ending) = (0, 0, 0);
        for set in &sets {
            let set_name = text(set, "/metadata/name");
            let wanted = if set_name == own { replicas } else { 0 };
            let pods = self.pods_of(namespace, text(set, "/metadata/uid"));
            let left = pods.into_iter().filter(|pod| !has_ended(pod));
            let (going, there): (Vec<_>, Vec<_>) = left.partition(is_terminating);
            ending += going.len();
            if goes || is_terminating(set) {
                active += there.len();
                continue;
            }
            let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set_name,
                "uid": set["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true});
            for _ in there.len()..wanted {
                self.create_pod(namespace, &owner, &template);
            }
            for pod in there.iter().skip(wanted) {
                self.delete_pod(namespace, pod);
                ending += 1;
            }
            active += wanted;
            let runs = |pod: &&Value| text(pod, "/status/phase") == "Running";
            available += there.iter().take(wanted).filter(runs).count();
        }
        self.status_of(deployment, [active, available, ending])
    }

    fn status_of(&self, deployment: &Value, [active, available, ending]: [usize; 3]) -> Value {
        let counted = |count: usize| if count == 0 { Value::Null } else { count.into() };
        let before = deployment["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is = available > 0 || deployment["spec"]["replicas"] == 0;
        let condition = |type_: &str, is: bool, reason: &str| {
            let status = if is { "True" } else { "False" };
            let same =
                before.iter().find(|condition| condition["type"] == type_ && condition["status"] == status);
            let since = same.map_or_else(|| self.second(), |same| same["lastTransitionTime"].clone());
            json!({"type": type_, "status": status, "reason": reason, "message": "", "lastUpdateTime": since,
                "lastTransitionTime": since})
        };
        let reason = if is { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" };
        let mut status = json!({
            "observedGeneration": deployment["metadata"]["generation"], "replicas": counted(active),
            "updatedReplicas": counted(active), "readyReplicas": counted(available),
            "availableReplicas": counted(available), "unavailableReplicas": counted(active.saturating_sub(available)),
            "conditions": [condition("Available", is, reason), condition("Progressing", true, "ReplicaSetUpdated")],
        });
        // Before Kubernetes 1.35 nobody counts them.
        if self.story.setup.kubernetes == Kubernetes::V1_37 {
            status["terminatingReplicas"] = ending.into();
        }
        if let Some(fields) = status.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        status
    }
}
