//! Which targets may be stopped or deleted, and the reasons against the others.

use serde_json::{Value, json};

use crate::{
    api::{ItemResult, Kind, OPERATOR, Reason, State, TargetStatus},
    bulk_update::{
        decide::{ItemPlanning, eligible::Ineligible, plan_item, verdict},
        facts::{Lookup, Obstacle, Rules},
        fixtures::{ID, MEANT, OTHER, VERBS, ahead, at, cached, eligible, live, request, target, unread},
        request::{Item, Request},
        work::ItemPlan,
    },
    observed::target::{Observed, Target},
};

const STRICT: Rules = Rules { delete_completed: false };
const LENIENT: Rules = Rules { delete_completed: true };

fn observed(spec: &Value, status: &Value, metadata: &Value) -> Target {
    let mut object = json!({"metadata": {"name": ID, "uid": MEANT, "creationTimestamp": at(-1).to_string()},
        "spec": spec, "status": status});
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    Target::from(&serde_json::from_value::<Observed>(object).unwrap())
}

/// The reasons against both operations for such an object.
fn reasons(status: &Value, metadata: &Value, kind: Kind, rules: Rules) -> [Option<Reason>; 2] {
    let owners = [
        json!({}),
        json!({"managedBy": OPERATOR}),
        json!({"managedBy": "example.com/runner"}),
        json!({"template": {"spec": {}}}),
        json!({"workloadRef": {"uid": "u"}}),
        json!(null),
    ];
    VERBS.map(|verb| {
        let mut found = owners.iter().map(|spec| {
            let request = request(kind, verb);
            let target = observed(spec, status, metadata);
            verdict(&request, &request.items[0], Some(&target), rules).err().map(|why| why.reason())
        });
        let first = found.next().unwrap();
        assert!(found.all(|other| other == first), "{status}: it depends on whose it is");
        first
    })
}

#[test]
fn the_table_of_states_holds_for_both_kinds_and_any_owner() {
    use Reason::{StopPending, Terminating, Unreadable, WrongState};
    let no = Some(WrongState);
    for (status, stop, delete) in [
        (json!(null), no, None),
        (json!({}), no, None),
        (json!({"state": null}), no, None),
        (json!({"state": "UNKNOWN"}), no, None),
        (json!({"state": "PENDING"}), None, no),
        (json!({"state": "RUNNING"}), None, no),
        (json!({"state": "RUNNING", "targetStatus": "RUNNING"}), None, no),
        (json!({"state": "RUNNING", "targetStatus": "COMPLETED"}), None, no),
        (json!({"state": "RUNNING", "targetStatus": "DELETED"}), None, no),
        (json!({"state": "PENDING", "targetStatus": "STOPPED"}), Some(StopPending), no),
        (json!({"state": "RUNNING", "targetStatus": "STOPPED"}), Some(StopPending), no),
        (json!({"state": "STOPPING"}), no, no),
        (json!({"state": "STOPPING", "targetStatus": "STOPPED"}), no, no),
        (json!({"state": "STOPPED", "targetStatus": "STOPPED"}), no, None),
        (json!({"state": "DEAD", "targetStatus": "STOPPED"}), no, None),
        (json!({"state": "COMPLETED"}), no, no),
        (json!({"state": "PAUSED"}), Some(Unreadable), Some(Unreadable)),
        (json!({"state": "unknown"}), Some(Unreadable), Some(Unreadable)),
        (json!({"state": 1}), Some(Unreadable), Some(Unreadable)),
    ] {
        for kind in Kind::ALL {
            assert_eq!(reasons(&status, &json!({}), kind, STRICT), [stop, delete], "{kind:?} {status}");
            // Only COMPLETED Executions are treated differently with --delete-completed.
            let completed = kind == Kind::Execution && status["state"] == "COMPLETED";
            let delete = if completed { None } else { delete };
            assert_eq!(reasons(&status, &json!({}), kind, LENIENT), [stop, delete], "{kind:?} {status}");
            let terminating =
                json!({"deletionTimestamp": at(1).to_string(), "finalizers": ["example.com/x"]});
            let found = reasons(&status, &terminating, kind, LENIENT);
            assert_eq!(found, [Some(Terminating); 2], "{kind:?} {status}");
        }
    }
}

