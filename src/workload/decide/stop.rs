//! Stopping what runs.

use std::{sync::Arc, time::Duration};

use crate::{
    api::{
        Kind,
        time::{later, until},
    },
    client::Failure,
    workload::{
        attempts::Request,
        decide::subject::{Subject, Trouble},
        engine::{Engine, Phase, Seen, Stop},
        facts::{Gate, InQueue, Step},
        kueue,
        status::{Progress, Reason},
        work::Work,
    },
};

/// How long to wait before looking at a closed gate again.
const GATE_AGAIN: Duration = Duration::from_secs(10);

/// How long to wait before looking at Kueue's Workload again: it is not watched.
const QUEUE_AGAIN: Duration = Duration::from_secs(2);

/// The pause before a stop that was undone is requested again doubles this often, from a second on.
const MOST_DOUBLINGS: u32 = 6;

/// What a stop waits for, or why it is refused.
pub struct Held {
    pub trouble: Trouble,
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
    let request = match queue(subject, engine, work, seen)? {
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
    let then = match due.filter(|due| *due > now) {
        Some(due) => Step::Rest(Some(until(due, now))),
        None => request,
    };
    // A refusal stays reported while it is tried again.
    let refused = attempts.last_failed(Request::Stop);
    match refused.and_then(|failed| subject.trouble_with(engine, &failed.failure)) {
        Some(trouble) => Err(Held { trouble, then }),
        None => Ok(Some(then)),
    }
}

fn may(subject: &Subject<'_>) -> Result<(), Held> {
    let held = |reason, why: &String| held(Progress::Reconciling, reason, why.clone(), GATE_AGAIN);
    match &subject.facts.gate {
        Gate::Open => Ok(()),
        Gate::Closed(why) => Err(held(Reason::BulkUpdatesDisabled, why)),
        Gate::Unreadable(why) => Err(held(Reason::Waiting, why)),
    }
}

fn held(progress: Progress, reason: Reason, why: String, again: Duration) -> Held {
    Held { trouble: Trouble { progress, reason, why }, then: Step::Rest(Some(again)) }
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

/// Kueue's word. What it is about to let run has not stopped, and suspending it would only restart it: also what names no queue, as
/// Kueue can be set to manage that, too.
fn queue<'a>(subject: &Subject<'a>, engine: &Engine, work: &Work, seen: &Seen) -> Result<Queue<'a>, Held> {
    if !engine.queued_by_kueue {
        return Ok(Queue::None);
    }
    let held = |progress, reason, why: String| held(progress, reason, why, QUEUE_AGAIN);
    let queued = match &subject.facts.queue {
        None => return Ok(Queue::Unread),
        Some(Err(Failure::NotServed(_))) => return Ok(Queue::None),
        Some(Err(Failure::Refused { code: 403, message, .. })) => {
            let why = format!(
                "Kueue is installed, and whether it manages this {} cannot be read: give the operator the permissions of the \
                 component engine-kueue: {message}",
                engine.kind
            );
            return Err(held(Progress::Stalled, Reason::Forbidden, why));
        }
        Some(Err(failure)) => {
            let why = format!("its Workload in Kueue cannot be read: {failure}");
            return Err(held(Progress::Reconciling, Reason::Waiting, why));
        }
        Some(Ok(None)) if !work.queued => return Ok(Queue::None),
        Some(Ok(None)) if !subject.stop_has_left().is_zero() => {
            let why = "it names a queue, and Kueue has not created its Workload yet".into();
            return Err(held(Progress::Reconciling, Reason::Stopping, why));
        }
        // What Kueue manages does not run without a Workload, and Kueue creates one at once.
        Some(Ok(None)) if has_run(subject, seen) => return Ok(Queue::None),
        Some(Ok(None)) => {
            let why = format!(
                "it names a queue of Kueue, which has created no Workload for it and would start it then: if Kueue does not manage \
                 this namespace, take the label {} off the {}",
                kueue::QUEUE_NAME,
                engine.kind
            );
            return Err(held(Progress::Stalled, Reason::StopOverdue, why));
        }
        Some(Ok(Some(queued))) => queued,
    };
    match &queued.says {
        Err(why) => Err(held(
            Progress::Stalled,
            Reason::Unreadable,
            format!("its Workload in Kueue cannot be understood: {why}"),
        )),
        Ok(says) if says.active && !says.finished => Ok(Queue::Active(queued)),
        Ok(says) if says.reserved && !says.finished => {
            Err(held(Progress::Reconciling, Reason::Stopping, "Kueue is stopping it".into()))
        }
        Ok(_) => Ok(Queue::Inactive),
    }
}

/// Whether it runs, or has run before it was stopped.
fn has_run(subject: &Subject<'_>, seen: &Seen) -> bool {
    seen.phase == Phase::Running || subject.recorded.started.or(seen.started).is_some()
}
