//! What the index has, and which followers it notifies.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::api::State;

const NS: &str = "team-a";

fn scope(kind: Kind, namespace: Option<&str>) -> Scope {
    Scope { kind, namespace: namespace.map(Into::into) }
}

fn all() -> Scope {
    scope(Kind::Execution, None)
}

fn object(namespace: &str, name: &str, uid: &str, version: &str) -> Observed {
    let metadata = json!({"namespace": namespace, "name": name, "uid": uid, "resourceVersion": version});
    from(json!({"metadata": metadata, "status": {"state": "RUNNING"}}))
}

fn from(value: Value) -> Observed {
    serde_json::from_value(value).unwrap()
}

fn index() -> Arc<Index> {
    Index::new([all()])
}

fn apply(index: &Index, uid: &str, version: &str) -> bool {
    index.take_in(&all(), Event::Apply(object(NS, "a", uid, version))).is_some()
}

/// Uid and version of what is known as `a`.
fn known(index: &Index) -> Option<(String, String)> {
    index.get(Kind::Execution, NS, "a").map(|t| (t.uid.to_string(), t.resource_version.to_string()))
}

fn of(uid: &str, version: &str) -> (String, String) {
    (uid.into(), version.into())
}

fn follow(index: &Arc<Index>, namespace: &str, names: &[(Kind, &str)]) -> Following<Vec<(Kind, Arc<str>)>> {
    let names = names.iter().map(|(kind, name)| (*kind, (*name).into())).collect();
    index.follow(namespace, Arc::new(names), Vec::clone)
}

fn reported<T>(following: &Following<T>) -> Vec<(Kind, String, What)> {
    let changes = following.mailbox().take();
    changes.into_iter().map(|c| (c.kind, c.name.to_string(), c.what)).collect()
}

fn list(index: &Index, scope: &Scope, objects: &[Observed]) {
    index.take_in(scope, Event::Init);
    for object in objects {
        index.take_in(scope, Event::InitApply(object.clone()));
    }
    index.take_in(scope, Event::InitDone);
}

#[test]
fn what_is_new_or_newer_is_taken_in_and_nothing_older() {
    let index = index();
    for (uid, version, news, expected) in [
        ("u", "9", true, Some(of("u", "9"))),
        ("u", "9", false, Some(of("u", "9"))),
        ("u", "10", true, Some(of("u", "10"))),
        ("u", "9", false, Some(of("u", "10"))),
        ("v", "11", true, Some(of("v", "11"))),
        ("u", "10", false, Some(of("v", "11"))),
    ] {
        assert_eq!(apply(&index, uid, version), news, "{uid} {version}");
        assert_eq!(known(&index), expected, "{uid} {version}");
    }
    for other in [("team-b", "a"), (NS, "b")] {
        assert_eq!(index.get(Kind::Execution, other.0, other.1), None);
    }
    assert_eq!(index.get(Kind::Deployment, NS, "a"), None);
}

#[test]
fn the_lowest_version_of_each_uid_is_kept() {
    let index = index();
    let first_seen = |index: &Index| index.get(Kind::Execution, NS, "a").map(|t| t.first_seen);
    let delete = |uid| index.take_in(&all(), Event::Delete(object(NS, "a", uid, "20")));
    for (uid, version, expected) in [
        ("u", "9", 9),
        ("u", "10", 9),
        // A watch that goes back in time tells of earlier ones, and takes nothing back.
        ("u", "8", 8),
        ("u", "11", 8),
        ("v", "12", 12),
        ("v", "14", 12),
        ("u", "13", 12),
    ] {
        apply(&index, uid, version);
        assert_eq!(first_seen(&index), Some(expected), "{uid} {version}");
    }
    list(&index, &all(), &[object(NS, "a", "v", "15")]);
    assert_eq!(first_seen(&index), Some(12));
    delete("v");
    apply(&index, "v", "16");
    assert_eq!(first_seen(&index), Some(16), "what was forgotten is not known");
    apply(&index, "w", "no number");
    assert_eq!(first_seen(&index), Some(u64::MAX));
}

