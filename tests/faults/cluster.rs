//! The namespace of one plan, and what others do in it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ai_api_operator::{
    api::{BulkUpdate, ItemResult, ItemStatus, Kind, TargetStatus},
    client,
};
use http::request::Parts;
use k8s_openapi::{
    api::{
        authorization::v1::SubjectAccessReview, coordination::v1::Lease, rbac::v1::ClusterRoleBinding,
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    fault::{Call, Change, Resource},
    guards,
    history::{Followed, History, Version},
    plan::Plan,
    support::{World, audit, control_plane::ControlPlane, until},
};

/// What keeps an object that somebody has deleted.
pub const FINALIZER: &str = "example.com/keep";

/// How long a replica may take to be through once it leads.
const TO_BE_THROUGH: Duration = Duration::from_secs(2);

/// The name of the Lease.
pub const LEASE: &str = "ai-api-operator";

pub struct Cluster {
    pub world: World,
    /// The observer's watches of the Lease and of what checks authors, where what is shipped runs.
    pub shipped: Option<Arc<History>>,
    /// The name of the admission policy and its binding.
    pub policy: String,
    pub history: Arc<History>,
    /// A revision in which there was no target.
    pub empty_at: String,
    operators_client: Client,
    /// When the flag was switched off or the BulkUpdate deleted.
    called_off: Mutex<Option<Timestamp>>,
    /// The objects that others have deleted, by uid.
    deleted: Mutex<Vec<String>>,
    /// How many BulkUpdates others have deleted and made anew.
    pub made_anew: AtomicUsize,
}

impl Cluster {
    /// A namespace with the shipped RBAC in force, and the flag on. Where what is shipped runs, the targets and BulkUpdates are
    /// in another one.
    pub async fn new(name: &str, plan: &Plan) -> Arc<Self> {
        let policy = plan.own_policy.clone().unwrap_or_else(|| guards::POLICY.to_owned());
        let world = match plan.shipped {
            true => World::with_tenant(name, &format!("{name}-tenant")).await,
            false => World::new(name).await,
        };
        if plan.own_policy.is_some() {
            guards::let_see(&world, &policy).await;
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
        let shipped = if plan.shipped {
            guards::in_force(&world.client, &policy).await;
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
        let operators_client = client::connect(operators_config(world.operator.kubeconfig()).await).unwrap();
        let (called_off, deleted) = Default::default();
        Arc::new(Self {
            world,
            shipped,
            policy,
            history,
            empty_at,
            operators_client,
            called_off,
            deleted,
            made_anew: AtomicUsize::new(0),
        })
    }

    pub async fn operators_config(&self) -> Config {
        operators_config(self.world.operator.kubeconfig()).await
    }

    /// A client with the operator's rights, that lives on when it dies.
    pub fn operators_client(&self) -> Client {
        self.operators_client.clone()
    }

    pub fn audit(&self) -> Vec<audit::Request> {
        ControlPlane::get().tail(&self.world.operator.user)
    }

    pub fn called_off(&self) -> Option<Timestamp> {
        *self.called_off.lock().unwrap()
    }

    fn call_off(&self) {
        self.called_off.lock().unwrap().get_or_insert_with(Timestamp::now);
    }

    pub fn others_deleted(&self) -> Vec<String> {
        self.deleted.lock().unwrap().clone()
    }

    /// Has something done, and gives back the revision from which on a watch of `resource` tells of it.
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
        self.call_off();
    }

    /// Does something to the object of a request; or to the first target, if it is not about one. Says whether that has changed
    /// anything.
    pub async fn change(&self, change: Change, call: Call, path: &str) -> bool {
        let mut segments = path.rsplit('/');
        let (name, plural) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural);
        match kind {
            Some(kind) if !matches!(call, Call::List(_) | Call::Watch(_)) => {
                self.act(change, kind, name).await
            }
            _ => {
                let versions = self.history.versions();
                let first = versions.iter().find(|v| v.plural != "bulkupdates").unwrap();
                let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == first.plural).unwrap();
                self.act(change, kind, &first.name).await
            }
        }
    }

    /// Does something to a target. What the API server does not let happen (any more) does not happen: says whether anything
    /// has changed.
    pub async fn act(&self, change: Change, kind: Kind, name: &str) -> bool {
        match change {
            Change::Relabel => self.patch(kind, name, labels()).await,
            Change::Complete => self.put_into(kind, name, "COMPLETED").await,
            Change::Run => self.put_into(kind, name, "RUNNING").await,
            Change::Stop => self.put_into(kind, name, "STOPPED").await,
            Change::State(state) => self.put_into(kind, name, state).await,
            Change::AskToStop => {
                self.patch_status(kind, name, json!({"status": {"targetStatus": "STOPPED"}})).await
            }
            Change::Delete => self.delete(kind, name).await.is_some(),
            Change::Recreate => match self.delete(kind, name).await {
                Some(state) => {
                    let _ = self.world.own(kind, name, &state).await;
                    true
                }
                None => false,
            },
            Change::Finalize => self.patch(kind, name, kept_by_others()).await,
            Change::Terminate => {
                self.patch(kind, name, kept_by_others()).await;
                self.delete(kind, name).await.is_some()
            }
            Change::FlagOff => {
                self.switch_off().await;
                true
            }
            Change::TakeLease => self.patch_lease(json!("somebody-else")).await,
            Change::FreeLease => self.patch_lease(Value::Null).await,
            Change::DeleteLease => self.leases().delete(LEASE, &DeleteParams::default()).await.is_ok(),
            Change::Guard(guard) => {
                guards::change(&self.world.client, &self.policy, guard).await;
                true
            }
            Change::DeploymentsOff => {
                self.world.flag(Some(r#"{"executions": true, "deployments": false}"#)).await;
                self.call_off();
                true
            }
            Change::DeleteBulkUpdate
            | Change::RecreateBulkUpdate
            | Change::KeepBulkUpdate
            | Change::RelabelBulkUpdate
            | Change::SecondBulkUpdate
            | Change::WidenStatus => self.act_on_bulk_updates(change).await,
        }
    }

    /// The same, to the BulkUpdates that there are. They are asked of the API server: the history may be behind.
    async fn act_on_bulk_updates(&self, change: Change) -> bool {
        let api = self.world.bulk_updates();
        let present = api.list(&ListParams::default()).await.unwrap();
        let mut changed = false;
        for bulk in present.iter().filter(|bulk| bulk.metadata.deletion_timestamp.is_none()) {
            let name = bulk.name_any();
            let merge =
                async |patch: Value| api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
            changed |= match change {
                Change::DeleteBulkUpdate => api.delete(&name, &DeleteParams::default()).await.is_ok(),
                Change::KeepBulkUpdate => {
                    let kept = merge(kept_by_others()).await.is_ok();
                    kept && api.delete(&name, &DeleteParams::default()).await.is_ok()
                }
                Change::RecreateBulkUpdate => {
                    // Before anybody can see that it is gone.
                    self.made_anew.fetch_add(1, Ordering::Relaxed);
                    let deleted = api.delete(&name, &DeleteParams::default()).await.is_ok();
                    if deleted {
                        self.world.submit_at_once(&name, json!(bulk.spec)).await;
                    } else {
                        self.made_anew.fetch_sub(1, Ordering::Relaxed);
                    }
                    deleted
                }
                Change::RelabelBulkUpdate => merge(labels()).await.is_ok(),
                Change::SecondBulkUpdate if !changed => {
                    self.world.submit_at_once("second", json!(bulk.spec)).await;
                    true
                }
                Change::WidenStatus => self.widen(bulk).await,
                _ => false,
            };
        }
        if changed && matches!(change, Change::DeleteBulkUpdate | Change::KeepBulkUpdate) {
            self.call_off();
        }
        changed
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.world.client.clone(), &self.world.home)
    }

    async fn patch_lease(&self, holder: Value) -> bool {
        let patch = Patch::Merge(json!({"spec": {"holderIdentity": holder}}));
        self.leases().patch(LEASE, &PatchParams::default(), &patch).await.is_ok()
    }

    /// Waits until another one leads, and until it is through, or has had time to be.
    pub async fn another_leads(&self, name: &str) {
        let Some(shipped) = &self.shipped else { return };
        let another = |_: &usize| ![name, ""].contains(&&*self.leader());
        shipped.growth().wait_for(another).await.unwrap();
        let through = |_: &usize| {
            let over = |bulk: &Version| !bulk.text("/status/completionTime").is_empty() || bulk.deleted;
            self.history.bulk_updates().iter().all(over)
        };
        let _ = tokio::time::timeout(TO_BE_THROUGH, self.history.growth().wait_for(through)).await;
    }

    /// Narrows what is asked about all namespaces to its own: plans run side by side.
    pub fn narrowed(&self, call: Call, head: &mut Parts) {
        let (Call::List(resource) | Call::Watch(resource)) = call else { return };
        let everywhere = matches!(resource, Resource::Executions | Resource::Deployments | Resource::BulkUpdates)
            && !head.uri.path().contains("/namespaces/");
        let mut uri = head.uri.to_string();
        if everywhere {
            assert!(!uri.contains("fieldSelector"), "it selects already: {uri}");
            let mark = if uri.contains('?') { '&' } else { '?' };
            uri = format!("{uri}{mark}fieldSelector=metadata.namespace%3D{}", self.world.namespace);
        } else if Resource::GUARDS.contains(&resource) {
            uri = uri.replace(guards::POLICY, &self.policy);
        }
        head.uri = uri.parse().unwrap();
    }

    /// Lets its own policy pass for the shipped one.
    pub fn renamed(&self, text: String) -> String {
        if self.policy == guards::POLICY { text } else { text.replace(&self.policy, guards::POLICY) }
    }

    /// Who holds the Lease, as far as the observer knows; nobody, if empty.
    pub fn leader(&self) -> String {
        let versions = self.shipped.iter().flat_map(|shipped| shipped.versions());
        let lease = versions.filter(|v| v.plural == "leases").last().filter(|lease| !lease.deleted);
        lease.map(|lease| lease.text("/spec/holderIdentity").to_owned()).unwrap_or_default()
    }

    async fn patch(&self, kind: Kind, name: &str, patch: Value) -> bool {
        self.world.targets(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.is_ok()
    }

    async fn patch_status(&self, kind: Kind, name: &str, patch: Value) -> bool {
        let Some(before) = self.world.find(kind, name).await else { return false };
        let patch = Patch::Merge(patch);
        let after = self.world.targets(kind).patch_status(name, &PatchParams::default(), &patch).await;
        after.is_ok_and(|after| after.resource_version() != before.resource_version())
    }

    async fn put_into(&self, kind: Kind, name: &str, state: &str) -> bool {
        self.patch_status(kind, name, json!({"status": {"state": state}})).await
    }

    /// Puts an object into the plan of a BulkUpdate that does not ask for it.
    async fn widen(&self, bulk: &BulkUpdate) -> bool {
        let mut items = bulk.status.as_ref().map(|s| s.items(Kind::Execution).to_vec()).unwrap_or_default();
        let bystander = self.world.find(Kind::Execution, "bystander").await.unwrap();
        items.push(ItemStatus {
            id: "bystander".into(),
            target_status: TargetStatus::Deleted,
            result: ItemResult::Planned,
            reason: None,
            message: None,
            uid: bystander.uid(),
            observed_state: None,
        });
        let patch = Patch::Merge(json!({"status": {"executions": items}}));
        let api = self.world.bulk_updates();
        api.patch_status(&bulk.name_any(), &PatchParams::default(), &patch).await.is_ok()
    }

    /// Gives back the state that it was in, if it was there.
    async fn delete(&self, kind: Kind, name: &str) -> Option<String> {
        let found = self.world.find(kind, name).await?;
        self.deleted.lock().unwrap().push(found.uid().unwrap());
        self.world.targets(kind).delete(name, &DeleteParams::default()).await.ok()?;
        Some(found.data["status"]["state"].as_str().unwrap_or("UNKNOWN").to_owned())
    }

    /// Lets go of what others kept from going.
    pub async fn let_go(&self) {
        for kind in Kind::ALL {
            let list = self.world.targets(kind).list(&kube::api::ListParams::default()).await.unwrap();
            for object in list.items.iter().filter(|o| o.metadata.deletion_timestamp.is_some()) {
                let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let _ =
                    self.world.targets(kind).patch(&object.name_any(), &PatchParams::default(), &patch).await;
            }
        }
    }

    /// Takes back the rights that every request would be checked against.
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

    /// Waits until the observer has seen all that has happened so far. The operator must not run any more.
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
        tokio::time::timeout(crate::support::DEADLINE, seen).await.unwrap().unwrap();
    }
}

fn labels() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}})
}

fn kept_by_others() -> Value {
    json!({"metadata": {"finalizers": [FINALIZER]}})
}

async fn operators_config(kubeconfig: PathBuf) -> Config {
    client::find_cluster(Some(&kubeconfig), None).await.unwrap()
}
