//! The rules that must hold for whatever may be observed, and on clusters where anything may happen.

mod anything_happens;
mod cluster;

use k8s_openapi::jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*, sample::select};
use tokio::time::Instant;

use crate::{
    api::{ItemResult, ItemStatus, Kind, Reason, State, TargetStatus},
    bulk_update::{
        decide::{Planning, Step, Terms, next_step, plan},
        facts::{Deadline, Gate, Gates, Lookup, Observation, Obstacle, Rules},
        fixtures::{
            ID, MEANT, OTHER, OWN, RESULTS, VERBS, WORK, ahead, at, cached, live, off, unread, work_on,
        },
        request::{Item, Request},
        status::status,
        work::{Entry, ItemPlan, Phase, Progress, UnresolvedWrite},
    },
    observed::{
        admission::{Admission, BULK_UPDATES, NotInForce, Object, Part},
        target::Target,
    },
};

const UIDS: [&str; 3] = [MEANT, OTHER, "uid-of-a-third"];

/// This many times the cases that `PROPTEST_CASES` asks for (256 by default).
fn config(times: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    // A case that was found becomes a row of a table; no file remembers it.
    ProptestConfig { cases: config.cases * times, failure_persistence: None, ..config }
}

fn admissions() -> impl Strategy<Value = Admission> {
    prop_oneof![
        Just(Admission::NotRequired),
        Just(Admission::Missing(NotInForce::Missing(Object { part: Part::Policy, name: BULK_UPDATES }))),
        (-20..5i64).prop_map(|seconds| Admission::Since(at(seconds))),
    ]
}

fn uid() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(MEANT), 1 => select(&UIDS[..])]
}

fn targets() -> impl Strategy<Value = Target> {
    let state = prop_oneof![
        8 => select(State::ALL).prop_map(Ok),
        1 => Just(Err("what is PAUSED?".into())),
    ];
    let asker = option::weighted(0.3, select(&[OWN, "another"][..]));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.2));
    ((uid(), 5..12u64), 8..12u8, -2..3i64, state, asker, flags).prop_map(
        |(
            (uid, first_seen),
            version,
            created,
            state,
            asker,
            (stop_asked, managed_by_other, has_work, terminating),
        )| {
            Target {
                first_seen,
                uid: uid.into(),
                resource_version: version.to_string().into(),
                created: at(created).as_second(),
                state,
                stop_asked,
                stop_request: asker.map(Into::into),
                managed_by_other,
                work: has_work.then_some(WORK),
                terminating,
                unobserved: false,
            }
        },
    )
}

fn lookups() -> impl Strategy<Value = Lookup> {
    let object = || option::weighted(0.85, targets());
    prop_oneof![
        3 => object().prop_map(cached),
        3 => object().prop_map(live),
        1 => targets().prop_map(ahead),
        1 => Just(Lookup::Failed(unread("503"))),
    ]
}

fn kinds() -> impl Strategy<Value = Kind> {
    select(&Kind::ALL[..])
}

fn items() -> impl Strategy<Value = Item> {
    let id = prop_oneof![6 => Just(ID), 1 => Just("Not_a_name")];
    (kinds(), id, select(&VERBS[..]), option::weighted(0.3, uid())).prop_map(|(kind, id, target, uid)| Item {
        kind,
        id: id.into(),
        target,
        uid: uid.map(Into::into),
    })
}

fn gates() -> impl Strategy<Value = Gate> {
    prop_oneof![
        4 => Just(Gate::Open),
        1 => Just(Gate::Closed(off())),
        1 => Just(Gate::Unknown(unread("503"))),
    ]
}

fn deadlines() -> impl Strategy<Value = Deadline> {
    prop_oneof![3 => Just(Deadline::Ahead), 1 => Just(Deadline::Active), 1 => Just(Deadline::NotAfter)]
}

fn rules() -> impl Strategy<Value = Rules> {
    any::<bool>().prop_map(|delete_completed| Rules { delete_completed })
}

