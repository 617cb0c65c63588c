//! The AI API's state of what runs, the same for all engines.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{Kind, State, WorkloadTargetStatus},
    client::Failure,
    workload::{
        decide::subject::{LOOK_FOR_PODS, cannot_list},
        engine::{Engine, Phase, Pods, Seen, Stop},
        facts::Step,
        owner::{Recorded, Reference},
        status::{Progress, Reason, Status},
        work::Work,
    },
};

/// What a state is read with, besides the object.
pub struct Reading<'a> {
    pub kind: Kind,
    pub recorded: &'a Recorded,
    pub pods: Option<&'a Result<bool, Failure>>,
    /// Whether what it says may be older than Pods that are only being created.
    pub may_lag: bool,
    pub now: Timestamp,
}

/// When to look again although nothing reports a change: Pods that only a list shows.
pub fn poll(seen: &Seen) -> Option<Duration> {
    (seen.phase == Phase::Stopped && matches!(seen.pods, Pods::Listed(_))).then_some(LOOK_FOR_PODS)
}

/// The status that follows from what is seen; or what has to be looked at first.
pub fn read(reading: &Reading<'_>, engine: &Engine, work: &Work, seen: &Seen) -> Result<Status, Step> {
    let asked = reading.recorded.stop_asked();
    // The stop that was asked for last stays explained.
    let explained = reading.recorded.reason() == Some(Reason::StopImpossible.into());
    // Unlike what is suspended, this does not go on: it was stopped in its engine's own way.
    let over = seen.phase == Phase::Stopped && seen.completed.is_some();
    let said = |or: &str| seen.message.as_deref().unwrap_or(or).to_owned();
    let answer = match (seen.phase, seen.stop) {
        (Phase::Completed, _) => {
            Word(State::Completed, Progress::Ready, Reason::Completed, said("it has completed"))
        }
        // What serves can recover, and is to be stopped even so.
        (Phase::Dead, _) if reading.kind == Kind::Execution || !asked => {
            Word(State::Dead, Progress::Stalled, Reason::Dead, said("it has failed"))
        }
        (phase, Stop::Impossible(why)) if asked || explained => {
            let Word(state, progress, ..) = going_on(phase, String::new());
            Word(state, progress, Reason::StopImpossible, format!("it cannot be stopped: {why}"))
        }
        (Phase::Running, _) if !asked => going_on(Phase::Running, said("it is running")),
        (phase, _) if !asked && !over => going_on(phase, said("it is waiting to run")),
        _ => stopping(reading, seen)?,
    };
    let target_status = match (answer.2, reading.kind) {
        (Reason::StopImpossible, Kind::Execution) => Some(WorkloadTargetStatus::Completed),
        (Reason::StopImpossible, Kind::Deployment) => Some(WorkloadTargetStatus::Running),
        _ => reading.recorded.target_status,
    };
    Ok(Status { target_status, ..status(reading, engine, (work, seen), answer) })
}

/// A state, and what the conditions say of it.
struct Word(State, Progress, Reason, String);

/// Nothing keeps it from running.
fn going_on(phase: Phase, message: String) -> Word {
    match phase {
        Phase::Running => Word(State::Running, Progress::Ready, Reason::Running, message),
        _ => Word(State::Pending, Progress::Reconciling, Reason::Pending, message),
    }
}

/// How far a stop is.
fn stopping(reading: &Reading<'_>, seen: &Seen) -> Result<Word, Step> {
    let left = match (seen.phase, &seen.pods, reading.pods) {
        (Phase::Stopped, ..) if reading.may_lag => {
            "it has stopped, if no Pods were being created just then".into()
        }
        (Phase::Stopped, Pods::Gone, _) | (Phase::Stopped, Pods::Listed(_), Some(Ok(false))) => {
            let message = "it was stopped, and no Pod is left".into();
            return Ok(Word(State::Stopped, Progress::Idle, Reason::Stopped, message));
        }
        (Phase::Stopped, Pods::Listed(selectors), None) => return Err(Step::ListPods(selectors.clone())),
        (Phase::Stopped, Pods::Listed(_), Some(Err(failure))) => cannot_list(failure),
        (Phase::Stopped, ..) => "it has stopped, and its Pods are ending".into(),
        _ => "it is being stopped".into(),
    };
    // Where nobody has asked here, it was stopped in its engine's own way.
    let state = if reading.recorded.stop_asked() { State::Stopping } else { State::Running };
    Ok(Word(state, Progress::Reconciling, Reason::Stopping, left))
}

fn status(
    &Reading { recorded, now, .. }: &Reading<'_>,
    engine: &Engine,
    (work, seen): (&Work, &Seen),
    Word(state, progress, reason, message): Word,
) -> Status {
    let ended = matches!(state, State::Completed | State::Dead | State::Stopped);
    let name = recorded.workload.as_ref().map_or("", |workload| &workload.name);
    Status {
        state,
        workload: Some(Reference::of(engine, name, Some(&work.uid))),
        // A Job loses its startTime when it is suspended: the first one is kept. A JobSet has none.
        started: recorded.started.or(seen.started).or((seen.phase == Phase::Running).then_some(now)),
        completed: if ended { recorded.completed.or(seen.completed).or(Some(now)) } else { None },
        url: seen.url.as_deref().map(Into::into),
        ..Status::of(recorded, progress, reason, message)
    }
}
