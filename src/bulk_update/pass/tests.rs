//! What goes from one pass to the next.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    api::{BulkUpdateStatus, ItemStatus, Kind, READY, TargetStatus},
    bulk_update::{
        Context, Rules, Stored, apply,
        context::Current,
        facts::{Gate, Gates, Look},
        fixtures::{self, MEANT, OWN, answering, at, bulk, cached, context, eligible, live, spec},
        observe,
        pass::{
            BulkUpdate, Deadline, Flight, ItemResult, Latest, Seen, Turn, Wanted, decide, read_again,
            tests::Finished,
        },
        record::{self, Recorded},
        request::Request,
        resource::whole,
        status::{self, Phase},
        work::Work,
    },
    client::Failure,
    observed::{
        admission::Admission,
        index::{Index, Scope},
        target::Target,
    },
};

fn latest(ctx: &Context) -> (watch::Sender<Current>, Latest) {
    let (sender, current) = watch::channel(Current::default());
    (sender, Latest { current, shutdown: ctx.shutdown.clone() })
}

/// One of a single item, whose plan is on record.
fn planned(verb: TargetStatus) -> BulkUpdate {
    let mut bulk = bulk(&spec(Kind::Execution, verb));
    let mut work = Work::take_up(&bulk);
    work.start = Some(at(0).into());
    let record = fixtures::record(&work.request.items[0], ItemResult::Planned);
    work.entries[0].becomes(record, Some(eligible(verb).into()));
    bulk.status = Some(status::status(&work, &Phase::Planned(None), at(0).into()));
    bulk
}

fn refused(code: u16) -> Failure {
    Failure::Refused { code, message: "not now".into(), retry_after: None }
}

#[tokio::test]
async fn what_was_deleted_is_not_read_again_for_ever() {
    let ctx = context();
    let bulk = bulk(&spec(Kind::Execution, TargetStatus::Stopped));
    let request = Request::from(&bulk);
    let (sender, mut latest) = latest(&ctx);
    let pulse = ctx.health.pulse();
    let reading = read_again(&ctx, &mut latest, &request, &pulse);
    let deleted = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        sender.send_modify(|current| current.stopped = true);
    };
    let both = async { tokio::join!(reading, deleted).0 };
    let ended = tokio::time::timeout(Duration::from_secs(5), both).await;
    assert!(matches!(ended, Ok(None)), "it is still being read");
}

/// A watch that goes back in time shows a plan whose BulkUpdate is over, is being deleted, is gone, or is another by now.
#[tokio::test]
async fn an_old_plan_is_not_carried_out() {
    let old = planned(TargetStatus::Deleted);
    let now = |change: &dyn Fn(&mut BulkUpdate)| {
        let mut now = old.clone();
        change(&mut now);
        (200, serde_json::to_value(now).unwrap())
    };
    let over = now(&|b| b.status.as_mut().unwrap().completion_time = Some(Time(at(5))));
    let terminating = now(&|b| b.metadata.deletion_timestamp = Some(Time(at(5))));
    let another = now(&|b| b.metadata.uid = Some("another".into()));
    let gone =
        (404, json!({"kind": "Status", "code": 404, "message": "none", "details": {"name": "nightly"}}));
    for (what, answer, ends) in [
        ("over", over, true),
        ("terminating", terminating, false),
        ("another", another, false),
        ("gone", gone, false),
    ] {
        let (ctx, asked) = answering(move |_, _| answer.clone());
        let (_sender, latest) = latest(&ctx);
        let carried_out = carry_out(Arc::clone(&ctx), latest, Box::new(old.clone()));
        let ended = tokio::time::timeout(Duration::from_secs(5), carried_out).await;
        assert_eq!(ended.map(|end| end.is_some()), Ok(ends), "{what}");
        let only = "GET /apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/nightly";
        assert_eq!(*asked.lock().unwrap(), [only], "{what}");
    }
}

fn work_of(bulk: &BulkUpdate) -> Work {
    let mut work = Work::take_up(bulk);
    work.entries[0].progress = work::Progress::default();
    work
}

fn pass(work: &mut Work, look: Look) -> Turn {
    let gates = Gates { executions: Gate::Open, deployments: Gate::Open, invalid: false };
    carry_on(
        work,
        &Seen { gates, looks: vec![look], admission: Admission::NotRequired, unlisted: None },
        Rules::default(),
        Deadline::Ahead,
        None,
    )
}

