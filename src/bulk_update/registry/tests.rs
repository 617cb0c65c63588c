use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::json;

use super::*;
use crate::bulk_update::fixtures::context;

fn bulk(uid: &str) -> Box<BulkUpdate> {
    let bulk = json!({
        "apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"namespace": "team-a", "name": "bulk", "uid": uid},
        "spec": {"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}]},
    });
    Box::new(serde_json::from_value(bulk).unwrap())
}

fn in_version(version: &str) -> Box<BulkUpdate> {
    let mut bulk = bulk("first");
    bulk.metadata.resource_version = Some(version.into());
    bulk
}

/// Its task ends before the BulkUpdate does.
fn ends(registry: &mut Registry, task: Id) {
    registry.ended(Ok((task, (name(), None))));
}

/// Its task, if it is under way.
fn task(registry: &Registry) -> Option<Id> {
    match registry.tracked.get(&name())?.state {
        State::Underway { task, .. } => Some(task),
        _ => None,
    }
}

fn name() -> Key {
    ("team-a".into(), "bulk".into())
}

#[tokio::test]
async fn what_is_gone_is_not_taken_up_again_by_an_old_event() {
    let mut registry = Registry::new(context());
    registry.apply(bulk("first"), 0, false);
    assert_eq!(registry.tasks.len(), 1);
    // Its task has read that it is gone before the watch reports it.
    let first = task(&registry).unwrap();
    ends(&mut registry, first);
    registry.apply(bulk("first"), 0, false);
    assert_eq!(registry.tasks.len(), 1, "it was taken up again");
    registry.apply(bulk("second"), 0, false);
    assert_eq!(registry.tasks.len(), 2, "an object created again under the same name is another one");
}

#[tokio::test]
async fn the_end_of_a_task_is_that_of_no_other() {
    for again in ["first", "second"] {
        let mut registry = Registry::new(context());
        registry.apply(bulk("first"), 0, false);
        let first = task(&registry).unwrap();
        registry.forget(&name());
        registry.apply(bulk(again), 0, false);
        let second = task(&registry).unwrap();
        ends(&mut registry, first);
        assert_eq!(task(&registry), Some(second), "{again} is not heard of any more");
        ends(&mut registry, second);
        assert_eq!(task(&registry), None);
    }
}

#[tokio::test]
async fn an_old_event_of_another_one_of_that_name_is_no_news() {
    let stored = |uid: &str, version: &str| {
        let mut bulk = bulk(uid);
        bulk.metadata.resource_version = Some(version.into());
        Stored { bulk: *bulk, flaw: None }
    };
    let mut registry = Registry::new(context());
    registry.take_in(None, Event::Apply(stored("first", "5")));
    registry.take_in(None, Event::Apply(stored("second", "9")));
    let second = task(&registry);
    registry.take_in(None, Event::Apply(stored("first", "5")));
    assert_eq!(task(&registry), second, "it was forgotten");
    // A list says what there is.
    registry.take_in(None, Event::Init);
    registry.take_in(None, Event::InitApply(stored("first", "5")));
    assert_ne!(task(&registry), second);
}

#[tokio::test]
async fn an_older_version_does_not_replace_a_newer_one() {
    let mut registry = Registry::new(context());
    let stopped = |registry: &Registry| match &registry.tracked[&name()].state {
        State::Underway { current, .. } => current.borrow().stopped,
        other => panic!("{other:?}"),
    };
    for (event, known) in [("9", 9), ("10", 10), ("9", 10), ("11", 11)] {
        registry.take_in(None, Event::Apply(Stored { bulk: *in_version(event), flaw: None }));
        assert_eq!(registry.tracked[&name()].version, Some(known), "{event}");
        assert!(!stopped(&registry));
    }
    // It goes, which nothing takes back, whatever its version.
    let mut going = in_version("5");
    going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    registry.take_in(None, Event::Apply(Stored { bulk: *going, flaw: None }));
    assert!(stopped(&registry));
}

#[tokio::test]
async fn the_end_is_known_also_where_its_event_was_lost_but_not_what_has_changed_since() {
    let at = |generation: i64, observed: Option<i64>| {
        let mut bulk = bulk("first");
        bulk.metadata.generation = Some(generation);
        bulk.status = observed.map(|observed_generation| crate::api::BulkUpdateStatus {
            observed_generation,
            completion_time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                k8s_openapi::jiff::Timestamp::default(),
            )),
            ..Default::default()
        });
        bulk
    };
    for (seen, end, known) in
        [(1, at(1, Some(1)), true), (2, at(1, Some(1)), false), (1, at(1, Some(2)), false)]
    {
        let mut registry = Registry::new(context());
        registry.apply(at(seen, None), 0, false);
        let task = task(&registry).unwrap();
        registry.ended(Ok((task, (name(), Finished::read(&end)))));
        let State::Finished { rest } = &registry.tracked[&name()].state else { panic!("it has finished") };
        assert_eq!(rest.is_some(), known, "{seen}");
    }
}

