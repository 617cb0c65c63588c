//! The requests about the BulkUpdate of a submission, once it is created.

use std::time::Duration;

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Api, CustomResourceExt, ResourceExt,
    api::{WatchEvent, WatchParams},
};
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::{
    api::BulkUpdate,
    bulk_update::Stored,
    client::{Failure, Next, requests},
    gateway::caller::Caller,
};

pub type Watch = BoxStream<'static, kube::Result<WatchEvent<Stored>>>;

/// What has become of a BulkUpdate that was to be deleted.
pub enum Withdrawn {
    Deleted,
    /// It has changed, and was left alone.
    Changed(Box<BulkUpdate>),
    NotKnown(Failure),
}

/// What comes after this version of it; nothing if that does not begin in time.
pub async fn watch(caller: &Caller, current: &BulkUpdate, limit: Duration) -> Option<Watch> {
    let (client, resource) = (caller.client.clone(), BulkUpdate::api_resource());
    let api: Api<Stored> = Api::namespaced_with(client, &caller.namespace, &resource);
    let only = WatchParams::default().fields(&format!("metadata.name={}", current.name_any())).timeout(120);
    let version = current.resource_version().unwrap_or_default();
    let begun = timeout(limit, api.watch(&only, &version)).await.ok()?;
    Some(begun.ok()?.boxed())
}

pub async fn read(caller: &Caller, name: &str) -> Result<BulkUpdate, Failure> {
    let read = requests::get::<Stored>(&caller.client, caller.bulk_updates_url(), name).await;
    read.map(|read| read.bulk)
}

/// Deletes it, if it is still as it was seen. What is refused for now is sent again until then.
pub async fn withdraw(caller: &Caller, seen: &BulkUpdate, until: Instant) -> Withdrawn {
    let name = seen.name_any();
    let uid = seen.uid().unwrap_or_default();
    let version = seen.resource_version().unwrap_or_default();
    let only = requests::Only { uid: &uid, resource_version: &version };
    let mut attempt = 0;
    let failure = loop {
        let deleted =
            requests::delete::<IgnoredAny>(&caller.client, caller.bulk_updates_url(), &name, only, false)
                .await;
        let Err(failure) = deleted else { return Withdrawn::Deleted };
        attempt += 1;
        let next = Instant::now() + failure.wait(attempt);
        if failure.next() != Next::Retry || failure.outcome_unknown() || next >= until {
            break failure;
        }
        debug!(request_id = &*caller.invocation.id, %failure, "cannot delete the BulkUpdate; retrying");
        sleep_until(next).await;
    };
    if failure.is_conflict()
        && let Ok(read) = read(caller, &name).await
        && read.uid() == seen.uid()
    {
        return Withdrawn::Changed(Box::new(read));
    }
    Withdrawn::NotKnown(failure)
}
