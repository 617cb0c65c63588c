//! The next step of a planned item.

mod table;

use tokio::time::Instant;

use self::table::*;
use crate::{
    api::{ItemResult, Kind, Reason, State, TargetStatus},
    bulk_update::{
        decide::{Step, steps},
        facts::{Deadline, Gate, Gates, Lookup, Observation, Obstacle},
        fixtures::{MEANT, OTHER, OWN, VERBS, eligible, entry, live, off, request, target, unread},
        work::{ItemPlan, UnresolvedWrite},
    },
    client::Failure,
    observed::{admission::Admission, target::Target},
};

#[test]
fn each_row_of_the_table_counts_before_all_that_follow() {
    for verb in VERBS {
        let rows = rows(verb);
        for (first, (name, apply, result, reason)) in rows.iter().enumerate() {
            let later = &rows[first + 1..];
            let pairs = later.iter().map(std::slice::from_ref);
            for others in pairs.chain([later, &[]]) {
                let mut case = Case::new(verb);
                for (_, apply, ..) in others.iter().rev() {
                    apply(&mut case);
                }
                apply(&mut case);
                let others: Vec<_> = others.iter().map(|row| row.0).collect();
                assert_eq!(became(&case.live()), (*result, *reason), "{verb:?}: {name}, then {others:?}");
            }
        }
    }
}

#[test]
fn no_row_that_speaks_against_the_object_rests_on_the_cache() {
    for verb in VERBS {
        for (name, apply, _, reason) in rows(verb) {
            let case = Case::with(verb, apply);
            let (cached, live) = (case.cached(), case.live());
            let by_object = !ENDS.iter().any(|row| row.0 == name);
            match (by_object, reason) {
                // It is final, so a stale cache is as good; a write with an unknown outcome needs a live read.
                _ if name == "own stop" => assert_eq!(cached, live),
                (true, _) | (_, Some(Reason::OutcomeUnknown)) => assert_eq!(cached, Step::Read, "{name}"),
                _ => assert_eq!(cached, live, "{name}"),
            }
        }
    }
}

#[test]
fn what_is_as_it_was_planned_is_written_to_as_it_was_seen() {
    for case in VERBS.map(Case::new) {
        let object = case.object.clone().unwrap();
        assert_eq!(case.live(), Step::Write(object.clone().into()));
        assert_eq!(case.cached(), Step::Write(object.into()));
    }
}

#[test]
fn what_is_accepted_says_how_far_it_is() {
    for &state in State::ALL {
        let case = Case::with(TargetStatus::Stopped, |case| {
            case.object = Some(Target { stop_asked: true, stop_request: Some(OWN.into()), ..target(state) });
        });
        let Step::Become(ItemPlan { record, based_on: None }) = case.live() else { panic!("{state:?}") };
        let settled = matches!(state, State::Stopped | State::Completed | State::Dead);
        let expected = if settled { ItemResult::Settled } else { ItemResult::Scheduled };
        assert_eq!((record.result, record.reason), (expected, None), "{state:?}");
        assert_eq!(record.observed_state, Some(state));
        let by_itself = matches!(state, State::Completed | State::Dead);
        assert_eq!(record.message.is_some_and(|m| m.contains(state.word())), by_itself, "{state:?}");
    }
}

#[test]
fn the_stop_of_another_bulk_update_is_none_of_its_own() {
    let case = Case::with(TargetStatus::Stopped, |case| {
        *case.meant() =
            Target { stop_asked: true, stop_request: Some("another".into()), ..target(State::Pending) };
    });
    assert_eq!(became(&case.live()), (ItemResult::Failed, Some(Reason::StopPending)));
    // Once the object runs again, a new stop may be requested.
    let case = Case::with(TargetStatus::Stopped, |c| c.meant().stop_request = Some("another".into()));
    assert!(matches!(case.live(), Step::Write(_)));
}

#[test]
fn a_plan_on_an_older_object_is_corrected_only_where_the_name_was_meant() {
    for verb in VERBS {
        let mut case = Case::with(verb, |case| case.other(-1));
        let Step::Become(ItemPlan { record, based_on: Some(based_on) }) = case.live() else {
            panic!("not corrected")
        };
        assert_eq!((record.result, record.uid.as_deref()), (ItemResult::Planned, Some(OTHER)));
        assert_eq!(Some(&*based_on), case.object.as_ref());
        // The other object is judged like any other.
        case.object.as_mut().unwrap().state = Ok(State::Stopping);
        assert_eq!(became(&case.live()), (ItemResult::Refused, Some(Reason::WrongState)));
        // Not for one of the same second: it may have been created after the BulkUpdate.
        let not_corrected = match verb {
            TargetStatus::Stopped => (ItemResult::Failed, Some(Reason::Replaced)),
            TargetStatus::Deleted => (ItemResult::Settled, Some(Reason::Gone)),
        };
        assert_eq!(became(&Case::with(verb, |case| case.other(0)).live()), not_corrected);
        case.other(-1);
        case.entry.item.uid = Some(MEANT.into());
        assert_eq!(became(&case.live()), not_corrected);
        // Nor once a write has found nothing there: the clock of the API server that has made the other one may be behind.
        for (code, corrected) in [(404, false), (504, true), (409, true)] {
            let mut case = Case::with(verb, |case| case.other(-1));
            let failure = Failure::Refused { code, message: "no".into(), retry_after: None };
            case.entry.progress.write_failed(&failure, "10", Instant::now());
            let outcome = if corrected { (ItemResult::Planned, None) } else { not_corrected };
            assert_eq!(became(&case.live()), outcome, "{code}");
        }
    }
}

