//! Stops: what is requested, what is reported meanwhile, and when it has stopped.

use super::*;
use crate::workload::{engine::Pods, engines::ENGINES};

#[test]
fn a_stop_is_requested_once_the_status_says_so_and_again_after_a_pause_if_it_is_undone() {
    let asked = |state| case(&template(), &asked(state, Some("job"))).found(Found::Live(running()));
    let status = asked("RUNNING").records();
    assert_eq!((status.state, status.reason), (State::Stopping, Reason::Stopping));
    assert!(matches!(asked("RUNNING").recorded().step(), Step::Stop(..)));
    // The conditions are written with what follows.
    let mut case = asked("STOPPING");
    assert!(matches!(case.step(), Step::Stop(..)), "{:?}", case.step());
    case.attempts.stopped(now());
    assert_eq!(case.records().reason, Reason::Stopping);
    case = case.recorded();
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
    let status = asked("STOPPING", Some("job"));
    let mut ending = suspended();
    ending["status"]["terminating"] = 1.into();
    let ending = case(&template(), &status).found(Found::Live(job(&owned(), &ending)));
    assert_eq!(ending.records().state, State::Stopping);
    let gone = job(&owned(), &suspended());
    let stopped = case(&template(), &status).found(Found::Cached(Arc::clone(&gone)));
    assert!(matches!(stopped.step(), Step::Read));
    let status = stopped.found(Found::Live(gone)).records();
    assert_eq!((status.state, status.progress), (State::Stopped, Progress::Idle));
    assert_eq!(status.target_status, Some(WorkloadTargetStatus::Stopped));
}

#[test]
fn a_stop_that_is_refused_is_reported_and_stays_reported_while_it_is_tried_again() {
    for (failure, times, wanted) in [
        (refused(403), 1, Some((Progress::Stalled, Reason::Forbidden))),
        (refused(422), 1, Some((Progress::Stalled, Reason::Refused))),
        (refused(429), 1, None),
        (refused(429), 3, Some((Progress::Reconciling, Reason::Refused))),
        (Failure::NoAnswer("reset".into()), 3, Some((Progress::Reconciling, Reason::Waiting))),
    ] {
        let mut case = case(&template(), &asked("STOPPING", Some("job"))).found(Found::Live(running()));
        for _ in 0..times {
            case.attempts.failed(Request::Stop, failure.clone(), Some(1), now());
        }
        let status = case.records();
        assert_eq!(status.state, State::Stopping);
        let wanted = wanted.unwrap_or((Progress::Reconciling, Reason::Stopping));
        assert_eq!((status.progress, status.reason), wanted, "{failure} {times}");
        let mut reported = case.recorded();
        assert!(matches!(reported.step(), Step::Rest(Some(_))), "{:?}", reported.step());
        reported.attempts.failed.as_mut().unwrap().until = now();
        assert!(matches!(reported.step(), Step::Stop(..)), "{:?}", reported.step());
        reported.attempts.stopped(now());
        if wanted.1 != Reason::Stopping {
            assert_eq!(reported.records().reason, Reason::Stopping);
        }
    }
    // What failed before the stop is not a refusal of it.
    let mut other = case(&template(), &asked("STOPPING", Some("job"))).found(Found::Live(running()));
    other.attempts.failed(Request::Read, refused(403), Some(1), now());
    assert_eq!(other.records().reason, Reason::Stopping);
}

#[test]
fn a_stop_that_nobody_heeds_is_reported_after_a_while_with_what_to_do() {
    let asked = |since: i64| {
        let mut status = asked("STOPPING", Some("job"));
        status["stateTime"] = later(now(), -since).to_string().into();
        let ignored = job(&owned(), &json!({"spec": {"suspend": true}, "status": {"active": 1}}));
        case(&template(), &status).found(Found::Cached(ignored))
    };
    let recent = asked(59);
    assert_eq!(recent.records().reason, Reason::Stopping);
    assert!(matches!(recent.recorded().step(), Step::Rest(Some(wait)) if wait.as_secs() == 1));
    let overdue = asked(60).records();
    assert_eq!(
        (overdue.state, overdue.progress, overdue.reason),
        (State::Stopping, Progress::Stalled, Reason::StopOverdue)
    );
    assert!(overdue.message.contains("kube-controller-manager"), "{}", overdue.message);
    // It counts from the request, which the flag may have held up.
    let mut held_up = asked(1000);
    held_up.attempts.stopped(later(now(), -10));
    assert_eq!(held_up.records().reason, Reason::Stopping);
    // Pods take their time.
    let mut ending = suspended();
    ending["status"]["terminating"] = 1.into();
    assert_eq!(asked(1000).found(Found::Cached(job(&owned(), &ending))).records().reason, Reason::Stopping);
}