#[test]
fn a_wrong_state_says_which_it_is_and_which_the_verb_takes() {
    let takes = |kind, verb, rules| match (kind, verb, rules) {
        (_, TargetStatus::Stopped, _) => "only PENDING or RUNNING can be stopped",
        (Kind::Execution, _, LENIENT) => "only STOPPED, DEAD, UNKNOWN or COMPLETED can be deleted",
        _ => "only STOPPED, DEAD or UNKNOWN can be deleted",
    };
    for (kind, verb) in Kind::ALL.into_iter().flat_map(|kind| VERBS.map(|verb| (kind, verb))) {
        for (state, rules) in State::ALL.iter().copied().flat_map(|s| [(s, STRICT), (s, LENIENT)]) {
            let (request, target) = (request(kind, verb), target(state));
            if let Err(why) = verdict(&request, &request.items[0], Some(&target), rules) {
                assert_eq!(why.reason(), Reason::WrongState);
                let expected = format!("it is {}; {}", state.word(), takes(kind, verb, rules));
                assert_eq!(why.message(), Some(expected));
            }
        }
    }
}

#[test]
fn of_several_reasons_the_first_is_reported() {
    type Spoil = fn(&mut Item, &mut Target);
    let in_order: [(Reason, Spoil); 6] = [
        (Reason::Replaced, |item, _| item.uid = Some(OTHER.into())),
        (Reason::CreatedLater, |_, target| target.created = at(1).as_second()),
        (Reason::Terminating, |_, target| target.terminating = true),
        (Reason::Unreadable, |_, target| target.state = Err("what is PAUSED?".into())),
        (Reason::StopPending, |_, target| (target.state, target.stop_asked) = (Ok(State::Running), true)),
        (Reason::WrongState, |_, target| target.state = Ok(State::Stopping)),
    ];
    for verb in VERBS {
        let request = request(Kind::Execution, verb);
        // From the last to the first, adding one each time; and each pair.
        for (first, (reason, spoil)) in in_order.iter().enumerate() {
            let later = &in_order[first + 1..];
            let each_alone = later.iter().map(std::slice::from_ref);
            for others in each_alone.chain([later]) {
                let (mut item, mut target) = (request.items[0].clone(), eligible(verb));
                for (_, spoil) in others.iter().rev() {
                    spoil(&mut item, &mut target);
                }
                spoil(&mut item, &mut target);
                let found = verdict(&request, &item, Some(&target), STRICT).unwrap_err().reason();
                // A pending stop does not matter for a delete.
                let stop = verb == TargetStatus::Stopped;
                let expected =
                    if *reason == Reason::StopPending && !stop { Reason::WrongState } else { *reason };
                assert_eq!(found, expected, "{verb:?} {others:?}");
            }
        }
        let mut item = request.items[0].clone();
        item.uid = Some(MEANT.into());
        assert_eq!(verdict::<Target>(&request, &item, None, STRICT), Err(Ineligible::NotFound));
    }
}

#[test]
fn what_was_planned_is_not_doubted_any_more_unless_its_object_is_of_a_later_second() {
    for verb in VERBS {
        let request = request(Kind::Deployment, verb);
        for (second, expected) in [(-1, None), (0, None), (1, Some(Reason::CreatedLater))] {
            let target = Target { created: at(second).as_second(), ..eligible(verb) };
            let found = verdict(&request, &request.items[0], Some(&target), STRICT);
            assert_eq!(found.err().map(|why| why.reason()), expected, "{second} s");
        }
        // An item with a uid means that very object, however young.
        let item = Item { uid: Some(MEANT.into()), ..request.items[0].clone() };
        let target = Target { created: at(100).as_second(), ..eligible(verb) };
        assert!(verdict(&request, &item, Some(&target), STRICT).is_ok());
    }
}

/// What is planned for an item.
#[derive(Debug, PartialEq, Eq)]
enum Planned {
    As(ItemResult, Option<Reason>),
    Read,
    Wait(Obstacle),
}

fn planned(planning: ItemPlanning) -> ItemPlan {
    match planning {
        ItemPlanning::Planned(plan) => plan,
        other => panic!("{other:?}"),
    }
}

/// The plan for an object created in the same second, first seen at this version. The BulkUpdate was created at
/// version 10, or at an unknown one.
fn in_the_same_second(
    creation_version: Option<u64>,
    first_seen: u64,
    lookup: fn(Target) -> Lookup,
) -> Planned {
    let request = Request { creation_version, ..request(Kind::Execution, TargetStatus::Deleted) };
    let target = Target { created: at(0).as_second(), first_seen, ..eligible(TargetStatus::Deleted) };
    match plan_item(&request, &request.items[0], &lookup(target), STRICT) {
        ItemPlanning::Planned(plan) => Planned::As(plan.record.result, plan.record.reason),
        ItemPlanning::Read => Planned::Read,
        ItemPlanning::Wait(why) => Planned::Wait(why),
    }
}