#[test]
fn an_unreadable_object_is_known_as_such_and_affects_no_other() {
    let index = index();
    let bad = json!({"metadata": {"namespace": NS, "name": "bad", "uid": "u"}, "spec": 7, "status": {"state": "?"}});
    list(&index, &all(), &[from(bad), object(NS, "a", "u", "1")]);
    assert!(index.get(Kind::Execution, NS, "bad").unwrap().state.is_err());
    assert_eq!(index.get(Kind::Execution, NS, "a").unwrap().state, Ok(State::Running));
}

#[test]
fn a_deletion_removes_that_object_and_no_other_under_the_name() {
    let index = index();
    let following = follow(&index, NS, &[(Kind::Execution, "a")]);
    let delete = |uid| index.take_in(&all(), Event::Delete(object(NS, "a", uid, "20")));
    apply(&index, "u", "9");
    assert!(delete("another").is_none());
    assert_eq!(known(&index), Some(of("u", "9")));
    delete("u");
    assert_eq!(known(&index), None);
    delete("never-seen");
    let what: Vec<_> = reported(&following).into_iter().map(|(.., what)| what).collect();
    let deleted = |uid: &str| What::Deleted(uid.into());
    assert_eq!(what, [What::Updated, deleted("another"), deleted("u"), deleted("never-seen")]);
}

#[test]
fn a_new_list_drops_what_it_lacks_in_its_own_scope_only() {
    let kinds = Kind::ALL;
    let index = Index::new([]);
    for (kind, namespace) in kinds.into_iter().flat_map(|kind| [NS, "team-b"].map(|ns| (kind, ns))) {
        let objects = ["a", "b"].map(|name| object(namespace, name, "u", "9"));
        list(&index, &scope(kind, Some(namespace)), &objects);
    }
    let names = |kind, namespace| -> Vec<_> {
        ["a", "b"].into_iter().filter(|name| index.get(kind, namespace, name).is_some()).collect()
    };
    let following = kinds.map(|kind| follow(&index, NS, &["a", "b", "never-seen"].map(|name| (kind, name))));
    // A list counts only once it is complete; unchanged objects are not reported.
    let one = scope(Kind::Execution, Some(NS));
    index.take_in(&one, Event::Init);
    index.take_in(&one, Event::InitApply(object(NS, "b", "u", "9")));
    assert_eq!(names(Kind::Execution, NS), ["a", "b"]);
    index.take_in(&one, Event::InitDone);
    assert_eq!(names(Kind::Execution, NS), ["b"]);
    assert_eq!(names(Kind::Execution, "team-b"), ["a", "b"]);
    assert_eq!(names(Kind::Deployment, NS), ["a", "b"]);
    // Also what was never seen here: somebody may have seen it otherwise.
    let mut vanished = reported(&following[0]);
    vanished.sort_by(|a, b| a.1.cmp(&b.1));
    let expected = ["a", "never-seen"].map(|name| (Kind::Execution, name.into(), What::Vanished));
    assert_eq!(vanished, expected);
    assert_eq!(reported(&following[1]), []);
}

#[test]
fn a_list_over_all_namespaces_drops_from_all_of_them() {
    let index = index();
    list(&index, &all(), &[object(NS, "a", "u", "9"), object("team-b", "a", "u", "9")]);
    list(&index, &all(), &[object("team-b", "a", "u", "9")]);
    assert_eq!(known(&index), None);
    assert!(index.get(Kind::Execution, "team-b", "a").is_some());
    list(&index, &all(), &[]);
    assert_eq!(index.get(Kind::Execution, "team-b", "a"), None);
    assert!(lock(&index.inner).targets.is_empty(), "empty namespaces are dropped");
}

#[test]
fn what_a_list_shows_older_than_it_is_known_is_kept_and_not_dropped() {
    let index = index();
    list(&index, &all(), &[object(NS, "a", "u", "10")]);
    list(&index, &all(), &[object(NS, "a", "u", "9")]);
    assert_eq!(known(&index), Some(of("u", "10")));
}

