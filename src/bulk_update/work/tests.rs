//! What is known between two passes.

use serde_json::{Value, json};

use super::*;
use crate::{
    api::{Kind, Reason, State, TargetStatus},
    bulk_update::{
        facts::Lookup,
        fixtures::{
            MEANT, OTHER, VERBS, ahead, at, bulk, cached, entry, live, record, request, target, unread,
        },
        status::status,
        work::{Phase, entry::ANSWER_HOLDS},
    },
};

fn refused(code: u16) -> Failure {
    Failure::Refused { code, message: "no".into(), retry_after: None }
}

fn planned() -> Entry {
    let item = request(Kind::Execution, TargetStatus::Stopped).items.remove(0);
    entry(&item, ItemResult::Planned)
}

/// The back-off of an item.
fn waits(entry: &Entry) -> Option<Duration> {
    entry.progress.not_before.map(|time| time - Instant::now())
}

const MS_100: Option<Duration> = Some(Duration::from_millis(100));

#[tokio::test(start_paused = true)]
async fn each_failure_of_a_write_has_its_consequence() {
    use Reason::WriteFailed;
    let guard = || UnresolvedWrite::Guarded(10);
    for (failure, must_read, open, waits_for, given_up) in [
        (refused(409), true, UnresolvedWrite::None, None, None),
        (refused(404), true, UnresolvedWrite::None, None, None),
        (refused(500), true, guard(), MS_100, None),
        (refused(504), true, guard(), MS_100, None),
        (Failure::NoAnswer("reset".into()), true, guard(), MS_100, None),
        (Failure::NotSent("refused".into()), false, UnresolvedWrite::Rejected, MS_100, None),
        (refused(401), false, UnresolvedWrite::Rejected, MS_100, None),
        (refused(408), false, UnresolvedWrite::Rejected, MS_100, None),
        (refused(429), false, UnresolvedWrite::Rejected, MS_100, None),
        (refused(403), false, UnresolvedWrite::Rejected, MS_100, None),
        (refused(422), false, UnresolvedWrite::Rejected, None, Some(WriteFailed)),
        (refused(400), false, UnresolvedWrite::Rejected, None, Some(WriteFailed)),
    ] {
        let mut entry = planned();
        entry.progress.in_flight = true;
        entry.progress.write_failed(&failure, "10");
        let progress = &entry.progress;
        assert!(!progress.in_flight, "{failure}");
        assert_eq!((progress.must_read, &progress.unresolved), (must_read, &open), "{failure}");
        assert_eq!(waits(&entry), waits_for, "{failure}");
        assert_eq!(entry.can_send(), waits_for.is_none(), "{failure}");
        assert_eq!(progress.failed.refused.as_ref().map(|(reason, _)| *reason), given_up, "{failure}");
        assert_eq!(entry.result(), Some(ItemResult::Planned), "only a decision changes the record");
    }
}

#[tokio::test(start_paused = true)]
async fn the_servers_own_time_is_waited_and_then_over() {
    let busy =
        |code| Failure::Refused { code, message: "busy".into(), retry_after: Some(Duration::from_secs(7)) };
    for code in [429, 503] {
        let mut entry = planned();
        entry.progress.write_failed(&busy(code), "10");
        assert_eq!(waits(&entry), Some(Duration::from_secs(7)));
        tokio::time::advance(Duration::from_millis(6999)).await;
        assert!(!entry.can_send());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(entry.can_send());
    }
}

