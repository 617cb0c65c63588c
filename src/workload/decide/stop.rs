//! Stopping what runs.

use std::{sync::Arc, time::Duration};

use crate::{
    api::{
        Kind,
        time::{later, until},
    },
    client::Failure,
    workload::{
        decide::subject::Subject,
        engine::{Engine, Phase, Seen, Stop},
        facts::{Gate, InQueue, Step},
        status::Reason,
        work::Work,
    },
};

/// How long to wait before looking at a closed gate again.
const GATE_AGAIN: Duration = Duration::from_secs(10);

/// How long to wait before looking at Kueue's Workload again: it is not watched.
const QUEUE_AGAIN: Duration = Duration::from_secs(2);

/// The pause before a stop that was undone is requested again doubles this often, from a second on.
const MOST_DOUBLINGS: u32 = 6;

/// What a stop waits for.
pub struct Held {
    pub reason: Reason,
    pub why: String,
    pub then: Step,
}

/// The next request to stop it, if one is due and may be sent; the flag's gate is also the emergency stop.
pub fn stop(
    subject: &Subject<'_>,
    engine: &Engine,
    work: &Arc<Work>,
    seen: &Seen,
) -> Result<Option<Step>, Held> {
    if matches!(seen.phase, Phase::Completed | Phase::Dead) && engine.kind.of() == Kind::Execution
        || work.terminating
    {
        return Ok(None);
    }
    let request = match queue(subject, engine, work)? {
        Queue::Unread => return Ok(Some(Step::ReadQueue(Arc::clone(work)))),
        Queue::Active(queued) => Step::StopQueue(Arc::clone(queued)),
        // Kueue has suspended it, or is about to.
        Queue::Inactive => return Ok(None),
        Queue::None => match seen.stop {
            Stop::By(patch) => Step::Stop(Arc::clone(work), patch),
            Stop::Requested | Stop::Impossible(_) => return Ok(None),
        },
    };
    may(subject)?;
    let (attempts, now) = (subject.facts.attempts, subject.facts.now);
    let again = attempts.stopped_at.map(|last| later(last, 1 << attempts.stops.min(MOST_DOUBLINGS)));
    let due = attempts.failed.as_ref().map(|failed| failed.until).max(again);
    Ok(Some(match due.filter(|due| *due > now) {
        Some(due) => Step::Rest(Some(until(due, now))),
        None => request,
    }))
}

fn may(subject: &Subject<'_>) -> Result<(), Held> {
    let held = |reason, why: &String| Held { reason, why: why.clone(), then: Step::Rest(Some(GATE_AGAIN)) };
    match &subject.facts.gate {
        Gate::Open => Ok(()),
        Gate::Closed(why) => Err(held(Reason::BulkUpdatesDisabled, why)),
        Gate::Unreadable(why) => Err(held(Reason::Waiting, why)),
    }
}

/// What Kueue has to say.
enum Queue<'a> {
    /// Nothing: it does not decide when this runs.
    None,
    /// It has to be asked.
    Unread,
    /// It may let it run.
    Active(&'a Arc<InQueue>),
    /// It does not let it run, and no quota is reserved for it.
    Inactive,
}

/// Kueue's word. What it is about to let run has not stopped, and suspending it would only restart it.
fn queue<'a>(subject: &Subject<'a>, engine: &Engine, work: &Work) -> Result<Queue<'a>, Held> {
    if !engine.queued_by_kueue || !work.queued {
        return Ok(Queue::None);
    }
    let held = |why: String| Held { reason: Reason::Stopping, why, then: Step::Rest(Some(QUEUE_AGAIN)) };
    let queued = match &subject.facts.queue {
        None => return Ok(Queue::Unread),
        Some(Err(Failure::NotServed(_))) => return Ok(Queue::None),
        Some(Err(failure)) => return Err(held(format!("its Workload in Kueue cannot be read: {failure}"))),
        Some(Ok(None)) => {
            return Err(held("it names a queue, and Kueue has not created its Workload yet".into()));
        }
        Some(Ok(Some(queued))) => queued,
    };
    match &queued.says {
        Err(why) => Err(held(format!("its Workload in Kueue cannot be understood: {why}"))),
        Ok(says) if says.active && !says.finished => Ok(Queue::Active(queued)),
        Ok(says) if says.reserved && !says.finished => Err(held("Kueue is stopping it".into())),
        Ok(_) => Ok(Queue::Inactive),
    }
}
