//! The shipped admission policy and its binding, which check the authors of BulkUpdates.
//!
//! Plans run side by side on one API server, which has one policy of that name. A plan that changes it has a policy of
//! its own, created when the program starts, because it has to be in force for 10 s. On the wire its name is replaced
//! by the shipped one, so that its operator sees it as the shipped policy; everything else is real.

use std::sync::LazyLock;

use futures::future::join_all;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use support::{
    World,
    control_plane::{ControlPlane, apply},
};

use crate::fault::{Guard, Resource};

/// The shipped name of both.
pub const POLICY: &str = "bulkupdates.aiapi.dev";

/// The shipped manifests: the policy, then its binding.
static MANIFESTS: LazyLock<[Value; 2]> = LazyLock::new(|| {
    let base = ControlPlane::get().manifests("base");
    ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
        .map(|kind| base.iter().find(|manifest| manifest["kind"] == kind).unwrap().clone())
});

pub fn api_resource(resource: Resource) -> ApiResource {
    match resource {
        Resource::Policies => ApiResource::erase::<ValidatingAdmissionPolicy>(&()),
        Resource::Bindings => ApiResource::erase::<ValidatingAdmissionPolicyBinding>(&()),
        other => panic!("{other:?} checks nobody"),
    }
}

fn api(client: &Client, resource: Resource) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &api_resource(resource))
}

/// Creates one of them from the shipped manifest, under this name.
async fn put(client: &Client, name: &str, resource: Resource) {
    let mut manifest = MANIFESTS[usize::from(resource == Resource::Bindings)].clone();
    manifest["metadata"]["name"] = name.into();
    if resource == Resource::Bindings {
        manifest["spec"]["policyName"] = name.into();
    }
    apply(client, manifest).await;
}

/// Creates policies for plans that change theirs.
pub async fn make(names: &[String]) {
    let client = ControlPlane::get().client().await;
    let each = names.iter().flat_map(|name| Resource::GUARDS.map(|resource| put(&client, name, resource)));
    join_all(each).await;
}

/// Lets the operator of a world see its own policy too: the shipped role is for the shipped name.
pub async fn allow_own_policy(world: &World, name: &str) {
    let plurals = Resource::GUARDS.map(Resource::plural);
    let role = format!("test-{}-own", world.home);
    let rules = json!([{"apiGroups": ["admissionregistration.k8s.io"], "resources": plurals,
        "resourceNames": [name], "verbs": ["list", "watch"]}]);
    let group = "rbac.authorization.k8s.io";
    let api_version = format!("{group}/v1");
    apply(
        &world.client,
        json!({"apiVersion": api_version, "kind": "ClusterRole", "metadata": {"name": role}, "rules": rules}),
    )
    .await;
    let subject = json!({"kind": "ServiceAccount", "name": "ai-api-operator", "namespace": world.home});
    let binding = json!({"apiVersion": api_version, "kind": "ClusterRoleBinding", "metadata": {"name": role},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role}, "subjects": [subject]});
    apply(&world.client, binding).await;
}

/// Deletes a plan's own policy and binding.
pub async fn leave(world: &World, name: &str) {
    let own = format!("test-{}-own", world.home);
    let params = DeleteParams::default();
    Api::<ClusterRoleBinding>::all(world.client.clone()).delete(&own, &params).await.unwrap();
    Api::<ClusterRole>::all(world.client.clone()).delete(&own, &params).await.unwrap();
    for resource in Resource::GUARDS {
        // The plan may already have deleted them.
        let _ = api(&world.client, resource).delete(name, &params).await;
    }
}

/// The change that makes one of these check nobody, and its reversal.
fn weaknesses(resource: Resource) -> [Value; 2] {
    match resource {
        Resource::Policies => {
            let nobody = json!([{"name": "exempt", "expression": "false"}]);
            [json!({"spec": {"matchConditions": nobody}}), json!({"spec": {"matchConditions": null}})]
        }
        _ => ["Warn", "Deny"].map(|action| json!({"spec": {"validationActions": [action]}})),
    }
}

async fn patch(client: &Client, name: &str, resource: Resource, patch: Value) {
    // An otherwise unused field manager, so that nothing shows later that it was changed.
    let params = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
    api(client, resource).patch(name, &params, &Patch::Merge(patch)).await.unwrap();
}

/// Makes this change.
pub async fn change(client: &Client, name: &str, guard: Guard) {
    let resource = guard.resource();
    let [weaken, _] = weaknesses(resource);
    match guard {
        Guard::Gone(_) | Guard::Renewed(_) => {
            api(client, resource).delete(name, &DeleteParams::default()).await.unwrap();
        }
        Guard::Weak(_) | Guard::WeakForAMoment(_) => patch(client, name, resource, weaken).await,
    }
    if guard.is_restored() {
        restore(client, name, guard).await;
    }
}

/// Restores it.
pub async fn restore(client: &Client, name: &str, guard: Guard) {
    let resource = guard.resource();
    match guard {
        Guard::Gone(_) | Guard::Renewed(_) => put(client, name, resource).await,
        Guard::Weak(_) | Guard::WeakForAMoment(_) => {
            let [_, strengthen] = weaknesses(resource);
            patch(client, name, resource, strengthen).await;
        }
    }
}
