//! What is known of one item.

use serde_json::json;

use super::planned;
use crate::{
    api::{Kind, Reason, State, TargetStatus},
    bulk_update::{
        facts::Lookup,
        fixtures::{MEANT, OTHER, ahead, bulk, cached, live, record, spec, target, unread, work_on},
        work::*,
    },
};

fn refused(code: u16) -> Failure {
    Failure::Refused { code, message: "no".into(), retry_after: None }
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
        (refused(409), true, UnresolvedWrite::Rejected, None, None),
        (refused(404), true, UnresolvedWrite::NotFound, None, None),
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
        entry.progress.write_failed(&failure, "10", Instant::now());
        let progress = &entry.progress;
        assert!(!progress.in_flight, "{failure}");
        assert_eq!((progress.must_read, &progress.unresolved), (must_read, &open), "{failure}");
        assert_eq!(waits(&entry), waits_for, "{failure}");
        assert_eq!(entry.can_send(Instant::now()), waits_for.is_none(), "{failure}");
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
        entry.progress.write_failed(&busy(code), "10", Instant::now());
        assert_eq!(waits(&entry), Some(Duration::from_secs(7)));
        tokio::time::advance(Duration::from_millis(6999)).await;
        assert!(!entry.can_send(Instant::now()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(entry.can_send(Instant::now()));
    }
}

#[tokio::test(start_paused = true)]
async fn only_repeated_conflicts_wait_and_ever_longer() {
    let mut entry = planned();
    for millis in [0, 100, 200, 400] {
        entry.progress.not_before = None;
        entry.progress.write_failed(&refused(409), "10", Instant::now());
        assert_eq!(waits(&entry).unwrap_or_default(), Duration::from_millis(millis));
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_right_is_waited_for_for_ten_seconds() {
    let mut entry = planned();
    for (passes, given_up) in [(0, false), (9_999, false), (1, true)] {
        tokio::time::advance(Duration::from_millis(passes)).await;
        entry.progress.write_failed(&refused(403), "10", Instant::now());
        assert_eq!(entry.progress.failed.refused.is_some(), given_up);
    }
    assert_eq!(entry.progress.failed.refused, Some((Reason::Forbidden, "403: no".into())));
    // Any other answer in between restarts the ten seconds.
    let mut entry = planned();
    for (passes, failure) in [(0, refused(403)), (6, refused(409)), (6, refused(403)), (6, refused(403))] {
        tokio::time::advance(Duration::from_secs(passes)).await;
        entry.progress.write_failed(&failure, "10", Instant::now());
        assert_eq!(entry.progress.failed.refused, None);
    }
    // When the answer came counts, and not when there was time for it.
    let mut entry = planned();
    for came in [0, 2] {
        let at = Instant::now() + Duration::from_secs(came);
        tokio::time::advance(Duration::from_secs(came * 6)).await;
        entry.progress.write_failed(&refused(403), "10", at);
        assert_eq!(entry.progress.failed.refused, None);
    }
}

#[test]
fn of_open_writes_the_newest_counts_and_one_of_an_earlier_process_stays_open() {
    let lost = Failure::NoAnswer("reset".into());
    let mut entry = planned();
    for guard in ["10", "10", "12"] {
        entry.progress.write_failed(&lost, guard, Instant::now());
        assert_eq!(entry.progress.unresolved, UnresolvedWrite::Guarded(guard.parse().unwrap()));
    }
    // Later answers do not resolve it.
    for code in [409, 429, 422, 403] {
        entry.progress.write_failed(&refused(code), "13", Instant::now());
        assert_eq!(entry.progress.unresolved, UnresolvedWrite::Guarded(12), "{code}");
    }
    entry.progress.unresolved = UnresolvedWrite::Unknown;
    entry.progress.write_failed(&lost, "14", Instant::now());
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
        assert!(!entry.progress.in_flight && entry.progress.must_read && !entry.can_send(Instant::now()));
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
fn when_an_object_was_first_seen_no_later_read_of_it_changes() {
    let of = |uid: &str, version: u64| {
        let (uid, resource_version) = (uid.into(), version.to_string().into());
        Target { uid, resource_version, first_seen: version, ..target(State::Running) }
    };
    for (uid, first_seen) in [(MEANT, 9), (OTHER, 12)] {
        let mut entry = planned();
        entry.read(Ok(Some(of(MEANT, 9))));
        entry.decided();
        // Its plan is not on record.
        entry.progress.begin_again();
        entry.read(Ok(Some(of(uid, 12))));
        let Lookup::Ahead(read) = entry.lookup(None) else { panic!("{:?}", entry.lookup(None)) };
        assert_eq!((read.first_seen, &*read.resource_version), (first_seen, "12"));
    }
}

#[test]
fn since_when_an_object_has_been_there_is_known_also_if_the_work_starts_again() {
    let asked = bulk(&spec(Kind::Execution, TargetStatus::Stopped));
    let of = |version: u64| {
        let resource_version = version.to_string().into();
        Target { resource_version, first_seen: version, ..target(State::Running) }
    };
    let mut before = work_on(&asked, None);
    before.entries[0].read(Ok(Some(of(9))));
    let mut after = work_on(&asked, None);
    after.starts_after(&before);
    let mut last = work_on(&asked, None);
    last.starts_after(&after);
    last.entries[0].read(Ok(Some(of(12))));
    let Lookup::Ahead(read) = last.entries[0].lookup(None) else { panic!("{:?}", last.entries[0]) };
    assert_eq!((read.first_seen, &*read.resource_version), (9, "12"));
}

#[test]
fn what_may_be_gone_or_was_read_for_another_plan_is_no_fact_any_more() {
    let read = || {
        let mut entry = planned();
        entry.record = None;
        entry.read(Ok(Some(target(State::Running))));
        entry
    };
    for uid in [Some(MEANT), None] {
        let mut entry = read();
        entry.decided();
        entry.may_be_gone(uid);
        assert_eq!(entry.lookup(None), cached(None), "{uid:?}");
    }
    let mut entry = read();
    entry.progress.begin_again();
    assert_eq!(entry.lookup(None), cached(None));
    // It is still known since when it has been there.
    let behind = |first_seen| Target { resource_version: "8".into(), first_seen, ..target(State::Running) };
    assert_eq!(entry.lookup(Some(Arc::new(behind(20)))), cached(Some(behind(10))));
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
async fn of_many_failures_the_first_ones_are_reported_and_all_are_retried() {
    let items: Vec<_> =
        (0..5).map(|n| json!({"id": format!("item-{n}"), "targetStatus": "STOPPED"})).collect();
    let mut work = work_on(&bulk(&json!({"executions": items})), None);
    for entry in work.entries.iter_mut().rev() {
        let planned = record(&entry.item, ItemResult::Planned);
        entry.becomes(planned, Some(target(State::Running).into()));
        entry.progress.write_failed(&refused(503), "10", Instant::now());
    }
    work.limit_errors();
    let reported: Vec<_> =
        work.entries.iter().filter_map(Entry::waits_for).map(|why| why.to_string()).collect();
    assert_eq!(reported, [0, 1].map(|n| format!("cannot write to Execution item-{n}: 503: no")));
    for entry in &work.entries {
        assert_eq!(waits(entry), Some(Duration::from_millis(100)));
        assert_eq!(entry.progress.unresolved, UnresolvedWrite::Guarded(10));
    }
    // Once these have ended, the others still say that they wait.
    for entry in &mut work.entries[..2] {
        entry.becomes(record(&entry.item, ItemResult::Scheduled), None);
        entry.progress = Progress::default();
    }
    let still = work.waits_for().map(|why| why.to_string());
    assert_eq!(still.as_deref(), Some("cannot write to Execution item-2: retrying"));
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
