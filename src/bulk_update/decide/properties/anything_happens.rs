//! BulkUpdates reconciled on clusters where anything may happen between two steps: objects change, are deleted and
//! created again, the cache is stale, answers get lost, writes are applied late, the flag is switched, the process
//! dies.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, ITEMS},
    config,
};
use crate::{
    api::State,
    bulk_update::{
        facts::Gate,
        fixtures::{VERBS, at, off},
    },
    observed::target::Target,
};

/// A change that somebody else makes to an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    State(State),
    Garble,
    AskToStop,
    Delete,
    CreatedAgain,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Answered,
    /// Refused with this code.
    Refused(u16),
    /// Carried out, but the answer is lost.
    LostAfter,
    /// The answer is lost, and it is carried out later or never.
    Lost,
    /// A write that was not sent after all.
    NotSent,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A change of this item's object.
    Change(usize, Change),
    /// The cache sees one more event of this item.
    See(usize),
    /// The cache is listed again.
    Relist,
    /// A pass; whether it can write the status.
    Pass(bool),
    /// A request in flight is answered.
    Answer(usize, Fate),
    /// An unanswered write is applied, if its guard still matches.
    Land(usize),
    /// The process dies, and another one takes over.
    Crash,
    Flag(Gate),
    Tick(i64),
}

/// An object, and an older object of that name that the cache still has.
fn objects() -> impl Strategy<Value = (Option<Target>, Option<State>)> {
    let object = option::weighted(0.9, super::targets()).prop_map(|object| {
        object.map(|t| Target { stop_request: None, terminating: t.terminating && t.work.is_some(), ..t })
    });
    (object, option::weighted(0.3, select(&[State::Running, State::Dead][..])))
}

/// What can be read of it.
pub(super) fn shown(object: Option<&Target>) -> Option<Target> {
    let mut object = object?.clone();
    if object.state.is_err() {
        (object.stop_asked, object.stop_request) = (false, None);
    }
    object.first_seen = object.resource_version.parse().unwrap();
    Some(object)
}

/// What a deletion leaves: an object with work goes after that.
pub(super) fn delete(object: Target) -> Option<Target> {
    object.work.is_some().then_some(Target { terminating: true, ..object })
}

fn actions() -> impl Strategy<Value = Action> {
    let slot = || 0..ITEMS;
    let change = prop_oneof![
        4 => select(State::ALL).prop_map(Change::State),
        1 => Just(Change::Garble),
        1 => Just(Change::AskToStop),
        1 => Just(Change::Delete),
        1 => Just(Change::CreatedAgain),
    ];
    let fate = prop_oneof![
        5 => Just(Fate::Answered),
        2 => select(&[401, 403, 409, 422, 429][..]).prop_map(Fate::Refused),
        2 => Just(Fate::LostAfter),
        3 => Just(Fate::Lost),
        1 => Just(Fate::NotSent),
    ];
    prop_oneof![
        4 => (slot(), change).prop_map(|(slot, change)| Action::Change(slot, change)),
        4 => slot().prop_map(Action::See),
        1 => Just(Action::Relist),
        8 => prop::bool::weighted(0.9).prop_map(Action::Pass),
        8 => (0..9usize, fate).prop_map(|(which, fate)| Action::Answer(which, fate)),
        2 => (0..9usize).prop_map(Action::Land),
        1 => Just(Action::Crash),
        1 => super::gates().prop_map(Action::Flag),
        1 => (1..3i64).prop_map(Action::Tick),
    ]
}

fn specs() -> impl Strategy<Value = Value> {
    let items = vec((super::kinds(), select(&VERBS[..]), prop::bool::weighted(0.1)), ITEMS);
    let limit = || option::weighted(0.15, 1..9i64);
    (items, prop::bool::weighted(0.05), limit(), limit()).prop_map(|(items, dry_run, not_after, active)| {
        let mut spec = json!({"dryRun": dry_run});
        for (slot, (kind, verb, by_uid)) in items.into_iter().enumerate() {
            let mut item = json!({"id": format!("item-{slot}"), "targetStatus": verb});
            if by_uid {
                item["uid"] = format!("object-{slot}").into();
            }
            match spec[kind.plural()].as_array_mut() {
                Some(list) => list.push(item),
                None => spec[kind.plural()] = json!([item]),
            }
        }
        if let Some(end) = not_after {
            spec["notAfter"] = at(end).to_string().into();
        }
        if let Some(seconds) = active {
            spec["activeDeadlineSeconds"] = seconds.into();
        }
        spec
    })
}

proptest! {
    #![proptest_config(config(4))]

    #[test]
    fn whatever_happens_each_object_sees_one_write_at_most_and_the_status_tells_the_truth(
        spec in specs(),
        rules in super::rules(),
        objects in vec(objects(), ITEMS),
        actions in vec(actions(), 0..80),
        ends_on in any::<bool>(),
    ) {
        let mut cluster = Cluster::new(&spec, rules, objects);
        for action in actions {
            cluster.act(action);
        }
        let flag = if ends_on { Gate::Open } else { Gate::Closed(off()) };
        cluster.finish(flag);
    }
}
