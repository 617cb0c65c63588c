//! What the controller does: it reads an Execution, and writes what has become of it. All that it knows is in the status, so
//! it may be restarted at any time. The numbers are those of the rules in docs/managed-by.md.

use std::{sync::Arc, time::Duration};

use ai_api_operator::api::{Execution, State, WorkloadStatus, WorkloadTargetStatus};
use futures::StreamExt;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::{Value, json};

/// The value of `spec.managedBy` of what it runs.
pub const NAME: &str = "pipelines.example.com/runner";

/// The condition that says what it does about a stop.
const STOPPING: &str = "Stopping";

/// How long it waits after an error.
const RETRY: Duration = Duration::from_secs(5);

/// What its work does when it is to stop.
#[derive(Clone, Copy, Debug)]
pub enum OnStop {
    /// It has stopped after so long.
    Stops(Duration),
    /// It cannot be interrupted.
    GoesOn,
    /// It is finished before it can be interrupted.
    Completes,
}

/// What is to be done about an Execution.
#[derive(Debug)]
enum Next {
    Nothing,
    /// To look at it again after so long.
    Later(Duration),
    /// To write this into its status.
    Write(Value),
}

/// Runs the Executions of the client's namespace that are its own. It returns only if its watch ends.
pub async fn run(client: Client, on_stop: OnStop) {
    let executions: Api<Execution> = Api::default_namespaced(client);
    let to_write = executions.clone();
    Controller::new(executions, watcher::Config::default())
        .run(
            move |execution, api| reconcile(execution, api, on_stop),
            |_, error, _| {
                tracing::warn!(%error, "retrying");
                Action::requeue(RETRY)
            },
            Arc::new(to_write),
        )
        .for_each(async |_| {})
        .await;
}

async fn reconcile(
    execution: Arc<Execution>,
    api: Arc<Api<Execution>>,
    on_stop: OnStop,
) -> kube::Result<Action> {
    // 1. All others are left alone.
    if execution.spec.managed_by.as_deref() != Some(NAME) {
        return Ok(Action::await_change());
    }
    let status = match next(&execution, on_stop, Timestamp::now()) {
        Next::Nothing => return Ok(Action::await_change()),
        Next::Later(time) => return Ok(Action::requeue(time)),
        Next::Write(status) => status,
    };
    // 6. The resourceVersion is the guard: what was decided is about this very version.
    let guard = execution.resource_version();
    let patch = Patch::Merge(json!({"metadata": {"resourceVersion": guard}, "status": status}));
    match api.patch_status(&execution.name_any(), &PatchParams::default(), &patch).await {
        // Somebody was faster, or it is gone: an event tells.
        Err(kube::Error::Api(refused)) if matches!(refused.code, 404 | 409) => Ok(Action::await_change()),
        written => written.map(|_| Action::await_change()),
    }
}

/// What follows from what is there, and from nothing else.
fn next(execution: &Execution, on_stop: OnStop, now: Timestamp) -> Next {
    // 7. Whatever is to be cleaned up would need a finalizer.
    if execution.metadata.deletion_timestamp.is_some() {
        return Next::Nothing;
    }
    let status = execution.status.clone().unwrap_or_default();
    let wants_stop = status.target_status == Some(WorkloadTargetStatus::Stopped);
    let now = Time(now);
    match status.state.unwrap_or(State::Unknown) {
        // 2. Before anything is started: what is UNKNOWN may be deleted.
        State::Unknown => {
            Next::Write(json!({"state": "PENDING", "submissionTime": now, "message": "queued"}))
        }
        // 3. Nothing runs yet.
        State::Pending if wants_stop => ended("STOPPED", "stopped before it began", &now),
        State::Pending => Next::Write(json!({"state": "RUNNING", "startTime": now, "message": "running"})),
        State::Running if wants_stop => asked_to_stop(&status, on_stop, &now),
        State::Stopping => stopping(&status, on_stop, &now),
        State::Running | State::Completed | State::Dead | State::Stopped => Next::Nothing,
    }
}

/// 3. It says STOPPING once the work is being stopped, and STOPPED not before nothing of it runs.
fn asked_to_stop(status: &WorkloadStatus, on_stop: OnStop, now: &Time) -> Next {
    match on_stop {
        OnStop::Stops(_) => {
            let stopping = condition("True", "StopRequested", "the work is being stopped", now);
            Next::Write(json!({"state": "STOPPING", "message": "stopping", "conditions": [stopping]}))
        }
        // 4. Those who have asked read why nothing happens. It is written once.
        OnStop::GoesOn if since(status).is_some() => Next::Nothing,
        OnStop::GoesOn => {
            let why = "this work cannot be interrupted: it goes on until it ends by itself";
            Next::Write(json!({"message": why, "conditions": [condition("False", "CannotStop", why, now)]}))
        }
        // 5. What it has come to is said as it is.
        OnStop::Completes => ended("COMPLETED", "finished before it could be stopped", now),
    }
}

fn stopping(status: &WorkloadStatus, on_stop: OnStop, now: &Time) -> Next {
    let OnStop::Stops(lasts) = on_stop else { return Next::Nothing };
    // A real controller looks at what it runs. This one lets time pass.
    let passed = since(status).and_then(|since| now.0.duration_since(since).try_into().ok());
    match passed.and_then(|passed| lasts.checked_sub(passed)) {
        Some(rest) if !rest.is_zero() => Next::Later(rest),
        _ => ended("STOPPED", "stopped", now),
    }
}

fn ended(state: &str, message: &str, now: &Time) -> Next {
    Next::Write(json!({"state": state, "message": message, "completionTime": now}))
}

/// Since when it reports what it does about the stop.
fn since(status: &WorkloadStatus) -> Option<Timestamp> {
    let reported = status.conditions.iter().find(|condition| condition.type_ == STOPPING)?;
    Some(reported.last_transition_time.0)
}

fn condition(status: &str, reason: &str, message: &str, now: &Time) -> Condition {
    Condition {
        type_: STOPPING.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: now.clone(),
        observed_generation: None,
    }
}
