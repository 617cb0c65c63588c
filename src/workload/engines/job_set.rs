//! `jobset.x-k8s.io/v1alpha2` JobSet: several groups of Jobs that start and end together.

use serde::Deserialize;

use crate::{
    api::EngineKind,
    decode::json::{Malformed, part},
    workload::{
        conditions::{Condition, holds},
        engine::{Engine, Names, Parts, Phase, PodSelector, Pods, Seen, Stop, StopPatch},
    },
};

pub static JOB_SET: Engine = Engine {
    kind: EngineKind::JobSet,
    // Its Jobs are called NAME-GROUP-INDEX, which has to be a DNS label of 63 bytes.
    names: Names { longest: 59, letter_first: true },
    queued_by_kueue: true,
    ignored: Some("see whether the JobSet controller is running"),
    left_behind: None,
    observe,
    pods,
};

static SUSPEND: StopPatch = StopPatch { subresource: None, merge: r#"{"spec":{"suspend":true}}"# };

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    suspend: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    replicated_jobs_status: Vec<Group>,
    conditions: Vec<Condition>,
}

/// How many Jobs of a group are how far.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Group {
    active: u32,
    ready: u32,
    succeeded: u32,
}

fn observe(object: &Parts<'_>) -> Result<Seen, Malformed> {
    let spec: Spec = part(object.spec, "spec")?;
    let status: Status = part(object.status, "status")?;
    let on = |r#type: &str| holds(&status.conditions, r#type);
    let any = |count: fn(&Group) -> u32| status.replicated_jobs_status.iter().any(|group| count(group) > 0);
    let active = any(|group| group.active);
    let (phase, about, completed) = if let Some(done) = on("Completed") {
        (Phase::Completed, None, done.since())
    } else if let Some(failed) = on("Failed") {
        (Phase::Dead, Some(failed), failed.since())
    } else if spec.suspend
        && !active
        && let Some(suspended) = on("Suspended")
    {
        (Phase::Stopped, Some(suspended), None)
    } else if active || any(|group| group.ready) || any(|group| group.succeeded) {
        (Phase::Running, on("RestartingJobSet"), None)
    } else {
        (Phase::Pending, on("RestartingJobSet"), None)
    };
    Ok(Seen {
        phase,
        message: about.and_then(Condition::text),
        started: None,
        completed,
        url: None,
        stop: if spec.suspend { Stop::Requested } else { Stop::By(&SUSPEND) },
        // It is suspended, or over, before its Jobs have taken notice.
        pods: Pods::Listed(pods(object)?),
    })
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the spec of other engines is needed for this, and can be malformed"
)]
fn pods(object: &Parts<'_>) -> Result<Vec<PodSelector>, Malformed> {
    Ok(vec![PodSelector::labels(format!("jobset.sigs.k8s.io/jobset-name={}", object.name))])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workload::engines::tests::see;

    fn seen(suspend: bool, status: &Value) -> Seen {
        see(
            &JOB_SET,
            &json!({"spec": {"suspend": suspend, "replicatedJobs": [{"name": "workers"}]}, "status": status}),
        )
        .unwrap()
    }

    fn groups(active: u32, ready: u32, succeeded: u32, suspended: u32) -> Value {
        json!([{"name": "driver", "active": 0, "ready": 0, "succeeded": 0, "failed": 0, "suspended": 0},
            {"name": "workers", "active": active, "ready": ready, "succeeded": succeeded, "failed": 0, "suspended": suspended}])
    }

    #[test]
    fn from_its_creation_to_its_end() {
        let new = see(&JOB_SET, &json!({"spec": {"replicatedJobs": []}})).unwrap();
        assert_eq!((new.phase, new.stop), (Phase::Pending, Stop::By(&SUSPEND)));
        let created = json!({"restarts": 0, "replicatedJobsStatus": groups(0, 0, 0, 0)});
        assert_eq!(seen(false, &created).phase, Phase::Pending);
        for counts in [groups(1, 0, 0, 0), groups(0, 1, 0, 0), groups(0, 0, 1, 0)] {
            assert_eq!(
                seen(false, &json!({"replicatedJobsStatus": counts})).phase,
                Phase::Running,
                "{counts}"
            );
        }
        let done = seen(
            false,
            &json!({"terminalState": "Completed", "conditions": [{"type": "Completed", "status": "True",
            "reason": "AllJobsCompleted", "lastTransitionTime": "2026-11-28T10:01:00Z"}]}),
        );
        assert_eq!((done.phase, done.completed), (Phase::Completed, "2026-11-28T10:01:00Z".parse().ok()));
    }

    #[test]
    fn a_failure_names_the_first_job_that_failed() {
        let failed = seen(
            false,
            &json!({"terminalState": "Failed", "replicatedJobsStatus": groups(1, 1, 0, 0), "conditions": [
            {"type": "Failed", "status": "True", "reason": "FailedJobs", "lastTransitionTime": "2026-11-28T10:01:00Z",
            "message": "jobset failed due to one or more job failures (first failed job: work-workers-0)"}]}),
        );
        assert_eq!((failed.phase, failed.completed), (Phase::Dead, "2026-11-28T10:01:00Z".parse().ok()));
        assert!(failed.message.unwrap().starts_with("FailedJobs: jobset failed"));
        // Others still end.
        assert_ne!(failed.pods, Pods::Gone);
        let again = json!({"restarts": 1, "conditions": [{"type": "RestartingJobSet", "status": "True", "reason": "DefaultFailurePolicy"}]});
        let seen_again = seen(false, &again);
        assert_eq!(
            (seen_again.phase, seen_again.message.as_deref()),
            (Phase::Pending, Some("DefaultFailurePolicy"))
        );
    }

    #[test]
    fn it_has_stopped_once_it_says_so_and_no_job_is_active() {
        let suspended = json!([{"type": "Suspended", "status": "True", "reason": "SuspendedJobs", "message": "jobset is suspended"}]);
        let asked = seen(true, &json!({"replicatedJobsStatus": groups(2, 2, 0, 0)}));
        assert_eq!((asked.phase, asked.stop), (Phase::Running, Stop::Requested));
        let ending =
            seen(true, &json!({"replicatedJobsStatus": groups(2, 2, 0, 0), "conditions": suspended}));
        assert_eq!(ending.phase, Phase::Running);
        // Nothing in it says when its Pods are gone.
        let stopped =
            seen(true, &json!({"replicatedJobsStatus": groups(0, 0, 0, 2), "conditions": suspended}));
        assert_eq!((stopped.phase, stopped.stop), (Phase::Stopped, Stop::Requested));
        assert_eq!(
            stopped.pods,
            Pods::Listed(vec![PodSelector::labels("jobset.sigs.k8s.io/jobset-name=work".into())])
        );
        // Somebody has undone it: the condition is behind.
        let undone =
            seen(false, &json!({"replicatedJobsStatus": groups(0, 0, 0, 2), "conditions": suspended}));
        assert_eq!((undone.phase, undone.stop), (Phase::Pending, Stop::By(&SUSPEND)));
    }

    #[test]
    fn one_that_cannot_be_understood_says_where() {
        let odd =
            see(&JOB_SET, &json!({"status": {"replicatedJobsStatus": [{"active": 1}, {"active": "two"}]}}))
                .unwrap_err();
        assert_eq!(odd.place, "status.replicatedJobsStatus[1].active");
    }
}
