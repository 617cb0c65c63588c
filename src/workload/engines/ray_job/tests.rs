use serde_json::{Value, json};

use super::*;
use crate::workload::engines::tests::see;

fn with(spec: Value, status: &Value) -> Seen {
    let mut spec = spec;
    spec["rayClusterSpec"] = json!({"headGroupSpec": {}});
    see(&RAY_JOB, &json!({"spec": spec, "status": status})).unwrap()
}

/// One that shuts down, in this phase of `KubeRay`'s and this one of Ray's.
fn at(deployment_status: &str, job_status: &str) -> Seen {
    let status = json!({"jobDeploymentStatus": deployment_status, "jobStatus": job_status, "startTime": "2026-11-28T10:00:00Z"});
    with(json!({"shutdownAfterJobFinishes": true}), &status)
}

#[test]
fn from_its_creation_to_its_end() {
    assert_eq!(with(json!({}), &json!({})).phase, Phase::Pending);
    for early in ["", "Initializing", "Waiting", "Retrying"] {
        assert_eq!(at(early, "").phase, Phase::Pending, "{early}");
    }
    let running = at("Running", "PENDING");
    assert_eq!((running.phase, running.stop), (Phase::Running, Stop::By(&SUSPEND)));
    assert_eq!(running.started, "2026-11-28T10:00:00Z".parse().ok());
    let done = with(
        json!({}),
        &json!({"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED",
        "message": "Job finished successfully.", "endTime": "2026-11-28T10:01:00Z"}),
    );
    assert_eq!((done.phase, done.message), (Phase::Completed, None));
    assert_eq!(done.completed, "2026-11-28T10:01:00Z".parse().ok());
}

#[test]
fn how_it_failed() {
    let failed = with(
        json!({}),
        &json!({"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "reason": "AppFailed",
        "message": "Job entrypoint command failed with exit code 1", "endTime": "2026-11-28T10:01:00Z"}),
    );
    assert_eq!(failed.phase, Phase::Dead);
    assert_eq!(failed.message.as_deref(), Some("AppFailed: Job entrypoint command failed with exit code 1"));
    assert_eq!(failed.completed, "2026-11-28T10:01:00Z".parse().ok());
    // It is tried once more.
    let retried = with(
        json!({}),
        &json!({"jobDeploymentStatus": "Retrying", "jobStatus": "FAILED", "reason": "AppFailed"}),
    );
    assert_eq!((retried.phase, retried.message.as_deref()), (Phase::Pending, Some("AppFailed")));
    // With `ray job stop`.
    let stopped = with(
        json!({}),
        &json!({"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED", "message": "Job was stopped."}),
    );
    assert_eq!((stopped.phase, stopped.message.as_deref()), (Phase::Dead, Some("STOPPED: Job was stopped.")));
    let invalid = with(
        json!({"suspend": true}),
        &json!({"jobDeploymentStatus": "ValidationFailed", "jobStatus": "RUNNING",
        "reason": "ValidationFailed", "message": "a RayJob with shutdownAfterJobFinishes set to false is not allowed to be suspended"}),
    );
    assert_eq!(invalid.phase, Phase::Dead);
    assert!(invalid.message.unwrap().starts_with("ValidationFailed: a RayJob with shutdownAfterJobFinishes"));
    assert_ne!(invalid.pods, Pods::Gone);
}

