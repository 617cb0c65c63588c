//! Authorization of authors: the shipped admission policy on a real API server, and an operator that plans nothing
//! without it.

mod authors;
mod lease;
mod neighbours;
mod record;
mod unchecked_work;
mod upgrade;
mod work;

use serde_json::{Value, json};
use support::{
    World,
    control_plane::{ControlPlane, PROJECT},
    until, until_ok,
};

/// Restores the shipped policy and its binding.
pub fn restore(plane: &ControlPlane) {
    let generations = [POLICY, BINDING].map(|object| {
        plane.kubectl(&["get", object, "--ignore-not-found", "-o", "jsonpath={.metadata.generation}"], "").1
    });
    // One that was never changed saves the ten seconds.
    if generations != ["1", "1"] {
        plane.kubectl(&["delete", "--ignore-not-found", POLICY, BINDING], "");
        apply(plane);
    }
}

fn apply(plane: &ControlPlane) {
    let base = format!("{PROJECT}/deploy/base");
    let (ok, output) = plane.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &base], "");
    assert!(ok, "{output}");
}

/// The policy and binding that the Lease records as accepted; empty if there are none.
pub fn says_accepted(world: &World) -> String {
    let path = r"jsonpath={.metadata.annotations.aiapi\.dev/admission-accepted}";
    world.kubectl_ok(&["get", "lease", "ai-api-operator", "--ignore-not-found", "-o", path], "")
}

/// Waits until the Lease records the present policy and binding.
pub async fn accepted(world: &World) {
    until_ok("policy and binding are accepted", || async {
        let pair = "jsonpath={.metadata.uid}/{.metadata.generation}";
        let live = [POLICY, BINDING].map(|object| world.kubectl_ok(&["get", object, "-o", pair], ""));
        let (live, says) = (live.join(" "), says_accepted(world));
        if says == live { Ok(()) } else { Err(format!("{says}, not {live}; {}", world.operator.log())) }
    })
    .await;
}

/// Grants a user these verbs on these resources of the group, in the world's namespace.
pub fn grant(world: &World, user: &str, rules: &[(&str, &str)]) {
    let rules: Vec<_> = rules
        .iter()
        .map(|(verbs, resources)| {
            json!({"apiGroups": ["aiapi.dev"], "resources": words(resources), "verbs": words(verbs)})
        })
        .collect();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": user}, "rules": rules});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
    for manifest in [role, binding] {
        world.kubectl_ok(&["apply", "-f", "-"], &manifest.to_string());
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Creates a BulkUpdate as a user; returns whether it was accepted, and the message.
pub fn create_as(world: &World, user: &str, manifest: &Value) -> (bool, String) {
    world.kubectl(&["create", "--as", user, "-f", "-"], &manifest.to_string())
}

/// A BulkUpdate.
#[must_use]
pub fn bulk(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "metadata": {"name": name}, "spec": spec})
}

/// The policy, as kubectl names it.
pub const POLICY: &str = "validatingadmissionpolicy/bulkupdates.aiapi.dev";
/// Its binding.
pub const BINDING: &str = "validatingadmissionpolicybinding/bulkupdates.aiapi.dev";

/// Creates policy and binding (again).
pub fn put(world: &World) {
    apply(world.plane);
}

/// A merge patch of the policy or the binding, by a user who owns no field of it.
pub fn patch(world: &World, object: &str, spec: &Value) {
    world.kubectl_ok(&["patch", object, "--type=merge", "-p", &json!({"spec": spec}).to_string()], "");
}

/// Waits until the API server checks authors, or no longer does.
pub async fn in_force(world: &World, wanted: bool) {
    grant(world, "nobody", &[("create", "bulkupdates")]);
    let stop = bulk("trial", &json!({"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}]}));
    until("the policy has changed", || async {
        let (taken, said) =
            world.kubectl(&["create", "--as=nobody", "--dry-run=server", "-f", "-"], &stop.to_string());
        taken != wanted && (taken || said.contains("nobody may not stop executions.aiapi.dev"))
    })
    .await;
}