#[tokio::test]
async fn when_a_bulk_update_was_created_only_the_running_watch_tells_and_only_of_what_is_new() {
    let with = |change: &dyn Fn(&mut BulkUpdate)| {
        let mut bulk = in_version("10");
        (bulk.metadata.generation, bulk.status) = (Some(1), Some(BulkUpdateStatus::default()));
        change(&mut bulk);
        bulk
    };
    let creation_version = |registry: &Registry| match &registry.tracked[&name()].state {
        State::Underway { current, .. } => current.borrow().creation_version,
        other => panic!("{other:?}"),
    };
    let first = with(&|_| ());
    for (first, listed, expected) in [
        (with(&|_| ()), false, Some(10)),
        (with(&|b| b.status = None), false, Some(10)),
        (with(&|_| ()), true, None),
        (with(&|b| b.metadata.generation = Some(2)), false, None),
        (with(&|b| b.metadata.resource_version = Some("x".into())), false, None),
        (with(&|b| b.status.as_mut().unwrap().observed_generation = 1), false, None),
    ] {
        let mut registry = Registry::new(context());
        registry.apply(first, 0, listed);
        assert_eq!(creation_version(&registry), expected);
        // No later event or list changes that.
        for listed in [false, true] {
            registry.apply(with(&|b| b.metadata.resource_version = Some("11".into())), 0, listed);
            assert_eq!(creation_version(&registry), expected);
        }
    }
    // One that could not be decoded at first was created then.
    for (listed, expected) in [(false, Some(10)), (true, None)] {
        let mut registry = Registry::new(context());
        let unread = Stored { bulk: (*first).clone(), flaw: Some("?".into()) };
        registry.unreadable(&unread, 0, listed);
        registry.apply(first.clone(), 0, false);
        assert_eq!(creation_version(&registry), expected);
    }
    // One that has become unreadable, and is changed then, is still the one that was created there.
    let mut registry = Registry::new(context());
    registry.apply(first, 0, false);
    let at = |version: &str| with(&|b| b.metadata.resource_version = Some(version.into()));
    let unread = |version| Stored { bulk: *at(version), flaw: Some("?".into()) };
    let state = registry.report(&unread("11"), 0);
    registry.tracked.get_mut(&name()).unwrap().state = state;
    registry.unreadable(&unread("12"), 0, false);
    registry.apply(at("13"), 0, false);
    assert_eq!(creation_version(&registry), Some(10));
}

/// One that cannot be read, at this resource version, with this status.
fn odd(version: &str, status: &serde_json::Value) -> Stored {
    let odd = json!({
        "metadata": {"namespace": "team-a", "name": "bulk", "uid": "first", "resourceVersion": version, "generation": 1},
        "spec": {"executions": [{"id": "exec-1", "targetStatus": "EXPLODED"}]}, "status": status,
    });
    serde_json::from_value(odd).unwrap()
}

/// The same, and the requests to the API server.
fn answered() -> (Registry, Arc<std::sync::Mutex<Vec<String>>>) {
    let (ctx, asked) =
        crate::bulk_update::fixtures::answering(|_, _| (200, json!({"metadata": {"resourceVersion": "8"}})));
    (Registry::new(ctx), asked)
}

fn patches(asked: &std::sync::Mutex<Vec<String>>) -> usize {
    asked.lock().unwrap().iter().filter(|asked| asked.starts_with("PATCH")).count()
}

async fn quiet(registry: &Registry) {
    registry.ctx.tracker.close();
    registry.ctx.tracker.wait().await;
}

