mod creation;
mod kueue;
mod stops;

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{EngineKind, WorkloadTargetStatus, time::later},
    client::Failure,
    workload::{
        attempts::{Attempts, Request},
        engines,
        facts::{Authorized, Gate, InQueue},
        kueue::Queued,
        owner::Owner,
        work::Object,
    },
};

fn now() -> Timestamp {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

/// What is observed of an Execution with this spec and status.
#[derive(Clone)]
struct Case {
    kind: Kind,
    spec: Value,
    status: Value,
    found: Found,
    attempts: Attempts,
    authorized: Authorized,
    gate: Gate,
    queue: Option<Result<Option<Arc<InQueue>>, Failure>>,
    pods: Option<Result<bool, Failure>>,
}

/// One where there is no Kueue, and no Pod.
fn case(spec: &Value, status: &Value) -> Case {
    Case {
        kind: Kind::Execution,
        spec: spec.clone(),
        status: status.clone(),
        found: Found::NotCached,
        attempts: Attempts::default(),
        authorized: Authorized::Yes,
        gate: Gate::Open,
        queue: Some(Err(Failure::NotServed("404".into()))),
        pods: Some(Ok(false)),
    }
}

fn template() -> Value {
    json!({"template": {"apiVersion": "batch/v1", "kind": "Job", "spec": {}}})
}

fn reference() -> Value {
    json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "nightly", "uid": "job"}})
}

/// A status with work of this uid that is to stop.
fn asked(state: &str, uid: Option<&str>) -> Value {
    let mut status = recorded(state, uid);
    status["targetStatus"] = "STOPPED".into();
    status
}

/// A status with work of this uid.
fn recorded(state: &str, uid: Option<&str>) -> Value {
    let workload = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": uid});
    json!({"state": state, "observedGeneration": 1, "workload": workload})
}

fn job(owners: &Value, rest: &Value) -> Arc<Work> {
    let mut object = json!({"metadata": {"name": "train", "uid": "job", "resourceVersion": "3", "ownerReferences": owners,
        "labels": {"aiapi.dev/owner-uid": "owner"}}});
    for (field, value) in rest.as_object().unwrap() {
        object[field] = value.clone();
    }
    let object: Object = serde_json::from_value(object).unwrap();
    Arc::new(Work::read(engines::of(EngineKind::Job).unwrap(), &object))
}

