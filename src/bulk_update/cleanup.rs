//! Finished BulkUpdates: acknowledging a new generation, and `ttlSecondsAfterFinished`.

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

/// The longest wait without another look at the API server's clock, which may be set.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The longest back-off for refused attempts: an admin has to act, and a thousand BulkUpdates may be affected.
const LONGEST_REFUSED: Duration = Duration::from_mins(5);

/// What is left to do for a finished BulkUpdate; dropping it aborts that.
#[derive(Debug)]
pub struct Cleanup(
    #[expect(dead_code, reason = "holding it keeps the task alive")] Option<AbortOnDropHandle<()>>,
);

impl Cleanup {
    /// Starts the next chore of a finished BulkUpdate, as it was last seen.
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
                // It may have ended as late as the end of that second; zero means at once.
                (later(end, seconds.saturating_add(i64::from(seconds > 0))), Chore::Expire)
            }
            (None, None) => return Self(None),
        };
        let (ctx, task) = (Arc::clone(ctx), Box::new((identity, chore)));
        let tracker = ctx.tracker.clone();
        Self(Some(AbortOnDropHandle::new(tracker.spawn(async move {
            let chore = async {
                wait_for(&ctx.clock, time).await;
                // Boxed only now: the task may wait for days, and this would be most of its size.
                Box::pin(persist(&ctx, &task.0, &task.1)).await;
            };
            tokio::select! {
                biased;
                () = ctx.shutdown.cancelled() => {}
                () = chore => {}
            }
        }))))
    }
}

/// The next chore. The event of its change brings the one after that.
enum Chore {
    /// Report this generation, with these conditions.
    Acknowledge(i64, Vec<Condition>),
    Expire,
}

async fn wait_for(clock: &Clock, time: Timestamp) {
    loop {
        let left = until(time, clock.now().earliest);
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_WAIT)).await;
    }
}

/// Retries until it succeeds. If the object changed, the watch delivers the change and the chore is decided again.
async fn persist(ctx: &Context, identity: &Identity, chore: &Chore) {
    let mut logged = "";
    for attempt in 1.. {
        ctx.held_back.wait(&identity.uid).await;
        let Err(failure) = attempt_at(ctx, identity, chore).await else { return };
        ctx.held_back.failed(&identity.uid, &failure);
        if failure.is_not_found() {
            return;
        }
        ctx.metrics.failed("bulkupdates", &failure);
        if failure.reason() != logged && !failure.is_conflict() {
            logged = failure.reason();
            let what = match chore {
                Chore::Acknowledge(..) => "cannot acknowledge the new generation",
                Chore::Expire => "cannot delete it after its TTL",
            };
            warn!(bulk_update = %identity.full_name(), %failure, "{what}; retrying");
        }
        tokio::time::sleep(wait(&failure, attempt)).await;
    }
}

/// How long to wait before attempt `attempt`.
pub(super) fn wait(failure: &Failure, attempt: u32) -> Duration {
    match failure.next() {
        Next::Retry => failure.wait(attempt),
        // After a conflict the change's event usually ends this; not if somebody removed `completionTime`.
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
            resource::patch(&ctx.client, identity, &status).await?;
        }
        Chore::Expire => {
            resource::delete(&ctx.client, identity).await?;
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
