use serde_json::json;

use super::*;
use crate::bulk_update::fixtures::context;

fn bulk(uid: &str) -> Box<BulkUpdate> {
    let bulk = json!({
        "apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"namespace": "team-a", "name": "bulk", "uid": uid},
        "spec": {"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}]},
    });
    Box::new(serde_json::from_value(bulk).unwrap())
}

fn in_version(version: &str) -> Box<BulkUpdate> {
    let mut bulk = bulk("first");
    bulk.metadata.resource_version = Some(version.into());
    bulk
}

/// The task that carries it out has come to an end without the BulkUpdate's.
fn ends(registry: &mut Registry, task: Id) {
    registry.ended(Ok((task, (name(), None))));
}

/// The task that carries it out, if it is under way.
fn task(registry: &Registry) -> Option<Id> {
    match registry.known.get(&name())?.state {
        State::Underway { task, .. } => Some(task),
        _ => None,
    }
}

fn name() -> Key {
    ("team-a".into(), "bulk".into())
}

#[tokio::test]
async fn what_is_gone_is_not_taken_up_again_by_an_old_event() {
    let mut registry = Registry::new(context());
    registry.apply(bulk("first"), 0, false);
    assert_eq!(registry.tasks.len(), 1);
    // Its task has read that it is gone, before the watch says so.
    let first = task(&registry).unwrap();
    ends(&mut registry, first);
    registry.apply(bulk("first"), 0, false);
    assert_eq!(registry.tasks.len(), 1, "it was taken up again");
    registry.apply(bulk("second"), 0, false);
    assert_eq!(registry.tasks.len(), 2, "one made anew under the name is another");
}

#[tokio::test]
async fn the_end_of_a_task_is_that_of_no_other() {
    for again in ["first", "second"] {
        let mut registry = Registry::new(context());
        registry.apply(bulk("first"), 0, false);
        let first = task(&registry).unwrap();
        registry.forget(&name());
        registry.apply(bulk(again), 0, false);
        let second = task(&registry).unwrap();
        ends(&mut registry, first);
        assert_eq!(task(&registry), Some(second), "{again} is not heard of any more");
        ends(&mut registry, second);
        assert_eq!(task(&registry), None);
    }
}

#[tokio::test]
async fn an_older_version_does_not_replace_a_newer_one() {
    let mut registry = Registry::new(context());
    for (event, known) in [("9", "9"), ("10", "10"), ("9", "10"), ("11", "11")] {
        registry.apply(in_version(event), 0, false);
        let State::Underway { current, .. } = &registry.known[&name()].state else {
            panic!("it is under way")
        };
        assert_eq!(&*current.borrow().resource_version, known, "{event}");
    }
}

#[tokio::test]
async fn the_end_is_known_also_where_its_event_was_lost_but_not_what_has_changed_since() {
    let at = |generation: i64, observed: Option<i64>| {
        let mut bulk = bulk("first");
        bulk.metadata.generation = Some(generation);
        bulk.status = observed.map(|observed_generation| crate::api::BulkUpdateStatus {
            observed_generation,
            completion_time: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                k8s_openapi::jiff::Timestamp::default(),
            )),
            ..Default::default()
        });
        bulk
    };
    for (seen, end, known) in
        [(1, at(1, Some(1)), true), (2, at(1, Some(1)), false), (1, at(1, Some(2)), false)]
    {
        let mut registry = Registry::new(context());
        registry.apply(at(seen, None), 0, false);
        let task = task(&registry).unwrap();
        registry.ended(Ok((task, (name(), Over::read(&end)))));
        let State::Over { rest } = &registry.known[&name()].state else { panic!("it is over") };
        assert_eq!(rest.is_some(), known, "{seen}");
    }
}

#[tokio::test]
async fn when_a_bulk_update_was_created_only_the_running_watch_tells_and_only_of_what_is_new() {
    let with = |change: &dyn Fn(&mut BulkUpdate)| {
        let mut bulk = in_version("10");
        (bulk.metadata.generation, bulk.status) = (Some(1), Some(BulkUpdateStatus::default()));
        change(&mut bulk);
        bulk
    };
    let made_at = |registry: &Registry| match &registry.known[&name()].state {
        State::Underway { current, .. } => current.borrow().made_at,
        other => panic!("{other:?}"),
    };
    let first = with(&|_| ());
    for (first, listed, expected) in [
        (with(&|_| ()), false, Some(10)),
        (with(&|b| b.status = None), false, Some(10)),
        (with(&|_| ()), true, None),
        (with(&|b| b.metadata.generation = Some(2)), false, None),
        (with(&|b| b.metadata.resource_version = Some("x".into())), false, None),
        (with(&|b| b.status.as_mut().unwrap().observed_generation = 1), false, None),
    ] {
        let mut registry = Registry::new(context());
        registry.apply(first, 0, listed);
        assert_eq!(made_at(&registry), expected);
        // What comes later changes nothing about that, be it an event or a list.
        for listed in [false, true] {
            registry.apply(with(&|b| b.metadata.resource_version = Some("11".into())), 0, listed);
            assert_eq!(made_at(&registry), expected);
        }
    }
    // What could not be decoded at first was created then.
    let mut registry = Registry::new(context());
    let unread = Stored { bulk: (*first).clone(), flaw: Some("?".into()) };
    registry.unreadable(unread, 0);
    registry.apply(first, 0, false);
    assert_eq!(made_at(&registry), None);
}
