use serde_json::{Value, json};

use super::*;
use crate::{api::EngineKind, workload::engines};

fn job_engine() -> &'static Engine {
    engines::of(EngineKind::Job).unwrap()
}

fn scope() -> Scope {
    Scope { engine: EngineKind::Job.plural(), namespace: None }
}

fn object(version: u32, owner: &Value, suspend: bool) -> Object {
    let job = json!({
        "metadata": {"name": "train", "namespace": "team", "uid": "job", "resourceVersion": version.to_string(),
            "labels": {"aiapi.dev/owner-uid": "owner"}, "ownerReferences": [owner]},
        "spec": {"suspend": suspend},
    });
    serde_json::from_value(job).unwrap()
}

fn owner(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": "owner", "controller": true})
}

fn execution() -> Value {
    owner("aiapi.dev/v1alpha1", "Execution", "train")
}

/// A cache whose watch works.
fn watched() -> Works {
    let works = Works::default();
    take_in(&works, Event::Init);
    take_in(&works, Event::InitDone);
    works
}

fn take_in(works: &Works, event: Event<Object>) -> Vec<Wake> {
    works.take_in(&scope(), job_engine(), event)
}

fn is_kept(works: &Works) -> bool {
    works.get(job_engine(), "team", "train").is_some()
}

fn wake(owner: &str, undone: bool) -> Wake {
    Wake { namespace: "team".into(), owner: owner.into(), undone }
}

#[test]
fn only_what_runs_for_an_execution_or_deployment_is_kept_whatever_labels_it_has() {
    let long = "x".repeat(1 << 20);
    for owner in [
        owner("apps/v1", "Execution", "train"),
        owner("v1", "Execution", "train"),
        owner("aiapi.dev/v1alpha1", "Deployment", "train"),
        owner("batch/v1", "CronJob", "train"),
        owner("aiapi.dev/v1alpha1", "Execution", &long),
        json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "name": "train", "uid": long, "controller": true}),
        json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "name": "train", "uid": "owner"}),
    ] {
        let works = watched();
        assert_eq!(take_in(&works, Event::Apply(object(1, &owner, false))), []);
        assert!(!is_kept(&works), "{:.200}", owner.to_string());
    }
    let works = watched();
    assert_eq!(take_in(&works, Event::Apply(object(1, &execution(), false))), [wake("train", true)]);
    assert!(is_kept(&works));
    // The version of the group is of no importance.
    let newer = owner("aiapi.dev/v1", "Execution", "train");
    assert_eq!(take_in(&works, Event::Apply(object(2, &newer, true))), [wake("train", false)]);
    assert!(is_kept(&works));
}

#[test]
fn one_that_changes_hands_wakes_both_and_is_kept_no_longer_than_it_is_theirs() {
    let works = watched();
    take_in(&works, Event::Apply(object(1, &execution(), true)));
    let other = owner("aiapi.dev/v1alpha1", "Execution", "other");
    assert_eq!(
        take_in(&works, Event::Apply(object(2, &other, true))),
        [wake("other", false), wake("train", false)]
    );
    let foreign = owner("batch/v1", "CronJob", "nightly");
    assert_eq!(take_in(&works, Event::Apply(object(3, &foreign, true))), [wake("other", true)]);
    assert!(!is_kept(&works));
    // What is behind changes nothing.
    take_in(&works, Event::Apply(object(4, &execution(), true)));
    assert_eq!(take_in(&works, Event::Apply(object(3, &foreign, true))), []);
    assert!(is_kept(&works));
}

#[test]
fn what_is_not_seen_any_more_may_have_been_resumed() {
    let works = watched();
    take_in(&works, Event::Init);
    take_in(&works, Event::InitApply(object(1, &execution(), true)));
    assert_eq!(take_in(&works, Event::InitDone), []);
    assert_eq!(take_in(&works, Event::Delete(object(2, &execution(), true))), [wake("train", true)]);
    take_in(&works, Event::Apply(object(3, &execution(), true)));
    take_in(&works, Event::Init);
    assert_eq!(take_in(&works, Event::InitDone), [wake("train", true)]);
}

#[test]
fn a_change_that_no_decision_rests_on_wakes_nobody_and_its_version_is_kept() {
    let works = watched();
    take_in(&works, Event::Apply(object(1, &execution(), true)));
    assert_eq!(take_in(&works, Event::Apply(object(2, &execution(), true))), []);
    assert_eq!(&*works.get(job_engine(), "team", "train").unwrap().version, "2");
    assert_eq!(take_in(&works, Event::Apply(object(3, &execution(), false))), [wake("train", true)]);
    // After a watch that failed, a newer state may have been read live that is over by now.
    take_in(&works, Event::Init);
    assert_eq!(take_in(&works, Event::InitApply(object(5, &execution(), false))), [wake("train", true)]);
}

#[test]
fn a_label_with_another_uid_is_not_the_label_of_its_owner() {
    let labelled = |uid: &str| {
        let metadata = json!({"name": "train", "namespace": "team", "uid": "job", "resourceVersion": "1",
            "labels": {"aiapi.dev/owner-uid": uid}, "ownerReferences": [execution()]});
        let object: Object = serde_json::from_value(json!({"metadata": metadata, "spec": {}})).unwrap();
        Work::read(job_engine(), &object).labelled
    };
    assert!(labelled("owner"));
    assert!(!labelled("another"));
}

#[test]
fn what_is_not_watched_is_not_believed_and_its_owner_is_looked_at() {
    let works = watched();
    take_in(&works, Event::Apply(object(1, &execution(), true)));
    assert!(is_kept(&works) && works.unwatched(job_engine()).is_empty());
    works.set_watched(&scope(), false);
    assert!(!is_kept(&works) && !works.is_watched(job_engine(), "team"));
    assert_eq!(works.unwatched(job_engine()), [wake("train", false)]);
    works.set_watched(&scope(), true);
    assert!(is_kept(&works));
    // One namespace is watched, and the other is not.
    let one = Scope { namespace: Some("team".into()), ..scope() };
    let works = Works::default();
    for event in [Event::Init, Event::InitApply(object(1, &execution(), true)), Event::InitDone] {
        works.take_in(&one, job_engine(), event);
    }
    assert!(works.is_watched(job_engine(), "team") && !works.is_watched(job_engine(), "other"));
}