#[test]
fn what_a_watch_has_seen_deleted_may_not_be_what_was_meant() {
    for verb in VERBS {
        let mut case = Case::with(verb, |case| (case.object, case.entry.progress.gone) = (None, true));
        assert_eq!(case.cached(), Step::Read);
        case.other(-1);
        assert_eq!(case.cached(), Step::Read);
    }
    // The same if it is only terminating.
    let case = Case::with(TargetStatus::Deleted, |case| case.meant().terminating = true);
    assert_eq!(case.cached(), Step::Read);
    assert_eq!(became(&case.live()), (ItemResult::Scheduled, None));
}

#[test]
fn only_an_open_write_that_may_still_take_hold_makes_the_outcome_unknown() {
    for (verb, (name, end, _, plain)) in
        VERBS.into_iter().flat_map(|v| ENDS[4..].iter().map(move |e| (v, *e)))
    {
        for (open, unknown) in [
            (UnresolvedWrite::None, false),
            (UnresolvedWrite::Guarded(10), true),
            (UnresolvedWrite::Guarded(9), false),
            (UnresolvedWrite::Unknown, true),
        ] {
            let mut case = Case::with(verb, end);
            case.entry.progress.unresolved = open;
            let expected = if unknown { Some(Reason::OutcomeUnknown) } else { plain };
            let found = case.live();
            assert_eq!(became(&found), (ItemResult::Failed, expected), "{name}, {open:?}");
            let Step::Become(ItemPlan { record, based_on: None }) = found else { panic!("a new plan") };
            assert!(record.message.is_some_and(|message| !message.is_empty()), "{name} says nothing");
            let expected = if unknown { Step::Read } else { case.live() };
            assert_eq!(case.cached(), expected, "{name}, {open:?}");
        }
    }
}

#[test]
fn the_words_of_the_object_the_flag_and_the_server_are_passed_on() {
    for (end, words) in [
        (rows(TargetStatus::Stopped).iter().find(|row| row.0 == "unreadable").unwrap().1, "?"),
        (ENDS[4].1, "bulk updates of executions are disabled in ConfigMap ai-api-system/ai-api-meta"),
        (ENDS[5].1, "activeDeadlineSeconds had passed"),
        (ENDS[6].1, "notAfter had passed"),
        (ENDS[7].1, "403"),
    ] {
        let Step::Become(ItemPlan { record, .. }) = Case::with(TargetStatus::Stopped, end).live() else {
            panic!("{words}")
        };
        assert_eq!(record.message.as_deref(), Some(words));
    }
}

#[test]
fn an_open_write_is_looked_up_while_there_is_time() {
    let failed = Lookup::Failed(unread("503"));
    for (verb, (name, end, ..)) in VERBS.into_iter().flat_map(|v| ENDS[..4].iter().map(move |e| (v, *e))) {
        for open in [UnresolvedWrite::Unknown, UnresolvedWrite::Guarded(10), UnresolvedWrite::Guarded(9)] {
            let mut case = Case::with(verb, end);
            case.entry.progress.unresolved = open;
            let found = case.on(&failed);
            if case.deadline == Deadline::Ahead {
                assert_eq!(found, Step::Hold(Some(unread("503"))), "{name}");
            } else {
                assert_eq!(became(&found), (ItemResult::Failed, Some(Reason::OutcomeUnknown)), "{name}");
            }
        }
    }
}

#[test]
fn what_was_refused_has_failed_only_if_the_object_says_so() {
    let refused = |c: &mut Case| c.entry.progress.failed.refused = Some((Reason::WriteFailed, "422".into()));
    let off = |c: &mut Case| c.gate = Gate::Closed(off());
    for (reason, end) in [(Reason::WriteFailed, refused as fn(&mut Case)), (Reason::BulkUpdatesDisabled, off)]
    {
        let mut case =
            Case::with(TargetStatus::Deleted, |c| c.entry.progress.unresolved = UnresolvedWrite::Rejected);
        end(&mut case);
        assert_eq!(case.cached(), Step::Read);
        assert_eq!(case.on(&Lookup::Failed(unread("503"))), Step::Hold(Some(unread("503"))));
        assert_eq!(became(&case.live()), (ItemResult::Failed, Some(reason)));
        assert_eq!(became(&case.on(&live(None))), (ItemResult::Settled, Some(Reason::Gone)));
        case.deadline = Deadline::NotAfter;
        assert_eq!(became(&case.on(&Lookup::Failed(unread("503")))).0, ItemResult::Failed);
    }
    let mut forbidden =
        Case::with(TargetStatus::Deleted, |c| c.entry.progress.unresolved = UnresolvedWrite::Rejected);
    forbidden.entry.progress.failed.refused = Some((Reason::Forbidden, "403".into()));
    let unread = Lookup::Failed(unread("403"));
    assert_eq!(became(&forbidden.on(&unread)), (ItemResult::Failed, Some(Reason::Forbidden)));
}

