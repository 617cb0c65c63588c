//! The namespace of one plan, and what others do in it.

mod acts;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use ai_api_operator::{api::Kind, client};
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview, coordination::v1::Lease, core::v1::ConfigMap,
    rbac::v1::ClusterRoleBinding,
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DeleteParams, PostParams},
};
use serde_json::{Value, json};
use support::{World, audit, control_plane::ControlPlane, policy_in_force, until};

use crate::{
    fault::{Call, Change, Resource},
    guards,
    history::{Followed, History},
    plan::Plan,
};

/// The finalizer that keeps an object that somebody has deleted.
pub const FINALIZER: &str = "example.com/keep";

/// How long a replica may take to finish its work once it leads.
const TO_FINISH: Duration = Duration::from_secs(2);

/// The name of the Lease.
pub const LEASE: &str = "ai-api-operator";

pub struct Cluster {
    pub world: World,
    /// The observer's watches of the Lease and of the admission policy and its binding, where the shipped setup runs.
    pub shipped: Option<Arc<History>>,
    /// The name of the admission policy and its binding.
    pub policy: String,
    pub history: Arc<History>,
    /// The observer's watch of the flag.
    pub flags: Arc<History>,
    /// A revision at which there was no target.
    pub empty_at: String,
    operators_client: Client,
    /// How many BulkUpdates others have deleted and created again.
    pub recreated: AtomicUsize,
}

impl Cluster {
    /// A namespace with the shipped RBAC in force, and the flag on. With the shipped setup, targets and BulkUpdates are
    /// in another namespace.
    pub async fn new(name: &str, plan: &Plan) -> Arc<Self> {
        let policy = plan.own_policy.clone().unwrap_or_else(|| guards::POLICY.to_owned());
        let world = if plan.shipped {
            World::with_tenant(name, &format!("{name}-tenant")).await
        } else {
            World::new(name).await
        };
        if plan.own_policy.is_some() {
            guards::allow_own_policy(&world, &policy).await;
        }
        let review = json!({"spec": {"user": world.operator.user, "resourceAttributes":
            {"namespace": world.namespace, "verb": "list", "group": "aiapi.dev", "resource": "executions"}}});
        let review: SubjectAccessReview = serde_json::from_value(review).unwrap();
        let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
        until("the operator's rights are in force", || async {
            let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
            answer.status.is_some_and(|status| status.allowed)
        })
        .await;
        let (history, empty_at) = History::of(&world.client, &world.namespace).await;
        let flag = Followed {
            resource: ApiResource::erase::<ConfigMap>(&()),
            namespace: Some(world.home.clone()),
            fields: Some("metadata.name=ai-api-meta".into()),
        };
        let (flags, _) = History::of_all(&world.client, [flag]).await;
        let shipped = if plan.shipped {
            policy_in_force(&world.client, &policy).await;
            let lease = Followed {
                resource: ApiResource::erase::<Lease>(&()),
                namespace: Some(world.home.clone()),
                fields: None,
            };
            let guards = Resource::GUARDS.map(|resource| Followed {
                resource: guards::api_resource(resource),
                namespace: None,
                fields: Some(format!("metadata.name={policy}")),
            });
            Some(History::of_all(&world.client, [lease].into_iter().chain(guards)).await.0)
        } else {
            None
        };
        let operators_client =
            client::find_cluster(Some(&world.operator.kubeconfig()), None).unwrap().client().unwrap();
        Arc::new(Self {
            world,
            shipped,
            policy,
            history,
            flags,
            empty_at,
            operators_client,
            recreated: AtomicUsize::new(0),
        })
    }

    pub fn operators_config(&self) -> Config {
        operators_config(&self.world.operator.kubeconfig())
    }

    /// A client with the operator's rights that outlives the operator.
    pub fn operators_client(&self) -> Client {
        self.operators_client.clone()
    }

    pub fn audit(&self) -> Vec<audit::Request> {
        ControlPlane::get().tail(&self.world.operator.user)
    }

    /// Does something; returns the revision from which a watch of `resource` shows it.
    pub async fn interrupt(&self, change: Change, resource: Resource, call: Call, path: &str) -> u64 {
        self.change(change, call, path).await;
        if resource == Resource::ConfigMaps {
            let map = self.world.flags().get("ai-api-meta").await.unwrap();
            return map.metadata.resource_version.unwrap().parse().unwrap();
        }
        let gone = |_: &usize| self.history.bulk_updates().iter().all(|bulk| bulk.deleted);
        self.history.growth().wait_for(gone).await.unwrap();
        self.history.bulk_updates()[0].revision
    }

    pub async fn switch_off(&self) {
        self.world.flag(Some("{}")).await;
    }

    /// Removes the bindings that every request would be checked against.
    pub async fn leave(&self) {
        let bindings: Api<ClusterRoleBinding> = Api::all(self.world.client.clone());
        for of in ["", "-admission"] {
            let name = format!("test-{}{of}", self.world.home);
            bindings.delete(&name, &DeleteParams::default()).await.unwrap();
        }
        if self.policy != guards::POLICY {
            guards::leave(&self.world, &self.policy).await;
        }
    }

    /// Waits until the observer has seen everything so far. The operator must not be running any more.
    pub async fn observed(&self) {
        for kind in Kind::ALL {
            self.world.target(kind, "observer-end", json!({}), json!({})).await;
        }
        let item = json!({"id": "observer-end", "targetStatus": "STOPPED"});
        self.world.submit_at_once("observer-end", json!({"executions": [item]})).await;
        let mut growth = self.history.growth();
        let all = |_: &usize| {
            let versions = self.history.versions();
            let ends = versions.iter().filter(|v| v.name == "observer-end");
            let mut plurals: Vec<_> = ends.map(|v| &v.plural).collect();
            plurals.sort();
            plurals.dedup();
            plurals.len() == 3
        };
        let seen = growth.wait_for(all);
        tokio::time::timeout(support::DEADLINE, seen).await.unwrap().unwrap();
    }
}

fn labels() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}})
}

fn kept_by_others() -> Value {
    json!({"metadata": {"finalizers": [FINALIZER]}})
}

fn operators_config(kubeconfig: &Path) -> Config {
    client::find_cluster(Some(kubeconfig), None).unwrap().config
}
