//! What the status says, row by row of the table of conditions in docs/api.md.

use serde_json::{Value, json};

use super::*;
use crate::{
    bulk_update::{
        facts::{MissedDeadline, Rejection},
        finished::with_generation,
        fixtures::{ID, MEANT, RESULTS, VERBS, at, bulk, entry, off, unread, work_on},
        request::Request,
        resource::{Live, Written},
    },
    client::Failure,
    observed::{
        InvalidFlag,
        admission::{BULK_UPDATES, NotInForce, Object, Part},
    },
};

const PLANNED: Phase = Phase::Planned(None);

/// A planned BulkUpdate with items of these results.
fn work(spec: &Value, results: &[ItemResult]) -> Work {
    let items: Vec<_> =
        (0..results.len()).map(|n| json!({"id": format!("exec-{n}"), "targetStatus": "STOPPED"})).collect();
    let mut spec = spec.clone();
    spec["executions"] = items.into();
    let work = unplanned(&spec);
    let entries = work.request().items.iter().zip(results).map(|(item, result)| {
        let mut entry = entry(item, *result);
        if matches!(result, ItemResult::Refused | ItemResult::Failed) {
            entry.record.as_mut().unwrap().reason = Some(Reason::WrongState);
        }
        entry
    });
    let entries = entries.collect();
    work.midway(at(1).into(), entries)
}

fn unplanned(spec: &Value) -> Work {
    work_on(&bulk(spec), None)
}

/// Writes this status.
fn written(work: &mut Work, seconds: i64) -> BulkUpdateStatus {
    let status = status(work, &PLANNED, at(seconds).into());
    work.recorded(PLANNED, status.clone(), Written::at("8"));
    status
}

/// Type, status and reason of each condition; the rest is asserted here.
fn conditions(status: &BulkUpdateStatus, generation: i64) -> Vec<(&str, &str, &str)> {
    assert_eq!(status.observed_generation, generation);
    let each = status.conditions.iter().map(|c| {
        assert_eq!(c.observed_generation, Some(generation));
        assert!(!c.message.is_empty() && c.message.len() <= 1024, "{c:?}");
        (&*c.type_, &*c.status, &*c.reason)
    });
    each.collect()
}

fn message(status: &BulkUpdateStatus) -> &str {
    let ready = status.condition(READY).unwrap();
    let also = status.condition(STALLED).or(status.condition(RECONCILING));
    assert!(also.is_none_or(|c| c.message == ready.message), "they differ in their messages");
    &ready.message
}

#[test]
fn what_cannot_be_planned_yet_says_why() {
    let gone = NotInForce::Missing(Object { part: Part::Policy, name: BULK_UPDATES });
    let failure = Failure::NoAnswer("busy".into());
    let flag = Obstacle::Flag { place: "the flag".into(), failure };
    for (why, reason, text) in [
        (flag, "FlagUnreadable", "cannot read the flag: no answer: busy"),
        (Obstacle::Admission(gone.clone()), "Waiting", &gone.to_string()),
    ] {
        let work = unplanned(&json!({}));
        let status = status(&work, &Phase::Waiting(why), at(1).into());
        let expected =
            [(ACCEPTED, "Unknown", reason), (READY, "False", reason), (RECONCILING, "True", reason)];
        assert_eq!(conditions(&status, 1), expected);
        assert_eq!(message(&status), text);
        let nothing = (status.start_time, status.completion_time, status.summary, status.executions);
        assert_eq!(nothing, (None, None, None, None));
    }
}

#[test]
fn what_is_rejected_has_an_end_and_no_items() {
    for (why, reason, text) in [
        (
            off(),
            "BulkUpdatesDisabled",
            "bulk updates of executions are disabled in ConfigMap ai-api-system/ai-api-meta",
        ),
        (
            Rejection::InvalidFlag { place: "the flag".into(), why: InvalidFlag::Empty },
            "MetaInvalid",
            "invalid the flag: it is empty",
        ),
        (
            Rejection::TooLate { deadline: MissedDeadline::NotAfter, remark: Some("by its clock".into()) },
            "DeadlineExceeded",
            "notAfter has passed (by its clock): nothing was done; create a new BulkUpdate if it is still wanted",
        ),
    ] {
        let work = unplanned(&json!({"executions": [{"id": ID, "targetStatus": "STOPPED"}]}));
        let status = status(&work, &Phase::Rejected(why), at(1).into());
        let expected = [(ACCEPTED, "False", reason), (READY, "False", reason), (STALLED, "True", reason)];
        assert_eq!(conditions(&status, 1), expected);
        assert_eq!(message(&status), text);
        assert_eq!(status.completion_time, Some(Time(at(1))));
        assert_eq!((status.start_time, status.summary), (None, None));
        assert_eq!((status.executions, status.deployments), (None, None));
    }
}

