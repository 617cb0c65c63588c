//! What to do about something that runs, or is to run: a pure function of what was observed.

mod adopt;
mod create;
mod label;
mod state;
mod stop;
mod subject;
mod template;

use std::sync::Arc;

pub use self::create::creation_refused;
use self::{
    state::{Reading, read},
    stop::{Held, stop},
    subject::{Decided, Decision, Subject, Trouble},
};
use crate::{
    api::{Kind, State},
    workload::{
        engine::{Engine, Phase},
        facts::{Facts, Found, Step},
        owner::{Asks, Recorded, Reference},
        status::{Progress, Reason, Status},
        work::Work,
    },
};

/// The next step.
pub fn decide(facts: &Facts<'_>) -> Step {
    let owner = facts.owner;
    // What cannot be understood keeps its state: UNKNOWN would let a BulkUpdate delete it.
    let Ok(recorded) = &owner.recorded else { return Step::Rest(None) };
    if owner.terminating() || owner.managed_by_other {
        return Step::Rest(None);
    }
    let subject = Subject { facts, recorded };
    let decided = match &owner.asks {
        Ok(None) => return Step::Rest(None),
        Ok(Some(asks)) => next(&subject, asks),
        Err(why) => Ok(subject.trouble(Progress::Stalled, Reason::Unreadable, why, Step::Rest(None))),
    };
    match decided {
        Err(first) => first,
        Ok(Decision { status, then }) => {
            let status = Status { observed_generation: subject.observed_generation(), ..status };
            match status.patch(recorded, facts.now) {
                // What it says besides can wait until the stop is answered.
                Some(_) if is_stop(&then) && says_that_it_stops(recorded, &status) => then,
                Some(_) => Step::Record(Box::new(status)),
                None => then,
            }
        }
    }
}

fn is_stop(step: &Step) -> bool {
    matches!(step, Step::Stop(..) | Step::StopQueue(_))
}

/// Whether the status says already that this work is to stop.
fn says_that_it_stops(recorded: &Recorded, status: &Status) -> bool {
    status.state == State::Stopping
        && recorded.state == Some(State::Stopping)
        && recorded.workload == status.workload
}

fn next(subject: &Subject<'_>, asks: &Asks) -> Decided {
    if subject.recorded.is_over(subject.kind()) {
        return after_the_end(subject, asks.engine());
    }
    match &subject.recorded.workload {
        None => begin(subject, asks),
        Some(Reference { uid: None, .. }) => intended(subject, asks),
        Some(Reference { uid: Some(uid), .. }) => running(subject, asks, uid),
    }
}

/// Nothing changes any more, except that a newer generation is acknowledged, or a wait for it would never end.
fn after_the_end(subject: &Subject<'_>, engine: &Engine) -> Decided {
    let recorded = subject.recorded;
    let then = undone(subject, engine);
    match recorded.state.filter(|_| recorded.observed_generation != subject.facts.owner.metadata.generation) {
        Some(state) => {
            Ok(Decision { then, ..subject.ended(state, recorded.message.as_deref().unwrap_or_default()) })
        }
        None => Err(then),
    }
}

/// A stop that somebody has undone is requested again. What was created after all, by a request of before, is stopped, too.
fn undone(subject: &Subject<'_>, engine: &Engine) -> Step {
    let recorded = subject.recorded;
    let Some(workload) = &recorded.workload else { return Step::Rest(None) };
    if recorded.state != Some(State::Stopped) {
        return Step::Rest(None);
    }
    let work = match &subject.facts.found {
        // Without its label it is not in the cache.
        Found::NotCached => return Step::Read,
        Found::Failed(failure) => return Step::Rest(Some(subject.wait(failure))),
        found => found.work(),
    };
    let is_it = |work: &&Arc<Work>| {
        let uid = workload.uid.as_deref().filter(|_| subject.kind() == Kind::Execution);
        uid.is_none_or(|uid| uid == &*work.uid) && work.is_controlled_by(subject.facts.owner.uid())
    };
    let Some(work) = work.filter(is_it) else { return Step::Rest(None) };
    let Ok(seen) = &work.seen else { return Step::Rest(None) };
    let step = match stop(subject, engine, work, seen) {
        Ok(step) => step.unwrap_or(Step::Rest(None)),
        Err(held) => held.then,
    };
    label::labelled(subject, work, step)
}

/// Nothing is recorded yet.
fn begin(subject: &Subject<'_>, asks: &Asks) -> Decided {
    if subject.stop_asked() {
        return Ok(subject.stopped_before_it_started());
    }
    if let Some(against) = subject.not_permitted() {
        return Ok(against);
    }
    match asks {
        Asks::Template { engine, .. } => create::begin(subject, engine),
        Asks::Reference { engine, name, uid } => adopt::adopt(subject, engine, name, uid),
    }
}

/// Recorded as intended: its creation may have been requested.
fn intended(subject: &Subject<'_>, asks: &Asks) -> Decided {
    let engine = asks.engine();
    let work = match &subject.facts.found {
        Found::NotCached => return Err(Step::Read),
        Found::Failed(failure) => {
            let mut decision = subject.unavailable(engine, failure)?;
            // Forbidden would say that its creation was refused.
            if decision.status.reason == Reason::Forbidden && !create::is_known(subject) {
                decision.status.reason = Reason::Waiting;
            }
            return Ok(decision);
        }
        Found::Absent => None,
        Found::Cached(work) | Found::Live(work) => Some(work),
    };
    match (work, asks) {
        (Some(work), Asks::Reference { uid, .. }) if work.uid == *uid => Ok(seen(subject, engine, work)?),
        (Some(work), Asks::Template { .. }) if work.is_controlled_by(subject.facts.owner.uid()) => {
            seen(subject, engine, work)
        }
        // The cache may be behind: an earlier object that had the name.
        (Some(_), _) if matches!(subject.facts.found, Found::Cached(_)) => Err(Step::Read),
        (Some(_), _) if subject.stop_asked() => create::stopped_although_taken(subject, engine),
        (Some(_), _) => Ok(subject.name_taken(engine)),
        (None, _) => create::create(subject, engine),
    }
}

