//! What is known of all items: the plan, the record, what is intended.

use serde_json::{Value, json};

use super::planned;
use crate::{
    api::{Reason, State, TargetStatus},
    bulk_update::{
        facts::Lookup,
        fixtures::{MEANT, OTHER, VERBS, ahead, at, bulk, cached, entry, live, record, target, work_on},
        resource::{Live, Written},
        status::status,
        work::entry::ANSWER_HOLDS,
        work::*,
    },
};

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
    work_on(&bulk, None)
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
fn a_time_to_live_that_changes_meanwhile_is_that_of_the_end() {
    let spec = two("aaaa", "bbbb");
    let mut bulk = bulk(&spec);
    bulk.spec.ttl_seconds_after_finished = Some(0);
    let end = json!({"startTime": at(1).to_string(), "completionTime": at(2).to_string()});
    bulk.status = Some(serde_json::from_value(end).unwrap());
    let mut work = work_on(&bulk, None);
    assert_eq!(work.finished().unwrap().time_to_live, Some(0));
    bulk.spec.ttl_seconds_after_finished = Some(3600);
    bulk.metadata.generation = Some(2);
    work.found(&Live::of(bulk));
    let over = work.finished().unwrap();
    assert_eq!((over.time_to_live, over.generation), (Some(3600), Some(2)));
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
    let work = work_on(&bulk(&two("bbbb", "aaaa")), None);
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
    let mut work = work_on(&bulk(&two("aaaa", "bbbb")), None);
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
    let before = work.recorded(phase, wanted.clone(), Written::at("8"));
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
async fn an_unanswered_plan_that_was_stored_is_carried_out_as_recorded() {
    let spec = two("aaaa", "bbbb");
    let mut work = work_on(&bulk(&spec), None);
    let stored = restarted(
        &spec,
        json!({"startTime": at(1).to_string(), "executions": [
        item_status("aaaa", "STOPPED", "Planned"), item_status("bbbb", "STOPPED", "Refused")]}),
    )
    .recorded;
    // Each of those that were sent may be the one that is stored: they have the same guard.
    work.sent_without_answer(&stored);
    let other = |number| BulkUpdateStatus { observed_generation: number, ..BulkUpdateStatus::default() };
    for number in 1..16 {
        work.sent_without_answer(&other(number));
        work.sent_without_answer(&other(number));
    }
    assert!(work.was_applied(&other(15)) && work.was_applied(&stored));
    assert!(!work.was_applied(&other(16)) && !work.was_applied(&BulkUpdateStatus::default()));
    let mut live = bulk(&spec);
    live.status = Some(stored.clone());
    let before = work.adopted(&Live::of(live));
    assert_eq!((before.start_time, work.start), (None, Some(at(1).into())));
    assert_eq!(work.recorded, stored);
    assert!(!work.was_applied(&stored) && !work.was_applied(&other(1)));
    assert_eq!(work.entries[0].result(), Some(ItemResult::Planned));
    assert_eq!(work.entries[1].result(), Some(ItemResult::Refused));
    assert_eq!(
        work.entries[0].progress.unresolved,
        UnresolvedWrite::None,
        "nothing was sent before the plan was known to stand"
    );
    // But by another process perhaps, which had the same plan.
    assert!(work.entries[0].progress.must_read && !work.entries[1].progress.must_read);
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
    let mut work = work_on(&bulk(&two("aaaa", "bbbb")), None);
    let wait = Duration::from_secs(5);
    tokio::time::advance(wait).await;
    assert!(!work.has_waited(wait, Instant::now()), "nothing was read");
    work.entries[1].read(Ok(None));
    assert!(!work.has_waited(wait, Instant::now()));
    tokio::time::advance(wait).await;
    assert!(work.has_waited(wait, Instant::now()));
    work.entries[1].decided();
    assert!(!work.has_waited(wait, Instant::now()));
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