#[tokio::test(start_paused = true)]
async fn only_repeated_conflicts_wait_and_ever_longer() {
    let mut entry = planned();
    for millis in [0, 100, 200, 400] {
        entry.progress.not_before = None;
        entry.progress.write_failed(&refused(409), "10");
        assert_eq!(waits(&entry).unwrap_or_default(), Duration::from_millis(millis));
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_waited_for_for_ten_seconds() {
    let mut entry = planned();
    for (passes, given_up) in [(0, false), (9_999, false), (1, true)] {
        tokio::time::advance(Duration::from_millis(passes)).await;
        entry.progress.write_failed(&refused(403), "10");
        assert_eq!(entry.progress.failed.refused.is_some(), given_up);
    }
    assert_eq!(entry.progress.failed.refused, Some((Reason::Forbidden, "403: no".into())));
    // Any other answer in between restarts the ten seconds.
    let mut entry = planned();
    for (passes, failure) in [(0, refused(403)), (6, refused(409)), (6, refused(403)), (6, refused(403))] {
        tokio::time::advance(Duration::from_secs(passes)).await;
        entry.progress.write_failed(&failure, "10");
        assert_eq!(entry.progress.failed.refused, None);
    }
}

#[test]
fn of_open_writes_the_newest_counts_and_one_of_an_earlier_process_stays_open() {
    let lost = Failure::NoAnswer("reset".into());
    let mut entry = planned();
    for guard in ["10", "10", "12"] {
        entry.progress.write_failed(&lost, guard);
        assert_eq!(entry.progress.unresolved, UnresolvedWrite::Guarded(guard.parse().unwrap()));
    }
    // Later answers do not resolve it.
    for code in [409, 429, 422, 403] {
        entry.progress.write_failed(&refused(code), "13");
        assert_eq!(entry.progress.unresolved, UnresolvedWrite::Guarded(12), "{code}");
    }
    entry.progress.unresolved = UnresolvedWrite::Unknown;
    entry.progress.write_failed(&lost, "14");
    assert_eq!(entry.progress.unresolved, UnresolvedWrite::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_read_answers_and_a_failed_one_is_tried_again_when_it_is_time() {
    let (mut entry, object) = (planned(), target(State::Running));
    let old = Target { resource_version: "9".into(), ..object.clone() };
    entry.progress.must_read = true;
    for wait in [100, 200] {
        entry.progress.in_flight = true;
        entry.read(Err(refused(503)));
        assert!(!entry.progress.in_flight && entry.progress.must_read && !entry.can_send());
        let Lookup::Failed(why) = entry.lookup(Some(object.clone().into())) else {
            panic!("it was not read")
        };
        assert_eq!(why, unread("503: no"));
        assert_eq!(waits(&entry), Some(Duration::from_millis(wait)));
        tokio::time::advance(Duration::from_millis(wait)).await;
        assert_eq!(entry.lookup(Some(object.clone().into())), cached(Some(object.clone())));
    }
    entry.progress.in_flight = true;
    entry.read(Ok(Some(object.clone())));
    assert!(!entry.progress.in_flight && !entry.progress.must_read);
    assert_eq!(entry.lookup(Some(old.clone().into())), ahead(object.clone()));
    assert_eq!(entry.lookup(Some(object.clone().into())), live(Some(object.clone())));
    entry.decided();
    assert_eq!(entry.lookup(Some(old.into())), cached(Some(object)));
    entry.read(Ok(None));
    assert_eq!(entry.lookup(None), live(None));
    assert_eq!(entry.progress.seen, None);
}

#[test]
fn the_newer_of_index_and_memory_is_looked_at() {
    let of = |version: &str| Some(Target { resource_version: version.into(), ..target(State::Running) });
    for (indexed, seen, expected) in [
        (None, None, None),
        (of("9"), None, of("9")),
        (None, of("9"), of("9")),
        (of("9"), of("10"), of("10")),
        (of("11"), of("10"), of("11")),
    ] {
        let mut entry = planned();
        entry.progress.seen = seen.map(Arc::new);
        assert_eq!(entry.lookup(indexed.map(Arc::new)), cached(expected));
    }
}

#[test]
fn what_the_index_has_as_well_is_not_held_twice() {
    let of = |uid: &str, version: &str, first_seen| {
        let (uid, resource_version) = (uid.into(), version.into());
        Arc::new(Target { uid, resource_version, first_seen, ..target(State::Running) })
    };
    for (indexed, shared) in [
        (of(MEANT, "9", 9), false),
        (of(OTHER, "11", 9), false),
        (of(MEANT, "10", 9), true),
        (of(MEANT, "11", 9), true),
    ] {
        let mut entry = planned();
        entry.progress.seen = Some(of(MEANT, "10", 10));
        let before = entry.lookup(Some(Arc::clone(&indexed)));
        entry.share(Some(&indexed));
        assert_eq!(Arc::ptr_eq(entry.progress.seen.as_ref().unwrap(), &indexed), shared, "{indexed:?}");
        assert_eq!(entry.lookup(Some(indexed)), before);
        entry.share(None);
        assert!(entry.progress.seen.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_failures_the_first_ones_are_told_and_all_are_tried_again() {
    let items: Vec<_> =
        (0..5).map(|n| json!({"id": format!("item-{n}"), "targetStatus": "STOPPED"})).collect();
    let mut work = Work::new(&bulk(&json!({"executions": items})), None);
    for entry in work.entries.iter_mut().rev() {
        let planned = record(&entry.item, ItemResult::Planned);
        entry.becomes(planned, Some(target(State::Running).into()));
        entry.progress.write_failed(&refused(503), "10");
    }
    work.limit_errors();
    let reported: Vec<_> =
        work.entries.iter().filter_map(Entry::waits_for).map(|why| why.to_string()).collect();
    assert_eq!(reported, [0, 1].map(|n| format!("cannot write to Execution item-{n}: 503: no")));
    for entry in &work.entries {
        assert_eq!(waits(entry), Some(Duration::from_millis(100)));
        assert_eq!(entry.progress.unresolved, UnresolvedWrite::Guarded(10));
    }
}

#[test]
fn a_new_plan_forgets_what_was_known_of_the_old_object() {
    let spoiled = || {
        let mut entry = planned();
        entry.progress.unresolved = UnresolvedWrite::Unknown;
        entry.progress.must_read = true;
        entry.progress.gone = true;
        entry.progress.failed.refused = Some((Reason::WriteFailed, "422".into()));
        entry
    };
    let new = Target { uid: OTHER.into(), ..target(State::Running) };
    let mut entry = spoiled();
    entry.becomes(record(&entry.item, ItemResult::Planned), Some(new.clone().into()));
    let progress = &entry.progress;
    assert_eq!(
        (&progress.unresolved, progress.must_read, progress.gone),
        (&UnresolvedWrite::None, false, false)
    );
    assert_eq!((&progress.failed.refused, &progress.seen), (&None, &Some(new.into())));
    // The first entry is a plan, too, where no object was found.
    let mut entry = spoiled();
    entry.record = None;
    entry.becomes(record(&entry.item, ItemResult::Refused), None);
    assert_eq!((&entry.progress.unresolved, entry.progress.gone), (&UnresolvedWrite::None, false));
    // Any other step keeps it.
    let mut entry = spoiled();
    entry.becomes(record(&entry.item, ItemResult::Scheduled), None);
    assert!(entry.progress.gone && entry.progress.unresolved == UnresolvedWrite::Unknown);
    assert_eq!(entry.result(), Some(ItemResult::Scheduled));
}

#[test]
fn a_message_is_cut_to_120_bytes() {
    let mut entry = planned();
    let message = Some("ä".repeat(100).into());
    entry.becomes(ItemStatus { message, ..record(&entry.item, ItemResult::Failed) }, None);
    let message = entry.record.unwrap().message.unwrap();
    assert!((118..=120).contains(&message.len()) && message.ends_with('…'), "{message}");
}

fn intended(work: &Work, at: usize, target: &Target) -> bool {
    !work.intents(vec![(at, Arc::new(target.clone()))]).is_empty()
}

fn two(first: &str, second: &str) -> Value {
    json!({"executions": [
        {"id": first, "targetStatus": "STOPPED"},
        {"id": second, "targetStatus": "STOPPED"},
    ]})
}

/// What a new process starts from when it finds this record.
fn restarted(spec: &Value, status: Value) -> Work {
    let mut bulk = bulk(spec);
    bulk.status = Some(serde_json::from_value(status).unwrap());
    Work::new(&bulk, None)
}

fn item_status(id: &str, verb: &str, result: &str) -> Value {
    json!({"id": id, "targetStatus": verb, "result": result, "uid": MEANT})
}

fn results(work: &Work) -> Vec<(&str, Option<ItemResult>)> {
    work.entries.iter().map(|e| (&*e.item.id, e.result())).collect()
}

#[test]
fn an_unplanned_one_begins_from_its_request_alone() {
    let list = json!([item_status("aaaa", "STOPPED", "Planned")]);
    let work = restarted(&two("aaaa", "bbbb"), json!({"observedGeneration": 1, "executions": list}));
    assert_eq!(results(&work), [("aaaa", None), ("bbbb", None)]);
    assert!(work.start.is_none() && !work.is_finished());
    assert!(
        work.entries.iter().all(|e| e.progress.unresolved == UnresolvedWrite::None && !e.progress.must_read)
    );
}

#[test]
fn what_was_found_planned_may_have_been_written_and_is_read_first() {
    for result in ["Planned", "Scheduled", "Settled", "Refused", "Failed", "Eligible"] {
        let list = json!([item_status("aaaa", "STOPPED", result), item_status("bbbb", "STOPPED", result)]);
        let work =
            restarted(&two("aaaa", "bbbb"), json!({"startTime": at(1).to_string(), "executions": list}));
        assert_eq!(work.start, Some(at(1).into()));
        for entry in &work.entries {
            let planned = result == "Planned";
            assert_eq!(entry.progress.must_read, planned, "{result}");
            assert_eq!(
                entry.progress.unresolved,
                if planned { UnresolvedWrite::Unknown } else { UnresolvedWrite::None },
                "{result}"
            );
            assert_eq!(entry.record.as_ref().and_then(|r| r.uid.as_deref()), Some(MEANT));
        }
    }
}

#[test]
fn what_the_record_lacks_or_contradicts_is_never_carried_out() {
    for list in [
        json!([item_status("aaaa", "STOPPED", "Planned")]),
        json!([item_status("aaaa", "STOPPED", "Planned"), item_status("bbbb", "DELETED", "Planned")]),
        json!([item_status("aaaa", "STOPPED", "Planned"), item_status("cccc", "STOPPED", "Planned")]),
    ] {
        let work =
            restarted(&two("aaaa", "bbbb"), json!({"startTime": at(1).to_string(), "executions": list}));
        let found = results(&work);
        assert_eq!(found[0], ("aaaa", Some(ItemResult::Planned)), "{list}");
        assert_eq!(found[1], ("bbbb", Some(ItemResult::Failed)), "{list}");
        assert_eq!(found.len(), 2, "only what the spec asks for: {list}");
        let entry = &work.entries[1];
        assert_eq!(entry.record.as_ref().and_then(|r| r.reason), Some(Reason::OutcomeUnknown));
        assert!(!intended(&work, 1, &target(State::Running)));
    }
    // An entry in the list of the other kind does not count.
    let status = json!({"startTime": at(1).to_string(),
        "deployments": [item_status("aaaa", "STOPPED", "Planned"), item_status("bbbb", "STOPPED", "Planned")]});
    let work = restarted(&two("aaaa", "bbbb"), status);
    assert!(work.entries.iter().all(|e| e.result() == Some(ItemResult::Failed)));
}

#[test]
fn a_reorder_of_the_request_leaves_the_order_of_the_record() {
    let list = json!([item_status("aaaa", "STOPPED", "Planned"), item_status("bbbb", "STOPPED", "Settled")]);
    let status_ = json!({"startTime": at(1).to_string(), "executions": list});
    let work = restarted(&two("bbbb", "aaaa"), status_);
    let expected = [("aaaa", Some(ItemResult::Planned)), ("bbbb", Some(ItemResult::Settled))];
    assert_eq!(results(&work), expected);
    let written = status(&work, &Phase::Planned(None), at(2).into());
    assert_eq!(written.executions, work.recorded.executions);
    // Without a record, the order is that of the request.
    let work = Work::new(&bulk(&two("bbbb", "aaaa")), None);
    assert_eq!(results(&work), [("bbbb", None), ("aaaa", None)]);
}

#[test]
fn no_write_is_intended_but_to_the_very_object_on_record_as_planned() {
    for (result, verb) in ["Planned", "Scheduled", "Failed"].iter().flat_map(|r| VERBS.map(|v| (r, v))) {
        let spec = json!({"executions": [{"id": "aaaa", "targetStatus": verb}]});
        let list = json!([item_status("aaaa", "STOPPED", result)]);
        let mut work = restarted(&spec, json!({"startTime": at(1).to_string(), "executions": list}));
        let is_intended = *result == "Planned" && verb == TargetStatus::Stopped;
        assert_eq!(intended(&work, 0, &target(State::Running)), is_intended, "{result} {verb:?}");
        let other = Target { uid: OTHER.into(), ..target(State::Running) };
        assert!(!intended(&work, 0, &other));
        // This decision is not on record yet.
        let item = work.entries[0].item.clone();
        work.entries[0] = entry(&item, ItemResult::Planned);
        assert_eq!(intended(&work, 0, &target(State::Running)), is_intended);
    }
}

#[test]
fn a_plan_is_one_from_when_it_is_on_record() {
    let mut work = Work::new(&bulk(&two("aaaa", "bbbb")), None);
    let proposed = |work: &Work| {
        let plan = |entry: &Entry| ItemPlan {
            record: record(&entry.item, ItemResult::Planned),
            based_on: Some(target(State::Running).into()),
        };
        Phase::Proposed(Plan::new(work.entries(), work.entries().iter().map(plan).collect(), at(1).into()))
    };
    work.entry_mut(0).read(Ok(None));
    let phase = proposed(&work);
    let wanted = status(&work, &phase, at(1).into());
    assert_eq!(wanted.start_time.as_ref().map(|t| t.0), Some(at(1)));
    work.decided(Some(&phase), Vec::new());
    let writes = || vec![(0, target(State::Running).into())];
    assert!(work.start().is_none() && work.intents(writes()).is_empty());
    assert!(work.entries().iter().all(|entry| entry.record.is_none()));
    // What it was based on is read again.
    work.not_planned();
    assert_eq!(work.entries()[0].lookup(None), cached(None));
    // Once it is on record, it takes effect.
    let before = work.recorded(phase, wanted.clone(), "8".into());
    assert_eq!((before, work.on_api_server()), (BulkUpdateStatus::default(), &wanted));
    assert_eq!((work.start(), &*work.identity().resource_version), (Some(at(1).into()), "8"));
    assert_eq!(work.intents(writes()).len(), 1);
    assert!(work.any(ItemResult::Planned) && !work.any(ItemResult::Settled));
    assert_eq!(status(&work, &Phase::Planned(None), at(1).into()), wanted, "there is nothing more to say");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_long_ago_is_read_again_before_it_refuses_anything() {
    let mut entry = planned();
    entry.read(Ok(None));
    tokio::time::advance(ANSWER_HOLDS).await;
    entry.planning_waits();
    assert_eq!(entry.lookup(None), live(None));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(entry.lookup(None), live(None), "only where planning waits for something else");
    entry.planning_waits();
    assert_eq!(entry.lookup(None), cached(None));
}

#[tokio::test]
async fn an_unanswered_plan_that_took_hold_is_carried_out_as_it_stands() {
    let spec = two("aaaa", "bbbb");
    let mut work = Work::new(&bulk(&spec), None);
    let stands = restarted(
        &spec,
        json!({"startTime": at(1).to_string(), "executions": [
        item_status("aaaa", "STOPPED", "Planned"), item_status("bbbb", "STOPPED", "Refused")]}),
    )
    .recorded;
    work.sent_without_answer(stands.clone());
    assert!(!work.was_applied(&BulkUpdateStatus::default()) && work.was_applied(&stands));
    let before = work.adopted(stands.clone());
    assert_eq!((before.start_time, work.start), (None, Some(at(1).into())));
    assert_eq!((&work.recorded, &work.unanswered), (&stands, &None));
    assert_eq!(work.entries[0].result(), Some(ItemResult::Planned));
    assert_eq!(work.entries[1].result(), Some(ItemResult::Refused));
    assert_eq!(
        work.entries[0].progress.unresolved,
        UnresolvedWrite::None,
        "nothing was sent before the plan was known to stand"
    );
}

#[test]
fn a_dry_run_has_planned_no_write_whatever_its_status_says() {
    for result in ["Planned", "Scheduled"] {
        let mut spec = two("aaaa", "bbbb");
        spec["dryRun"] = json!(true);
        let list =
            json!([item_status("aaaa", "STOPPED", result), item_status("bbbb", "STOPPED", "Eligible")]);
        let work = restarted(&spec, json!({"startTime": at(1).to_string(), "executions": list}));
        assert_eq!(work.entries[0].result(), Some(ItemResult::Failed));
        assert_eq!(work.entries[1].result(), Some(ItemResult::Eligible));
        assert!(!intended(&work, 0, &target(State::Running)));
    }
}

#[test]
fn the_newer_of_an_answer_and_the_index_counts() {
    let with = |version: &str| Target { resource_version: version.into(), ..target(State::Running) };
    let mut entry = planned();
    entry.read(Ok(Some(with("10"))));
    for indexed in [None, Some(with("9").into())] {
        assert_eq!(entry.lookup(indexed), ahead(with("10")));
    }
    for version in ["10", "11"] {
        assert_eq!(entry.lookup(Some(with(version).into())), live(Some(with(version))), "{version}");
    }
}

#[test]
fn since_when_an_object_was_seen_is_known_by_its_uid() {
    let seen = |uid: &str, version: u64, first_seen| Target {
        uid: uid.into(),
        resource_version: version.to_string().into(),
        first_seen,
        ..target(State::Running)
    };
    for (read, indexed, expected) in [
        (seen(MEANT, 12, 12), seen(MEANT, 12, 8), live(Some(seen(MEANT, 12, 8)))),
        (seen(MEANT, 12, 12), seen(MEANT, 13, 8), live(Some(seen(MEANT, 13, 8)))),
        (seen(MEANT, 12, 12), seen(MEANT, 10, 8), ahead(seen(MEANT, 12, 8))),
        (seen(MEANT, 12, 12), seen(MEANT, 13, 13), live(Some(seen(MEANT, 13, 12)))),
        // Another object had the name before, or has it now.
        (seen(MEANT, 12, 12), seen(OTHER, 10, 8), ahead(seen(MEANT, 12, 12))),
        (seen(MEANT, 12, 12), seen(OTHER, 13, 13), live(Some(seen(OTHER, 13, 13)))),
    ] {
        let mut entry = planned();
        entry.read(Ok(Some(read)));
        assert_eq!(entry.lookup(Some(indexed.clone().into())), expected);
        entry.decided();
        let Lookup::Cached(Some(found)) = entry.lookup(Some(indexed.into())) else { panic!("it is known") };
        assert_eq!(found.first_seen, expected.object().0.unwrap().first_seen);
    }
}

#[test]
fn what_may_be_gone_by_now_is_read_again_before_a_plan_rests_on_it() {
    for (uid, counts) in [(Some(MEANT), false), (None, false), (Some(OTHER), true)] {
        let mut entry = planned();
        entry.record = None;
        entry.read(Ok(Some(target(State::Running))));
        entry.may_be_gone(uid);
        assert_eq!(entry.lookup(None).object().1, counts, "{uid:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_planning_waits_counts_from_what_was_read() {
    let mut work = Work::new(&bulk(&two("aaaa", "bbbb")), None);
    let wait = Duration::from_secs(5);
    tokio::time::advance(wait).await;
    assert!(!work.has_waited(wait), "nothing was read");
    work.entries[1].read(Ok(None));
    assert!(!work.has_waited(wait));
    tokio::time::advance(wait).await;
    assert!(work.has_waited(wait));
    work.entries[1].decided();
    assert!(!work.has_waited(wait));
}

impl Work {
    /// One whose items are in any state.
    pub(in crate::bulk_update) fn midway(mut self, start: Start, entries: Vec<Entry>) -> Self {
        let items = entries.iter().map(|entry| entry.item.clone()).collect();
        Arc::make_mut(&mut self.request).items = items;
        Self { start: Some(start), entries, ..self }
    }

    /// An item in any state.
    pub(in crate::bulk_update) fn entry_mut(&mut self, at: usize) -> &mut Entry {
        &mut self.entries[at]
    }
}
