//! What others do to the objects of a plan.

use std::sync::atomic::Ordering;

use ai_api_operator::api::{BulkUpdate, ItemResult, ItemStatus, Kind, TargetStatus};
use http::request::Parts;
use judge::Version;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Cluster, LEASE, TO_FINISH, kept_by_others, labels};
use crate::{
    fault::{Call, Change, Guard, Resource},
    guards,
};

/// What a TTL is raised to, in seconds.
const RAISED_TTL: u64 = 3;

impl Cluster {
    /// Does something to the object of a request, or to the first target if the request is about none. Returns whether
    /// that has changed anything.
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

    /// Does something to a target. What the API server does not allow (any more) does not happen: returns whether
    /// anything has changed.
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
                    self.world.own_unless_there(kind, name, &state).await;
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
            Change::RelabelUnguarded(resource) => {
                guards::change(&self.world.client, &self.policy, Guard::Gone(resource)).await;
                self.act_on_bulk_updates(Change::RelabelBulkUpdate).await
            }
            Change::DeploymentsOff => {
                self.world.flag(Some(r#"{"executions": true, "deployments": false}"#)).await;
                true
            }
            Change::DeleteBulkUpdate
            | Change::RecreateBulkUpdate
            | Change::KeepBulkUpdate
            | Change::RelabelBulkUpdate
            | Change::RaiseTtl
            | Change::SecondBulkUpdate
            | Change::WidenStatus => self.act_on_bulk_updates(change).await,
        }
    }

    /// The same for all BulkUpdates. They are read from the API server: the history may be behind.
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
                    // Before its deletion can be seen.
                    self.recreated.fetch_add(1, Ordering::Relaxed);
                    let deleted = api.delete(&name, &DeleteParams::default()).await.is_ok();
                    if deleted {
                        self.world.submit_at_once(&name, json!(bulk.spec)).await;
                    } else {
                        self.recreated.fetch_sub(1, Ordering::Relaxed);
                    }
                    deleted
                }
                Change::RelabelBulkUpdate => merge(labels()).await.is_ok(),
                Change::RaiseTtl => {
                    merge(json!({"spec": {"ttlSecondsAfterFinished": RAISED_TTL}})).await.is_ok()
                }
                Change::SecondBulkUpdate if !changed => {
                    self.world.submit_at_once("second", json!(bulk.spec)).await;
                    true
                }
                Change::WidenStatus => self.widen(bulk).await,
                _ => false,
            };
        }
        changed
    }

    /// The newest revision of a BulkUpdate.
    pub async fn newest_bulk_update(&self) -> u64 {
        let present = self.world.bulk_updates().list(&ListParams::default()).await.unwrap();
        let revisions = present.iter().filter_map(|bulk| bulk.resource_version()?.parse().ok());
        revisions.max().unwrap_or_default()
    }

    /// The revision at which the admission policy or its binding was deleted.
    pub async fn gone(&self, resource: Resource) -> u64 {
        let shipped = self.shipped.as_ref().unwrap();
        let gone = || shipped.versions().into_iter().find(|v| v.deleted && v.plural == resource.plural());
        shipped.growth().wait_for(|_| gone().is_some()).await.unwrap();
        gone().unwrap().revision
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.world.client.clone(), &self.world.home)
    }

    async fn patch_lease(&self, holder: Value) -> bool {
        let patch = Patch::Merge(json!({"spec": {"holderIdentity": holder}}));
        self.leases().patch(LEASE, &PatchParams::default(), &patch).await.is_ok()
    }

    /// Waits until another replica leads, and until it has finished its work or has had the time to.
    pub async fn another_leads(&self, name: &str) {
        let Some(shipped) = &self.shipped else { return };
        let another = |_: &usize| ![name, ""].contains(&&*self.leader());
        shipped.growth().wait_for(another).await.unwrap();
        let through = |_: &usize| {
            let over = |bulk: &Version| !bulk.text("/status/completionTime").is_empty() || bulk.deleted;
            self.history.bulk_updates().iter().all(over)
        };
        let _ = tokio::time::timeout(TO_FINISH, self.history.growth().wait_for(through)).await;
    }

    /// Restricts requests about all namespaces to the plan's own: plans run side by side.
    pub fn narrowed(&self, call: Call, head: &mut Parts) {
        let (Call::List(resource) | Call::Watch(resource)) = call else { return };
        let everywhere =
            matches!(resource, Resource::Executions | Resource::Deployments | Resource::BulkUpdates)
                && !head.uri.path().contains("/namespaces/");
        let mut uri = head.uri.to_string();
        if everywhere {
            assert!(!uri.contains("fieldSelector"), "it already has a field selector: {uri}");
            let mark = if uri.contains('?') { '&' } else { '?' };
            uri = format!("{uri}{mark}fieldSelector=metadata.namespace%3D{}", self.world.namespace);
        } else if Resource::GUARDS.contains(&resource) {
            uri = uri.replace(guards::POLICY, &self.policy);
        }
        head.uri = uri.parse().unwrap();
    }

    /// Replaces the name of the plan's own policy by the shipped one.
    pub fn renamed(&self, text: String) -> String {
        if self.policy == guards::POLICY { text } else { text.replace(&self.policy, guards::POLICY) }
    }

    /// The holder of the Lease, as far as the observer knows; empty if there is none.
    pub fn leader(&self) -> String {
        let versions = self.shipped.iter().flat_map(|shipped| shipped.versions());
        let lease = versions.rev().find(|v| v.plural == "leases").filter(|lease| !lease.deleted);
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

    /// Adds an object to the plan of a BulkUpdate that does not ask for it.
    async fn widen(&self, bulk: &BulkUpdate) -> bool {
        let mut items = bulk.status.as_ref().map(|s| s.items(Kind::Execution).to_vec()).unwrap_or_default();
        let bystander = self.world.find(Kind::Execution, "bystander").await.unwrap();
        items.push(ItemStatus {
            id: "bystander".into(),
            target_status: TargetStatus::Deleted,
            result: ItemResult::Planned,
            reason: None,
            message: None,
            uid: bystander.uid().map(Into::into),
            observed_state: None,
        });
        let patch = Patch::Merge(json!({"status": {"executions": items}}));
        let api = self.world.bulk_updates();
        api.patch_status(&bulk.name_any(), &PatchParams::default(), &patch).await.is_ok()
    }

    /// Restores the state that it was in, if it existed.
    async fn delete(&self, kind: Kind, name: &str) -> Option<String> {
        let found = self.world.find(kind, name).await?;
        self.world.targets(kind).delete(name, &DeleteParams::default()).await.ok()?;
        Some(found.data["status"]["state"].as_str().unwrap_or("UNKNOWN").to_owned())
    }

    /// Removes the finalizers that others have set.
    pub async fn remove_finalizers(&self) {
        for kind in Kind::ALL {
            let list = self.world.targets(kind).list(&kube::api::ListParams::default()).await.unwrap();
            for object in list.items.iter().filter(|o| o.metadata.deletion_timestamp.is_some()) {
                let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let _ =
                    self.world.targets(kind).patch(&object.name_any(), &PatchParams::default(), &patch).await;
            }
        }
    }
}