#[test]
fn what_came_between_two_lists_is_dropped_with_the_second() {
    let index = index();
    list(&index, &all(), &[]);
    apply(&index, "u", "9");
    list(&index, &all(), &[]);
    assert_eq!(known(&index), None);
}

#[test]
fn followers_are_notified_only_of_what_they_follow() {
    let index = index();
    let one = follow(&index, NS, &[(Kind::Execution, "a"), (Kind::Deployment, "b")]);
    let two = follow(&index, NS, &[(Kind::Execution, "b")]);
    let elsewhere = follow(&index, "team-b", &[(Kind::Execution, "a")]);
    apply(&index, "u", "9");
    for _ in 0..3 {
        index.take_in(&all(), Event::Apply(object(NS, "b", "u", "9")));
    }
    index.take_in(&scope(Kind::Deployment, None), Event::Apply(object(NS, "b", "u", "9")));
    let (a, b) = ("a".to_owned(), "b".to_owned());
    assert_eq!(
        reported(&one),
        [(Kind::Execution, a, What::Updated), (Kind::Deployment, b.clone(), What::Updated)]
    );
    assert_eq!(reported(&two), [(Kind::Execution, b, What::Updated)]);
    assert_eq!(reported(&elsewhere), []);
    assert_eq!(reported(&one), [], "what was taken is not reported again");
}

#[test]
fn the_same_news_twice_are_one() {
    let index = index();
    let following = follow(&index, NS, &[(Kind::Execution, "a")]);
    for version in ["1", "2", "3"] {
        apply(&index, "u", version);
    }
    assert_eq!(reported(&following).len(), 1);
    // What is older brings none.
    apply(&index, "u", "2");
    assert_eq!(reported(&following), []);
}

#[test]
fn a_dropped_follower_is_notified_no_more_and_leaves_nothing_behind() {
    let index = index();
    let [one, two] = [(); 2].map(|()| follow(&index, NS, &[(Kind::Execution, "a")]));
    let mailbox = Arc::clone(&one.mailbox);
    drop(one);
    apply(&index, "u", "9");
    assert!(mailbox.take().is_empty());
    assert_eq!(reported(&two).len(), 1);
    drop(two);
    let inner = lock(&index.inner);
    assert!(inner.followed.is_empty() && inner.mailboxes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn news_wake_the_follower_also_when_they_came_before_it_waited() {
    let index = index();
    let following = follow(&index, NS, &[(Kind::Execution, "a")]);
    let woken =
        async || tokio::time::timeout(Duration::from_secs(1), following.mailbox().arrived()).await.is_ok();
    assert!(!woken().await);
    apply(&index, "u", "9");
    assert!(woken().await);
    assert!(!woken().await);
}

#[tokio::test(start_paused = true)]
async fn a_kind_is_listed_once_every_scope_of_it_was() {
    let scopes = [(Kind::Execution, Some(NS)), (Kind::Execution, Some("team-b")), (Kind::Deployment, None)];
    let scopes = scopes.map(|(kind, namespace)| scope(kind, namespace));
    let index = Index::new(scopes.clone());
    let listed = async || {
        let wait = |kind| tokio::time::timeout(Duration::from_secs(1), index.listed(kind));
        [wait(Kind::Execution).await.is_ok(), wait(Kind::Deployment).await.is_ok()]
    };
    for (scope, expected) in scopes.iter().zip([[false, false], [true, false], [true, true]]) {
        let before = listed().await;
        index.take_in(scope, Event::Init);
        assert_eq!(listed().await, before, "a list that has begun is none");
        index.take_in(scope, Event::InitDone);
        assert_eq!(listed().await, expected);
    }
    // A later list that is under way changes nothing about that.
    index.take_in(&scopes[0], Event::Init);
    assert_eq!(listed().await, [true, true]);
}
