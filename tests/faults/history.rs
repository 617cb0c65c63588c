//! The observer: what really happened in a namespace, from watches of its own, in the order of etcd's revisions.

use std::sync::{Arc, Mutex};

use ai_api_operator::api::{BulkUpdate, BulkUpdateStatus, ItemResult, Kind, TargetStatus};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams},
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet};

/// An object at one time.
#[derive(Clone, Debug)]
pub struct Version {
    /// The revision that made this change.
    pub revision: u64,
    /// The plural, such as `executions`.
    pub plural: String,
    pub name: String,
    pub uid: String,
    pub deleted: bool,
    pub object: Value,
    /// When the observer saw it, which is no earlier than when it happened.
    pub seen: Timestamp,
}

impl Version {
    pub fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn state(&self) -> &str {
        match self.text("/status/state") {
            "" => "UNKNOWN",
            state => state,
        }
    }

    pub fn stop_pending(&self) -> bool {
        self.text("/status/targetStatus") == "STOPPED"
    }

    /// The uid of the BulkUpdate that requested the stop.
    pub fn stopped_by(&self) -> &str {
        self.text("/status/stopRequest/uid")
    }

    pub fn terminating(&self) -> bool {
        !self.text("/metadata/deletionTimestamp").is_empty()
    }

    /// RFC 3339 in whole seconds, which sorts by time.
    pub fn created(&self) -> &str {
        self.text("/metadata/creationTimestamp")
    }

    /// Of a BulkUpdate: typed.
    pub fn bulk(&self) -> BulkUpdate {
        serde_json::from_value(self.object.clone()).unwrap()
    }
}

/// A BulkUpdate and all versions of it that were seen.
pub struct Bulk {
    pub uid: String,
    pub created: String,
    pub versions: Vec<(u64, bool, BulkUpdate)>,
}

impl Bulk {
    /// The last status, and its revision.
    pub fn last(&self) -> (u64, BulkUpdateStatus) {
        let (revision, _, bulk) = self.versions.last().unwrap();
        (*revision, bulk.status.clone().unwrap_or_default())
    }

    /// The revision at which it finished.
    pub fn end(&self) -> Option<u64> {
        let over = |bulk: &BulkUpdate| bulk.status.as_ref().is_some_and(|s| s.completion_time.is_some());
        self.versions.iter().find(|(_, _, bulk)| over(bulk)).map(|(revision, ..)| *revision)
    }

    /// Whether a status has the items that the spec asks for.
    pub fn has_its_items(&self, status: &BulkUpdateStatus) -> bool {
        let spec = &self.versions[0].2.spec;
        Kind::ALL.into_iter().all(|kind| {
            let asked = spec.items(kind).iter().map(|i| (&*i.id, i.target_status));
            asked.eq(status.items(kind).iter().map(|i| (&*i.id, i.target_status)))
        })
    }

    /// Whether it asks for this action on this very object.
    pub fn asks(&self, kind: Kind, id: &str, uid: &str, verb: TargetStatus) -> bool {
        let spec = &self.versions[0].2.spec;
        let item = spec.items(kind).iter().find(|i| i.id == id && i.target_status == verb);
        item.is_some_and(|item| item.uid.as_deref().is_none_or(|meant| meant == uid))
    }

    /// Whether the status had this very object planned before `revision`.
    pub fn had_planned(&self, kind: Kind, id: &str, uid: &str, revision: u64) -> bool {
        self.versions.iter().filter(|(r, ..)| *r < revision).any(|(_, _, bulk)| {
            let items = bulk.status.as_ref().map(|s| s.items(kind)).unwrap_or_default();
            items
                .iter()
                .any(|i| *i.id == *id && i.uid.as_deref() == Some(uid) && i.result == ItemResult::Planned)
        })
    }
}

/// All versions seen so far.
pub struct History {
    versions: Mutex<Vec<Version>>,
    grown: watch::Sender<usize>,
    watches: Mutex<JoinSet<()>>,
}

