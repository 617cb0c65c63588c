//! BulkUpdates that cannot be read: their conditions say so, and nothing is done for them.

use std::sync::Arc;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::{
    api::{ACCEPTED, BulkUpdateStatus, ConditionReason, READY, STALLED, time::whole_seconds},
    bulk_update::{
        cleanup, context::Context, identity::Identity, resource, status::ConditionBuilder, stored::Stored,
    },
    client::{Next, backoff},
};

/// The message for users. `planned`: it was planned while it could be read.
pub(super) fn message(why: &str, planned: bool) -> String {
    if planned {
        format!(
            "it cannot be read any more, so nothing more is done for it: {why}; its items stay as recorded; correct it, or \
             delete it and create another"
        )
    } else {
        format!("it cannot be read, so nothing is done for it: {why}; delete it and create a valid one")
    }
}

/// Its status, which was `before`.
///
/// One that was never planned is completed: a corrected spec would be another request. One that was planned has no
/// end, since the outcome of its items is not known: they stay as they were recorded.
pub fn status(before: &BulkUpdateStatus, generation: i64, why: &str, now: Timestamp) -> BulkUpdateStatus {
    // The API server keeps whole seconds.
    let now = whole_seconds(now);
    let planned = before.start_time.is_some();
    let message = message(why, planned);
    let moment = ConditionBuilder { before, generation, now };
    let says =
        |type_: &str, status: &str| moment.condition(type_, status, ConditionReason::Unreadable, &message);
    let accepted = match before.condition(ACCEPTED).filter(|accepted| can_be_written(accepted)) {
        Some(accepted) if planned => Condition { observed_generation: Some(generation), ..accepted.clone() },
        _ if planned => says(ACCEPTED, "Unknown"),
        _ => says(ACCEPTED, "False"),
    };
    let mut after = before.clone();
    after.observed_generation = generation;
    // Other conditions may violate the schema by now, which would get the whole write refused.
    after.conditions = vec![accepted, says(READY, "False"), says(STALLED, "True")];
    if !planned {
        after.completion_time.get_or_insert(Time(now));
    }
    after
}

/// Whether the schema allows a condition of the operator's as it was read.
fn can_be_written(condition: &Condition) -> bool {
    !condition.reason.is_empty() && ["True", "False", "Unknown"].contains(&&*condition.status)
}

/// The same as a merge patch that leaves everything else as it is; `None` if there is nothing to change.
fn patch(stored: &Stored, why: &str, now: Timestamp) -> Option<Value> {
    let before = stored.bulk.status.clone().unwrap_or_default();
    let generation = stored.bulk.metadata.generation.unwrap_or_default();
    let after = status(&before, generation, why, now);
    if after == before {
        return None;
    }
    let mut status = json!({"observedGeneration": generation, "conditions": after.conditions});
    if before.start_time.is_some() {
        // It is there already, unless the status is not an object.
        status["startTime"] = json!(after.start_time);
    } else {
        status["completionTime"] = json!(after.completion_time);
    }
    Some(status)
}

/// The task that writes its conditions; dropping it aborts that.
#[derive(Debug)]
pub(super) struct Report(
    #[expect(dead_code, reason = "holding it keeps the task alive")] Option<AbortOnDropHandle<()>>,
);

impl Report {
    /// Starts writing that it cannot be read because of this. `earlier`: how often that was done before, for back-off
    /// if somebody else keeps changing the status.
    pub(super) fn begin(
        ctx: &Arc<Context>,
        stored: &Stored,
        why: &str,
        now: Timestamp,
        earlier: u32,
    ) -> Self {
        if !stored.is_addressable() || stored.bulk.metadata.deletion_timestamp.is_some() {
            return Self(None);
        }
        let Some(status) = patch(stored, why, now) else { return Self(None) };
        let task = Box::new((Identity::from(&stored.bulk.metadata), status));
        let ctx = Arc::clone(ctx);
        let tracker = ctx.tracker.clone();
        Self(Some(AbortOnDropHandle::new(tracker.spawn(async move {
            let write = async {
                if earlier > 0 {
                    tokio::time::sleep(backoff(earlier)).await;
                }
                Box::pin(persist(&ctx, &task.0, &task.1)).await;
            };
            tokio::select! {
                biased;
                () = ctx.shutdown.cancelled() => {}
                () = write => {}
            }
        }))))
    }
}

/// Retries until it succeeds, or the object is gone. If it has changed, the watch delivers the change, which ends this; a
/// conflict that a proxy has made up ends by itself.
async fn persist(ctx: &Context, identity: &Identity, status: &Value) {
    let name = identity.full_name();
    for attempt in 1.. {
        ctx.held_back.wait(&identity.uid).await;
        let written = {
            let _slot = ctx.slots.acquire(&identity.namespace, &identity.uid).await;
            resource::patch(&ctx.client, identity, status).await
        };
        let Err(failure) = written else {
            info!(bulk_update = name, uid = %identity.uid, "its conditions report that it cannot be read");
            return;
        };
        if failure.is_not_found() {
            return;
        }
        ctx.held_back.failed(&identity.uid, &failure);
        let next = failure.next();
        if next != Next::ReadAgain {
            ctx.metrics.failed("bulkupdates", &failure);
        }
        if attempt == 1 {
            warn!(bulk_update = name, %failure,
                "cannot write the status; retrying, and until then only an event reports that the BulkUpdate cannot be read");
        }
        // What is refused may be so for good, or until an admin has corrected a webhook.
        let time =
            if next == Next::GiveUp { cleanup::wait(&failure, attempt) } else { failure.wait(attempt) };
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests;
