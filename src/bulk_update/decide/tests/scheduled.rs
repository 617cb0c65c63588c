//! The next step of an item whose write was accepted, and of a finished one.

use crate::{
    api::{ItemResult, ItemStatus, Kind, Reason, State, TargetStatus},
    bulk_update::{
        decide::{Step, Terms, next_step},
        facts::{Deadline, Gate, Lookup, Rules},
        fixtures::{OTHER, OWN, VERBS, cached, entry, live, off, request, target, unread},
        request::{Request, without_record},
        work::{Entry, ItemPlan},
    },
    observed::target::Target,
};

fn scheduled(verb: TargetStatus) -> (Request, Entry) {
    let request = request(Kind::Deployment, verb);
    let entry = entry(&request.items[0], ItemResult::Scheduled);
    (request, entry)
}

fn step((request, entry): &(Request, Entry), lookup: &Lookup, deadline: Deadline) -> Step {
    let steps = [Gate::Open, Gate::Closed(off()), Gate::Unknown(unread("503"))]
        .map(|gate| next_step(Terms { request, deadline, rules: Rules::default() }, entry, lookup, &gate));
    assert!(steps.iter().all(|step| *step == steps[0]), "the flag has no say any more: {steps:?}");
    steps[0].clone()
}

fn settled(step: Step) -> ItemStatus {
    match step {
        Step::Become(ItemPlan { record, based_on: None })
            if record.result == ItemResult::Settled && record.reason.is_none() =>
        {
            record
        }
        other => panic!("{other:?}"),
    }
}

fn stopping(state: State) -> Target {
    Target { stop_asked: true, stop_request: Some(OWN.into()), ..target(state) }
}

const LOOKS: [fn(Option<Target>) -> Lookup; 2] = [cached, live];

#[test]
fn a_stop_settles_when_it_is_seen_to_have_taken_hold_and_not_before() {
    let stop = scheduled(TargetStatus::Stopped);
    for (state, lookup) in State::ALL.iter().copied().flat_map(|state| LOOKS.map(|lookup| (state, lookup))) {
        let lookup = lookup(Some(stopping(state)));
        for deadline in [Deadline::Ahead, Deadline::NotAfter, Deadline::Active] {
            let found = step(&stop, &lookup, deadline);
            match state {
                State::Stopped => assert_eq!(settled(found).message, None),
                State::Completed | State::Dead => {
                    assert!(settled(found).message.unwrap().contains(state.word()));
                }
                _ if deadline == Deadline::Active => {}
                _ => assert_eq!(found, Step::Hold(None), "{state:?}"),
            }
        }
    }
}

#[test]
fn what_may_have_been_seen_before_the_stop_is_read_where_its_version_is_not_known_any_more() {
    let stop = scheduled(TargetStatus::Stopped);
    for state in [State::Stopped, State::Completed, State::Dead] {
        for by in [None, Some(OTHER.into())] {
            let object = Target { stop_request: by, ..stopping(state) };
            assert_eq!(step(&stop, &cached(Some(object.clone())), Deadline::Ahead), Step::Read);
            settled(step(&stop, &live(Some(object)), Deadline::Ahead));
        }
    }
}

#[test]
fn what_a_read_has_shown_back_at_work_is_not_read_again_while_the_index_is_behind() {
    let mut stop = scheduled(TargetStatus::Stopped);
    let indexed = Target { resource_version: "5".into(), ..target(State::Stopped) };
    let lookup = stop.1.lookup(Some(indexed.clone().into()));
    assert_eq!(step(&stop, &lookup, Deadline::Ahead), Step::Read);
    stop.1.read(Ok(Some(Target { resource_version: "6".into(), ..target(State::Running) })));
    for _ in 0..2 {
        let lookup = stop.1.lookup(Some(indexed.clone().into()));
        assert_eq!(step(&stop, &lookup, Deadline::Ahead), Step::Hold(None), "{lookup:?}");
        stop.1.decided();
    }
}

#[test]
fn nothing_is_written_again_to_what_is_back_at_work_or_unreadable() {
    for verb in VERBS {
        let item = scheduled(verb);
        for state in [Ok(State::Running), Ok(State::Pending), Ok(State::Unknown), Err("?".into())] {
            for lookup in LOOKS {
                let lookup = lookup(Some(Target { state: state.clone(), ..target(State::Running) }));
                assert_eq!(step(&item, &lookup, Deadline::Ahead), Step::Hold(None), "{lookup:?}");
            }
        }
    }
}

#[test]
fn what_was_seen_before_the_answer_to_the_write_settles_nothing() {
    let mut stop = scheduled(TargetStatus::Stopped);
    stop.1.progress.written = Some(10);
    for (version, current) in [("9", false), ("10", true), ("11", true)] {
        for lookup in LOOKS {
            let object = Target { resource_version: version.into(), ..stopping(State::Stopped) };
            let found = step(&stop, &lookup(Some(object)), Deadline::Ahead);
            if current {
                settled(found);
            } else {
                assert_eq!(found, Step::Hold(None), "{version}");
            }
        }
    }
}

