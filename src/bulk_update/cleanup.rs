//! BulkUpdates that are over: their TTL, and the generation of their status.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::{
    api::time::{later, until},
    bulk_update::{context::Context, finished::Finished, identity::Identity, resource},
    client::{Failure, Next, clock::Clock},
};

/// The longest wait without a look at the API server's clock, which may have been set.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The longest wait between attempts that are refused: what is wrong is an admin's to mend, and a thousand BulkUpdates may have it.
const LONGEST_REFUSED: Duration = Duration::from_mins(5);

/// What is left to do for a BulkUpdate that is over; it ends when this is dropped.
#[derive(Debug)]
pub struct Cleanup(
    #[expect(dead_code, reason = "holding it keeps the task alive")] Option<AbortOnDropHandle<()>>,
);

impl Cleanup {
    /// Takes up a BulkUpdate that is over, as it was last seen.
    #[must_use]
    pub fn spawn(ctx: &Arc<Context>, over: Finished) -> Self {
        let Finished { identity, generation, unacknowledged, end, time_to_live, terminating } = over;
        if terminating || !identity.is_complete() {
            return Self(None);
        }
        let (time, chore) = match (unacknowledged, time_to_live) {
            (Some(conditions), _) => {
                (Timestamp::MIN, Chore::Acknowledge(generation.unwrap_or_default(), conditions))
            }
            (None, Some(seconds)) => {
                let seconds = i64::from(seconds.max(0));
                // It may have ended as late as the end of that second; at once is at once.
                (later(end, seconds.saturating_add(i64::from(seconds > 0))), Chore::Expire)
            }
            (None, None) => return Self(None),
        };
        let (ctx, task) = (Arc::clone(ctx), Box::new((identity, chore)));
        let tracker = ctx.tracker.clone();
        Self(Some(AbortOnDropHandle::new(tracker.spawn(async move {
            let chore = async {
                wait_for(&ctx.clock, time).await;
                // In a box that is made only now: as a part of what waits, perhaps for days, it would be most of its size.
                Box::pin(persist(&ctx, &task.0, &task.1)).await;
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
    /// The status is to say that it speaks of this generation, with these conditions.
    Acknowledge(i64, Vec<Condition>),
    /// `ttlSecondsAfterFinished` has passed.
    Expire,
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

/// Does it, however often that has to be tried. If the object has changed, the watch brings it and this ends; what is to be
/// done is decided again.
async fn persist(ctx: &Context, identity: &Identity, chore: &Chore) {
    let mut logged = "";
    for attempt in 1.. {
        let Err(failure) = attempt_at(ctx, identity, chore).await else { return };
        if failure.is_not_found() {
            return;
        }
        ctx.metrics.failed("bulkupdates", &failure);
        if failure.reason() != logged && !failure.is_conflict() {
            logged = failure.reason();
            let what = match chore {
                Chore::Acknowledge(..) => "the new generation can't be acknowledged",
                Chore::Expire => "it can't be deleted after its TTL",
            };
            warn!(bulk_update = %identity.full_name(), %failure, "{what}; trying again");
        }
        tokio::time::sleep(wait(&failure, attempt)).await;
    }
}

/// How long to wait before attempt `attempt`.
fn wait(failure: &Failure, attempt: u32) -> Duration {
    match failure.next() {
        Next::Retry => failure.wait(attempt),
        // A conflict mostly ends with the event of the change; where somebody has taken the end out of the status, it does not.
        Next::ReadAgain | Next::RetryForbidden | Next::GiveUp => {
            let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
            Duration::from_secs(1).saturating_mul(doubled).min(LONGEST_REFUSED)
        }
    }
}

async fn attempt_at(ctx: &Context, identity: &Identity, chore: &Chore) -> Result<(), Failure> {
    let _slot = ctx.slots.acquire(&identity.namespace, &identity.uid).await;
    match chore {
        Chore::Acknowledge(generation, conditions) => {
            let status = json!({"observedGeneration": generation, "conditions": conditions});
            resource::patch(ctx, identity, &status).await?;
        }
        Chore::Expire => {
            resource::delete(ctx, identity).await?;
            info!(bulk_update = %identity.full_name(), uid = %identity.uid,
                "deleted, ttlSecondsAfterFinished after its end");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_tried_ever_more_rarely_and_what_may_pass_within_seconds() {
        let refused = |code| Failure::Refused { code, message: String::new(), retry_after: None };
        for code in [400, 403, 409, 422] {
            let waits: Vec<_> = (1..20).map(|attempt| wait(&refused(code), attempt).as_secs()).collect();
            assert_eq!((waits[0], waits[1], waits[18]), (1, 2, 300), "{code}");
        }
        for code in [429, 503] {
            assert!(wait(&refused(code), 20) <= Duration::from_secs(10), "{code}");
        }
    }
}
