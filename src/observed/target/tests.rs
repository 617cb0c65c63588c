//! What is read of a target, and from which answers.

use serde_json::{Value, json};

use super::*;

fn observed(object: &Value) -> Observed {
    serde_json::from_str(&object.to_string()).expect("always decodes")
}

fn target(spec: &Value, status: &Value) -> Target {
    let object = json!({"metadata": {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec, "status": status});
    Target::from(&observed(&object))
}

#[test]
fn every_state_is_read_and_absence_is_unknown() {
    for &state in State::ALL {
        assert_eq!(target(&json!({}), &json!({"state": state.word()})).state, Ok(state));
    }
    for none in [json!({}), json!(null), json!({"state": null})] {
        assert_eq!(target(&json!({}), &none).state, Ok(State::Unknown), "{none}");
    }
}

#[test]
fn anything_else_is_unreadable_and_never_unknown() {
    for status in [
        json!({"state": "PAUSED"}),
        json!({"state": "unknown"}),
        json!({"state": ""}),
        json!({"state": 7}),
        json!({"state": {}}),
        json!([]),
        json!("STOPPED"),
        json!({"state": "STOPPED", "targetStatus": "FOO"}),
        json!({"state": "RUNNING", "stopRequest": {"uid": 1}}),
    ] {
        assert!(target(&json!({}), &status).state.is_err(), "{status}");
    }
    assert!(target(&json!({"managedBy": 1}), &json!({"state": "STOPPED"})).state.is_err());
    assert!(target(&json!("x"), &json!({"state": "STOPPED"})).state.is_err());
}

#[test]
fn an_answer_about_something_else_is_none() {
    let whole = json!({"metadata": {"name": "item-1", "uid": "u", "resourceVersion": "1"}});
    assert_eq!(answered("item-1", &observed(&whole)).map(|t| t.uid), Ok("u".into()));
    // What is found may have no uid; nothing is done to it.
    for uid in [json!(null), json!(""), json!(7)] {
        let mut without = whole.clone();
        without["metadata"]["uid"] = uid;
        let found = found("item-1", &observed(&without)).unwrap();
        assert_eq!(found.state.unwrap_err().to_string(), "metadata.uid is missing or invalid");
    }
    assert!(found("item-2", &observed(&whole)).is_err());
    let other = json!({"metadata": {"name": "item-2", "uid": "u", "resourceVersion": "1"}});
    let mut others = vec![json!({}), json!([]), json!(null), json!({"status": "ok"}), other];
    for field in ["name", "uid", "resourceVersion"] {
        let mut without = whole.clone();
        without["metadata"][field] = json!("");
        others.push(without);
    }
    for answer in others {
        assert!(matches!(answered("item-1", &observed(&answer)), Err(Failure::Unreadable(_))), "{answer}");
    }
}

#[test]
fn owners() {
    let other = |spec| target(&spec, &json!({})).managed_by_other;
    assert!(!other(json!({})));
    assert!(!other(json!({"managedBy": OPERATOR})));
    assert!(other(json!({"managedBy": "pipelines.example.com/runner"})));
    assert!(other(json!({"managedBy": ""})));
}

#[test]
fn versions_compare_as_numbers() {
    assert!(not_older("10", "9"));
    assert!(not_older("9", "9"));
    assert!(!not_older("9", "10"));
    assert!(not_older("x", "9"));
}

#[test]
fn what_a_spec_says_that_runs() {
    use Given::{Reference, Template};
    let job =
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": "u", "spec": {"suspend": true}});
    let of = |given, engine| Some(Work { given, engine });
    for (spec, work) in [
        (json!({}), None),
        (json!({"template": null, "workloadRef": null}), None),
        (json!({"template": job}), of(Template, Some(EngineKind::Job))),
        (json!({"workloadRef": job}), of(Reference, Some(EngineKind::Job))),
        (
            json!({"template": {"apiVersion": "apps/v1", "kind": "Deployment"}}),
            of(Template, Some(EngineKind::Deployment)),
        ),
        // A newer version's, or a mistake: something may run.
        (json!({"template": {"apiVersion": "batch/v2", "kind": "Job"}}), of(Template, None)),
        (json!({"template": {"apiVersion": ["batch/v1"], "kind": 7}}), of(Template, None)),
        (json!({"template": {}, "workloadRef": job}), of(Template, None)),
        (json!({"workloadRef": "x"}), of(Reference, None)),
    ] {
        let found = target(&spec, &json!({}));
        assert_eq!((found.work, found.state), (work, Ok(State::Unknown)), "{spec}");
    }
}

#[test]
fn a_target_is_no_larger_for_the_work_that_others_have() {
    // A hundred thousand of them are kept. With 8 bytes more the allocator takes the next larger size.
    assert!(size_of::<Target>() <= 88, "{}", size_of::<Target>());
}