fn unreadable(registry: &Registry) -> bool {
    matches!(registry.tracked[&name()].state, State::Unreadable { .. })
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_read_is_reported_once_and_its_conditions_are_written() {
    let (mut registry, asked) = answered();
    let fresh = json!({"observedGeneration": -1});
    registry.take_in(None, Event::Apply(odd("7", &fresh)));
    quiet(&registry).await;
    assert!(unreadable(&registry) && registry.tasks.is_empty());
    assert_eq!((registry.unreadable, patches(&asked)), (1, 1));
    // The event of its own write: it has finished, and there is nothing to report.
    let written = json!({"observedGeneration": 1, "completionTime": "2026-01-01T00:00:00Z"});
    registry.take_in(None, Event::Apply(odd("8", &written)));
    quiet(&registry).await;
    assert!(matches!(registry.tracked[&name()].state, State::Finished { .. }));
    assert_eq!(registry.unreadable, 1);
    // A list delivers the same state again.
    registry.take_in(None, Event::Init);
    registry.take_in(None, Event::InitApply(odd("7", &fresh)));
    registry.take_in(None, Event::InitDone);
    assert!(matches!(registry.tracked[&name()].state, State::Finished { .. }));
    registry.take_in(None, Event::Delete(odd("9", &written)));
    assert!(registry.tracked.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_writes_against_its_conditions_is_not_answered_at_full_speed() {
    let (mut registry, asked) = answered();
    let planned = json!({"startTime": "2026-01-01T00:00:00Z"});
    let begun = tokio::time::Instant::now();
    for version in 7..17 {
        registry.take_in(None, Event::Apply(odd(&version.to_string(), &planned)));
        quiet(&registry).await;
    }
    assert_eq!((registry.unreadable, patches(&asked)), (1, 10));
    assert!(begun.elapsed() > std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_shows_it_once_more_does_not_end_the_wait_that_the_api_server_has_asked_for() {
    // Nor the back-off after a refusal: after 1 s, 2 s, 4 s, 8 s and 16 s.
    for (code, [within_20_s, within_30_s]) in [(429, [1, 2]), (422, [5, 5])] {
        let answer = json!({"code": code, "message": "no", "details": {"retryAfterSeconds": 30}});
        let (ctx, asked) = crate::bulk_update::fixtures::answering(move |_, _| (code, answer.clone()));
        let mut registry = Registry::new(ctx);
        let fresh = json!({"observedGeneration": -1});
        registry.take_in(None, Event::Apply(odd("7", &fresh)));
        for _ in 0..5 {
            tokio::time::sleep(std::time::Duration::from_secs(4)).await;
            registry.take_in(None, Event::Init);
            registry.take_in(None, Event::InitApply(odd("7", &fresh)));
            registry.take_in(None, Event::InitDone);
        }
        assert_eq!(patches(&asked), within_20_s, "{code}");
        tokio::time::sleep(std::time::Duration::from_millis(10_500)).await;
        assert_eq!(patches(&asked), within_30_s, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_has_asked_one_task_to_wait_the_next_one_waits() {
    let busy = json!({"code": 429, "message": "busy", "details": {"retryAfterSeconds": 30}});
    let (ctx, asked) = crate::bulk_update::fixtures::answering(move |_, _| (429, busy.clone()));
    let mut registry = Registry::new(ctx);
    let seconds = |seconds| tokio::time::sleep(std::time::Duration::from_secs(seconds));
    // Somebody changes it, and mends it then.
    for version in ["7", "8", "9"] {
        registry.take_in(None, Event::Apply(odd(version, &json!({}))));
        seconds(5).await;
    }
    assert_eq!(patches(&asked), 1);
    registry.take_in(None, Event::Apply(Stored { bulk: *in_version("10"), flaw: None }));
    let reports = || asked.lock().unwrap().iter().filter(|asked| asked.starts_with("PUT")).count();
    seconds(14).await;
    assert_eq!((registry.tasks.len(), reports()), (1, 0));
    seconds(60).await;
    assert!(reports() > 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_as_it_was_before_is_not_reported_again() {
    let busy = json!({"code": 429, "message": "busy", "details": {"retryAfterSeconds": 30}});
    let (ctx, asked) = crate::bulk_update::fixtures::answering(move |_, _| (429, busy.clone()));
    let mut registry = Registry::new(ctx);
    let readable = || Event::Apply(Stored { bulk: *in_version("6"), flaw: None });
    let spoiled = || Event::Apply(odd("7", &json!({})));
    for event in [spoiled(), readable(), spoiled()] {
        registry.take_in(None, event);
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        assert!(unreadable(&registry) && registry.tasks.is_empty());
    }
    // Nor by a list that lags behind; that it lacks nothing else counts.
    registry.take_in(None, Event::Init);
    registry.take_in(None, Event::InitApply(Stored { bulk: *in_version("6"), flaw: None }));
    registry.take_in(None, Event::InitDone);
    assert!(unreadable(&registry) && registry.tasks.is_empty());
    assert_eq!((registry.unreadable, patches(&asked)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_mended_is_carried_out_unless_it_has_an_end() {
    for (over, carried_out) in [(false, true), (true, false)] {
        let (mut registry, _) = answered();
        registry.take_in(None, Event::Apply(odd("7", &json!({}))));
        let mut mended = bulk("first");
        mended.metadata.resource_version = Some("9".into());
        if over {
            let end = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
            mended.status = Some(crate::api::BulkUpdateStatus { completion_time: end, ..Default::default() });
        }
        registry.take_in(None, Event::Apply(Stored { bulk: *mended, flaw: None }));
        assert_eq!(task(&registry).is_some(), carried_out);
    }
}

#[tokio::test(start_paused = true)]
async fn one_under_way_that_can_not_be_read_any_more_is_stopped_first() {
    let (mut registry, asked) = answered();
    registry.take_in(None, Event::Apply(Stored { bulk: *in_version("6"), flaw: None }));
    let first = task(&registry).unwrap();
    let State::Underway { current, .. } = &registry.tracked[&name()].state else { panic!("it is under way") };
    let seen = current.subscribe();
    registry.take_in(None, Event::Apply(odd("5", &json!({}))));
    assert!(!seen.borrow().stopped, "an old event");
    registry.take_in(None, Event::Apply(odd("7", &json!({}))));
    registry.take_in(None, Event::Apply(odd("8", &json!({}))));
    assert!(seen.borrow().stopped);
    assert_eq!((registry.unreadable, patches(&asked)), (1, 0), "its task may be writing");
    ends(&mut registry, first);
    quiet(&registry).await;
    assert!(unreadable(&registry));
    assert_eq!((registry.unreadable, patches(&asked)), (1, 1));
    // Corrected while its task ends: another task continues.
    registry.apply(in_version("9"), 0, false);
    let second = task(&registry).unwrap();
    registry.take_in(None, Event::Apply(odd("10", &json!({}))));
    registry.apply(in_version("11"), 0, false);
    ends(&mut registry, second);
    assert!(task(&registry).is_some_and(|third| third != second));
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_after_its_end_is_tried_again_ever_more_rarely() {
    let (ctx, asked) =
        crate::bulk_update::fixtures::answering(|_, _| (409, json!({"message": "it has changed"})));
    let mut registry = Registry::new(ctx);
    let over = |version: &str| {
        let mut over = in_version(version);
        over.spec.ttl_seconds_after_finished = Some(0);
        let end = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        over.status = Some(crate::api::BulkUpdateStatus { completion_time: end, ..Default::default() });
        over
    };
    let pass = async |seconds| tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    let deletions = || std::mem::take(&mut *asked.lock().unwrap()).len();
    for version in ["7", "8"] {
        registry.apply(over(version), 0, false);
        // At once, and after 1, 3 and 7 seconds.
        pass(10).await;
        assert_eq!(deletions(), 4);
    }
    // Somebody removed its completionTime: it stays finished.
    registry.apply(in_version("9"), 0, false);
    pass(3600).await;
    assert!(matches!(registry.tracked[&name()].state, State::Finished { .. }));
    let rarely = deletions();
    assert!(rarely <= 20, "{rarely} in an hour");
    registry.take_in(None, Event::Delete(odd("10", &json!({}))));
    pass(3600).await;
    assert_eq!(deletions(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_name_is_reported_and_nothing_is_written_about_it() {
    let (mut registry, asked) = answered();
    for uid in ["a", "b", "a"] {
        let missing_identity =
            json!({"metadata": {"namespace": "team-a", "name": 5, "uid": uid, "resourceVersion": "7"}});
        registry.take_in(None, Event::Apply(serde_json::from_value(missing_identity).unwrap()));
    }
    // Nor if it has finished.
    let over = json!({"metadata": {"namespace": "team-a", "name": "a/b", "uid": "c", "resourceVersion": "7", "generation": 2},
        "spec": {"ttlSecondsAfterFinished": 0},
        "status": {"observedGeneration": 1, "completionTime": "2026-01-01T00:00:00Z"}});
    registry.take_in(None, Event::Apply(serde_json::from_value(over).unwrap()));
    quiet(&registry).await;
    assert_eq!((registry.unreadable, registry.tracked.len()), (3, 3));
    let asked = asked.lock().unwrap().clone();
    // Events, by their uids.
    assert_eq!(asked, ["POST /apis/events.k8s.io/v1/namespaces/team-a/events"; 3], "{asked:?}");
}
