//! What one pass leaves to the next.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{
    api::{BulkUpdate, BulkUpdateStatus, ItemResult, ItemStatus, Kind, READY, TargetStatus},
    bulk_update::{
        Context, Rules, Stored,
        apply::{self, InFlight, Outgoing},
        cleanup::Cleanup,
        context::{Current, Latest},
        decide::{Decision, PATIENCE, decide},
        facts::{Gate, Gates, Lookup, Observation, Obstacle},
        finished::Finished,
        fixtures::{
            MEANT, OWN, answering, at, bulk, cached, context, eligible, live, record, spec, unread, work_on,
        },
        observe,
        pass::{read_current, run},
        record::Recorded,
        request::Request,
        resource,
        status::status,
        work::{Accepted, Answer, ItemPlan, Phase, Plan, Progress, Work},
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

/// A BulkUpdate of one item whose plan is on record.
fn planned(verb: TargetStatus) -> BulkUpdate {
    let mut bulk = bulk(&spec(Kind::Execution, verb));
    let work = work_on(&bulk, None);
    bulk.status = Some(status(&work, &proposed(&work, at(0)), at(0).into()));
    bulk
}

/// The plan for its only item.
fn proposed(work: &Work, time: Timestamp) -> Phase {
    let item = &work.request().items[0];
    let based_on = Some(eligible(item.target).into());
    let plan = ItemPlan { record: record(item, ItemResult::Planned), based_on };
    Phase::Proposed(Plan::new(work.entries(), vec![plan], time.into()))
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
    let reading = read_current(&ctx, &mut latest, &request, &pulse);
    let deleted = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        sender.send_modify(|current| current.stopped = true);
    };
    let both = async { tokio::join!(reading, deleted).0 };
    let ended = tokio::time::timeout(Duration::from_secs(5), both).await;
    assert!(matches!(ended, Ok(None)), "it is still being read");
}

/// A stale watch may show the plan of a BulkUpdate that has finished, is terminating, is gone, or was replaced.
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
        let carried_out = run(Arc::clone(&ctx), latest, Box::new(old.clone()));
        let ended = tokio::time::timeout(Duration::from_secs(5), carried_out).await;
        assert_eq!(ended.map(|end| end.is_some()), Ok(ends), "{what}");
        let only = "GET /apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/nightly";
        assert_eq!(*asked.lock().unwrap(), [only], "{what}");
    }
}

fn work_of(bulk: &BulkUpdate) -> Work {
    let mut work = work_on(bulk, None);
    work.entry_mut(0).progress = Progress::default();
    work
}

fn seen(lookup: Lookup) -> Observation {
    let gates = Gates { executions: Gate::Open, deployments: Gate::Open };
    Observation {
        at: Instant::now(),
        gates,
        lookups: vec![lookup],
        admission: Admission::NotRequired,
        not_listed: None,
    }
}

/// Runs a pass and returns what the message of Ready waits for.
fn pass(work: &mut Work, lookup: Lookup) -> Option<String> {
    let Decision { phase, became, .. } = decide(work, &seen(lookup), Rules::default(), at(1).into());
    work.decided(phase.as_ref(), became);
    let status = status(work, &phase.unwrap(), at(1).into());
    let message = &status.condition(READY).unwrap().message;
    message.split_once("; waiting: ").map(|(_, why)| why.to_owned())
}

