//! What is read from a spec.

use serde_json::json;

use super::*;
use crate::bulk_update::fixtures::{OWN, at, bulk};

#[test]
fn a_bare_request_has_an_hour_to_begin_and_no_other_limit() {
    let request = Request::from(&bulk(&json!({"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}]})));
    let item = Item { kind: Kind::Execution, id: "exec-1".into(), target: TargetStatus::Stopped, uid: None };
    let expected = Request {
        namespace: "team-a".into(),
        name: "nightly".into(),
        uid: OWN.into(),
        created: at(0),
        creation_version: None,
        requester: None,
        dry_run: false,
        not_after: None,
        starting_deadline: at(3601),
        active_deadline_seconds: None,
        items: vec![item],
    };
    assert_eq!(request, expected);
    assert_eq!(request.full_name(), "team-a/nightly");
    assert!(request.names(Kind::Execution) && !request.names(Kind::Deployment));
    assert_eq!(request.active_deadline(at(5)), None);
}

#[test]
fn all_that_a_request_says_is_kept() {
    let request = Request::from(&bulk(&json!({
        "deployments": [{"id": "same", "targetStatus": "DELETED"}, {"id": "aaaa", "targetStatus": "STOPPED"}],
        "executions": [{"id": "same", "targetStatus": "STOPPED", "uid": "u"}],
        "dryRun": true,
        "notAfter": at(9).to_string(),
        "startingDeadlineSeconds": 0,
        "activeDeadlineSeconds": 60,
    })));
    let items: Vec<_> = request.items.iter().map(|i| (i.kind, &*i.id, i.target, i.uid.as_deref())).collect();
    let (stop, delete) = (TargetStatus::Stopped, TargetStatus::Deleted);
    assert_eq!(
        items,
        [
            (Kind::Execution, "same", stop, Some("u")),
            (Kind::Deployment, "same", delete, None),
            (Kind::Deployment, "aaaa", stop, None),
        ]
    );
    assert!(request.dry_run);
    assert_eq!((request.not_after, request.starting_deadline), (Some(at(9)), at(1)));
    assert_eq!(request.active_deadline(at(5)), Some(at(67)));
}

#[test]
fn a_bulk_update_without_a_creation_time_is_never_in_time() {
    let mut bulk = bulk(&json!({}));
    bulk.metadata.creation_timestamp = None;
    assert!(Request::from(&bulk).starting_deadline < at(0));
}

#[test]
fn the_same_items_in_any_order_are_the_same() {
    let of = |items: serde_json::Value| Request::from(&bulk(&json!({"executions": items})));
    let item = |id: &str, verb: &str| json!({"id": id, "targetStatus": verb});
    let (a, b) = (item("aaaa", "STOPPED"), item("bbbb", "DELETED"));
    let both = of(json!([a, b]));
    assert!(both.same_items(&of(json!([b, a]))));
    for other in [
        json!([a]),
        json!([a, b, item("cccc", "STOPPED")]),
        json!([a, item("bbbb", "STOPPED")]),
        json!([a, {"id": "bbbb", "targetStatus": "DELETED", "uid": "u"}]),
    ] {
        assert!(!both.same_items(&of(other.clone())) && !of(other).same_items(&both));
    }
    let deployments = Request::from(&bulk(&json!({"deployments": [a, b]})));
    assert!(!both.same_items(&deployments));
}

#[test]
fn times_beyond_the_calendar_are_the_end_of_time() {
    assert_eq!(later(at(0), i64::MAX), Timestamp::MAX);
    assert_eq!(later(at(0), 1), at(1));
}

#[test]
fn what_a_looser_crd_has_let_in_is_unfit() {
    let item = |id: &str| json!({"id": id, "targetStatus": "DELETED"});
    let many = |n: usize| (0..n).map(|n| item(&format!("exec-{n}"))).collect::<Vec<_>>();
    let validated = |spec| validate(&bulk(&spec).spec);
    for fit in [
        json!({"executions": many(1)}),
        json!({"executions": many(50), "deployments": many(50)}),
        json!({"executions": [item("A_z."), item(&"x".repeat(64))]}),
    ] {
        assert_eq!(validated(fit.clone()), Ok(()), "{fit}");
    }
    for (spec, why) in [
        (json!({}), InvalidSpec::Items),
        (json!({"executions": [], "deployments": []}), InvalidSpec::Items),
        (json!({"executions": many(51), "deployments": many(50)}), InvalidSpec::Items),
        (json!({"deployments": [item("same"), item("same")]}), InvalidSpec::Twice),
        (json!({"executions": [item("abc")]}), InvalidSpec::Id),
        (json!({"executions": [item(&"x".repeat(65))]}), InvalidSpec::Id),
        (json!({"executions": [item("a/../b")]}), InvalidSpec::Id),
        (json!({"executions": [item("äöüß")]}), InvalidSpec::Id),
    ] {
        assert_eq!(validated(spec.clone()), Err(why), "{spec}");
    }
}