/// What to watch: all objects of a kind in one place, or those that a field selector selects.
pub struct Followed {
    pub resource: ApiResource,
    pub namespace: Option<String>,
    pub fields: Option<String>,
}

impl History {
    /// Watches the targets and BulkUpdates of a namespace, which has to be empty; returns the current revision.
    pub async fn of(client: &Client, namespace: &str) -> (Arc<Self>, String) {
        let resources = [
            Kind::Execution.api_resource(),
            Kind::Deployment.api_resource(),
            ApiResource::erase::<BulkUpdate>(&()),
        ];
        let in_namespace =
            |resource| Followed { resource, namespace: Some(namespace.to_owned()), fields: None };
        let (history, now) = Self::of_all(client, resources.map(in_namespace)).await;
        assert!(history.versions().is_empty());
        (history, now)
    }

    /// Starts these watches with the present objects; returns the revision of the first one.
    pub async fn of_all(
        client: &Client,
        followed: impl IntoIterator<Item = Followed>,
    ) -> (Arc<Self>, String) {
        let history =
            Self { versions: Mutex::default(), grown: watch::Sender::default(), watches: Mutex::default() };
        let history = Arc::new(history);
        let mut first = None;
        for Followed { resource, namespace, fields } in followed {
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            let list = ListParams { field_selector: fields.clone(), ..ListParams::default() };
            let list = api.list(&list).await.unwrap();
            let revision = list.metadata.resource_version.unwrap();
            for object in list.items {
                history.take_in(&resource.plural, WatchEvent::Added(object));
            }
            first.get_or_insert_with(|| revision.clone());
            let weak = Arc::downgrade(&history);
            history.watches.lock().unwrap().spawn(async move {
                let params = WatchParams { field_selector: fields, ..WatchParams::default() };
                let mut events = api.watch(&params, &revision).await.unwrap().boxed();
                while let Some(event) = events.try_next().await.unwrap() {
                    let Some(history) = weak.upgrade() else { return };
                    history.take_in(&resource.plural, event);
                }
            });
        }
        (history, first.unwrap())
    }

    fn take_in(&self, plural: &str, event: WatchEvent<DynamicObject>) {
        let (object, deleted) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
            WatchEvent::Bookmark(_) => return,
            WatchEvent::Error(error) => panic!("the observer's own watch failed: {error}"),
        };
        let meta = &object.metadata;
        let version = Version {
            revision: meta.resource_version.as_ref().unwrap().parse().unwrap(),
            plural: plural.to_owned(),
            name: meta.name.clone().unwrap(),
            uid: meta.uid.clone().unwrap(),
            deleted,
            object: serde_json::to_value(&object).unwrap(),
            seen: Timestamp::now(),
        };
        let mut versions = self.versions.lock().unwrap();
        let at = versions.partition_point(|v| v.revision <= version.revision);
        versions.insert(at, version);
        let count = versions.len();
        drop(versions);
        self.grown.send_replace(count);
    }

    /// Notified of every new version.
    pub fn growth(&self) -> watch::Receiver<usize> {
        self.grown.subscribe()
    }

    pub fn versions(&self) -> Vec<Version> {
        self.versions.lock().unwrap().clone()
    }

    /// The newest version of each BulkUpdate, including deleted ones.
    pub fn bulk_updates(&self) -> Vec<Version> {
        let versions = self.versions();
        let mut newest: Vec<Version> = Vec::new();
        for version in versions.into_iter().filter(|v| v.plural == "bulkupdates") {
            match newest.iter_mut().find(|v| v.uid == version.uid) {
                Some(known) => *known = version,
                None => newest.push(version),
            }
        }
        newest
    }

    /// The newest revision seen.
    pub fn revision(&self) -> u64 {
        self.versions.lock().unwrap().last().map_or(0, |v| v.revision)
    }
}
