//! BulkUpdates that are over: their TTL, and the generation of their status.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{
    Resource,
    core::{Request as ApiRequest, request as api_request},
};
use serde::de::IgnoredAny;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{
    Context,
    apply::guarded_delete,
    record,
    request::{Request, later, until},
    status::with_generation,
};
use crate::{
    api::{BulkUpdate, BulkUpdateStatus},
    client::{Failure, send},
    clock::Clock,
};

/// The longest wait without a look at the API server's clock, which may have been set.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What is left to do for a BulkUpdate that is over; it ends when this is dropped.
#[derive(Debug)]
pub struct Finished(
    #[expect(dead_code, reason = "holding it keeps the task alive")] Option<AbortOnDropHandle<()>>,
);

impl Finished {
    /// Takes up a BulkUpdate that is over, as it was last seen.
    #[must_use]
    pub fn take_up(ctx: &Arc<Context>, bulk: &BulkUpdate) -> Self {
        if bulk.metadata.deletion_timestamp.is_some() {
            return Self(None);
        }
        let Some((time, chore)) = next_chore(bulk) else { return Self(None) };
        let mut request = Request::from(bulk);
        request.items = Vec::new();
        let version = bulk.metadata.resource_version.clone().unwrap_or_default();
        let ctx = Arc::clone(ctx);
        let tracker = ctx.tracker.clone();
        Self(Some(AbortOnDropHandle::new(tracker.spawn(async move {
            let chore = async {
                wait_for(&ctx.clock, time).await;
                // In a box that is made only now: as a part of what waits, perhaps for days, it would be most of its size.
                Box::pin(persist(&ctx, &request, &version, &chore)).await;
            };
            tokio::select! {
                () = chore => {}
                () = ctx.shutdown.cancelled() => {}
            }
        }))))
    }
}

/// What is to be done next for a BulkUpdate that is over. Its event brings the one after that.
enum Chore {
    /// Its spec has a newer generation than its status: kstatus would take it for one in progress.
    Acknowledge(Box<(ObjectMeta, BulkUpdateStatus)>),
    /// `ttlSecondsAfterFinished` has passed.
    Expire,
}

fn next_chore(bulk: &BulkUpdate) -> Option<(Timestamp, Chore)> {
    let status = bulk.status.as_ref()?;
    let current = with_generation(status, bulk.metadata.generation?);
    if current != *status {
        let what = (record::named(&bulk.metadata), current);
        return Some((Timestamp::MIN, Chore::Acknowledge(Box::new(what))));
    }
    let end = status.completion_time.as_ref()?;
    let ttl = i64::from(bulk.spec.ttl_seconds_after_finished?);
    // It may have ended as late as the end of that second; at once is at once.
    Some((later(end.0, ttl.saturating_add(i64::from(ttl > 0))), Chore::Expire))
}

/// Waits until it is this late by the API server's clock.
async fn wait_for(clock: &Clock, time: Timestamp) {
    loop {
        let left = until(time, clock.now().earliest);
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_WAIT)).await;
    }
}

/// Does it, however often that has to be tried. If the object has changed, this ends as soon as the watch says so, and
/// what is to be done is decided anew.
async fn persist(ctx: &Context, request: &Request, version: &str, chore: &Chore) {
    let mut attempt = 0;
    while let Err(failure) = attempt_at(ctx, request, version, chore).await {
        if failure.is_not_found() {
            return;
        }
        attempt += 1;
        let what = match chore {
            Chore::Acknowledge(_) => "the new generation can't be acknowledged",
            Chore::Expire => "it can't be deleted after its TTL",
        };
        warn!(bulk_update = %request.full_name(), %failure, "{what}; trying again");
        tokio::time::sleep(failure.wait(attempt)).await;
    }
}

async fn attempt_at(ctx: &Context, request: &Request, version: &str, chore: &Chore) -> Result<(), Failure> {
    let _slot = ctx.slots.acquire(&request.namespace, &request.uid).await;
    match chore {
        Chore::Acknowledge(what) => {
            record::replace(ctx, &what.0, &what.1).await?;
        }
        Chore::Expire => {
            let params = guarded_delete(&request.uid, version);
            let url = BulkUpdate::url_path(&(), Some(&request.namespace));
            let delete: Result<_, api_request::Error> = ApiRequest::new(url).delete(&request.name, &params);
            send::<IgnoredAny>(&ctx.client, delete).await?;
            info!(bulk_update = %request.full_name(), uid = %request.uid,
                "deleted, ttlSecondsAfterFinished after its end");
        }
    }
    Ok(())
}
