//! Stopping what runs.

use std::{sync::Arc, time::Duration};

use crate::{
    api::time::{later, until},
    workload::{
        decide::subject::Subject,
        engine::{Phase, Seen, Stop},
        facts::{Gate, Step},
        status::Reason,
        work::Work,
    },
};

/// How long to wait before looking at a closed gate again.
const GATE_AGAIN: Duration = Duration::from_secs(10);

/// The longest pause before a stop that was undone is requested again doubles this often, from a second on.
const MOST_DOUBLINGS: u32 = 6;

/// What a stop waits for.
pub struct Held<'a> {
    pub reason: Reason,
    pub why: &'a str,
    pub then: Step,
}

/// The request that stops it, if one is due and may be sent; the flag's gate is also the emergency stop.
pub fn stop<'a>(subject: &Subject<'a>, work: &Arc<Work>, seen: &Seen) -> Result<Option<Step>, Held<'a>> {
    let Stop::By(patch) = seen.stop else { return Ok(None) };
    if seen.phase == Phase::Completed || work.terminating {
        return Ok(None);
    }
    let held = |reason, why| Held { reason, why, then: Step::Rest(Some(GATE_AGAIN)) };
    match &subject.facts.gate {
        Gate::Open => {}
        Gate::Closed(why) => return Err(held(Reason::BulkUpdatesDisabled, why)),
        Gate::Unreadable(why) => return Err(held(Reason::Waiting, why)),
    }
    let (attempts, now) = (subject.facts.attempts, subject.facts.now);
    let again = attempts.stopped_at.map(|last| later(last, 1 << attempts.stops.min(MOST_DOUBLINGS)));
    let due = attempts.failed.as_ref().map(|failed| failed.until).max(again);
    match due.filter(|due| *due > now) {
        Some(due) => Ok(Some(Step::Rest(Some(until(due, now))))),
        None => Ok(Some(Step::Stop(Arc::clone(work), patch))),
    }
}
