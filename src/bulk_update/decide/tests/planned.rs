//! The next step of a planned item.

use crate::{
    api::{ItemResult, Kind, Reason, State, TargetStatus},
    bulk_update::{
        decide::{Step, Terms, next_step, steps},
        facts::{Deadline, Gate, Gates, Lookup, Observation, Obstacle, Rules},
        fixtures::{
            MEANT, OTHER, OWN, VERBS, at, cached, eligible, entry, live, off, request, target, unread,
        },
        request::Request,
        work::{Entry, ItemPlan, UnresolvedWrite},
    },
    observed::{admission::Admission, target::Target},
};

fn terms(request: &Request, deadline: Deadline) -> Terms<'_> {
    Terms { request, deadline, rules: Rules::default() }
}

/// Everything that a decision is based on.
struct Case {
    request: Request,
    entry: Entry,
    object: Option<Target>,
    gate: Gate,
    deadline: Deadline,
}

impl Case {
    /// Nothing prevents the write.
    fn new(verb: TargetStatus) -> Self {
        let request = request(Kind::Execution, verb);
        let entry = entry(&request.items[0], ItemResult::Planned);
        Self { request, entry, object: Some(eligible(verb)), gate: Gate::Open, deadline: Deadline::Ahead }
    }

    fn with(verb: TargetStatus, change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self::new(verb);
        change(&mut case);
        case
    }

    /// The object that was planned, in its present state.
    fn meant(&mut self) -> &mut Target {
        let verb = self.entry.item.target;
        let object = self.object.get_or_insert_with(|| eligible(verb));
        object.uid = MEANT.into();
        object
    }

    fn other(&mut self, seconds: i64) {
        let other = eligible(self.entry.item.target);
        self.object = Some(Target { uid: OTHER.into(), created: at(seconds).as_second(), ..other });
    }

    fn on(&self, lookup: &Lookup) -> Step {
        next_step(terms(&self.request, self.deadline), &self.entry, lookup, &self.gate)
    }

    fn live(&self) -> Step {
        self.on(&live(self.object.clone()))
    }

    fn cached(&self) -> Step {
        self.on(&cached(self.object.clone()))
    }
}

/// The item's new result and reason.
fn became(step: &Step) -> (ItemResult, Option<Reason>) {
    match step {
        Step::Become(ItemPlan { record, .. }) => (record.result, record.reason),
        other => panic!("{other:?}"),
    }
}

type Row = (&'static str, fn(&mut Case), ItemResult, Option<Reason>);

const BOTH_BEFORE: Row =
    ("another one that was there before", |case| case.other(-1), ItemResult::Planned, None);

/// Created in the same second as the BulkUpdate, which was created at version 10.
fn of_the_same_second(case: &mut Case, first_seen: u64) {
    case.other(0);
    case.request.creation_version = Some(10);
    case.object.as_mut().unwrap().first_seen = first_seen;
}

const BEFORE_IN_THE_SAME_SECOND: Row = (
    "one of the same second that was there before",
    |case| of_the_same_second(case, 9),
    ItemResult::Planned,
    None,
);

const ENDS: [Row; 8] = {
    use ItemResult::Failed;
    use Reason::{BulkUpdatesDisabled, DeadlineExceeded, Forbidden, OutcomeUnknown, WriteFailed};
    [
        (
            "off, open",
            |c| (c.gate, c.entry.progress.unresolved) = (Gate::Closed(off()), UnresolvedWrite::Unknown),
            Failed,
            Some(OutcomeUnknown),
        ),
        (
            "active, open",
            |c| (c.deadline, c.entry.progress.unresolved) = (Deadline::Active, UnresolvedWrite::Unknown),
            Failed,
            Some(OutcomeUnknown),
        ),
        (
            "late, open",
            |c| (c.deadline, c.entry.progress.unresolved) = (Deadline::NotAfter, UnresolvedWrite::Unknown),
            Failed,
            Some(OutcomeUnknown),
        ),
        (
            "refused, open",
            |c| {
                c.entry.progress.failed.refused = Some((WriteFailed, "422".into()));
                c.entry.progress.unresolved = UnresolvedWrite::Unknown;
            },
            Failed,
            Some(OutcomeUnknown),
        ),
        ("off", |c| c.gate = Gate::Closed(off()), Failed, Some(BulkUpdatesDisabled)),
        ("active", |c| c.deadline = Deadline::Active, Failed, Some(DeadlineExceeded)),
        ("late", |c| c.deadline = Deadline::NotAfter, Failed, Some(DeadlineExceeded)),
        (
            "refused",
            |c| c.entry.progress.failed.refused = Some((Forbidden, "403".into())),
            Failed,
            Some(Forbidden),
        ),
    ]
};

/// The rows of the table, in its order.
fn rows(verb: TargetStatus) -> Vec<Row> {
    use ItemResult::{Failed, Scheduled, Settled};
    use Reason::{Gone, Replaced, StopPending, Terminating, Unreadable, WrongState};
    let unreadable: Row = ("unreadable", |c| c.meant().state = Err("?".into()), Failed, Some(Unreadable));
    let mut rows: Vec<Row> = match verb {
        TargetStatus::Stopped => vec![
            (
                "own stop",
                |c| (c.meant().state, c.meant().stop_request) = (Ok(State::Running), Some(OWN.into())),
                Scheduled,
                None,
            ),
            BOTH_BEFORE,
            BEFORE_IN_THE_SAME_SECOND,
            ("nothing", |c| c.object = None, Failed, Some(Gone)),
            ("another one", |c| c.other(0), Failed, Some(Replaced)),
            ("terminating", |c| c.meant().terminating = true, Failed, Some(Terminating)),
            unreadable,
            (
                "stop pending",
                |c| {
                    *c.meant() = Target { stop_asked: true, ..target(State::Running) };
                },
                Failed,
                Some(StopPending),
            ),
            ("wrong state", |c| c.meant().state = Ok(State::Dead), Failed, Some(WrongState)),
        ],
        TargetStatus::Deleted => vec![
            BOTH_BEFORE,
            BEFORE_IN_THE_SAME_SECOND,
            ("nothing", |c| c.object = None, Settled, Some(Gone)),
            ("another one", |c| c.other(0), Settled, Some(Gone)),
            ("terminating", |c| c.meant().terminating = true, Scheduled, None),
            unreadable,
            ("wrong state", |c| c.meant().state = Ok(State::Running), Failed, Some(WrongState)),
        ],
    };
    rows.extend(ENDS);
    rows
}

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
        let seen = Observation { admission: Admission::NotRequired, gates, lookups, not_listed: None };
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
