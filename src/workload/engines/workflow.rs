//! `argoproj.io/v1alpha1` Workflow. What it says of its steps can be megabytes, and is not looked at.

use serde::Deserialize;

use crate::{
    api::EngineKind,
    decode::json::{Malformed, part},
    workload::{
        conditions::{message, time, unknown},
        engine::{Engine, Names, Parts, Phase, PodSelector, Pods, Seen, Stop, StopPatch},
    },
};

pub static WORKFLOW: Engine = Engine {
    kind: EngineKind::Workflow,
    names: Names { longest: 63, letter_first: false },
    queued_by_kueue: false,
    // Its exit handlers take their time.
    ignored: None,
    left_behind: None,
    observe,
    pods,
};

/// Its exit handlers still run. One that is suspended would not end, as the controller looks at `suspend` first.
static STOP: StopPatch =
    StopPatch { subresource: None, merge: r#"{"spec":{"shutdown":"Stop","suspend":null}}"# };

/// For one that has not begun: the controller looks at one that waits for its turn, or for a lock, only if it is terminated.
static TERMINATE: StopPatch =
    StopPatch { subresource: None, merge: r#"{"spec":{"shutdown":"Terminate","suspend":null}}"# };

/// Its schema keeps what it does not know, null included.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    shutdown: Option<String>,
    suspend: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    message: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
}

fn observe(object: &Parts<'_>) -> Result<Seen, Malformed> {
    let spec: Spec = part(object.spec, "spec")?;
    let status: Status = part(object.status, "status")?;
    let shut_down = spec.shutdown.is_some_and(|strategy| !strategy.is_empty());
    let phase = match status.phase.as_deref().unwrap_or_default() {
        "" | "Pending" => Phase::Pending,
        "Running" => Phase::Running,
        // There is no phase of a stopped one: it has Failed, or Succeeded if its steps may fail.
        "Succeeded" | "Failed" | "Error" if shut_down => Phase::Stopped,
        "Succeeded" => Phase::Completed,
        "Failed" | "Error" => Phase::Dead,
        other => return Err(unknown("status.phase", other)),
    };
    Ok(Seen {
        phase,
        message: message(None, status.message.as_deref()),
        started: time(status.started_at.as_deref()),
        completed: time(status.finished_at.as_deref()),
        url: None,
        stop: if phase == Phase::Stopped || shut_down && spec.suspend != Some(true) {
            Stop::Requested
        } else if phase == Phase::Pending {
            Stop::By(&TERMINATE)
        } else {
            Stop::By(&STOP)
        },
        // It has failed before the last of them has ended.
        pods: Pods::Listed(pods(object)?),
    })
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the spec of other engines is needed for this, and can be malformed"
)]
fn pods(object: &Parts<'_>) -> Result<Vec<PodSelector>, Malformed> {
    Ok(vec![PodSelector::labels(format!("workflows.argoproj.io/workflow={}", object.name))])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workload::engines::tests::see;

    fn with(spec: &Value, phase: &str) -> Seen {
        see(&WORKFLOW, &json!({"spec": spec, "status": {"phase": phase, "startedAt": "2026-11-28T10:00:00Z", "finishedAt": null}})).unwrap()
    }

    #[test]
    fn from_its_creation_to_its_end() {
        let new = see(&WORKFLOW, &json!({"spec": {"entrypoint": "main", "suspend": null, "shutdown": null}}))
            .unwrap();
        assert_eq!((new.phase, new.started), (Phase::Pending, None));
        assert_eq!(with(&json!({}), "Pending").phase, Phase::Pending);
        let running = with(&json!({}), "Running");
        assert_eq!((running.phase, running.stop), (Phase::Running, Stop::By(&STOP)));
        assert_eq!((running.started, running.completed), ("2026-11-28T10:00:00Z".parse().ok(), None));
        let done =
            see(&WORKFLOW, &json!({"status": {"phase": "Succeeded", "finishedAt": "2026-11-28T10:01:00Z"}}))
                .unwrap();
        assert_eq!((done.phase, done.completed), (Phase::Completed, "2026-11-28T10:01:00Z".parse().ok()));
        for phase in ["Failed", "Error"] {
            let failed =
                see(&WORKFLOW, &json!({"status": {"phase": phase, "message": "child 'train-1' failed"}}))
                    .unwrap();
            assert_eq!(
                (failed.phase, failed.message.as_deref()),
                (Phase::Dead, Some("child 'train-1' failed"))
            );
        }
    }

    #[test]
    fn one_that_has_ended_after_a_stop_has_stopped() {
        let stop = json!({"shutdown": "Stop"});
        let ending = with(&stop, "Running");
        assert_eq!((ending.phase, ending.stop), (Phase::Running, Stop::Requested));
        for (strategy, phase) in [("Stop", "Failed"), ("Stop", "Succeeded"), ("Terminate", "Error")] {
            let seen = with(&json!({"shutdown": strategy}), phase);
            assert_eq!((seen.phase, seen.stop), (Phase::Stopped, Stop::Requested), "{strategy} {phase}");
        }
        let failed =
            json!({"spec": stop, "status": {"phase": "Failed", "message": "Stopped with strategy 'Stop'"}});
        let seen = see(&WORKFLOW, &failed).unwrap();
        assert_eq!(seen.message.as_deref(), Some("Stopped with strategy 'Stop'"));
        assert_eq!(
            seen.pods,
            Pods::Listed(vec![PodSelector::labels("workflows.argoproj.io/workflow=work".into())])
        );
    }

    #[test]
    fn one_that_is_suspended_is_woken_to_end() {
        let suspended = with(&json!({"suspend": true}), "Running");
        assert_eq!((suspended.phase, suspended.stop), (Phase::Running, Stop::By(&STOP)));
        assert_eq!(with(&json!({"suspend": true, "shutdown": "Stop"}), "Running").stop, Stop::By(&STOP));
        for patch in [&STOP, &TERMINATE] {
            let patch: Value = serde_json::from_str(patch.merge).unwrap();
            assert_eq!(patch["spec"]["suspend"], Value::Null);
            assert!(patch["spec"].as_object().unwrap().contains_key("suspend"));
        }
    }

    #[test]
    fn one_that_has_not_begun_is_terminated() {
        for phase in ["", "Pending"] {
            assert_eq!(with(&json!({}), phase).stop, Stop::By(&TERMINATE), "{phase}");
        }
    }

    #[test]
    fn its_nodes_are_not_looked_at() {
        let object = json!({"status": {"phase": "Running", "nodes": "not what nodes are", "conditions": 7}});
        assert_eq!(see(&WORKFLOW, &object).unwrap().phase, Phase::Running);
    }

    #[test]
    fn one_that_cannot_be_understood_says_where() {
        let odd = see(&WORKFLOW, &json!({"status": {"phase": "Skipped"}})).unwrap_err();
        assert_eq!(odd.to_string(), "status.phase: unknown value \"Skipped\"");
    }
}