fn hindrance(turn: &Turn) -> Option<&str> {
    match turn.phase.as_ref().unwrap() {
        Phase::Planned(why) => why.as_deref(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn why_a_write_or_a_read_is_tried_again_is_told_until_it_succeeds() {
    let target = || eligible(TargetStatus::Stopped);
    let mut work = work_of(&planned(TargetStatus::Stopped));
    let told = "Execution churn-model-v3 can't be written to: 503: not now";
    assert_eq!(hindrance(&pass(&mut work, cached(Some(target())))), None);
    work.entries[0].write_failed(&refused(CONFLICT), "10");
    assert_eq!(hindrance(&pass(&mut work, cached(Some(target())))), None, "one conflict is ordinary");
    for _ in 0..3 {
        work.entries[0].write_failed(&refused(503), "10");
        for _ in 0..3 {
            assert_eq!(hindrance(&pass(&mut work, cached(Some(target())))), Some(told));
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        work.entries[0].read(Err(refused(500)));
        let unread = "Execution churn-model-v3 can't be read: 500: not now";
        for _ in 0..3 {
            assert_eq!(hindrance(&pass(&mut work, cached(Some(target())))), Some(unread));
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        work.entries[0].read(Ok(Some(target())));
        assert_eq!(hindrance(&pass(&mut work, live(Some(target())))), Some(told));
    }
    work.entries[0].accepted(None);
    assert_eq!(hindrance(&pass(&mut work, cached(Some(target())))), None);
}

#[tokio::test]
async fn an_accepted_delete_is_scheduled_at_once_because_there_may_be_no_next_decision() {
    let mut work = work_of(&planned(TargetStatus::Deleted));
    let left = Target { terminating: true, resource_version: "11".into(), ..eligible(TargetStatus::Deleted) };
    let answer = apply::Answer::Written("10".into(), Ok(apply::Accepted::Left(left)));
    assert!(!apply::take_in(&mut work, Ok((0, answer))));
    assert_eq!(work.entries[0].result(), Some(ItemResult::Scheduled));
}

/// With an API server where bulk updates are on.
fn switched_on() -> (Arc<Context>, Arc<Mutex<Vec<String>>>) {
    answering(|_, path| {
        assert!(path.contains("/configmaps/"), "{path}");
        let flags = json!({"executions": true, "deployments": true}).to_string();
        (200, json!({"metadata": {}, "data": {"bulkUpdates": flags}}))
    })
}

#[tokio::test]
async fn what_was_not_sent_yet_is_not_sent_any_more_once_the_record_is_overtaken() {
    let (ctx, asked) = switched_on();
    let bulk = planned(TargetStatus::Stopped);
    let (_sender, latest) = latest(&ctx);
    let (mut work, mut flight) = (work_of(&bulk), Flight::default());
    let wanted = vec![Wanted::Write(0, eligible(TargetStatus::Stopped).into())];
    tokio::select! {
        biased;
        () = apply::apply(&ctx, &latest, &mut work, &mut flight, wanted) => panic!("it did not wait"),
        () = std::future::ready(()) => {}
    }
    assert!(!flight.is_empty());
    flight.drain(&mut work).await;
    assert!(flight.is_empty());
    assert_eq!(*asked.lock().unwrap(), ["GET /api/v1/namespaces/ai-api-system/configmaps/ai-api-meta"]);
    assert!(!work.entries[0].progress.in_flight);
}

#[tokio::test(start_paused = true)]
async fn what_was_planned_is_read_item_by_item_where_its_kind_can_not_be_listed() {
    let (ctx, _) = switched_on();
    let unlisted = Index::new([Scope { kind: Kind::Execution, namespace: None }]);
    let ctx = Context { index: unlisted, ..Arc::into_inner(ctx).unwrap() };
    let mut work = Work::take_up(&planned(TargetStatus::Stopped));
    let following = ctx.index.follow(Arc::clone(&work.request));
    let seen = observe::observe(&ctx, &mut work, &following).await;
    let turn = decide(&mut work, &seen, ctx.rules, at(1).into());
    assert!(matches!(turn.wanted[..], [Wanted::Read(0)]), "{turn:?}");
    assert_eq!(hindrance(&turn), Some("executions can't be listed yet; the operator's log says why"));
    assert!(turn.hindered);
    // What was not planned waits.
    let mut work = Work::take_up(&bulk(&spec(Kind::Execution, TargetStatus::Stopped)));
    let seen = observe::observe(&ctx, &mut work, &following).await;
    let turn = decide(&mut work, &seen, ctx.rules, at(1).into());
    assert!(turn.wanted.is_empty() && matches!(turn.phase, Some(Phase::Waiting(..))), "{turn:?}");
}

/// The BulkUpdate as the API server has it, with this status.
fn with_status(bulk: &BulkUpdate, status: &BulkUpdateStatus) -> Value {
    let mut bulk = bulk.clone();
    bulk.status = Some(status.clone());
    bulk.metadata.resource_version = Some("8".into());
    serde_json::to_value(bulk).unwrap()
}

const CONFLICT: u16 = 409;

/// With an API server that has this, and takes nothing.
fn conflicting(stands: Value) -> (Arc<Context>, Arc<Mutex<Vec<String>>>) {
    answering(move |method, _| match method {
        "GET" => (200, stands.clone()),
        _ => (CONFLICT, json!({"kind": "Status", "code": CONFLICT, "message": "try again"})),
    })
}

#[tokio::test]
async fn the_first_write_rests_on_a_reading_of_the_flag_begun_when_the_plan_was_written() {
    let (ctx, asked) = answering(|method, _| match method {
        "GET" => (200, json!({"metadata": {}, "data": {"bulkUpdates": "executions: true"}})),
        _ => (200, json!({"metadata": {"resourceVersion": "8"}})),
    });
    let mut work = Work::take_up(&bulk(&spec(Kind::Execution, TargetStatus::Stopped)));
    ctx.meta.read_since(work.since).await.unwrap();
    work.start = Some(at(1).into());
    let record = fixtures::record(&work.request.items[0], ItemResult::Planned);
    work.entries[0].becomes(record, Some(eligible(TargetStatus::Stopped).into()));
    let begun = Instant::now();
    let recorded = record::record(&ctx, &mut work, &Phase::Planned(None), &ctx.health.pulse()).await;
    assert!(matches!(recorded, Recorded::Written(_)), "{recorded:?}");
    // It is read at once, and the write finds it there.
    ctx.tracker.close();
    ctx.tracker.wait().await;
    ctx.meta.read_since(work.since).await.unwrap();
    assert!(work.since >= begun);
    let mut methods: Vec<_> = asked.lock().unwrap().iter().map(|asked| asked[..3].to_owned()).collect();
    methods[1..].sort();
    assert_eq!(methods, ["GET", "GET", "PUT"]);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_keeps_conflicting_is_put_off() {
    let bulk = planned(TargetStatus::Stopped);
    let mut work = work_of(&bulk);
    let stands = with_status(&bulk, &work.recorded);
    let (ctx, asked) = conflicting(stands);
    let failed = ItemStatus { result: ItemResult::Failed, ..work.entries[0].record.clone().unwrap() };
    work.entries[0].becomes(failed, None);
    let recorded = record::record(&ctx, &mut work, &Phase::Planned(None), &ctx.health.pulse()).await;
    assert!(matches!(recorded, Recorded::Later), "{recorded:?}");
    assert!(work.pace.held_back().is_some());
    let methods: Vec<_> = asked.lock().unwrap().iter().map(|asked| asked[..3].to_owned()).collect();
    assert_eq!(methods, ["PUT", "GET", "PUT"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_found_on_record_may_be_behind_and_is_not_taken_for_what_was_to_be_written() {
    let bulk = planned(TargetStatus::Stopped);
    let mut work = work_of(&bulk);
    let message = |work: &Work| work.recorded.condition(READY).map(|c| c.message.clone());
    let before = message(&work);
    // Sent, carried out, and not answered.
    let first = status::status(&work, &Phase::Planned(Some("something".into())), at(1).into());
    let stands = with_status(&bulk, &first);
    work.unanswered = Some(first.clone());
    let (ctx, _) = conflicting(stands);
    let failed = ItemStatus { result: ItemResult::Failed, ..work.entries[0].record.clone().unwrap() };
    work.entries[0].becomes(failed, None);
    let recorded = record::record(&ctx, &mut work, &Phase::Planned(None), &ctx.health.pulse()).await;
    assert!(matches!(recorded, Recorded::Adopted(_)), "{recorded:?}");
    assert_eq!(work.recorded, first);
    assert_ne!(message(&work), before);
    assert_eq!(
        (work.request.uid.as_ref(), work.entries[0].record.as_ref().unwrap().uid.as_deref()),
        (OWN, Some(MEANT))
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_behind_is_waited_for_and_the_status_says_so_only_where_that_takes_long() {
    let mut work = Work::take_up(&bulk(&spec(Kind::Execution, TargetStatus::Deleted))).made_at(Some(10));
    let read = Target { created: at(0).as_second(), first_seen: 12, ..eligible(TargetStatus::Deleted) };
    let decide = |work: &mut Work, indexed: Option<Target>| {
        let gates = Gates { executions: Gate::Open, deployments: Gate::Open, invalid: false };
        let looks = vec![work.entries[0].look(indexed.map(Arc::new))];
        let seen = Seen { gates, looks, admission: Admission::NotRequired, unlisted: None };
        crate::bulk_update::decide(work, &seen, Rules::default(), at(1).into())
    };
    work.entries[0].read(Ok(Some(read.clone())));
    let turn = decide(&mut work, None);
    assert!(turn.hindered && turn.phase.is_none() && turn.wanted.is_empty(), "{turn:?}");
    tokio::time::advance(observe::PATIENCE).await;
    let turn = decide(&mut work, None);
    let Some(Phase::Waiting(decide::Hindrance::Behind, why)) = &turn.phase else { panic!("{turn:?}") };
    assert!(turn.hindered && why.contains("the watch of executions"), "{why}");
    // It comes up, and has seen the object before.
    let turn = decide(&mut work, Some(Target { first_seen: 8, ..read }));
    assert!(matches!(turn.phase, Some(Phase::Planned(None))), "{turn:?}");
    assert_eq!(work.entries[0].result(), Some(ItemResult::Planned));
}

#[tokio::test]
async fn where_others_own_metadata_the_status_is_patched_and_nothing_of_the_old_one_is_left() {
    for (field, value) in [
        ("labels", json!({"team": "a"})),
        ("annotations", json!({})),
        ("finalizers", json!(["example.com/keep"])),
        ("ownerReferences", json!([])),
        ("generateName", json!("nightly-")),
        ("managedFields", json!([])),
    ] {
        let mut object = serde_json::to_value(bulk(&spec(Kind::Execution, TargetStatus::Stopped))).unwrap();
        object["metadata"][field] = value;
        let stored: Stored = serde_json::from_value(object).unwrap();
        let (ctx, asked) = answering(|_, _| (200, json!({"metadata": {"resourceVersion": "8"}})));
        let mut work = Work::take_up(&stored.bulk);
        let rejected = Phase::Waiting(decide::Hindrance::Waiting, "why".into());
        let recorded = record::record(&ctx, &mut work, &rejected, &ctx.health.pulse()).await;
        assert!(matches!(recorded, Recorded::Written(_)), "{recorded:?}");
        let method = if field == "managedFields" { "PUT" } else { "PATCH" };
        let path = "/apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/nightly/status";
        assert_eq!(*asked.lock().unwrap(), [format!("{method} {path}")], "{field}");
        assert_eq!(&*work.named.resource_version, "8");
    }
    let status = BulkUpdateStatus { observed_generation: 3, ..BulkUpdateStatus::default() };
    let expected = json!({"observedGeneration": 3, "conditions": [], "startTime": null, "completionTime": null,
        "summary": null, "executions": null, "deployments": null});
    assert_eq!(record::whole(&status), expected);
}

#[tokio::test]
async fn an_answer_without_a_version_is_none_for_the_next_write_would_have_no_guard() {
    for answer in [
        json!({}),
        json!([]),
        json!(null),
        json!({"metadata": {}}),
        json!({"metadata": {"resourceVersion": ""}}),
        json!({"metadata": {"resourceVersion": 8}}),
    ] {
        let (ctx, _) = answering(move |_, _| (200, answer.clone()));
        let mut work = Work::take_up(&bulk(&spec(Kind::Execution, TargetStatus::Stopped)));
        let waiting = Phase::Waiting(decide::Hindrance::Waiting, "why".into());
        let recorded = record::record(&ctx, &mut work, &waiting, &ctx.health.pulse()).await;
        assert!(matches!(recorded, Recorded::Later), "{recorded:?}");
        assert_eq!(&*work.named.resource_version, "7");
    }
}

/// It may have ended as late as the end of the second that is on record.
#[tokio::test]
async fn the_time_to_live_counts_from_the_end_of_the_second_on_record() {
    let deleted = Arc::new(Mutex::new(None));
    let when = Arc::clone(&deleted);
    let (ctx, asked) = answering(move |_, _| {
        *when.lock().unwrap() = Some(Timestamp::now());
        (200, json!({}))
    });
    let second = Timestamp::now().as_second();
    let mut bulk = planned(TargetStatus::Deleted);
    bulk.spec.ttl_seconds_after_finished = Some(1);
    bulk.status.as_mut().unwrap().completion_time = Some(Time(Timestamp::from_second(second - 1).unwrap()));
    let finished = finished::Finished::take_up(&ctx, finished::Over::read(&bulk).unwrap());
    ctx.tracker.close();
    tokio::time::timeout(Duration::from_secs(5), ctx.tracker.wait()).await.expect("it is never deleted");
    drop(finished);
    assert_eq!(
        *asked.lock().unwrap(),
        ["DELETE /apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/nightly"]
    );
    let deleted = deleted.lock().unwrap().unwrap();
    assert!(deleted.as_second() > second, "it may have lived for less than a second");
}