#[test]
fn an_absence_settles_once_a_live_read_or_a_watch_has_said_so() {
    let other = Some(Target { uid: OTHER.into(), ..target(State::Running) });
    for verb in VERBS {
        let mut item = scheduled(verb);
        for absent in [None, other.clone()] {
            for deadline in [Deadline::Ahead, Deadline::NotAfter, Deadline::Active] {
                item.1.progress.gone = false;
                assert_eq!(step(&item, &cached(absent.clone()), deadline), Step::Read);
                let read = settled(step(&item, &live(absent.clone()), deadline));
                let stop = verb == TargetStatus::Stopped;
                assert_eq!(read.message.is_some_and(|m| m.contains("deleted")), stop);
                item.1.progress.gone = true;
                for lookup in [cached(absent.clone()), Lookup::Failed(unread("503"))] {
                    settled(step(&item, &lookup, deadline));
                }
            }
        }
    }
}

#[test]
fn a_deleted_object_that_lingers_stays_scheduled() {
    let item = scheduled(TargetStatus::Deleted);
    for &state in State::ALL {
        for lookup in LOOKS {
            let lingers = Target { terminating: true, ..target(state) };
            assert_eq!(step(&item, &lookup(Some(lingers)), Deadline::Ahead), Step::Hold(None), "{state:?}");
        }
    }
}

#[test]
fn what_has_not_settled_by_the_deadline_fails_and_says_that_it_was_accepted() {
    for verb in VERBS {
        let item = scheduled(verb);
        // The cache may be stale.
        assert_eq!(step(&item, &cached(Some(stopping(State::Running))), Deadline::Active), Step::Read);
        let lookups = [
            live(Some(stopping(State::Running))),
            live(Some(stopping(State::Stopping))),
            Lookup::Failed(unread("503")),
        ];
        for lookup in lookups {
            let Step::Become(ItemPlan { record, based_on: None }) = step(&item, &lookup, Deadline::Active)
            else {
                panic!("{lookup:?}")
            };
            let found = (record.result, record.reason);
            assert_eq!(found, (ItemResult::Failed, Some(Reason::NotSettledInTime)));
            let word = if verb == TargetStatus::Stopped { "STOPPED" } else { "DELETED" };
            assert!(record.message.is_some_and(|m| m.starts_with(word) && m.contains("accepted")));
            // notAfter ends writing, not waiting.
            assert!(matches!(step(&item, &lookup, Deadline::NotAfter), Step::Hold(_)));
        }
    }
}

#[test]
fn what_must_be_read_is_read_before_the_deadline_counts() {
    for verb in VERBS {
        let mut item = scheduled(verb);
        item.1.progress.must_read = true;
        for deadline in [Deadline::Ahead, Deadline::Active] {
            assert_eq!(step(&item, &cached(Some(stopping(State::Stopping))), deadline), Step::Read);
        }
    }
}

#[test]
fn a_read_that_fails_is_reported() {
    for verb in VERBS {
        let found = step(&scheduled(verb), &Lookup::Failed(unread("503")), Deadline::Ahead);
        assert_eq!(found, Step::Hold(Some(unread("503"))));
    }
}

#[test]
fn an_end_stays_what_it_is() {
    let lookups = || {
        let objects = State::ALL.iter().copied().map(|s| Some(target(s))).chain([None]);
        objects.flat_map(|o| [cached(o.clone()), live(o)]).chain([Lookup::Failed(unread("503"))])
    };
    for (result, verb) in [ItemResult::Eligible, ItemResult::Settled, ItemResult::Refused, ItemResult::Failed]
        .into_iter()
        .flat_map(|result| VERBS.map(|verb| (result, verb)))
    {
        let mut item = scheduled(verb);
        item.1.record.as_mut().unwrap().result = result;
        for (lookup, gone) in lookups().flat_map(|lookup| [(lookup.clone(), false), (lookup, true)]) {
            item.1.progress.gone = gone;
            for deadline in [Deadline::Ahead, Deadline::NotAfter, Deadline::Active] {
                assert_eq!(step(&item, &lookup, deadline), Step::Hold(None), "{result:?} {lookup:?}");
            }
        }
    }
}

#[test]
fn without_a_record_the_outcome_is_unknown() {
    for verb in VERBS {
        let item = &request(Kind::Execution, verb).items[0];
        let record = without_record(item);
        assert_eq!((record.result, record.reason), (ItemResult::Failed, Some(Reason::OutcomeUnknown)));
        assert_eq!((&record.id, record.target_status, record.uid), (&item.id, verb, None));
        assert!(record.message.is_some());
    }
}