prop_compose! {
    fn requests(items: Vec<Item>)(
        dry_run in any::<bool>(),
        not_after in option::of(-2..5i64),
        starting in 0..5i64,
        creation_version in option::of(6..10u64),
    ) -> Request {
        Request {
            creation_version,
            requester: None,
            namespace: "team-a".into(),
            name: "nightly".into(),
            uid: OWN.into(),
            created: at(0),
            dry_run,
            not_after: not_after.map(at),
            starting_deadline: at(starting),
            active_deadline_seconds: None,
            items: items.clone(),
        }
    }
}

prop_compose! {
    fn entries(item: Item)(
        result in prop_oneof![4 => Just(ItemResult::Planned), 2 => Just(ItemResult::Scheduled), 1 => select(&RESULTS[..])],
        uid in option::weighted(0.9, uid()),
        recorded in prop::bool::weighted(0.95),
        open in prop_oneof![
            Just(UnresolvedWrite::None),
            Just(UnresolvedWrite::Unknown),
            (8..12u64).prop_map(UnresolvedWrite::Guarded),
        ],
        (must_read, gone, in_flight, refused) in
            (prop::bool::weighted(0.3), prop::bool::weighted(0.2), prop::bool::weighted(0.1), prop::bool::weighted(0.2)),
        written in option::of(8..12u8),
    ) -> Entry {
        let record = ItemStatus {
            id: item.id.clone(),
            target_status: item.target,
            result,
            reason: None,
            message: None,
            uid: uid.map(Into::into),
            observed_state: None,
        };
        let mut progress = Progress::default();
        (progress.unresolved, progress.must_read, progress.gone) = (open, must_read, gone);
        progress.in_flight = in_flight;
        progress.failed.refused = refused.then(|| (Reason::WriteFailed, "422".into()));
        progress.written = written.map(u64::from);
        Entry { item: item.clone(), record: recorded.then_some(record), progress }
    }
}

/// Rules 4 and 5 of the AI API, and which object is meant, written a second time in a different way.
fn may(item: &Item, created: Timestamp, target: &Target, rules: Rules) -> bool {
    let meant = match item.uid.as_deref() {
        Some(uid) => uid == &*target.uid,
        None => target.created <= created.as_second(),
    };
    let Ok(state) = &target.state else { return false };
    let state = state.word();
    let may_be = match item.target {
        TargetStatus::Stopped => ["PENDING", "RUNNING"].contains(&state) && !target.stop_asked,
        TargetStatus::Deleted if ["STOPPED", "DEAD", "UNKNOWN"].contains(&state) => true,
        TargetStatus::Deleted => {
            state == "COMPLETED" && item.kind == Kind::Execution && rules.delete_completed
        }
    };
    meant && may_be && !target.terminating
}

/// Whether an object certainly existed when the request was made, written a second time in a different way.
fn was_there(request: &Request, target: &Target) -> bool {
    match target.created - request.created.as_second() {
        ..=-1 => true,
        0 => request.creation_version.is_some_and(|creation_version| creation_version > target.first_seen),
        _ => false,
    }
}

/// Whether the reason is about the object, so that it needs a live read.
fn is_about_the_object(result: ItemResult, reason: Option<Reason>) -> bool {
    let of_the_request = [
        Reason::BulkUpdatesDisabled,
        Reason::DeadlineExceeded,
        Reason::WriteFailed,
        Reason::Forbidden,
        Reason::NotSettledInTime,
    ];
    match result {
        ItemResult::Refused => true,
        ItemResult::Failed => !reason.is_some_and(|reason| of_the_request.contains(&reason)),
        _ => false,
    }
}

fn case() -> impl Strategy<Value = (Request, Entry)> {
    let items = items().prop_map(|item| Item { id: ID.into(), ..item });
    items.prop_flat_map(|item| (requests(vec![item.clone()]), entries(item)))
}

