//! What is created, and what is in doubt.

use super::*;

#[test]
fn what_is_to_be_created_is_recorded_first_once_its_name_is_known_to_be_free() {
    let new = case(&template(), &json!({}));
    assert!(matches!(new.step(), Step::Read));
    let free = new.found(Found::Absent);
    let status = free.records();
    assert_eq!((status.state, status.reason), (State::Pending, Reason::Pending));
    assert_eq!(status.workload.unwrap().uid, None);
    let mut intended = free.recorded();
    // The answer to that took a while.
    intended.status["submissionTime"] = "2026-11-30T11:59:58Z".into();
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
fn what_a_quota_keeps_from_being_created_is_created_by_a_later_process() {
    let mut full = case(&template(), &recorded("PENDING", None)).found(Found::Absent);
    full.attempts.creating();
    assert!(!full.attempts.creation_failed(&refused(403), Some(1), now()));
    let mut later_on = full.recorded();
    assert_eq!(full.records().reason, Reason::Forbidden);
    // Another process, and a while later.
    later_on.attempts = Attempts::default();
    later_on.attempts.absent(later(now(), -1000));
    let status = later_on.records();
    assert_eq!(
        (status.state, status.reason),
        (State::Pending, Reason::Pending),
        "on record before it is sent"
    );
    later_on = later_on.recorded();
    // What is on record now is in doubt again, but for the process that has just recorded it.
    assert_eq!(later_on.records().state, State::Dead);
    later_on.attempts.intends();
    assert!(matches!(later_on.step(), Step::Create));
}

#[test]
fn a_read_that_is_forbidden_leaves_it_in_doubt() {
    let mut case = case(&template(), &recorded("PENDING", None)).found(Found::Failed(refused(403)));
    case.attempts.failed(Request::Read, refused(403), Some(1), now());
    assert_eq!(case.records().reason, Reason::Waiting);
    let mut later_on = case.recorded().found(Found::Absent);
    later_on.attempts = Attempts::default();
    later_on.attempts.absent(later(now(), -75));
    assert_eq!(later_on.records().state, State::Dead);
}

#[test]
fn only_a_refusal_of_the_creation_says_that_it_is_refused() {
    let mut case = case(&template(), &recorded("PENDING", None)).found(Found::Absent);
    case.attempts.intends();
    for request in [Request::Owner, Request::Read, Request::Stop] {
        case.attempts.failed(request, refused(422), Some(1), now());
        assert!(!matches!(case.step(), Step::Record(status) if status.state == State::Dead), "{request:?}");
    }
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
fn what_the_api_server_refuses_is_final_for_an_execution_and_waits_for_another_template_otherwise() {
    let mut case = case(&template(), &recorded("PENDING", None)).found(Found::Absent);
    case.attempts.intends();
    case.attempts.creating();
    assert!(!case.attempts.creation_failed(&refused(422), Some(1), now()));
    let status = case.records();
    assert_eq!(status.state, State::Dead);
    assert!(status.message.contains("not so"), "{}", status.message);
    case.kind = Kind::Deployment;
    assert_eq!((case.records().state, case.records().reason), (State::Pending, Reason::Refused));
    assert!(matches!(case.recorded().step(), Step::Rest(None)));
}

/// A Deployment in this state, whose template has changed since.
fn changed(state: &str) -> Case {
    let mut status = recorded(state, Some("job"));
    status["observedGeneration"] = 0.into();
    Case { kind: Kind::Deployment, ..case(&template(), &status).found(Found::Cached(running())) }
}

#[test]
fn a_changed_template_is_applied_once_unless_it_is_to_stop() {
    let mut changed = changed("RUNNING");
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
    let mut stopping = self::changed("RUNNING");
    stopping.status["targetStatus"] = "STOPPED".into();
    assert!(!matches!(stopping.step(), Step::Apply(_)), "{:?}", stopping.step());
}

#[test]
fn what_serves_is_looked_at_while_its_new_template_is_refused() {
    let mut changed = changed("PENDING");
    changed.attempts.failed(Request::Apply, refused(422), Some(1), now());
    let status = changed.records();
    assert_eq!((status.state, status.reason), (State::Running, Reason::Refused));
    assert_eq!(status.observed_generation, Some(0));
    assert!(matches!(changed.recorded().step(), Step::Rest(None)));
    let starts = job(&owned(), &json!({}));
    let restarted = changed.recorded().found(Found::Cached(starts));
    assert_eq!((restarted.records().state, restarted.records().reason), (State::Pending, Reason::Refused));
    changed.authorized = Authorized::No;
    assert_eq!((changed.records().state, changed.records().reason), (State::Running, Reason::NotAuthorized));
    // What may pass is tried again, and meanwhile not reported.
    changed.authorized = Authorized::Yes;
    changed.attempts = Attempts::default();
    changed.attempts.failed(Request::Apply, refused(429), Some(1), now());
    assert_eq!((changed.records().state, changed.records().reason), (State::Running, Reason::Running));
    assert!(matches!(changed.recorded().step(), Step::Rest(Some(_))));
}

#[test]
fn what_is_gone_does_not_serve_whatever_keeps_it_from_being_created_again() {
    let mut status = recorded("RUNNING", Some("job"));
    status["url"] = "http://model".into();
    let mut gone = case(&template(), &status).found(Found::Absent);
    gone.kind = Kind::Deployment;
    gone.authorized = Authorized::Unknown("the policy is missing".into());
    assert_eq!((gone.records().state, gone.records().reason), (State::Pending, Reason::Waiting));
    assert_eq!(gone.records().url, None);
    gone.authorized = Authorized::Yes;
    gone.found = Found::Live(job(&json!([]), &json!({"metadata": {"name": "train", "uid": "other"}})));
    assert_eq!((gone.records().state, gone.records().reason), (State::Pending, Reason::NameTaken));
}
