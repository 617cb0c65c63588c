//! A planned item with everything that its next step is based on, and the rows of the table of docs/architecture.md.

use crate::{
    api::{ItemResult, Kind, Reason, State, TargetStatus},
    bulk_update::{
        decide::{Step, Terms, next_step},
        facts::{Deadline, Gate, Lookup, Rules},
        fixtures::{MEANT, OTHER, OWN, at, cached, eligible, entry, live, off, request, target},
        request::Request,
        work::{Entry, ItemPlan, UnresolvedWrite},
    },
    observed::target::Target,
};

pub(super) fn terms(request: &Request, deadline: Deadline) -> Terms<'_> {
    Terms { request, deadline, rules: Rules::default() }
}

/// Everything that a decision is based on.
pub(super) struct Case {
    pub(super) request: Request,
    pub(super) entry: Entry,
    pub(super) object: Option<Target>,
    pub(super) gate: Gate,
    pub(super) deadline: Deadline,
}

impl Case {
    /// Nothing prevents the write.
    pub(super) fn new(verb: TargetStatus) -> Self {
        let request = request(Kind::Execution, verb);
        let entry = entry(&request.items[0], ItemResult::Planned);
        Self { request, entry, object: Some(eligible(verb)), gate: Gate::Open, deadline: Deadline::Ahead }
    }

    pub(super) fn with(verb: TargetStatus, change: impl FnOnce(&mut Self)) -> Self {
        let mut case = Self::new(verb);
        change(&mut case);
        case
    }

    /// The object that was planned, in its present state.
    pub(super) fn meant(&mut self) -> &mut Target {
        let verb = self.entry.item.target;
        let object = self.object.get_or_insert_with(|| eligible(verb));
        object.uid = MEANT.into();
        object
    }

    pub(super) fn other(&mut self, seconds: i64) {
        let other = eligible(self.entry.item.target);
        self.object = Some(Target { uid: OTHER.into(), created: at(seconds).as_second(), ..other });
    }

    pub(super) fn on(&self, lookup: &Lookup) -> Step {
        next_step(terms(&self.request, self.deadline), &self.entry, lookup, &self.gate)
    }

    pub(super) fn live(&self) -> Step {
        self.on(&live(self.object.clone()))
    }

    pub(super) fn cached(&self) -> Step {
        self.on(&cached(self.object.clone()))
    }
}

/// The item's new result and reason.
pub(super) fn became(step: &Step) -> (ItemResult, Option<Reason>) {
    match step {
        Step::Become(ItemPlan { record, .. }) => (record.result, record.reason),
        other => panic!("{other:?}"),
    }
}

pub(super) type Row = (&'static str, fn(&mut Case), ItemResult, Option<Reason>);

pub(super) const BOTH_BEFORE: Row =
    ("another one that was there before", |case| case.other(-1), ItemResult::Planned, None);

/// Created in the same second as the BulkUpdate, which was created at version 10.
pub(super) fn of_the_same_second(case: &mut Case, first_seen: u64) {
    case.other(0);
    case.request.creation_version = Some(10);
    case.object.as_mut().unwrap().first_seen = first_seen;
}

pub(super) const BEFORE_IN_THE_SAME_SECOND: Row = (
    "one of the same second that was there before",
    |case| of_the_same_second(case, 9),
    ItemResult::Planned,
    None,
);

pub(super) const ENDS: [Row; 8] = {
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
pub(super) fn rows(verb: TargetStatus) -> Vec<Row> {
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