#[tokio::test(start_paused = true)]
async fn why_a_write_or_a_read_is_retried_is_reported_until_it_succeeds() {
    let target = || eligible(TargetStatus::Stopped);
    let mut work = work_of(&planned(TargetStatus::Stopped));
    let expected = "cannot write to Execution churn-model-v3: 503: not now";
    assert_eq!(pass(&mut work, cached(Some(target()))).as_deref(), None);
    work.entry_mut(0).progress.write_failed(&refused(CONFLICT), "10", Instant::now());
    assert_eq!(pass(&mut work, cached(Some(target()))).as_deref(), None, "one conflict is ordinary");
    for _ in 0..3 {
        work.entry_mut(0).progress.write_failed(&refused(503), "10", Instant::now());
        for _ in 0..3 {
            assert_eq!(pass(&mut work, cached(Some(target()))).as_deref(), Some(expected));
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        work.entry_mut(0).read(Err(refused(500)));
        let unread = "cannot read Execution churn-model-v3: 500: not now";
        for _ in 0..3 {
            assert_eq!(pass(&mut work, cached(Some(target()))).as_deref(), Some(unread));
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        work.entry_mut(0).read(Ok(Some(target())));
        assert_eq!(pass(&mut work, live(Some(target()))).as_deref(), Some(expected));
    }
    work.entry_mut(0).accepted(None);
    assert_eq!(pass(&mut work, cached(Some(target()))).as_deref(), None);
}

#[tokio::test]
async fn an_accepted_delete_is_scheduled_at_once_because_there_may_be_no_next_decision() {
    let mut work = work_of(&planned(TargetStatus::Deleted));
    let left = Target { terminating: true, resource_version: "11".into(), ..eligible(TargetStatus::Deleted) };
    assert!(!work.answered(0, Answer::Written("10".into(), Instant::now(), Ok(Accepted::Left(left)))));
    assert_eq!(work.entries()[0].result(), Some(ItemResult::Scheduled));
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
    let (mut work, mut in_flight) = (work_of(&bulk), InFlight::new(&ctx, &latest));
    let wanted = Outgoing::of(&work, Vec::new(), vec![(0, eligible(TargetStatus::Stopped).into())]);
    tokio::select! {
        biased;
        () = apply::apply(&mut work, &mut in_flight, wanted) => panic!("it did not wait"),
        () = std::future::ready(()) => {}
    }
    assert!(!in_flight.is_empty());
    in_flight.drain(&mut work).await;
    assert!(in_flight.is_empty());
    assert_eq!(*asked.lock().unwrap(), ["GET /api/v1/namespaces/ai-api-system/configmaps/ai-api-meta"]);
    assert!(!work.entries()[0].progress.in_flight);
}

#[tokio::test(start_paused = true)]
async fn what_was_planned_is_read_item_by_item_where_its_kind_can_not_be_listed() {
    let (ctx, _) = switched_on();
    let unlisted = Index::new([Scope { kind: Kind::Execution, namespace: None }]);
    let ctx = Context { index: unlisted, ..Arc::into_inner(ctx).unwrap() };
    let mut work = work_on(&planned(TargetStatus::Stopped), None);
    let following = ctx.index.follow(&work.request().namespace, Arc::clone(work.request()), Request::targets);
    let seen = observe::observe(&ctx, &mut work, &following).await;
    let decision = decide(&work, &seen, ctx.rules, at(1).into());
    assert!(decision.reads == [0] && decision.writes.is_empty(), "{decision:?}");
    assert_eq!(decision.phase, Some(Phase::Planned(Some(Obstacle::NotListed(Kind::Execution)))));
    assert!(decision.blocked);
    // One that is not planned waits.
    let mut work = work_on(&bulk(&spec(Kind::Execution, TargetStatus::Stopped)), None);
    let seen = observe::observe(&ctx, &mut work, &following).await;
    let decision = decide(&work, &seen, ctx.rules, at(1).into());
    assert!(decision.reads.is_empty() && matches!(decision.phase, Some(Phase::Waiting(..))), "{decision:?}");
}

/// The BulkUpdate as the API server has it, with this status.
fn with_status(bulk: &BulkUpdate, status: &BulkUpdateStatus) -> Value {
    let mut bulk = bulk.clone();
    bulk.status = Some(status.clone());
    bulk.metadata.resource_version = Some("8".into());
    serde_json::to_value(bulk).unwrap()
}

const CONFLICT: u16 = 409;

/// An API server that has this and answers every write with a conflict.
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
    let mut work = work_on(&bulk(&spec(Kind::Execution, TargetStatus::Stopped)), None);
    ctx.flag.read_since(work.since()).await.unwrap();
    let begun = Instant::now();
    let phase = proposed(&work, at(1));
    let recorded = crate::bulk_update::record::record(&ctx, &mut work, phase, &ctx.health.pulse()).await;
    assert!(matches!(recorded, Recorded::Written(_)), "{recorded:?}");
    // It is read ahead; the write uses the result.
    ctx.tracker.close();
    ctx.tracker.wait().await;
    ctx.flag.read_since(work.since()).await.unwrap();
    assert!(work.since() >= begun);
    let mut methods: Vec<_> = asked.lock().unwrap().iter().map(|asked| asked[..3].to_owned()).collect();
    methods[1..].sort();
    assert_eq!(methods, ["GET", "GET", "PUT"]);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_keeps_conflicting_is_put_off() {
    let bulk = planned(TargetStatus::Stopped);
    let mut work = work_of(&bulk);
    let stands = with_status(&bulk, work.on_api_server());
    let (ctx, asked) = conflicting(stands);
    let failed = ItemStatus { result: ItemResult::Failed, ..work.entries()[0].record.clone().unwrap() };
    work.entry_mut(0).becomes(failed, None);
    let recorded =
        crate::bulk_update::record::record(&ctx, &mut work, Phase::Planned(None), &ctx.health.pulse()).await;
    assert!(matches!(recorded, Recorded::Deferred), "{recorded:?}");
    assert!(work.throttle().held_back().is_some());
    let methods: Vec<_> = asked.lock().unwrap().iter().map(|asked| asked[..3].to_owned()).collect();
    assert_eq!(methods, ["PUT", "GET", "PUT"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_found_on_record_may_be_behind_and_is_not_taken_for_what_was_to_be_written() {
    let bulk = planned(TargetStatus::Stopped);
    let mut work = work_of(&bulk);
    let message = |work: &Work| work.on_api_server().condition(READY).map(|c| c.message.clone());
    let before = message(&work);
    // Sent and carried out, but not answered.
    let first = status(&work, &Phase::Planned(Some(unread("something"))), at(1).into());
    let stands = with_status(&bulk, &first);
    work.sent_without_answer(&first);
    let (ctx, _) = conflicting(stands);
    let failed = ItemStatus { result: ItemResult::Failed, ..work.entries()[0].record.clone().unwrap() };
    work.entry_mut(0).becomes(failed, None);
    let recorded =
        crate::bulk_update::record::record(&ctx, &mut work, Phase::Planned(None), &ctx.health.pulse()).await;
    assert!(matches!(recorded, Recorded::Adopted(_)), "{recorded:?}");
    assert_eq!(*work.on_api_server(), first);
    assert_ne!(message(&work), before);
    assert_eq!(
        (work.request().uid.as_ref(), work.entries()[0].record.as_ref().unwrap().uid.as_deref()),
        (OWN, Some(MEANT))
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_behind_is_waited_for_and_the_status_says_so_only_where_that_takes_long() {
    let mut work = work_on(&bulk(&spec(Kind::Execution, TargetStatus::Deleted)), Some(10));
    let read = Target { created: at(0).as_second(), first_seen: 12, ..eligible(TargetStatus::Deleted) };
    let decide = |work: &Work, indexed: Option<Target>| {
        let lookup = work.entries()[0].lookup(indexed.map(Arc::new));
        decide(work, &seen(lookup), Rules::default(), at(1).into())
    };
    work.entry_mut(0).read(Ok(Some(read.clone())));
    let decision = decide(&work, None);
    assert!(decision.blocked && decision.phase.is_none() && decision.reads.is_empty(), "{decision:?}");
    tokio::time::advance(PATIENCE).await;
    let decision = decide(&work, None);
    let Some(Phase::Waiting(why @ Obstacle::StaleCache { .. })) = &decision.phase else {
        panic!("{decision:?}")
    };
    assert!(decision.blocked && why.to_string().contains("the watch of executions"), "{why}");
    // The watch catches up and shows that it saw the object before.
    let decision = decide(&work, Some(Target { first_seen: 8, ..read }));
    assert!(matches!(&decision.phase, Some(Phase::Proposed(plan)) if plan.writes()), "{decision:?}");
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
        let mut work = work_on(&stored.bulk, None);
        let rejected = Phase::Waiting(unread("why"));
        let recorded =
            crate::bulk_update::record::record(&ctx, &mut work, rejected, &ctx.health.pulse()).await;
        assert!(matches!(recorded, Recorded::Written(_)), "{recorded:?}");
        let method = if field == "managedFields" { "PUT" } else { "PATCH" };
        let path = "/apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/nightly/status";
        assert_eq!(*asked.lock().unwrap(), [format!("{method} {path}")], "{field}");
        assert_eq!(&*work.identity().resource_version, "8");
    }
    let status = BulkUpdateStatus { observed_generation: 3, ..BulkUpdateStatus::default() };
    let expected = json!({"observedGeneration": 3, "conditions": [], "startTime": null, "completionTime": null,
        "summary": null, "executions": null, "deployments": null});
    assert_eq!(resource::whole(&status), expected);
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
        let mut work = work_on(&bulk(&spec(Kind::Execution, TargetStatus::Stopped)), None);
        let waiting = Phase::Waiting(unread("why"));
        let recorded =
            crate::bulk_update::record::record(&ctx, &mut work, waiting, &ctx.health.pulse()).await;
        assert!(matches!(recorded, Recorded::Deferred), "{recorded:?}");
        assert_eq!(&*work.identity().resource_version, "7");
    }
}

/// It may have ended as late as the end of the recorded second.
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
    let finished = Cleanup::spawn(&ctx, Finished::read(&bulk).unwrap());
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