#[test]
fn what_was_stopped_before_it_started_and_was_created_after_all_is_stopped() {
    let late = case(&template(), &asked("STOPPED", None)).found(Found::Cached(running()));
    assert!(matches!(late.step(), Step::Stop(..)), "{:?}", late.step());
    let foreign = job(&json!([]), &json!({"status": {"active": 1}}));
    assert!(matches!(late.found(Found::Cached(foreign)).step(), Step::Rest(None)));
    let another = asked("STOPPED", Some("another"));
    assert!(matches!(case(&template(), &another).found(Found::Cached(running())).step(), Step::Rest(None)));
}

#[test]
fn a_creation_without_an_answer_is_waited_for_also_where_the_name_is_taken_by_now() {
    let foreign = job(&json!([]), &json!({"metadata": {"name": "train", "uid": "other"}}));
    let mut taken = case(&template(), &asked("STOPPING", None)).found(Found::Live(foreign));
    taken.attempts.intends();
    taken.attempts.creating();
    let lost = Failure::NoAnswer("reset".into());
    assert!(taken.attempts.creation_failed(&lost, Some(1), later(now(), -74)));
    assert_eq!((taken.records().state, taken.records().reason), (State::Stopping, Reason::Waiting));
    taken.attempts.unanswered = Some(later(now(), -75));
    taken.attempts.in_doubt_since = Some(later(now(), -75));
    assert_eq!(taken.records().state, State::Stopped);
}

/// A Deployment that serves as this engine's object.
fn serving(engine: EngineKind, found: Found) -> Case {
    let template =
        json!({"template": {"apiVersion": engine.api_version(), "kind": engine.kind(), "spec": {}}});
    let mut status = asked("STOPPING", Some("model"));
    status["workload"]["kind"] = engine.kind().into();
    status["workload"]["apiVersion"] = engine.api_version().into();
    Case { kind: Kind::Deployment, pods: None, ..case(&template, &status).found(found) }
}

#[test]
fn what_serves_and_is_gone_has_stopped_only_when_no_pod_of_it_is_left() {
    for engine in EngineKind::all_of(Kind::Deployment) {
        let mut gone = serving(engine, Found::Absent);
        gone.attempts.absent(now());
        let foreign = job(&json!([]), &json!({"metadata": {"name": "train", "uid": "other"}}));
        for (found, says) in
            [(Found::Absent, "delete what owns them"), (Found::Live(foreign), "which is left alone")]
        {
            let gone = gone.clone().found(found);
            let pods = match gone.step() {
                Step::ListPods(pods) => pods,
                other => panic!("{engine}: {other:?}"),
            };
            assert_eq!(pods.len(), 1);
            let with = |pods| Case { pods: Some(pods), ..gone.clone() };
            let left = with(Ok(true)).records();
            assert_eq!(left.state, State::Stopping);
            assert!(left.message.contains(says), "{}", left.message);
            assert!(matches!(with(Ok(true)).recorded().step(), Step::Rest(Some(_))));
            assert_eq!(with(Err(refused(403))).records().state, State::Stopping);
            assert_eq!(with(Ok(false)).records().state, State::Stopped);
        }
    }
}

#[test]
fn the_pods_that_are_left_behind_are_those_that_a_stop_waits_for() {
    for engine in ENGINES.iter().filter(|engine| engine.kind.of() == Kind::Deployment) {
        let object =
            json!({"metadata": {"name": "model"}, "spec": {"selector": {"matchLabels": {"app": "model"}}}});
        let work = Work::read(engine, &serde_json::from_value(object).unwrap());
        let Pods::Listed(pods) = work.seen.unwrap().pods else { panic!("{}", engine.kind) };
        let left = engine.left_behind.unwrap()("model");
        assert!(left.labels.is_empty() || left.labels == pods[0].labels);
        assert_eq!(left.controller, pods[0].controller);
    }
}