#[test]
fn each_place_on_the_way_has_its_conditions() {
    use ItemResult::{Eligible, Failed, Planned, Refused, Scheduled, Settled};
    let accepted = (ACCEPTED, "True", "Planned");
    for (dry_run, results, ready, reason, third, words) in [
        (false, &[Planned, Scheduled, Settled][..], "False", "Applying", Some(RECONCILING), "1 of 3 items"),
        (false, &[Planned, Failed, Refused], "False", "Applying", Some(RECONCILING), "1 of 3 items"),
        (false, &[Scheduled, Settled, Failed], "False", "Settling", Some(RECONCILING), "2 of 3 items"),
        (false, &[Settled], "True", "Settled", None, "1 item settled"),
        (false, &[Settled, Settled], "True", "Settled", None, "2 items settled"),
        (false, &[Settled, Refused], "False", "ItemsRefused", Some(STALLED), "1 refused (WrongState)"),
        (
            false,
            &[Failed, Failed, Refused],
            "False",
            "ItemsFailed",
            Some(STALLED),
            "2 failed (WrongState 2), 1 refused",
        ),
        (true, &[Eligible, Eligible], "True", "DryRun", None, "2 items would be carried out"),
        (true, &[Eligible, Refused], "False", "ItemsRefused", Some(STALLED), "1 eligible, 1 refused"),
        (true, &[Refused], "False", "ItemsRefused", Some(STALLED), "dry run of 1 item:"),
    ] {
        let work = work(&json!({"dryRun": dry_run}), results);
        let status = status(&work, &PLANNED, at(2).into());
        let mut expected = vec![accepted, (READY, ready, reason)];
        expected.extend(third.map(|type_| (type_, "True", reason)));
        assert_eq!(conditions(&status, 1), expected, "{results:?}");
        assert!(message(&status).contains(words), "{words}: {}", message(&status));
        assert_eq!(status.start_time, Some(Time(at(1))));
        let over = third != Some(RECONCILING);
        assert_eq!(status.completion_time, over.then_some(Time(at(2))), "{results:?}");
        assert_eq!(status.executions.as_ref().map(Vec::len), Some(results.len()));
        assert_eq!(status.deployments, None, "an empty list is none");
    }
}

#[test]
fn an_obstacle_is_reported_beside_the_progress() {
    for result in [ItemResult::Planned, ItemResult::Scheduled] {
        let status =
            status(&work(&json!({}), &[result]), &Phase::Planned(Some(unread("busy"))), at(2).into());
        assert!(
            message(&status).ends_with("; waiting: cannot read Execution churn-model-v3: busy"),
            "{}",
            message(&status)
        );
    }
}

#[test]
fn the_counts_sum_to_the_total() {
    for mask in 0..1u8 << RESULTS.len() {
        let chosen = RESULTS.into_iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
        // The first result once, the second twice ...
        let results: Vec<_> = chosen.flat_map(|(bit, result)| vec![result; bit + 1]).collect();
        let s = status(&work(&json!({}), &results), &PLANNED, at(2).into()).summary.unwrap();
        let counts = [s.planned, s.eligible, s.scheduled, s.settled, s.refused, s.failed];
        assert_eq!(counts.iter().sum::<i32>(), s.total);
        assert_eq!(usize::try_from(s.total).unwrap(), results.len());
        for (count, (bit, _)) in counts.into_iter().zip(RESULTS.iter().enumerate()) {
            let expected = if mask & (1 << bit) == 0 { 0 } else { bit + 1 };
            assert_eq!(usize::try_from(count).unwrap(), expected);
        }
    }
}

#[test]
fn a_condition_changes_its_time_with_its_status_only() {
    let mut work = work(&json!({}), &[ItemResult::Planned]);
    let times = |status: &BulkUpdateStatus| -> Vec<_> {
        status.conditions.iter().map(|c| (c.type_.clone(), c.last_transition_time.0)).collect()
    };
    let time = |type_: &str, seconds| (type_.to_owned(), at(seconds));
    let first = written(&mut work, 2);
    assert_eq!(times(&first), [time(ACCEPTED, 2), time(READY, 2), time(RECONCILING, 2)]);
    work.entry_mut(0).record.as_mut().unwrap().result = ItemResult::Scheduled;
    let mut edited = bulk(&json!({}));
    edited.metadata.generation = Some(5);
    work.found(&Live::of(edited));
    let next = written(&mut work, 3);
    assert_eq!(conditions(&next, 5)[1], (READY, "False", "Settling"));
    assert_eq!(times(&next), [time(ACCEPTED, 2), time(READY, 2), time(RECONCILING, 2)]);
    work.entry_mut(0).record.as_mut().unwrap().result = ItemResult::Settled;
    assert_eq!(times(&written(&mut work, 4)), [time(ACCEPTED, 2), time(READY, 4)]);
}

