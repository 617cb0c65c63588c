use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{EngineKind, WorkloadTargetStatus, time::later},
    client::Failure,
    workload::{
        attempts::Attempts,
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
struct Case {
    kind: Kind,
    owner: Owner,
    found: Found,
    attempts: Attempts,
    authorized: Authorized,
    gate: Gate,
    queue: Option<Result<Option<Arc<InQueue>>, Failure>>,
}

fn case(spec: &Value, status: &Value) -> Case {
    let metadata = json!({"name": "train", "namespace": "team", "uid": "owner", "resourceVersion": "7", "generation": 1});
    let owner = json!({"metadata": metadata, "spec": spec, "status": status});
    Case {
        kind: Kind::Execution,
        owner: serde_json::from_value(owner).unwrap(),
        found: Found::NotCached,
        attempts: Attempts::default(),
        authorized: Authorized::Yes,
        gate: Gate::Open,
        queue: None,
    }
}

fn template() -> Value {
    json!({"template": {"apiVersion": "batch/v1", "kind": "Job", "spec": {}}})
}

fn reference() -> Value {
    json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "nightly", "uid": "job"}})
}

/// A status with work of this uid.
fn recorded(state: &str, uid: Option<&str>) -> Value {
    json!({"state": state, "workload": {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": uid}})
}

fn job(owners: &Value, rest: &Value) -> Arc<Work> {
    let mut object = json!({"metadata": {"name": "train", "uid": "job", "resourceVersion": "3", "ownerReferences": owners}});
    for (field, value) in rest.as_object().unwrap() {
        object[field] = value.clone();
    }
    let object: Object = serde_json::from_value(object).unwrap();
    Arc::new(Work::read(engines::of(EngineKind::Job).unwrap(), &object))
}

fn owned() -> Value {
    json!([{"kind": "Execution", "name": "train", "uid": "owner", "controller": true}])
}

fn running() -> Arc<Work> {
    job(&owned(), &json!({"status": {"active": 1, "startTime": "2026-11-30T11:00:00Z"}}))
}

impl Case {
    fn found(self, found: Found) -> Self {
        Self { found, ..self }
    }

    fn step(&self) -> Step {
        decide(&Facts {
            kind: self.kind,
            owner: &self.owner,
            found: self.found.clone(),
            attempts: &self.attempts,
            authorized: self.authorized.clone(),
            gate: self.gate.clone(),
            queue: self.queue.clone(),
            pods: None,
            now: now(),
        })
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
fn what_is_to_be_created_is_recorded_first_once_its_name_is_known_to_be_free() {
    let new = case(&template(), &json!({}));
    assert!(matches!(new.step(), Step::Read));
    let status = new.found(Found::Absent).records();
    assert_eq!((status.state, status.reason), (State::Pending, Reason::Pending));
    assert_eq!(status.workload.unwrap().uid, None);
    let mut intended = case(&template(), &json!({})).found(Found::Absent);
    let mut patch = intended.records().patch(intended.owner.recorded.as_ref().unwrap(), now()).unwrap();
    // The answer to that took a while.
    patch["submissionTime"] = "2026-11-30T11:59:58Z".into();
    intended.owner = case(&template(), &patch).owner;
    intended.attempts.intends();
    assert!(matches!(intended.step(), Step::Create), "{:?}", intended.step());
}

#[test]
fn an_execution_of_an_earlier_process_is_not_created_in_doubt() {
    let mut doubt = case(&template(), &recorded("PENDING", None)).found(Found::Absent);
    doubt.attempts.absent(later(now(), -74));
    assert_eq!(doubt.records().reason, Reason::Waiting);
    doubt.attempts = Attempts::default();
    doubt.attempts.absent(later(now(), -75));
    assert_eq!(doubt.records().state, State::Dead);
    // It is there after all.
    assert_eq!(doubt.found(Found::Live(running())).records().state, State::Running);
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
fn what_the_api_server_refuses_is_final_for_an_execution_and_waits_for_another_template_otherwise() {
    let refused =
        Failure::Refused { code: 422, message: "spec.template: Required value".into(), retry_after: None };
    let mut case = case(&template(), &recorded("PENDING", None)).found(Found::Absent);
    case.attempts.intends();
    case.attempts.creating();
    assert!(!case.attempts.creation_failed(&refused, Some(1), now()));
    let status = case.records();
    assert_eq!(status.state, State::Dead);
    assert!(status.message.contains("Required value"), "{}", status.message);
    case.kind = Kind::Deployment;
    assert_eq!((case.records().state, case.records().reason), (State::Pending, Reason::Refused));
}

#[test]
fn an_engine_that_is_not_served_or_not_permitted_is_reported_and_what_passes_is_not() {
    let failed = |failure: Failure, times: u32| {
        let mut case = case(&template(), &json!({})).found(Found::Failed(failure.clone()));
        for _ in 0..times {
            case.attempts.failed(failure.clone(), Some(1), now());
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
fn a_stop_is_requested_once_the_status_says_so_and_again_after_a_pause_if_it_is_undone() {
    let asked = |state: &str| {
        let mut status = recorded(state, Some("job"));
        status["targetStatus"] = "STOPPED".into();
        status
    };
    let mut case = case(&template(), &asked("STOPPING")).found(Found::Live(running()));
    let status = case.records();
    assert_eq!((status.state, status.reason), (State::Stopping, Reason::Stopping));
    let mut with_conditions = asked("STOPPING");
    let patch = status.patch(case.owner.recorded.as_ref().unwrap(), now()).unwrap();
    for (field, value) in patch.as_object().unwrap() {
        with_conditions[field] = value.clone();
    }
    case.owner = self::case(&template(), &with_conditions).owner;
    assert!(matches!(case.step(), Step::Stop(..)), "{:?}", case.step());
    case.attempts.stopped(now());
    assert!(matches!(case.step(), Step::Rest(Some(_))), "{:?}", case.step());
    case.attempts.stopped_at = Some(later(now(), -3));
    assert!(matches!(case.step(), Step::Stop(..)), "{:?}", case.step());
    // The emergency stop.
    case.gate = Gate::Closed("off".into());
    let status = case.records();
    assert_eq!(
        (status.state, status.reason, &*status.message),
        (State::Stopping, Reason::BulkUpdatesDisabled, "off")
    );
}

#[test]
fn it_has_stopped_only_when_a_live_read_shows_no_pod() {
    let mut status = recorded("STOPPING", Some("job"));
    status["targetStatus"] = "STOPPED".into();
    let suspended = json!([{"type": "Suspended", "status": "True"}]);
    let ending = json!({"spec": {"suspend": true}, "status": {"terminating": 1, "conditions": suspended}});
    let ending = case(&template(), &status).found(Found::Live(job(&owned(), &ending)));
    assert_eq!(ending.records().state, State::Stopping);
    let gone = job(&owned(), &json!({"spec": {"suspend": true}, "status": {"conditions": suspended}}));
    let stopped = case(&template(), &status).found(Found::Cached(Arc::clone(&gone)));
    assert!(matches!(stopped.step(), Step::Read));
    let status = stopped.found(Found::Live(gone)).records();
    assert_eq!((status.state, status.progress), (State::Stopped, Progress::Idle));
    assert_eq!(status.target_status, Some(WorkloadTargetStatus::Stopped));
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
    let cron = json!([{"kind": "CronJob", "name": "nightly", "uid": "cron", "controller": true}]);
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
fn a_refusal_does_not_make_the_refused_template_count_as_permitted() {
    let mut status = recorded("PENDING", None);
    status["observedGeneration"] = 0.into();
    let mut changed = case(&template(), &status).found(Found::Absent);
    (changed.kind, changed.authorized) = (Kind::Deployment, Authorized::No);
    assert_eq!(
        (changed.records().reason, changed.records().observed_generation),
        (Reason::NotAuthorized, Some(0))
    );
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

#[test]
fn a_changed_template_is_applied_once_unless_it_is_to_stop() {
    let mut status = recorded("RUNNING", Some("job"));
    status["observedGeneration"] = 0.into();
    let mut changed = case(&template(), &status).found(Found::Cached(running()));
    changed.kind = Kind::Deployment;
    assert!(matches!(changed.step(), Step::Apply(_)), "{:?}", changed.step());
    // Until it is applied, the status is about the old one.
    changed.authorized = Authorized::No;
    assert_eq!(
        (changed.records().reason, changed.records().observed_generation),
        (Reason::NotAuthorized, Some(0))
    );
    changed.authorized = Authorized::Yes;
    changed.attempts.applied(Some(1));
    assert_eq!(changed.records().observed_generation, Some(1));
    changed.attempts.applied = None;
    let refused = Failure::Refused { code: 422, message: "field is immutable".into(), retry_after: None };
    changed.attempts.failed(refused, Some(1), now());
    assert_eq!((changed.records().state, changed.records().reason), (State::Running, Reason::Refused));
    status["targetStatus"] = "STOPPED".into();
    let mut stopping = case(&template(), &status).found(Found::Cached(running()));
    stopping.kind = Kind::Deployment;
    assert!(!matches!(stopping.step(), Step::Apply(_)), "{:?}", stopping.step());
}

#[test]
fn what_kueue_may_start_has_not_stopped() {
    let mut status = recorded("STOPPING", Some("job"));
    status["targetStatus"] = "STOPPED".into();
    let queue = |active: bool, reserved: bool| {
        let says = Queued { job: "job".into(), active, reserved, finished: false };
        let queued = InQueue {
            api: "v1beta2",
            name: "w".into(),
            uid: "u".into(),
            version: "1".into(),
            says: Ok(says),
        };
        Some(Ok(Some(Arc::new(queued))))
    };
    // As it looks while it waits in the queue, too.
    let suspended = json!({"metadata": {"name": "train", "uid": "job", "resourceVersion": "3", "ownerReferences": owned(),
        "labels": {"kueue.x-k8s.io/queue-name": "gpus"}}, "spec": {"suspend": true}, "status": {"conditions": [
        {"type": "Suspended", "status": "True"}]}});
    let queued = job(&owned(), &suspended);
    assert!(queued.queued);
    let with = |queue| Case { queue, ..case(&template(), &status).found(Found::Live(Arc::clone(&queued))) };
    assert!(matches!(with(None).step(), Step::ReadQueue(_)));
    // Without a Workload, Kueue creates one, and starts it.
    assert_eq!(with(Some(Ok(None))).records().state, State::Stopping);
    assert_eq!(with(queue(true, false)).records().state, State::Stopping);
    assert_eq!(with(queue(false, true)).records().state, State::Stopping);
    assert_eq!(with(queue(false, false)).records().state, State::Stopped);
    let elsewhere = Some(Err(Failure::NotServed("404".into())));
    assert_eq!(with(elsewhere).records().state, State::Stopped, "where there is no Kueue, nobody starts it");
    let mut running = with(queue(true, true));
    let mut object = suspended.clone();
    (object["spec"], object["status"]) = (json!({"suspend": false}), json!({"active": 1}));
    running.found = Found::Live(job(&owned(), &object));
    let recorded = running.records();
    let mut written = status.clone();
    for (field, value) in
        recorded.patch(running.owner.recorded.as_ref().unwrap(), now()).unwrap().as_object().unwrap()
    {
        written[field] = value.clone();
    }
    running.owner = case(&template(), &written).owner;
    assert!(
        matches!(running.step(), Step::StopQueue(_)),
        "suspending it would only restart it: {:?}",
        running.step()
    );
}
