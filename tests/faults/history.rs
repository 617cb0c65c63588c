//! The observer: what really happened in a namespace, from watches of its own, in the order of etcd's revisions.

use std::sync::{Arc, Mutex};

use ai_api_operator::api::{BulkUpdate, Kind};
use futures::{StreamExt, TryStreamExt};
use judge::Version;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams},
};
use tokio::{sync::watch, task::JoinSet};

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
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap(),
            uid: meta.uid.clone().unwrap(),
            deleted,
            object: serde_json::to_value(&object).unwrap().into(),
            at: Timestamp::now(),
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