#[test]
fn a_stop_takes_both_fields_and_has_taken_hold_when_it_is_suspended() {
    let both = json!({"suspend": true, "shutdownAfterJobFinishes": true});
    let patch: Value = serde_json::from_str(SUSPEND.merge).unwrap();
    assert_eq!(patch, json!({"spec": both}));
    let running = json!({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"});
    // Half a stop breaks it, unless the other half comes before KubeRay has looked.
    assert_eq!(with(json!({"suspend": true}), &running).stop, Stop::By(&SUSPEND));
    assert_eq!(with(both.clone(), &running).stop, Stop::Requested);
    for (word, phase) in
        [("Running", Phase::Running), ("Suspending", Phase::Running), ("Suspended", Phase::Stopped)]
    {
        let seen = with(both.clone(), &json!({"jobDeploymentStatus": word, "jobStatus": "RUNNING"}));
        assert_eq!((seen.phase, seen.stop), (phase, Stop::Requested), "{word}");
    }
    // Somebody has undone it: KubeRay has not looked yet.
    let undone =
        with(json!({"shutdownAfterJobFinishes": true}), &json!({"jobDeploymentStatus": "Suspended"}));
    assert_eq!((undone.phase, undone.stop), (Phase::Pending, Stop::By(&SUSPEND)));
}

/// As under Kueue, which suspends it from its creation.
#[test]
fn one_that_was_suspended_before_its_ray_job_has_not_run() {
    for early in ["Initializing", "Suspending"] {
        let seen = at(early, "");
        assert_eq!((seen.phase, seen.started), (Phase::Pending, None), "{early}");
    }
    let suspended = with(
        json!({"suspend": true, "shutdownAfterJobFinishes": true}),
        &json!({"jobDeploymentStatus": "Suspended", "jobStatus": "", "startTime": "2026-11-28T10:00:00Z"}),
    );
    assert_eq!((suspended.phase, suspended.started), (Phase::Stopped, None));
    let ran = at("Suspending", "RUNNING");
    assert_eq!((ran.phase, ran.started), (Phase::Running, "2026-11-28T10:00:00Z".parse().ok()));
}

#[test]
fn what_cannot_be_stopped_says_how_to_end_it() {
    let running = json!({"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"});
    let selector = json!({"clusterSelector": {"ray.io/cluster": "shared"}});
    assert_eq!(with(selector, &running).stop, Stop::Impossible(FOREIGN_CLUSTER));
    let rules = json!({"deletionStrategy": {"deletionRules": [{"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED"}}]}});
    assert_eq!(with(rules, &running).stop, Stop::Impossible(DELETION_RULES));
    let older = json!({"deletionStrategy": {"onSuccess": {"policy": "DeleteCluster"}, "onFailure": {"policy": "DeleteNone"}}});
    assert_eq!(with(older, &running).stop, Stop::By(&SUSPEND));
    let waiting = json!({"jobDeploymentStatus": "Waiting"});
    assert_eq!(with(json!({"submissionMode": "InteractiveMode"}), &waiting).stop, Stop::Impossible(WAITS));
    let submitted = json!({"submissionMode": "InteractiveMode", "jobId": "raysubmit_1"});
    assert_eq!(with(submitted, &waiting).stop, Stop::By(&SUSPEND));
    // It goes from Retrying over Initializing to Suspending.
    assert_eq!(with(json!({}), &json!({"jobDeploymentStatus": "Retrying"})).stop, Stop::By(&SUSPEND));
}

#[test]
fn its_pods_are_found_when_it_has_forgotten_its_cluster() {
    let taken = |seen: &Seen, label: &str, controller: (&str, &str)| {
        let Pods::Listed(selectors) = &seen.pods else { panic!("{:?}", seen.pods) };
        selectors.iter().any(|selector| selector.labels == label && selector.takes(Some(controller)))
    };
    let submitter = ("batch.kubernetes.io/job-name=work", ("Job", "work"));
    let suspended = json!({"jobDeploymentStatus": "Suspended", "rayClusterName": ""});
    let seen = with(
        json!({"suspend": true, "shutdownAfterJobFinishes": true, "submissionMode": "K8sJobMode"}),
        &suspended,
    );
    for cluster in ["work-x7k2p", "work-raycluster-x7k2p"] {
        assert!(taken(&seen, "ray.io/cluster", ("RayCluster", cluster)), "{cluster}");
    }
    for foreign in ["shared", "work-two-x7k2p", "work"] {
        assert!(!taken(&seen, "ray.io/cluster", ("RayCluster", foreign)), "{foreign}");
    }
    assert!(taken(&seen, submitter.0, submitter.1));
    // The submitter is no Job, and one of this name is not its own.
    assert!(!taken(&with(json!({"submissionMode": "HTTPMode"}), &suspended), submitter.0, submitter.1));
    let guest =
        with(json!({"clusterSelector": {"ray.io/cluster": "shared"}}), &json!({"rayClusterName": "shared"}));
    assert_eq!(guest.pods, Pods::Listed(vec![PodSelector::labels(submitter.0.into())]));
    // It has none of its own.
    let spec = json!({"clusterSelector": {"ray.io/cluster": "shared"}, "submissionMode": "HTTPMode"});
    assert_eq!(with(spec, &json!({"rayClusterName": "shared"})).pods, Pods::Listed(vec![]));
}

#[test]
fn one_that_cannot_be_understood_says_where() {
    let place = |status: Value| see(&RAY_JOB, &json!({"status": status})).unwrap_err().place;
    assert_eq!(place(json!({"jobDeploymentStatus": "Scheduled"})), "status.jobDeploymentStatus");
    assert_eq!(place(json!({"jobDeploymentStatus": "Complete", "jobStatus": "LOST"})), "status.jobStatus");
    assert_eq!(place(json!({"jobDeploymentStatus": 1})), "status.jobDeploymentStatus");
}
