//! Events about BulkUpdates: published in the background at best effort, and not repeated within five minutes.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1 as events},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Client, Resource, api::PostParams, runtime::events::EventType};
use serde::de::IgnoredAny;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::{
    api::{FIELD_MANAGER, api_version, is_dns_subdomain},
    client::{clock::Clock, requests},
    decode::text::cut,
};

/// The longest note of an event (the API's own limit is 1024 bytes).
const LONGEST_NOTE: usize = 1000;

/// How long one event may take, waiting included: it is published at best effort.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many events are published concurrently: each takes a connection, and a thousand BulkUpdates may end together.
const AT_ONCE: usize = 4;

/// How long an event is not repeated for the same object and reason, in seconds: editing an object over and over must
/// not flood the namespace. This is encoded in its name, so nothing has to be remembered.
const NOT_REPEATED_FOR: i64 = 300;

/// The longest part of the object's name in the event's name, which has 253 characters: a dot and 16 digits follow.
const LONGEST_NAME: usize = 236;

/// Publishes events; keeps none.
pub struct Events {
    client: Client,
    clock: Clock,
    tracker: TaskTracker,
    places: Arc<Semaphore>,
}

/// An object of this kind of ours, as events name it.
pub fn reference(
    kind: &str,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version()),
        kind: Some(kind.into()),
        namespace,
        name,
        uid,
        ..ObjectReference::default()
    }
}

impl Events {
    /// With this client, in tasks of `tracker`.
    pub fn new(client: Client, clock: Clock, tracker: TaskTracker) -> Self {
        Self { client, clock, tracker, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Publishes one in the background: no work waits for it.
    pub fn publish(&self, regarding: ObjectReference, type_: EventType, reason: &str, note: &str) {
        let event = event(regarding, type_, reason, note, self.clock.now().earliest);
        let (client, places) = (self.client.clone(), Arc::clone(&self.places));
        self.tracker.spawn(async move {
            let send = async {
                // It is never closed.
                let _place = places.acquire().await;
                let url = events::Event::url_path(&(), event.metadata.namespace.as_deref());
                requests::create::<IgnoredAny>(&client, url, &event, &PostParams::default()).await
            };
            match tokio::time::timeout(EVENT_TIMEOUT, send).await {
                Ok(Ok(_)) => {}
                // Published already.
                Ok(Err(failure)) if failure.is_conflict() => {}
                Ok(Err(failure)) => warn!(%failure, reason = event.reason, "cannot publish an event"),
                Err(_) => warn!(reason = event.reason, "timed out publishing an event"),
            }
        });
    }
}

/// The name of an event: the object's name, if it has a usable one and cut to fit, and a hash of the rest.
fn name(regarding: &ObjectReference, reason: &str, now: Timestamp) -> String {
    let mut others = DefaultHasher::new();
    (&regarding.uid, &regarding.name, reason, now.as_second().div_euclid(NOT_REPEATED_FOR)).hash(&mut others);
    let prefix = regarding.name.as_deref().filter(|name| is_dns_subdomain(name)).unwrap_or(FIELD_MANAGER);
    let prefix = prefix.get(..LONGEST_NAME).unwrap_or(prefix).trim_end_matches(['.', '-']);
    format!("{prefix}.{:016x}", others.finish())
}

fn event(
    regarding: ObjectReference,
    type_: EventType,
    reason: &str,
    note: &str,
    now: Timestamp,
) -> events::Event {
    let type_ = match type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    events::Event {
        metadata: ObjectMeta {
            namespace: regarding.namespace.clone(),
            name: Some(name(&regarding, reason, now)),
            ..ObjectMeta::default()
        },
        action: Some(reason.into()),
        event_time: Some(MicroTime(now)),
        note: Some(cut(note, LONGEST_NOTE)),
        reason: Some(reason.into()),
        regarding: Some(regarding),
        reporting_controller: Some(FIELD_MANAGER.into()),
        reporting_instance: Some(FIELD_MANAGER.into()),
        type_: Some(type_.into()),
        ..events::Event::default()
    }
}

#[cfg(test)]
mod tests;
