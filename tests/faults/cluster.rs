//! The namespace of one plan, and what others do in it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use ai_api_operator::{
    api::{ItemResult, ItemStatus, Kind, TargetStatus},
    client,
};
use k8s_openapi::{
    api::{authorization::v1::SubjectAccessReview, rbac::v1::ClusterRoleBinding},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
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
        let operators_client = client::connect(operators_config(world.operator.kubeconfig()).await).unwrap();
        let (called_off, deleted) = Default::default();
        Arc::new(Self { world, history, empty_at, operators_client, called_off, deleted })
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

    /// Does something to the object of a request; or to the first target, if it is not about one.
    pub async fn change(&self, change: Change, call: Call, path: &str) {
        let mut segments = path.rsplit('/');
        let (name, plural) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
        let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural);
        match kind {
            Some(kind) if !matches!(call, Call::List(_) | Call::Watch(_)) => {
                self.act(change, kind, name).await;
            }
            _ => {
                let versions = self.history.versions();
                let first = versions.iter().find(|v| v.plural != "bulkupdates").unwrap();
                let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == first.plural).unwrap();
                self.act(change, kind, &first.name).await;
            }
        }
    }

    /// Does something to a target. What the API server does not let happen (any more) does not happen.
    pub async fn act(&self, change: Change, kind: Kind, name: &str) {
        let targets = self.world.targets(kind);
        let merge = |patch: Value| Patch::Merge(patch);
        let params = PatchParams::default();
        match change {
            Change::Relabel => {
                let _ =
                    targets.patch(name, &params, &merge(json!({"metadata": {"labels": {"a": "b"}}}))).await;
            }
            Change::Complete | Change::Run | Change::Stop | Change::State(_) => {
                let state = match change {
                    Change::Complete => "COMPLETED",
                    Change::Run => "RUNNING",
                    Change::State(state) => state,
                    _ => "STOPPED",
                };
                let _ =
                    targets.patch_status(name, &params, &merge(json!({"status": {"state": state}}))).await;
            }
            Change::AskToStop => {
                let patch = merge(json!({"status": {"targetStatus": "STOPPED"}}));
                let _ = targets.patch_status(name, &params, &patch).await;
            }
            Change::Delete => {
                self.delete(kind, name).await;
            }
            Change::Recreate => {
                if let Some(state) = self.delete(kind, name).await {
                    let _ = self.world.own(kind, name, &state).await;
                }
            }
            Change::Finalize => {
                let patch = merge(json!({"metadata": {"finalizers": [FINALIZER]}}));
                let _ = targets.patch(name, &params, &patch).await;
            }
            Change::Terminate => {
                let patch = merge(json!({"metadata": {"finalizers": [FINALIZER]}}));
                let _ = targets.patch(name, &params, &patch).await;
                self.delete(kind, name).await;
            }
            Change::DeleteBulkUpdate => {
                for bulk in self.present_bulk_updates() {
                    let _ = self.world.bulk_updates().delete(&bulk, &DeleteParams::default()).await;
                }
                self.call_off();
            }
            Change::RecreateBulkUpdate => {
                for bulk in self.present_bulk_updates() {
                    let present = self.world.bulk_updates().get_opt(&bulk).await.unwrap();
                    let deleted = self.world.bulk_updates().delete(&bulk, &DeleteParams::default()).await;
                    if let (Some(present), Ok(_)) = (present, deleted) {
                        self.world.submit(&bulk, json!(present.spec)).await;
                    }
                }
            }
            Change::KeepBulkUpdate => {
                for bulk in self.present_bulk_updates() {
                    let patch = merge(json!({"metadata": {"finalizers": [FINALIZER]}}));
                    let _ = self.world.bulk_updates().patch(&bulk, &params, &patch).await;
                    let _ = self.world.bulk_updates().delete(&bulk, &DeleteParams::default()).await;
                }
                self.call_off();
            }
            Change::RelabelBulkUpdate => {
                for bulk in self.present_bulk_updates() {
                    let patch = merge(json!({"metadata": {"labels": {"a": "b"}}}));
                    let _ = self.world.bulk_updates().patch(&bulk, &params, &patch).await;
                }
            }
            Change::SecondBulkUpdate => {
                if let Some(first) = self.history.bulk_updates().first() {
                    self.world.submit("second", first.object["spec"].clone()).await;
                }
            }
            Change::WidenStatus => {
                for bulk in self.present_bulk_updates() {
                    self.widen(&bulk).await;
                }
            }
            Change::FlagOff => self.switch_off().await,
            Change::DeploymentsOff => {
                self.world.flag(Some(r#"{"executions": true, "deployments": false}"#)).await;
                self.call_off();
            }
        }
    }

    /// Puts an object into the plan of a BulkUpdate that does not ask for it.
    async fn widen(&self, bulk: &str) {
        let present = self.world.bulk_updates().get(bulk).await.unwrap();
        let mut items = present.status.map(|s| s.items(Kind::Execution).to_vec()).unwrap_or_default();
        let Some(bystander) = self.world.find(Kind::Execution, "bystander").await else { return };
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
        let _ = self.world.bulk_updates().patch_status(bulk, &PatchParams::default(), &patch).await;
    }

    fn present_bulk_updates(&self) -> Vec<String> {
        self.history.bulk_updates().into_iter().filter(|v| !v.deleted).map(|v| v.name).collect()
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

async fn operators_config(kubeconfig: PathBuf) -> Config {
    client::find_cluster(Some(&kubeconfig), None).await.unwrap()
}