#[test]
fn what_must_be_read_is_read_whatever_the_cache_says() {
    for (verb, change) in VERBS.into_iter().flat_map(|v| rows(v).into_iter().map(move |row| (v, row.1))) {
        let case = Case::with(verb, |case| {
            change(case);
            case.entry.progress.must_read = true;
        });
        assert_eq!(case.cached(), Step::Read);
    }
}

#[test]
fn nothing_is_written_while_the_flag_or_the_object_cannot_be_read() {
    for verb in VERBS {
        let case = Case::with(verb, |case| case.gate = Gate::Unknown(unread("503")));
        assert_eq!(case.live(), Step::Hold(Some(unread("503"))));
        assert_eq!(case.cached(), Step::Hold(Some(unread("503"))));
        let case = Case::new(verb);
        assert_eq!(case.on(&Lookup::Failed(unread("reset"))), Step::Hold(Some(unread("reset"))));
        // A deadline does not wait for either.
        for (deadline, gate) in
            [(Deadline::Active, Gate::Open), (Deadline::NotAfter, Gate::Unknown(unread("503")))]
        {
            let case = Case::with(verb, |case| (case.deadline, case.gate) = (deadline, gate));
            let found = became(&case.on(&Lookup::Failed(unread("reset"))));
            assert_eq!(found, (ItemResult::Failed, Some(Reason::DeadlineExceeded)));
        }
    }
}

#[test]
fn an_object_without_a_uid_counts_neither_as_the_one_that_was_meant_nor_as_another() {
    for verb in VERBS {
        let without = |case: &mut Case| {
            let why = Err("metadata.uid is missing or invalid".into());
            case.object = Some(Target { uid: "".into(), state: why, ..eligible(verb) });
        };
        for result in [ItemResult::Planned, ItemResult::Scheduled] {
            let case = Case::with(verb, |case| {
                case.entry.record.as_mut().unwrap().result = result;
                without(case);
            });
            assert_eq!(case.cached(), Step::Read);
            assert!(matches!(case.live(), Step::Hold(Some(Obstacle::NoUid { .. }))), "{result:?}");
        }
        let case = Case::with(verb, |case| (case.deadline, ()) = (Deadline::Active, without(case)));
        assert_eq!(became(&case.live()), (ItemResult::Failed, Some(Reason::DeadlineExceeded)));
    }
}

#[test]
fn nothing_is_decided_while_a_request_is_in_flight_or_without_a_record() {
    for (verb, change) in VERBS.into_iter().flat_map(|v| rows(v).into_iter().map(move |row| (v, row.1))) {
        let mut case = Case::with(verb, change);
        case.entry.progress.in_flight = true;
        assert_eq!((case.live(), case.cached()), (Step::Hold(None), Step::Hold(None)));
        case.entry.progress.in_flight = false;
        case.entry.record = None;
        assert_eq!((case.live(), case.cached()), (Step::Hold(None), Step::Hold(None)));
    }
}

#[test]
fn each_item_has_the_gate_of_its_kind_and_its_own_look() {
    let request = request(Kind::Execution, TargetStatus::Stopped);
    let entries = Kind::ALL.map(|kind| {
        let mut entry = entry(&request.items[0], ItemResult::Planned);
        entry.item.kind = kind;
        entry
    });
    let lookup =
        |version: &str| live(Some(Target { resource_version: version.into(), ..target(State::Running) }));
    let steps = |executions: Gate, deployments: Gate| {
        let gates = Gates { executions, deployments };
        let lookups = vec![lookup("11"), lookup("12")];
        let seen = Observation {
            at: Instant::now(),
            admission: Admission::NotRequired,
            gates,
            lookups,
            not_listed: None,
        };
        steps(&entries, &seen, terms(&request, Deadline::Ahead))
    };
    let version = |step: &Step| match step {
        Step::Write(target) => Some(target.resource_version.to_string()),
        _ => None,
    };
    let off = || Gate::Closed(crate::bulk_update::fixtures::off());
    for (executions, deployments, expected) in [
        (Gate::Open, Gate::Open, [Some("11"), Some("12")]),
        (off(), Gate::Open, [None, Some("12")]),
        (Gate::Open, off(), [Some("11"), None]),
    ] {
        let found: Vec<_> = steps(executions, deployments).iter().map(version).collect();
        assert_eq!(found, expected.map(|v| v.map(str::to_owned)));
    }
}
