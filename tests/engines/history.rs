//! What has changed in a namespace, as watches of the API server show it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Instant,
};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
    core::ApiResource,
};
use serde_json::Value;
use support::{World, until};
use tokio::task::JoinSet;

/// A change of an object.
#[derive(Clone, Debug)]
pub struct Change {
    /// When the watch showed it.
    pub at: Instant,
    /// The object's resourceVersion. As one etcd has all objects, it tells the order of all changes.
    pub version: u64,
    pub kind: String,
    pub name: String,
    pub deleted: bool,
    pub object: Value,
}

impl Change {
    /// What is at a JSON pointer.
    pub fn get(&self, pointer: &str) -> &Value {
        self.object.pointer(pointer).unwrap_or(&Value::Null)
    }

    pub fn uid(&self) -> &str {
        self.get("/metadata/uid").as_str().unwrap()
    }

    /// Whether it is a Pod that has ended, or is gone. One that has ended may be kept for its logs.
    pub fn is_end_of_pod(&self) -> bool {
        self.kind == "Pod"
            && (self.deleted || matches!(self.get("/status/phase").as_str(), Some("Succeeded" | "Failed")))
    }

    /// Whether it is about what this Execution or Deployment runs, by its name: all engines name their Pods after it.
    pub fn is_of(&self, name: &str) -> bool {
        self.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// All changes since it was begun. It ends when it is dropped.
pub struct History {
    changes: Arc<Mutex<Vec<Change>>>,
    _watches: JoinSet<()>,
}

impl History {
    /// Begins to watch these resources in the namespace of a world.
    pub async fn of(world: &World, resources: &[ApiResource]) -> Self {
        let changes = Arc::default();
        let mut watches = JoinSet::new();
        for resource in resources {
            let api = Api::namespaced_with(world.client.clone(), &world.namespace, resource);
            let since = api.list_metadata(&ListParams::default()).await.unwrap();
            let since = since.metadata.resource_version.unwrap();
            watches.spawn(watch(api, resource.kind.clone(), since, Arc::clone(&changes)));
        }
        Self { changes, _watches: watches }
    }

    /// The changes for which `wanted` holds, in their order.
    pub fn all(&self, wanted: impl Fn(&Change) -> bool) -> Vec<Change> {
        let mut all: Vec<_> =
            self.changes.lock().unwrap().iter().filter(|change| wanted(change)).cloned().collect();
        all.sort_by_key(|change| change.version);
        all
    }

    /// Waits for a change for which `wanted` holds; returns the first.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Change) -> bool) -> Change {
        until(what, || std::future::ready(self.changes.lock().unwrap().iter().any(&wanted))).await;
        self.all(wanted).swap_remove(0)
    }

    /// The states that an Execution or Deployment has had, in their order.
    pub fn states(&self, kind: &str, name: &str) -> Vec<String> {
        let all = self.all(|change| change.kind == kind && change.name == name && !change.deleted);
        let mut states: Vec<_> =
            all.iter().map(|change| change.get("/status/state").as_str().unwrap().to_owned()).collect();
        states.dedup();
        states
    }

    /// Waits until each Pod that an Execution or Deployment has had, has ended or is gone; returns when the last had.
    pub async fn last_pod_ended(&self, name: &str) -> Change {
        self.last_of_pods(name, Change::is_end_of_pod).await.unwrap()
    }

    /// Waits until each Pod that an Execution or Deployment has had is gone; returns when the last was, if there was one.
    pub async fn last_pod_gone(&self, name: &str) -> Option<Change> {
        self.last_of_pods(name, |change| change.deleted).await
    }

    async fn last_of_pods(&self, name: &str, wanted: fn(&Change) -> bool) -> Option<Change> {
        let ends = || {
            let all = self.all(|change| change.kind == "Pod" && change.is_of(name));
            let pods: BTreeSet<_> = all.iter().map(Change::uid).collect();
            let end = |pod| all.iter().find(|change| change.uid() == pod && wanted(change)).cloned();
            pods.into_iter().map(end).collect::<Option<Vec<_>>>()
        };
        until("the end of its Pods", || std::future::ready(ends().is_some())).await;
        ends().unwrap().into_iter().max_by_key(|change| change.version)
    }
}

/// Watches until it is aborted. The API server ends a watch after some minutes.
async fn watch(api: Api<DynamicObject>, kind: String, mut since: String, into: Arc<Mutex<Vec<Change>>>) {
    loop {
        let events = api.watch(&WatchParams::default().disable_bookmarks(), &since).await.unwrap();
        pin_mut!(events);
        while let Some(Ok(event)) = events.next().await {
            let deleted = matches!(event, WatchEvent::Deleted(_));
            let (WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) =
                event
            else {
                continue;
            };
            since = object.resource_version().unwrap();
            into.lock().unwrap().push(Change {
                at: Instant::now(),
                version: since.parse().unwrap(),
                kind: kind.clone(),
                name: object.name_any(),
                deleted,
                object: serde_json::to_value(&object).unwrap(),
            });
        }
    }
}