proptest! {
    #![proptest_config(config(8))]

    #[test]
    fn no_step_ever_bends_a_rule(
        (request, entry) in case(),
        lookup in lookups(),
        gate in gates(),
        deadline in deadlines(),
        rules in rules(),
    ) {
        let (item, progress) = (&entry.item, &entry.progress);
        let (object, live) = lookup.object();
        let step = next_step(Terms { request: &request, deadline, rules }, &entry, &lookup, &gate);
        let Some(record) = &entry.record else {
            prop_assert_eq!(step, Step::Hold(None));
            return Ok(());
        };
        let under_way = matches!(record.result, ItemResult::Planned | ItemResult::Scheduled);
        if progress.in_flight || !under_way {
            prop_assert_eq!(&step, &Step::Hold(None));
        }
        match &step {
            Step::Hold(why) => prop_assert!(why.is_some() || progress.in_flight || record.result != ItemResult::Planned),
            Step::Read => prop_assert!(matches!(lookup, Lookup::Cached(_)), "an answer suffices"),
            Step::Write(target) => {
                prop_assert_eq!(&gate, &Gate::Open);
                prop_assert_eq!(deadline, Deadline::Ahead);
                prop_assert_eq!(record.result, ItemResult::Planned);
                prop_assert_eq!(record.uid.as_deref(), Some(&*target.uid));
                prop_assert_eq!(object, Some(target));
                prop_assert!(may(item, request.created, target, rules));
                prop_assert!(live || !progress.must_read);
                prop_assert!(progress.failed.refused.is_none());
            }
            Step::Become(ItemPlan { record: new, based_on }) => {
                prop_assert_eq!((&new.id, new.target_status), (&item.id, item.target));
                let about_object = is_about_the_object(new.result, new.reason);
                let unread = matches!(lookup, Lookup::Failed(_)) && new.reason == Some(Reason::OutcomeUnknown);
                prop_assert!(live || !about_object || unread, "{:?} from a cache", new);
                let gone = record.result == ItemResult::Planned && new.reason == Some(Reason::Gone);
                prop_assert!(live || !gone, "{:?} from a cache", new);
                let in_time = new.reason != Some(Reason::NotSettledInTime);
                prop_assert!(in_time || !matches!(lookup, Lookup::Cached(_)), "{:?} from a cache", new);
                if let Some(based_on) = based_on {
                    // A correction: another object, which existed before, under the name that was meant.
                    prop_assert!(live && item.uid.is_none() && was_there(&request, based_on));
                    prop_assert_ne!(record.uid.as_deref(), Some(&*based_on.uid));
                    let planned = matches!(new.result, ItemResult::Planned | ItemResult::Eligible);
                    prop_assert!(planned || new.result == ItemResult::Refused);
                    prop_assert_eq!(planned, may(item, request.created, based_on, rules));
                    return Ok(());
                }
                prop_assert_eq!(&new.uid, &record.uid);
                match new.result {
                    ItemResult::Scheduled => {
                        let seen = object.filter(|t| record.uid.as_deref() == Some(&*t.uid));
                        let own = |t: &Target| match item.target {
                            TargetStatus::Stopped => t.stop_request.as_deref() == Some(OWN),
                            TargetStatus::Deleted => t.terminating,
                        };
                        prop_assert!(record.result == ItemResult::Planned && seen.is_some_and(|seen| own(seen)));
                    }
                    ItemResult::Settled => {}
                    ItemResult::Failed => prop_assert!(new.reason.is_some()),
                    other => prop_assert!(false, "{:?} becomes {:?}", record.result, other),
                }
                let unknown = new.reason == Some(Reason::OutcomeUnknown);
                prop_assert!(!unknown || progress.unresolved != UnresolvedWrite::None);
                let accepted = new.reason == Some(Reason::NotSettledInTime);
                prop_assert_eq!(accepted, record.result == ItemResult::Scheduled && new.result == ItemResult::Failed);
                prop_assert!(!accepted || deadline == Deadline::Active);
            }
        }
    }

    #[test]
    fn no_plan_ever_bends_a_rule(
        (request, lookups) in vec((items(), lookups()), 1..6)
            .prop_flat_map(|each| {
                let (items, lookups): (Vec<_>, Vec<_>) = each.into_iter().unzip();
                (requests(items), Just(lookups))
            }),
        executions in gates(),
        deployments in gates(),
        admission in admissions(),
        seconds in -1..6i64,
        rules in rules(),
    ) {
        let seen = Observation { at: Instant::now(),
            admission: admission.clone(),
            gates: Gates { executions, deployments },
            lookups: lookups.clone(),
            not_listed: None,
        };
        let now = at(seconds);
        let late = now >= request.starting_deadline || request.not_after.is_some_and(|end| now > end);
        let open = request.items.iter().all(|item| *seen.gates.of(item.kind) == Gate::Open);
        let open = open && match &admission {
            Admission::NotRequired => true,
            Admission::Since(since) => request.created.as_second() - since.as_second() > 10,
            Admission::Missing(_) => false,
        };
        match plan(&request, &seen, now.into(), rules) {
            Planning::Reject(..) => prop_assert!(late || !open),
            Planning::Wait(Obstacle::StaleCache { .. }) => {
                prop_assert!(!late && open && request.creation_version.is_some());
                prop_assert!(lookups.iter().any(|lookup| matches!(lookup, Lookup::Ahead(t) if !was_there(&request, t))));
            }
            Planning::Wait(..) => prop_assert!(!late),
            Planning::Read(which) => {
                prop_assert!(!late && open && !which.is_empty());
                prop_assert!(which.iter().all(|at| matches!(lookups[*at], Lookup::Cached(_))));
            }
            Planning::Planned(plan) => {
                prop_assert!(!late && open);
                prop_assert_eq!(plan.len(), request.items.len());
                for ((item, lookup), ItemPlan { record: entry, based_on }) in request.items.iter().zip(&lookups).zip(&plan) {
                    prop_assert_eq!((&entry.id, entry.target_status), (&item.id, item.target));
                    prop_assert_eq!(entry.uid.as_deref(), based_on.as_ref().map(|t| &*t.uid));
                    let name = *item.id == *ID;
                    let eligible = name && based_on.as_ref().is_some_and(|t| {
                        let meant = item.uid.is_some() || was_there(&request, t);
                        meant && may(item, request.created, t, rules)
                    });
                    let expected = match (eligible, request.dry_run) {
                        (true, true) => ItemResult::Eligible,
                        (true, false) => ItemResult::Planned,
                        (false, _) => ItemResult::Refused,
                    };
                    prop_assert_eq!(entry.result, expected);
                    prop_assert_eq!(entry.reason.is_some(), !eligible);
                    prop_assert!(eligible || !name || lookup.object().1, "refused from a cache");
                }
            }
        }
    }

    #[test]
    fn the_summary_sums_and_the_end_comes_with_the_last_item(
        (request, entries) in vec(items(), 1..30).prop_flat_map(|items| {
            (requests(items.clone()), items.into_iter().map(entries).collect::<Vec<_>>())
        }),
    ) {
        let mut bulk = crate::bulk_update::fixtures::bulk(&serde_json::json!({}));
        bulk.spec.dry_run = Some(request.dry_run);
        // A planned one has a record of each item.
        let entries: Vec<_> = entries.into_iter().filter(|entry| entry.record.is_some()).collect();
        let work = work_on(&bulk, None).midway(at(1).into(), entries);
        let status = status(&work, &Phase::Planned(None), at(2).into());
        let s = status.summary.unwrap();
        prop_assert_eq!(s.planned + s.eligible + s.scheduled + s.settled + s.refused + s.failed, s.total);
        prop_assert_eq!(s.total, i32::try_from(work.entries().len()).unwrap());
        prop_assert_eq!(status.completion_time.is_some(), s.planned + s.scheduled == 0);
    }
}
