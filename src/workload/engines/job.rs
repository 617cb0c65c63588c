//! `batch/v1` Job.

use serde::Deserialize;

use crate::{
    api::EngineKind,
    decode::json::{Malformed, part},
    workload::{
        conditions::{Condition, holds, time},
        engine::{Engine, Names, Parts, Phase, PodSelector, Pods, Seen, Stop, StopPatch},
    },
};

pub static JOB: Engine = Engine {
    kind: EngineKind::Job,
    names: Names { longest: 63, letter_first: false },
    queued_by_kueue: true,
    ignored: Some("see whether kube-controller-manager is running"),
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
    active: u32,
    terminating: u32,
    start_time: Option<String>,
    completion_time: Option<String>,
    conditions: Vec<Condition>,
}

fn observe(object: &Parts<'_>) -> Result<Seen, Malformed> {
    let spec: Spec = part(object.spec, "spec")?;
    let status: Status = part(object.status, "status")?;
    let on = |r#type: &str| holds(&status.conditions, r#type);
    let completed = time(status.completion_time.as_deref());
    let (phase, about, completed) = if let Some(done) = on("Complete") {
        (Phase::Completed, None, completed.or_else(|| done.since()))
    } else if let Some(failed) = on("Failed") {
        (Phase::Dead, Some(failed), failed.since())
    } else if spec.suspend
        && let Some(suspended) = on("Suspended")
    {
        (Phase::Stopped, Some(suspended), None)
    } else if status.active > 0 || status.start_time.is_some() {
        // What ends is running until its Pods are gone; the reason is known before.
        (Phase::Running, on("FailureTarget"), None)
    } else {
        (Phase::Pending, None, None)
    };
    Ok(Seen {
        phase,
        message: about.and_then(Condition::text),
        started: time(status.start_time.as_deref()),
        completed,
        url: None,
        stop: if spec.suspend { Stop::Requested } else { Stop::By(&SUSPEND) },
        // The numbers lag behind the Pods that the Job controller is creating.
        pods: if status.active == 0 && status.terminating == 0 {
            Pods::Listed(pods_of(object.uid))
        } else {
            Pods::Left
        },
    })
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the spec of other engines is needed for this, and can be malformed"
)]
fn pods(object: &Parts<'_>) -> Result<Vec<PodSelector>, Malformed> {
    Ok(pods_of(object.uid))
}

fn pods_of(uid: &str) -> Vec<PodSelector> {
    vec![PodSelector::labels(format!("batch.kubernetes.io/controller-uid={uid}"))]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workload::engines::tests::see;

    fn phase(object: &serde_json::Value) -> (Phase, Pods) {
        let seen = see(&JOB, object).unwrap();
        (seen.phase, seen.pods)
    }

    fn listed() -> Pods {
        Pods::Listed(pods_of("uid"))
    }

    #[test]
    fn from_its_creation_to_its_end() {
        assert_eq!(phase(&json!({"spec": {}})), (Phase::Pending, listed()));
        let running =
            json!({"spec": {"suspend": false}, "status": {"active": 2, "startTime": "2026-11-28T10:00:00Z"}});
        assert_eq!(phase(&running), (Phase::Running, Pods::Left));
        assert_eq!(see(&JOB, &running).unwrap().stop, Stop::By(&SUSPEND));
        let done = json!({"status": {"startTime": "2026-11-28T10:00:00Z", "completionTime": "2026-11-28T10:01:00Z", "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]}});
        let seen = see(&JOB, &done).unwrap();
        assert_eq!((seen.phase, seen.pods), (Phase::Completed, listed()));
        assert_eq!(seen.completed, "2026-11-28T10:01:00Z".parse().ok());
    }

    #[test]
    fn a_failure_is_final_only_when_its_pods_are_gone() {
        let target = json!({"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"});
        let failing = json!({"status": {"startTime": "2026-11-28T10:00:00Z", "terminating": 1, "conditions": [target]}});
        let seen = see(&JOB, &failing).unwrap();
        assert_eq!((seen.phase, seen.pods), (Phase::Running, Pods::Left));
        assert_eq!(seen.message.as_deref(), Some("BackoffLimitExceeded: too often"));
        let failed = json!({"status": {"conditions": [target, {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
            "lastTransitionTime": "2026-11-28T10:01:00Z"}]}});
        let seen = see(&JOB, &failed).unwrap();
        assert_eq!((seen.phase, seen.message.as_deref()), (Phase::Dead, Some("BackoffLimitExceeded")));
        assert_eq!(seen.completed, "2026-11-28T10:01:00Z".parse().ok());
    }

    #[test]
    fn it_has_stopped_once_it_says_so_and_its_pods_are_gone_later() {
        let suspended = json!({"type": "Suspended", "status": "True", "reason": "JobSuspended"});
        // The request, before the Job controller has seen it.
        let asked =
            json!({"spec": {"suspend": true}, "status": {"active": 2, "startTime": "2026-11-28T10:00:00Z"}});
        assert_eq!(phase(&asked), (Phase::Running, Pods::Left));
        assert_eq!(see(&JOB, &asked).unwrap().stop, Stop::Requested);
        let ending =
            json!({"spec": {"suspend": true}, "status": {"terminating": 2, "conditions": [suspended]}});
        assert_eq!(phase(&ending), (Phase::Stopped, Pods::Left));
        let stopped = json!({"spec": {"suspend": true}, "status": {"conditions": [suspended]}});
        assert_eq!(phase(&stopped), (Phase::Stopped, listed()));
        // Somebody has undone it: the condition is behind.
        let undone = json!({"spec": {"suspend": false}, "status": {"conditions": [suspended]}});
        assert_eq!(phase(&undone), (Phase::Pending, listed()));
        assert_eq!(see(&JOB, &undone).unwrap().stop, Stop::By(&SUSPEND));
    }

    #[test]
    fn one_that_cannot_be_understood_says_where() {
        let odd = see(&JOB, &json!({"status": {"active": "two"}})).unwrap_err();
        assert_eq!(odd.place, "status.active");
        let many = json!({"status": {"active": u32::MAX, "terminating": u32::MAX}});
        assert_eq!(phase(&many).1, Pods::Left);
    }
}