#[test]
fn of_the_same_second_only_what_was_seen_before_the_request_was_there() {
    let live = |t| live(Some(t));
    let cached = |t| cached(Some(t));
    let later = Planned::As(ItemResult::Refused, Some(Reason::CreatedLater));
    let planned = Planned::As(ItemResult::Planned, None);
    let stale = Planned::Wait(Obstacle::StaleCache { kind: Kind::Execution, id: ID.into() });
    for lookup in [live, cached, ahead] {
        for first_seen in [1, 8, 9] {
            assert_eq!(in_the_same_second(Some(10), first_seen, lookup), planned, "{first_seen}");
        }
    }
    for first_seen in [11, 100, u64::MAX] {
        assert_eq!(in_the_same_second(Some(10), first_seen, live), later, "{first_seen}");
        assert_eq!(in_the_same_second(Some(10), first_seen, cached), Planned::Read, "it has to be read");
        assert_eq!(in_the_same_second(Some(10), first_seen, ahead), stale);
    }
    // Without the version at which the BulkUpdate was created, nothing is waited for.
    for lookup in [live, ahead] {
        assert_eq!(in_the_same_second(None, 1, lookup), later);
    }
}

#[test]
fn versions_tell_nothing_about_another_second_and_uids_need_none() {
    for lookup in [ahead, |t| live(Some(t))] {
        let mut request =
            Request { creation_version: Some(10), ..request(Kind::Execution, TargetStatus::Deleted) };
        let made = |seconds: i64, first_seen| Target {
            created: at(seconds).as_second(),
            first_seen,
            ..eligible(TargetStatus::Deleted)
        };
        let mut result = |target: Target, uid: Option<&str>| {
            request.items[0].uid = uid.map(Into::into);
            planned(plan_item(&request, &request.items[0], &lookup(target), STRICT)).record.reason
        };
        assert_eq!(result(made(-1, 11), None), None);
        assert_eq!(result(made(1, 9), None), Some(Reason::CreatedLater));
        assert_eq!(result(made(0, 11), Some(MEANT)), None);
        assert_eq!(result(made(0, 9), Some(OTHER)), Some(Reason::Replaced));
    }
}

#[test]
fn an_unreadable_object_is_refused_with_what_is_wrong() {
    let request = request(Kind::Execution, TargetStatus::Deleted);
    let target = observed(&json!({}), &json!({"state": "PAUSED"}), &json!({}));
    let why = verdict(&request, &request.items[0], Some(&target), STRICT).unwrap_err();
    assert_eq!(why.reason(), Reason::Unreadable);
    assert!(why.message().unwrap().contains("PAUSED"));
}

#[test]
fn an_id_that_cannot_be_a_name_is_not_found_without_a_look() {
    for (id, verb) in ["Abcd", "ab_cd", "-abc", "ab..cd"].into_iter().flat_map(|id| VERBS.map(|v| (id, v))) {
        let mut request = request(Kind::Execution, verb);
        request.items[0].id = id.into();
        for lookup in [cached(None), live(None), Lookup::Failed(unread("down"))] {
            let ItemPlan { record, based_on } =
                planned(plan_item(&request, &request.items[0], &lookup, STRICT));
            assert_eq!((record.result, record.reason), (ItemResult::Refused, Some(Reason::NotFound)));
            assert!(record.message.is_some() && based_on.is_none(), "{id}");
        }
    }
}

fn every_object() -> impl Iterator<Item = Option<Target>> {
    let states = State::ALL.iter().copied().map(target);
    let odd: [fn(&mut Target); 4] = [
        |t| t.state = Err("?".into()),
        |t| t.terminating = true,
        |t| t.created = at(1).as_second(),
        |t| t.stop_asked = true,
    ];
    let odd = odd.into_iter().map(|spoil| {
        let mut target = target(State::Running);
        spoil(&mut target);
        target
    });
    states.chain(odd).map(Some).chain([None])
}

#[test]
fn a_cached_look_plans_what_a_live_one_plans_and_refuses_nothing() {
    let plan = |request: &Request, lookup: Lookup| plan_item(request, &request.items[0], &lookup, STRICT);
    for (object, verb) in every_object().flat_map(|object| VERBS.map(|verb| (object.clone(), verb))) {
        let mut request = request(Kind::Execution, verb);
        for (dry_run, expected) in [(false, ItemResult::Planned), (true, ItemResult::Eligible)] {
            request.dry_run = dry_run;
            let ItemPlan { record: read, based_on } = planned(plan(&request, live(object.clone())));
            assert_eq!(based_on.as_deref(), object.as_ref());
            assert_eq!(read.uid.as_deref(), object.as_ref().map(|t| &*t.uid));
            assert_eq!(read.observed_state, object.as_ref().and_then(|t| t.state.clone().ok()));
            let known = plan(&request, cached(object.clone()));
            if read.result == ItemResult::Refused {
                assert!(known == ItemPlanning::Read && read.reason.is_some(), "{object:?}");
            } else {
                assert_eq!((read.result, read.reason, &read.message), (expected, None, &None));
                assert_eq!(known, ItemPlanning::Planned(ItemPlan { record: read, based_on }));
            }
        }
    }
}
