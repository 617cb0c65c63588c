//! Last step: waits until the BulkUpdate is requeued: by an answer, a change, or the next deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{
    api::{ItemResult, time::until},
    bulk_update::{
        apply::InFlight,
        context::{Context, Latest},
        request::Request,
        work::Work,
    },
    client::{backoff, clock::Now},
    observed::index::Following,
};

/// After how long it is requeued in any case: the API server's clock may be set.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The same where there is something to report: the number of others that share the budget for status writes changes.
const LONGEST_LOOK: Duration = Duration::from_secs(10);

/// What a pass leaves to wait for.
#[derive(Clone, Copy)]
pub struct Waiting<'a> {
    pub following: &'a Following<Request>,
    /// How many passes in a row were blocked.
    pub blocked: u32,
    /// Whether there is something to report.
    pub to_record: bool,
    /// When the pass decided, by either clock: whatever became due since then is due now.
    pub decided: (Instant, Now),
}

/// Returns when the BulkUpdate is requeued.
pub async fn settle(
    ctx: &Context,
    latest: &mut Latest,
    work: &mut Work,
    in_flight: &mut InFlight,
    waiting: Waiting<'_>,
) {
    let mut flag = ctx.flag.changes();
    let mut policies = ctx.policies.changes();
    let watches_flag = work.start().is_none() || work.any(ItemResult::Planned);
    let next = next_time(work, waiting, ctx.others(work), ctx.clock.now());
    tokio::select! {
        biased;
        // Answers first: what is decided next is then based on them.
        Some(_) = in_flight.next_answer(work) => {}
        () = waiting.following.mailbox().arrived() => {}
        () = latest.changed() => {}
        () = ctx.shutdown.cancelled() => {}
        _ = flag.changed(), if watches_flag => {}
        _ = policies.changed(), if work.start().is_none() => {}
        () = sleep_until(next) => {}
    }
}

/// When it is requeued if nothing else triggers that first. Deadlines that had passed when the pass decided do not
/// count.
fn next_time(work: &Work, waiting: Waiting<'_>, others: usize, now: Now) -> Instant {
    let start = Instant::now();
    let (decided, decided_at) = waiting.decided;
    let after = |left: Duration| start + left.min(LONGEST_WAIT) + Duration::from_millis(1);
    let request = work.request();
    let mut times = vec![start + LONGEST_WAIT];
    if waiting.blocked > 0 {
        times.push(start + backoff(waiting.blocked));
    }
    if waiting.to_record {
        // Others may finish sooner.
        times.extend(work.throttle().next(others).map(|time| time.min(start + LONGEST_LOOK)));
    }
    if !request.not_after_has_passed(decided_at) {
        times.extend(request.not_after.map(|end| after(until(end, now.latest))));
    }
    match work.start() {
        None => {
            let end = Some(request.starting_deadline).filter(|end| *end > decided_at.earliest);
            times.extend(end.map(|end| after(until(end, now.earliest))));
        }
        Some(start) => {
            let left = request.active_deadline_in(start, decided_at).filter(|left| !left.is_zero());
            times.extend(left.and_then(|_| request.active_deadline_in(start, now)).map(after));
        }
    }
    times.extend(work.entries().iter().filter_map(|e| e.progress.not_before.filter(|t| *t > decided)));
    times.into_iter().min().unwrap_or(start).max(start)
}

#[cfg(test)]
mod tests;