#[test]
fn the_same_again_is_the_same_status_whenever_it_is_made() {
    for result in RESULTS {
        let mut work = work(&json!({}), &[result]);
        let first = written(&mut work, 2);
        assert_eq!(status(&work, &PLANNED, at(99).into()), first, "{result:?}");
    }
    let mut work = unplanned(&json!({}));
    let phase = || Phase::Rejected(off());
    let first = status(&work, &phase(), at(2).into());
    work.recorded(phase(), first.clone(), Written::at("8"));
    assert_eq!(status(&work, &phase(), at(99).into()), first);
}

#[test]
fn times_are_whole_seconds_as_the_api_server_keeps_them() {
    let fraction = Timestamp::from_millisecond(at(2).as_millisecond() + 999).unwrap();
    let status = status(&work(&json!({}), &[ItemResult::Settled]), &PLANNED, fraction.into());
    assert_eq!(status.completion_time, Some(Time(at(2))));
    assert!(status.conditions.iter().all(|c| c.last_transition_time == Time(at(2))));
}

#[test]
fn after_the_end_only_the_generation_changes() {
    let before =
        status(&work(&json!({}), &[ItemResult::Settled, ItemResult::Failed]), &PLANNED, at(2).into());
    let after = with_generation(&before, 9);
    assert_eq!(conditions(&after, 9), conditions(&before, 1));
    assert_eq!(with_generation(&after, 1), before);
}

/// A hundred items with the longest possible entries.
fn longest(message: &str) -> Work {
    let items = |kind: Kind| -> Vec<_> {
        (0..50).map(|n| json!({"id": format!("{}{n:0>54}", kind.plural()).split_off(1), "targetStatus": "STOPPED"})).collect()
    };
    let work =
        unplanned(&json!({"executions": items(Kind::Execution), "deployments": items(Kind::Deployment)}));
    let entries = work.request().items.iter().map(|item| {
        let mut entry = entry(item, ItemResult::Planned);
        entry.item.id = format!("{:x<64}", entry.item.id).into();
        let record = ItemStatus {
            id: entry.item.id.clone(),
            target_status: entry.item.target,
            result: ItemResult::Scheduled,
            reason: Some(Reason::BulkUpdatesDisabled),
            message: Some(message.into()),
            uid: Some("0".repeat(36).into()),
            observed_state: Some(crate::api::State::Completed),
        };
        entry.becomes(record, None);
        entry
    });
    let entries = entries.collect();
    work.midway(at(1).into(), entries)
}

#[test]
fn the_longest_status_stays_below_40_kb() {
    let work = longest(&"m".repeat(1000));
    let phase = Phase::Planned(Some(unread(&"w".repeat(4000))));
    let status = status(&work, &phase, at(2).into());
    assert_eq!(status.summary.map(|s| s.total), Some(100));
    let json = serde_json::to_string(&status).unwrap();
    assert!(json.len() < 40_000, "{} bytes", json.len());
}

#[test]
fn the_items_stand_in_the_lists_of_their_kinds_in_order() {
    let request = json!({
        "executions": [{"id": "bbbb", "targetStatus": "STOPPED"}, {"id": "aaaa", "targetStatus": "DELETED"}],
        "deployments": [{"id": "aaaa", "targetStatus": "STOPPED"}],
    });
    let work = unplanned(&request);
    let entries = work.entries().iter().map(|e| entry(&e.item, ItemResult::Planned)).collect();
    let work = work.midway(at(1).into(), entries);
    let status = status(&work, &PLANNED, at(2).into());
    let ids = |kind| -> Vec<_> { status.items(kind).iter().map(|i| &*i.id).collect() };
    assert_eq!(ids(Kind::Execution), ["bbbb", "aaaa"]);
    assert_eq!(ids(Kind::Deployment), ["aaaa"]);
    assert_eq!(status.items(Kind::Execution).iter().map(|i| i.target_status).collect::<Vec<_>>(), VERBS);
    assert!(status.items(Kind::Deployment).iter().all(|i| i.uid.as_deref() == Some(MEANT)));
    assert_eq!(Request::from(&bulk(&request)), **work.request());
}