/// Recorded with its uid.
fn running(subject: &Subject<'_>, asks: &Asks, uid: &str) -> Decided {
    let engine = asks.engine();
    match &subject.facts.found {
        Found::Cached(work) | Found::Live(work)
            if &*work.uid == uid && work.is_controlled_by(subject.facts.owner.uid()) =>
        {
            seen(subject, engine, work)
        }
        Found::NotCached | Found::Cached(_) => Err(Step::Read),
        Found::Live(work) if &*work.uid == uid => adopt::again(subject, engine, work),
        Found::Failed(failure) => subject.unavailable(engine, failure),
        Found::Live(_) | Found::Absent => gone(subject, asks),
    }
}

fn gone(subject: &Subject<'_>, asks: &Asks) -> Decided {
    let engine = asks.engine();
    let creatable = subject.kind() == Kind::Deployment && matches!(asks, Asks::Template { .. });
    if !creatable {
        // What serves may have left Pods behind.
        if subject.stop_asked() && engine.left_behind.is_some() {
            return subject.stopped_without_work(engine);
        }
        return Ok(subject.ended(State::Dead, format!("its {} is gone", engine.kind)));
    }
    let decided = match subject.facts.found.work() {
        Some(work) if work.is_controlled_by(subject.facts.owner.uid()) => return seen(subject, engine, work),
        Some(_) if subject.stop_asked() => return create::stopped_although_taken(subject, engine),
        Some(_) => Ok(subject.name_taken(engine)),
        None => create::create(subject, engine),
    };
    decided.map(|Decision { status, then }| Decision { status: serves_no_more(status), then })
}

/// What is in the way of its creation does not mean that it serves still.
fn serves_no_more(status: Status) -> Status {
    let state = match status.state {
        State::Running | State::Dead => State::Pending,
        state => state,
    };
    Status { state, url: None, ..status }
}

/// What follows from what the engine sees of it.
fn seen(subject: &Subject<'_>, engine: &Engine, work: &Arc<Work>) -> Decided {
    let decided = with_label_or_not(subject, engine, work);
    decided.map(|Decision { status, then }| Decision { status, then: label::labelled(subject, work, then) })
}

fn with_label_or_not(subject: &Subject<'_>, engine: &Engine, work: &Arc<Work>) -> Decided {
    let seen = match &work.seen {
        Ok(seen) => seen,
        Err(why) => {
            let why = format!("its {} cannot be understood: {why}", engine.kind);
            return Ok(subject.trouble(Progress::Stalled, Reason::Unreadable, &why, Step::Rest(None)));
        }
    };
    let new_template = template::apply(subject, engine, work)?;
    let (kind, recorded, facts) = (subject.kind(), subject.recorded, subject.facts);
    let reading =
        Reading { kind, recorded, pods: facts.pods.as_ref(), may_lag: subject.may_lag(), now: facts.now };
    let status = read(&reading, engine, work, seen)?;
    if let Some((trouble, then)) = new_template {
        // The old one may serve still.
        let status = match trouble {
            None => status,
            Some(Trouble { progress, reason, why }) => Status { progress, reason, message: why, ..status },
        };
        return Ok(Decision { status, then });
    }
    if !subject.stop_asked()
        || matches!(status.state, State::Completed | State::Dead)
        || status.reason == Reason::StopImpossible
    {
        // Only a list shows the end of its Pods, where it was stopped in its engine's own way.
        let poll = state::poll(seen).filter(|_| seen.completed.is_some());
        return Ok(Decision { status, then: Step::Rest(poll) });
    }
    match stop(subject, engine, work, seen) {
        Ok(Some(first @ Step::ReadQueue(_))) => Err(first),
        // It is final, and says that what it used is free: a cache may be behind.
        Ok(None) if status.state == State::Stopped && matches!(subject.facts.found, Found::Cached(_)) => {
            Err(Step::Read)
        }
        Ok(None) if seen.phase == Phase::Stopped || work.terminating => {
            Ok(Decision { status, then: Step::Rest(state::poll(seen)) })
        }
        Ok(None) => Ok(ignored(subject, engine, status)),
        Ok(Some(step)) => Ok(Decision { status: not_stopped(status), then: step }),
        Err(Held { trouble: Trouble { progress, reason, why }, then }) => {
            let status = Status { progress, reason, message: why, ..not_stopped(status) };
            Ok(Decision { status, then })
        }
    }
}

/// Its stop was requested, and it has not stopped.
fn ignored(subject: &Subject<'_>, engine: &Engine, status: Status) -> Decision {
    let left = subject.stop_has_left();
    match engine.ignored {
        Some(why) if left.is_zero() => {
            let message = format!("its stop was requested, and nothing happens: {why}");
            let status =
                Status { progress: Progress::Stalled, reason: Reason::StopOverdue, message, ..status };
            Decision { status, then: Step::Rest(None) }
        }
        // What takes no notice sends no event either.
        _ => Decision { status, then: Step::Rest(Some(left).filter(|left| !left.is_zero())) },
    }
}

/// What the object says of itself is not all: it can still be started.
fn not_stopped(status: Status) -> Status {
    if status.state != State::Stopped {
        return status;
    }
    let message = "it is being stopped".into();
    Status {
        state: State::Stopping,
        completed: None,
        progress: Progress::Reconciling,
        reason: Reason::Stopping,
        message,
        ..status
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