#[test]
fn the_label_of_what_runs_is_put_back_and_not_over_and_over() {
    let without = |object: Value| {
        let mut bare = object;
        bare["metadata"] =
            json!({"name": "train", "uid": "job", "resourceVersion": "3", "ownerReferences": owned()});
        job(&owned(), &bare)
    };
    let mut case = case(&template(), &recorded("RUNNING", Some("job")))
        .found(Found::Live(without(json!({"status": {"active": 1}}))))
        .recorded();
    assert!(matches!(case.step(), Step::Label(_)), "{:?}", case.step());
    case.attempts.labelled_at = Some(later(now(), -10));
    assert!(matches!(case.step(), Step::Rest(Some(wait)) if wait.as_secs() == 50), "{:?}", case.step());
    case.attempts.labelled_at = Some(later(now(), -60));
    assert!(matches!(case.step(), Step::Label(_)), "{:?}", case.step());
    // So that an undone stop is seen, too.
    let mut stopped = super::case(&template(), &asked("STOPPED", Some("job")));
    assert!(matches!(stopped.step(), Step::Read), "it is not in the cache");
    stopped.found = Found::Live(without(suspended()));
    assert!(matches!(stopped.step(), Step::Label(_)), "{:?}", stopped.step());
    stopped.found = Found::Live(job(&owned(), &suspended()));
    assert!(matches!(stopped.step(), Step::Rest(None)), "{:?}", stopped.step());
    // A stop comes first.
    let resumed =
        super::case(&template(), &asked("STOPPED", Some("job"))).found(Found::Live(without(json!({}))));
    assert!(matches!(resumed.step(), Step::Stop(..)), "{:?}", resumed.step());
}

#[test]
fn what_was_not_seen_to_run_has_stopped_only_when_pods_that_were_being_created_would_show() {
    let mut case =
        case(&template(), &asked("STOPPING", Some("job"))).found(Found::Live(job(&owned(), &suspended())));
    case.pods = Some(Ok(false));
    assert_eq!(case.records().state, State::Stopped);
    // The answer to the stop of what had just been resumed looks the same.
    case.attempts.stopped(now());
    case.attempts.stopped_unseen = true;
    assert_eq!(case.records().state, State::Stopping);
    let reported = case.recorded();
    assert!(matches!(reported.step(), Step::Rest(Some(_))), "{:?}", reported.step());
    case.attempts.stopped_at = Some(later(now(), -5));
    assert_eq!(case.records().state, State::Stopped);
}

#[test]
fn what_has_ended_acknowledges_a_newer_generation_and_nothing_else_changes() {
    for (state, kind) in
        [("COMPLETED", Kind::Execution), ("DEAD", Kind::Execution), ("STOPPED", Kind::Deployment)]
    {
        let mut status = recorded(state, Some("job"));
        status["message"] = "as it was".into();
        status["completionTime"] = "2026-11-30T11:00:00Z".into();
        let mut ended = Case { kind, ..case(&template(), &status).found(Found::Absent) };
        assert!(matches!(ended.step(), Step::Rest(None)), "{state}: {:?}", ended.step());
        ended.status["observedGeneration"] = 0.into();
        let status = ended.records();
        assert_eq!((status.observed_generation, &*status.message), (Some(1), "as it was"), "{state}");
        assert_eq!(json!(status.state), json!(state));
        assert_eq!(status.completed, "2026-11-30T11:00:00Z".parse().ok());
    }
}

#[test]
fn what_serves_by_a_reference_and_is_deleted_while_it_stops_has_stopped_only_when_no_pod_of_it_is_left() {
    let reference = json!({"workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "model"}});
    let mut status = asked("STOPPING", Some("model"));
    status["workload"] =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "model"});
    let gone = Case { kind: Kind::Deployment, pods: None, ..case(&reference, &status).found(Found::Absent) };
    let pods = match gone.step() {
        Step::ListPods(pods) => pods,
        other => panic!("{other:?}"),
    };
    assert_eq!(pods, [engines::of(EngineKind::Deployment).unwrap().left_behind.unwrap()("model")]);
    let with = |pods| Case { pods: Some(pods), ..gone.clone() };
    assert_eq!(with(Ok(true)).records().state, State::Stopping);
    assert_eq!(with(Ok(false)).records().state, State::Stopped);
}
