//! The namespace of one plan, and what others do in it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use ai_api_operator::{
    api::{BulkUpdate, ItemResult, ItemStatus, Kind, TargetStatus},
    client,
};
use k8s_openapi::{
    api::{authorization::v1::SubjectAccessReview, rbac::v1::ClusterRoleBinding},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    fault::{Call, Change, Resource},
    history::History,
    support::{World, audit, control_plane::ControlPlane, until},
};

/// What keeps an object that somebody has deleted.
pub const FINALIZER: &str = "example.com/keep";

pub struct Cluster {
    pub world: World,
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
    /// A namespace with the shipped RBAC in force, and the flag on.
    pub async fn new(name: &str) -> Arc<Self> {
        let world = World::new(name).await;
        let review = json!({"spec": {"user": world.operator.user, "resourceAttributes":
            {"namespace": name, "verb": "list", "group": "aiapi.dev", "resource": "executions"}}});
        let review: SubjectAccessReview = serde_json::from_value(review).unwrap();
        let reviews: Api<SubjectAccessReview> = Api::all(world.client.clone());
        until("the operator's rights are in force", || async {
            let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
            answer.status.is_some_and(|status| status.allowed)
        })
        .await;
        let (history, empty_at) = History::of(&world.client, name).await;
        let operators_client = client::connect(operators_config(world.operator.kubeconfig())).unwrap();
        let (called_off, deleted) = Default::default();
        Arc::new(Self {
            world,
            history,
            empty_at,
            operators_client,
            called_off,
            deleted,
            made_anew: AtomicUsize::new(0),
        })
    }

    pub fn operators_config(&self) -> Config {
        operators_config(self.world.operator.kubeconfig())
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

    pub fn others_deleted(&self, uid: &str) -> bool {
        self.deleted.lock().unwrap().iter().any(|u| u == uid)
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
                        self.world.submit(&name, json!(bulk.spec)).await;
                    } else {
                        self.made_anew.fetch_sub(1, Ordering::Relaxed);
                    }
                    deleted
                }
                Change::RelabelBulkUpdate => merge(labels()).await.is_ok(),
                Change::SecondBulkUpdate if !changed => {
                    self.world.submit("second", json!(bulk.spec)).await;
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
        let name = format!("test-{}", self.world.namespace);
        bindings.delete(&name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the observer has seen all that has happened so far. The operator must not run any more.
    pub async fn observed(&self) {
        for kind in Kind::ALL {
            self.world.target(kind, "observer-end", json!({}), json!({})).await;
        }
        let item = json!({"id": "observer-end", "targetStatus": "STOPPED"});
        self.world.submit("observer-end", json!({"executions": [item]})).await;
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

fn operators_config(kubeconfig: PathBuf) -> Config {
    client::find_cluster(Some(&kubeconfig), None).unwrap().config
}
