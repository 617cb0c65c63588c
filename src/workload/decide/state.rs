//! The AI API's state of what runs, the same for all engines.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{Kind, State, WorkloadTargetStatus},
    client::Failure,
    workload::{
        engine::{Engine, Phase, Pods, Seen, Stop},
        facts::Step,
        owner::{Recorded, Reference},
        status::{Progress, Reason, Status},
        work::Work,
    },
};

/// How often to look for Pods that are left.
const LOOK_FOR_PODS: Duration = Duration::from_secs(2);

/// What a state is read with, besides the object.
pub struct Reading<'a> {
    pub kind: Kind,
    pub recorded: &'a Recorded,
    pub pods: Option<&'a Result<bool, Failure>>,
}

/// When to look again although nothing reports a change: Pods that only a list shows.
pub fn poll(seen: &Seen) -> Option<Duration> {
    (seen.phase == Phase::Stopped && matches!(seen.pods, Pods::Listed(_))).then_some(LOOK_FOR_PODS)
}

/// The status that follows from what is seen; or what has to be looked at first.
pub fn read(
    reading: &Reading<'_>,
    engine: &Engine,
    work: &Work,
    seen: &Seen,
    now: Timestamp,
) -> Result<Status, Step> {
    let recorded = reading.recorded;
    let asked = recorded.stop_asked();
    let workload = Some(Reference {
        api_version: engine.kind.api_version(),
        kind: engine.kind.kind().into(),
        name: recorded.workload.as_ref().map_or_else(String::new, |workload| workload.name.clone()),
        uid: Some((*work.uid).into()),
    });
    let status = |state: State, progress, reason, message: String| {
        let ended = matches!(state, State::Completed | State::Dead | State::Stopped);
        Status {
            state,
            workload: workload.clone(),
            // A Job loses its startTime when it is suspended: the first one is kept.
            started: recorded.started.or(seen.started),
            completed: if ended { recorded.completed.or(seen.completed).or(Some(now)) } else { None },
            url: seen.url.as_deref().map(Into::into),
            ..Status::of(recorded, progress, reason, message)
        }
    };
    let said = |or: &str| seen.message.as_deref().map_or_else(|| or.into(), ToOwned::to_owned);
    // What serves does not end by itself: it can recover.
    let final_phase = match seen.phase {
        Phase::Completed => Some((State::Completed, Progress::Ready, Reason::Completed, "it has completed")),
        Phase::Dead if reading.kind == Kind::Execution || !asked => {
            Some((State::Dead, Progress::Stalled, Reason::Dead, "it has failed"))
        }
        _ => None,
    };
    if let Some((state, progress, reason, or)) = final_phase {
        return Ok(status(state, progress, reason, said(or)));
    }
    // The stop that was asked for last stays explained.
    let refused = asked || recorded.reason() == Some(Reason::StopImpossible.into());
    if let Stop::Impossible(why) = seen.stop
        && refused
    {
        let (state, progress) = match seen.phase {
            Phase::Running => (State::Running, Progress::Ready),
            _ => (State::Pending, Progress::Reconciling),
        };
        let status = status(state, progress, Reason::StopImpossible, format!("it cannot be stopped: {why}"));
        let goes_on = match reading.kind {
            Kind::Execution => WorkloadTargetStatus::Completed,
            Kind::Deployment => WorkloadTargetStatus::Running,
        };
        return Ok(Status { target_status: Some(goes_on), ..status });
    }
    // Unlike what is suspended, this does not go on: it was stopped in its engine's own way.
    let over = seen.phase == Phase::Stopped && seen.completed.is_some();
    if !asked && !over {
        return Ok(match seen.phase {
            Phase::Running => status(State::Running, Progress::Ready, Reason::Running, said("it is running")),
            _ => status(State::Pending, Progress::Reconciling, Reason::Pending, said("it is waiting to run")),
        });
    }
    let left = match (seen.phase, &seen.pods, reading.pods) {
        (Phase::Stopped, Pods::Gone, _) | (Phase::Stopped, Pods::Listed(_), Some(Ok(false))) => None,
        (Phase::Stopped, Pods::Listed(selectors), None) => return Err(Step::ListPods(selectors.clone())),
        (Phase::Stopped, Pods::Listed(_), Some(Err(failure))) => {
            Some(format!("its Pods cannot be listed: {failure}"))
        }
        (Phase::Stopped, _, _) => Some("it has stopped, and its Pods are ending".into()),
        _ => Some("it is being stopped".into()),
    };
    Ok(match left {
        None => status(
            State::Stopped,
            Progress::Idle,
            Reason::Stopped,
            "it was stopped, and no Pod is left".into(),
        ),
        Some(message) if asked => status(State::Stopping, Progress::Reconciling, Reason::Stopping, message),
        Some(message) => status(State::Running, Progress::Reconciling, Reason::Stopping, message),
    })
}
