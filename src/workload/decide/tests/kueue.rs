//! Kueue decides when a Job runs.

use super::*;

/// Its Workload.
fn workload(active: bool, reserved: bool) -> Arc<InQueue> {
    let says = Queued { job: "job".into(), active, reserved, finished: false };
    Arc::new(InQueue {
        api: "v1beta2",
        name: "w".into(),
        uid: "u".into(),
        version: "1".into(),
        says: Ok(says),
    })
}

/// A Job that names a queue, or not.
fn in_queue(queue: &str, rest: &Value) -> Arc<Work> {
    let mut job = rest.clone();
    job["metadata"] = json!({"name": "train", "uid": "job", "resourceVersion": "3", "ownerReferences": owned(),
        "labels": {"kueue.x-k8s.io/queue-name": queue, "aiapi.dev/owner-uid": "owner"}});
    self::job(&owned(), &job)
}

/// It is to stop since so many seconds.
fn stopping(work: Arc<Work>, since: i64) -> Case {
    let mut status = asked("STOPPING", Some("job"));
    status["stateTime"] = later(now(), -since).to_string().into();
    case(&template(), &status).found(Found::Live(work))
}

fn managed(case: &Case, active: bool, reserved: bool) -> Case {
    with(case, Some(Ok(Some(workload(active, reserved)))))
}

fn with(case: &Case, queue: Option<Result<Option<Arc<InQueue>>, Failure>>) -> Case {
    Case { queue, ..case.clone() }
}

#[test]
fn what_kueue_may_start_has_not_stopped() {
    // As it looks while it waits in the queue, too.
    let queued = in_queue("gpus", &suspended());
    assert!(queued.queued);
    let queued = stopping(queued, 0);
    assert!(matches!(with(&queued, None).step(), Step::ReadQueue(_)));
    // Without a Workload, Kueue creates one, and starts it.
    assert_eq!(with(&queued, Some(Ok(None))).records().state, State::Stopping);
    assert!(matches!(managed(&queued, true, false).step(), Step::StopQueue(_)));
    assert_eq!(managed(&queued, false, true).records().state, State::Stopping);
    assert_eq!(managed(&queued, false, false).records().state, State::Stopped);
    // Where there is no Kueue, nobody starts it.
    assert_eq!(queued.records().state, State::Stopped);
}

#[test]
fn what_kueue_manages_is_stopped_by_its_workload_whether_it_names_a_queue_or_not() {
    for queue in ["gpus", ""] {
        let running = stopping(in_queue(queue, &json!({"status": {"active": 1}})), 0);
        assert!(matches!(with(&running, None).step(), Step::ReadQueue(_)), "{queue}: {:?}", running.step());
        let running = managed(&running, true, true);
        assert!(
            matches!(running.step(), Step::StopQueue(_)),
            "suspending it would only restart it: {:?}",
            running.step()
        );
    }
    let unmanaged = stopping(in_queue("", &json!({"status": {"active": 1}})), 0);
    let unmanaged = with(&unmanaged, Some(Ok(None)));
    assert!(matches!(unmanaged.step(), Step::Stop(..)), "{:?}", unmanaged.step());
}

#[test]
fn without_the_permission_to_look_it_is_not_stopped_and_that_is_reported() {
    for queue in ["gpus", ""] {
        let running = stopping(in_queue(queue, &json!({"status": {"active": 1}})), 0);
        let status = with(&running, Some(Err(refused(403)))).records();
        assert_eq!(
            (status.state, status.progress, status.reason),
            (State::Stopping, Progress::Stalled, Reason::Forbidden)
        );
        assert!(status.message.contains("engine-kueue"), "{}", status.message);
        let reported = with(&running, Some(Err(refused(403)))).recorded();
        assert!(matches!(reported.step(), Step::Rest(Some(_))), "{:?}", reported.step());
    }
}

#[test]
fn a_queue_of_nobody_does_not_hold_up_what_has_run_and_is_reported_otherwise() {
    let no_workload = || Some(Ok(None));
    let active = json!({"status": {"active": 1}});
    let recent = with(&stopping(in_queue("gpus", &active), 59), no_workload());
    assert!(matches!(recent.recorded().step(), Step::Rest(Some(_))), "Kueue may be about to create it");
    let unmanaged = with(&stopping(in_queue("gpus", &active), 60), no_workload());
    assert!(matches!(unmanaged.step(), Step::Stop(..)), "{:?}", unmanaged.step());
    let mut suspended = with(&stopping(in_queue("gpus", &suspended()), 60), no_workload());
    // One that has never run may be next.
    let status = suspended.records();
    assert_eq!(
        (status.state, status.progress, status.reason),
        (State::Stopping, Progress::Stalled, Reason::StopOverdue)
    );
    assert!(status.message.contains("kueue.x-k8s.io/queue-name"), "{}", status.message);
    suspended.status["startTime"] = "2026-11-30T11:00:00Z".into();
    assert_eq!(suspended.records().state, State::Stopped);
}
