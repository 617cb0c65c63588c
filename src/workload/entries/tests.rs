use super::*;
use crate::api::Kind;

fn key() -> Key {
    Key { kind: Kind::Execution, namespace: "team".into(), name: "train".into() }
}

fn waits(version: &str, wait: Option<Duration>) -> Ended {
    Ended::Waits { version: version.into(), wait }
}

/// What was tried of one that was stopped so often.
fn stopped(stops: u32) -> Attempts {
    let mut attempts = Attempts::default();
    attempts.stops = stops;
    attempts
}

/// One whose pass is running.
fn running() -> Entries {
    let mut entries = Entries::default();
    assert!(entries.changed(key(), Some("1".into())).is_some());
    entries
}

fn end(entries: &mut Entries, attempts: Attempts, ended: Ended) -> bool {
    entries.ended(key(), attempts, ended, Instant::now()).is_some()
}

#[test]
fn one_pass_at_a_time_and_another_one_for_what_has_arrived_meanwhile() {
    let mut entries = running();
    assert!(entries.changed(key(), None).is_none(), "one is running");
    assert!(end(&mut entries, Attempts::default(), waits("1", None)));
    // What it has written itself.
    assert!(entries.changed(key(), Some("2".into())).is_none());
    assert!(!end(&mut entries, Attempts::default(), waits("2", None)));
    assert!(entries.changed(key(), Some("2".into())).is_none());
    assert!(entries.changed(key(), Some("3".into())).is_some());
}

#[test]
fn one_that_is_created_again_while_a_pass_of_the_former_ends_gets_a_pass() {
    for ended in [Ended::Over, Ended::Finished, waits("1", None)] {
        let mut entries = running();
        assert!(entries.changed(key(), Some("5".into())).is_none());
        let what = format!("{ended:?}");
        assert!(end(&mut entries, Attempts::default(), ended), "{what}");
    }
}

#[test]
fn nothing_is_remembered_of_what_is_over_unless_its_stop_may_be_undone() {
    for ended in [Ended::Over, Ended::Finished] {
        let mut entries = running();
        assert!(!end(&mut entries, Attempts::default(), ended));
        assert!(!entries.has(&key()));
    }
    let mut entries = running();
    assert!(!end(&mut entries, stopped(1), Ended::Finished));
    assert!(entries.due(Instant::now()).is_none() && entries.has(&key()));
    let (_, attempts) = entries.changed(key(), None).unwrap();
    assert_eq!(attempts.stops, 1);
    assert!(!end(&mut entries, attempts, Ended::Finished));
    assert!(entries.due(Instant::now() + REMEMBERED).is_none() && !entries.has(&key()));
    assert_eq!(entries.next(), None);
}

#[test]
fn what_waits_is_due_in_time() {
    let mut entries = running();
    assert!(!end(&mut entries, Attempts::default(), waits("1", Some(Duration::from_secs(9)))));
    assert!(entries.due(Instant::now()).is_none());
    assert!(entries.due(Instant::now() + Duration::from_secs(9)).is_some());
    assert_eq!(entries.next(), None);
}

#[test]
fn what_does_not_exist_any_more_is_forgotten() {
    let mut entries = running();
    // Its pass finds that out by itself.
    entries.forget(|_| false);
    assert!(entries.has(&key()));
    assert!(!end(&mut entries, stopped(3), waits("1", Some(Duration::from_secs(9)))));
    entries.forget(|_| true);
    assert!(entries.has(&key()));
    entries.forget(|_| false);
    assert!(!entries.has(&key()));
    assert_eq!(entries.next(), None);
}