fn owned() -> Value {
    json!([{"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "name": "train", "uid": "owner", "controller": true}])
}

fn running() -> Arc<Work> {
    job(&owned(), &json!({"status": {"active": 1, "startTime": "2026-11-30T11:00:00Z"}}))
}

/// What is refused with this code.
fn refused(code: u16) -> Failure {
    Failure::Refused { code, message: "not so".into(), retry_after: None }
}

/// What is suspended, and its Pods are gone.
fn suspended() -> Value {
    json!({"spec": {"suspend": true}, "status": {"conditions": [{"type": "Suspended", "status": "True"}]}})
}

impl Case {
    fn found(self, found: Found) -> Self {
        Self { found, ..self }
    }

    fn owner(&self) -> Owner {
        let metadata = json!({"name": "train", "namespace": "team", "uid": "owner", "resourceVersion": "7", "generation": 1});
        let owner = json!({"metadata": metadata, "spec": self.spec, "status": self.status});
        serde_json::from_value(owner).unwrap()
    }

    fn step(&self) -> Step {
        decide(&Facts {
            kind: self.kind,
            owner: &self.owner(),
            found: self.found.clone(),
            attempts: &self.attempts,
            authorized: self.authorized.clone(),
            gate: self.gate.clone(),
            queue: self.queue.clone(),
            pods: self.pods.clone(),
            now: now(),
        })
    }

    /// The same after its status is written.
    fn recorded(&self) -> Self {
        let mut after = self.clone();
        let patch = self.records().patch(self.owner().recorded.as_ref().unwrap(), now()).unwrap();
        for (field, value) in patch.as_object().unwrap() {
            after.status[field] = value.clone();
        }
        after
    }

    /// The status that is written.
    fn records(&self) -> Status {
        match self.step() {
            Step::Record(status) => *status,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nothing_is_done_for_what_has_no_work_is_another_controllers_or_cannot_be_understood() {
    let others = json!({"managedBy": "example.com/runner", "template": template()["template"]});
    for (spec, status) in [
        (json!({}), json!({})),
        (others, json!({})),
        (template(), json!({"state": "PAUSED"})),
        (template(), recorded("COMPLETED", Some("job"))),
    ] {
        let case = case(&spec, &status).found(Found::Live(running()));
        assert!(matches!(case.step(), Step::Rest(None)), "{spec} {status}: {:?}", case.step());
    }
}

#[test]
fn a_name_that_is_taken_is_left_alone() {
    let taken = case(&template(), &json!({})).found(Found::Live(job(&json!([]), &json!({}))));
    let status = taken.records();
    assert_eq!(
        (status.state, status.reason, status.progress),
        (State::Unknown, Reason::NameTaken, Progress::Stalled)
    );
}

#[test]
fn nothing_runs_for_an_author_who_was_not_checked() {
    let mut case = case(&template(), &json!({})).found(Found::Absent);
    case.authorized = Authorized::No;
    assert_eq!((case.records().state, case.records().reason), (State::Unknown, Reason::NotAuthorized));
    case.authorized = Authorized::Unknown("the policy is missing".into());
    assert_eq!(case.records().reason, Reason::Waiting);
}

#[test]
fn an_engine_that_is_not_served_or_not_permitted_is_reported_and_what_passes_is_not() {
    let failed = |failure: Failure, times: u32| {
        let mut case = case(&template(), &json!({})).found(Found::Failed(failure.clone()));
        for _ in 0..times {
            case.attempts.failed(Request::Read, failure.clone(), Some(1), now());
        }
        case
    };
    assert_eq!(failed(Failure::NotServed("404".into()), 1).records().reason, Reason::EngineNotServed);
    let forbidden = Failure::Refused { code: 403, message: "cannot get jobs".into(), retry_after: None };
    assert_eq!(failed(forbidden, 1).records().message, "cannot get jobs");
    let lost = Failure::NoAnswer("reset".into());
    assert!(matches!(failed(lost.clone(), 1).step(), Step::Rest(Some(_))));
    assert_eq!(failed(lost, 3).records().reason, Reason::Waiting);
}

#[test]
fn work_that_is_gone_ends_an_execution_and_is_created_again_for_a_deployment() {
    let mut gone = case(&template(), &recorded("RUNNING", Some("job"))).found(Found::Absent);
    assert_eq!(gone.records().state, State::Dead);
    // Something else has its name now.
    gone.found = Found::Live(job(&json!([]), &json!({"metadata": {"name": "train", "uid": "other"}})));
    assert_eq!(gone.records().state, State::Dead);
    (gone.kind, gone.found) = (Kind::Deployment, Found::Absent);
    let status = gone.records();
    assert_eq!((status.state, status.workload.unwrap().uid), (State::Pending, None));
}

#[test]
fn only_an_object_of_that_uid_without_an_owner_is_adopted() {
    let adopts =
        |owners: &Value| case(&reference(), &json!({})).found(Found::Live(job(owners, &json!({})))).step();
    // On record first: what runs must not be UNKNOWN.
    let status = case(&reference(), &json!({})).found(Found::Live(job(&json!([]), &json!({})))).records();
    assert_eq!((status.state, status.workload.unwrap().uid.as_deref()), (State::Pending, Some("job")));
    let on_record = |owners: &Value| {
        case(&reference(), &recorded("PENDING", Some("job"))).found(Found::Live(job(owners, &json!({}))))
    };
    assert!(matches!(on_record(&json!([])).step(), Step::Adopt(_)));
    let reason = |step: Step| match step {
        Step::Record(status) => status.reason,
        other => panic!("{other:?}"),
    };
    let cron = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "cron", "controller": true}]);
    assert_eq!(reason(adopts(&cron)), Reason::NotAdoptable);
    assert_eq!(on_record(&cron).records().state, State::Dead, "another controller has it now");
    assert_eq!(
        reason(adopts(&json!([{"kind": "ConfigMap", "name": "x", "uid": "y"}]))),
        Reason::NotAdoptable
    );
    assert_eq!(reason(case(&reference(), &json!({})).found(Found::Absent).step()), Reason::NotAdoptable);
    let other = job(&json!([]), &json!({"metadata": {"name": "nightly", "uid": "other"}}));
    assert_eq!(reason(case(&reference(), &json!({})).found(Found::Live(other)).step()), Reason::NotAdoptable);
    // Once it is ours, the status names it.
    let status = case(&reference(), &json!({})).found(Found::Live(job(&owned(), &json!({})))).records();
    assert_eq!(status.workload.unwrap().uid.as_deref(), Some("job"));
}

#[test]
fn what_cannot_be_a_name_is_no_part_of_a_url() {
    for name in ["x?dryRun=All&y=", "../../team-b/jobs/victim", "nightly/status", "Nightly", ""] {
        let spec =
            json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "job"}});
        assert_eq!(case(&spec, &json!({})).records().reason, Reason::Unreadable, "{name}");
    }
}

#[test]
fn what_cannot_be_understood_keeps_its_state() {
    let odd = job(&owned(), &json!({"status": {"active": "many"}}));
    let status = case(&template(), &recorded("RUNNING", Some("job"))).found(Found::Live(odd)).records();
    assert_eq!((status.state, status.reason), (State::Running, Reason::Unreadable));
    let unknown = json!({"template": {"apiVersion": "batch/v2", "kind": "Job"}});
    assert_eq!(case(&unknown, &json!({})).records().reason, Reason::Unreadable);
}
