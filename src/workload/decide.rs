//! What to do about something that runs, or is to run: a pure function of what was observed.

mod adopt;
mod create;
mod state;
mod stop;
mod subject;
mod template;

use std::sync::Arc;

use self::{
    state::{Reading, read},
    stop::{Held, stop},
    subject::{Decided, Decision, Subject},
};
use crate::{
    api::{Kind, State},
    workload::{
        engine::Engine,
        facts::{Facts, Found, Step},
        owner::{Asks, Reference},
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
                Some(_) => Step::Record(Box::new(status)),
                None => then,
            }
        }
    }
}

fn next(subject: &Subject<'_>, asks: &Asks) -> Decided {
    if subject.recorded.is_over(subject.kind()) {
        return Err(after_the_end(subject, asks.engine()));
    }
    match &subject.recorded.workload {
        None => begin(subject, asks),
        Some(Reference { uid: None, .. }) => intended(subject, asks),
        Some(Reference { uid: Some(uid), .. }) => running(subject, asks, uid),
    }
}

/// Nothing changes any more, except that a stop that somebody has undone is requested again.
fn after_the_end(subject: &Subject<'_>, engine: &Engine) -> Step {
    let recorded = subject.recorded;
    let uid = recorded.workload.as_ref().and_then(|workload| workload.uid.as_deref());
    let owner = subject.facts.owner.uid();
    let work = subject.facts.found.work();
    let work = work.filter(|work| Some(&*work.uid) == uid && work.is_controlled_by(owner));
    match work.map(|work| (work, &work.seen)) {
        Some((work, Ok(seen))) if recorded.state == Some(State::Stopped) => {
            match stop(subject, engine, work, seen) {
                Ok(step) => step.unwrap_or(Step::Rest(None)),
                Err(held) => held.then,
            }
        }
        _ => Step::Rest(None),
    }
}

/// Nothing is recorded yet.
fn begin(subject: &Subject<'_>, asks: &Asks) -> Decided {
    if subject.stop_asked() {
        return Ok(subject.ended(State::Stopped, "it was stopped before it started"));
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
        Found::Failed(failure) => return subject.unavailable(engine, failure),
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
        (Some(_), _) if subject.stop_asked() => {
            Ok(subject.ended(State::Stopped, "it was stopped before it started"))
        }
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
        return Ok(subject.ended(State::Dead, format!("its {} is gone", engine.kind)));
    }
    match subject.facts.found.work() {
        Some(work) if work.is_controlled_by(subject.facts.owner.uid()) => seen(subject, engine, work),
        Some(_) if subject.stop_asked() => {
            Ok(subject.ended(State::Stopped, format!("its {} is gone", engine.kind)))
        }
        Some(_) => Ok(subject.name_taken(engine)),
        None => create::create(subject, engine),
    }
}

/// What follows from what the engine sees of it.
fn seen(subject: &Subject<'_>, engine: &Engine, work: &Arc<Work>) -> Decided {
    let seen = match &work.seen {
        Ok(seen) => seen,
        Err(why) => {
            let why = format!("its {} cannot be understood: {why}", engine.kind);
            return Ok(subject.trouble(Progress::Stalled, Reason::Unreadable, &why, Step::Rest(None)));
        }
    };
    if let Some(first) = template::apply(subject, engine, work) {
        return first;
    }
    let (kind, recorded, facts) = (subject.kind(), subject.recorded, subject.facts);
    let reading = Reading { kind, recorded, pods: facts.pods.as_ref(), now: facts.now };
    let status = read(&reading, engine, work, seen)?;
    if !subject.stop_asked() || matches!(status.state, State::Completed | State::Dead) {
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
        Ok(None) => Ok(Decision { status, then: Step::Rest(state::poll(seen)) }),
        Ok(Some(step)) => Ok(Decision { status: not_stopped(status), then: step }),
        Err(Held { reason, why, then }) => {
            let status =
                Status { progress: Progress::Reconciling, reason, message: why, ..not_stopped(status) };
            Ok(Decision { status, then })
        }
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
