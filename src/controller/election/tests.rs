//! The election against a fake API server, which controls what is answered, and when.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::server::Server;
use super::*;

mod server;

#[tokio::test(start_paused = true)]
async fn of_two_who_reach_for_a_free_lease_at_once_one_gets_it() {
    let server = Server::with(None);
    let health = Health::default();
    let [(a, a_leads), (b, b_leads)] = ["a", "b"].map(|identity| server.election(identity, 10_000));
    let both = async { tokio::join!(a.acquire(&health), b.acquire(&health)) };
    assert!(tokio::time::timeout(Duration::from_mins(1), both).await.is_err(), "both lead");
    assert!(a_leads.holds() != b_leads.holds());
    let winner = if a_leads.holds() { "a" } else { "b" };
    assert_eq!(server.lease.lock().unwrap()["spec"]["holderIdentity"], winner);
    assert_eq!(server.lease.lock().unwrap()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_standby_is_ready_for_as_long_as_it_can_read_the_lease() {
    let server = Server::with(Some("a"));
    server.reads.store(2, Ordering::Relaxed);
    let (election, _) = server.election("b", 10_000);
    let health = Health::default();
    let waiting = async {
        let minute = Duration::from_mins(1);
        assert!(tokio::time::timeout(minute, election.acquire(&health)).await.is_err(), "it leads");
    };
    // Its holder renews it: each read finds another version.
    let renewed = async |reads: usize| {
        while server.reads.load(Ordering::Relaxed) < reads {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let version = server.reads.load(Ordering::Relaxed);
            server.lease.lock().unwrap()["metadata"]["resourceVersion"] = version.to_string().into();
        }
    };
    let course = async {
        renewed(5).await;
        assert_eq!(health.ready(), Ok(()));
        server.broken.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let why = health.ready().unwrap_err().to_string();
        assert!(why.contains("the Lease cannot be read or acquired") && why.contains("overloaded"), "{why}");
        server.broken.store(false, Ordering::Relaxed);
        renewed(10).await;
        assert_eq!(health.ready(), Ok(()));
    };
    tokio::join!(waiting, course);
}

#[tokio::test(start_paused = true)]
async fn a_standby_reads_the_lease_where_its_watch_does_not_show_that_another_leads() {
    let (server, watch) = Server::held_and_watched("a");
    let (election, leadership) = server.paused("b", 10_000);
    let start = Instant::now();
    let acquired = async {
        election.acquire(&Health::default()).await;
        start.elapsed()
    };
    let renewed = async {
        for version in 2..=20 {
            server.changed(Some("a"), version, &watch);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        server.reads.load(Ordering::Relaxed) - 2
    };
    let (took, reads) = tokio::join!(acquired, renewed);
    assert_eq!(reads, 1, "but for the first time, the watch shows each renewal");
    // The last renewal, at 36 s, leaves the Lease to its holder for 15 s.
    assert!((51..=54).contains(&took.as_secs()), "{took:?}");
    assert!(leadership.holds());
}

#[tokio::test(start_paused = true)]
async fn a_standby_acquires_a_lease_at_once_when_its_watch_shows_that_it_is_free() {
    let (server, watch) = Server::held_and_watched("a");
    let (election, _) = server.paused("b", 10_000);
    let released = async {
        server.changed(Some("a"), 2, &watch);
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.changed(None, 3, &watch);
    };
    let (start, health) = (Instant::now(), Health::default());
    tokio::join!(election.acquire(&health), released);
    assert_eq!(start.elapsed().as_millis(), 500);
}

#[tokio::test]
async fn it_leads_for_as_long_as_it_can_renew() {
    let server = Server::alone();
    let (election, leadership, mut lease) = server.leading(2000).await;
    let renewed_often = tokio::time::timeout(Duration::from_secs(4), election.keep(&mut lease)).await;
    assert!(renewed_often.is_err() && leadership.holds(), "{renewed_often:?}");
    server.silent.store(true, Ordering::Relaxed);
    let why = election.keep(&mut lease).await.to_string();
    assert!(why.contains("could not be renewed"), "{why}");
    assert!(!leadership.holds());
}

#[tokio::test]
async fn it_does_not_lead_any_more_when_another_has_taken_the_lease_or_once_it_is_released() {
    let server = Server::alone();
    let (election, leadership, mut lease) = server.leading(2000).await;
    *server.lease.lock().unwrap() = json!({"kind": "Lease", "metadata": {"name": LEASE, "resourceVersion": "7"},
        "spec": {"holderIdentity": "b", "leaseDurationSeconds": 15}});
    assert_eq!(election.keep(&mut lease).await, NotHeld::Taken("b".into()).into());
    assert!(!leadership.holds());

    // The Lease of another replica is not released.
    election.release().await;
    assert_eq!(server.lease.lock().unwrap()["spec"]["holderIdentity"], "b");
    let server = Server::alone();
    let (election, leadership) = server.election("a", 2000);
    election.acquire(&Health::default()).await;
    assert!(leadership.holds());
    election.release().await;
    assert!(!leadership.holds());
    assert_eq!(server.lease.lock().unwrap()["spec"]["holderIdentity"], Value::Null);
}

#[tokio::test]
async fn an_attempt_to_take_the_lease_that_got_no_answer_is_known_again() {
    let server = Server::with(Some("a"));
    server.reads.store(2, Ordering::Relaxed);
    let (election, leadership) = server.election("a", 2000);
    election.acquire(&Health::default()).await;
    assert!(leadership.holds());
    assert_eq!(server.lease.lock().unwrap()["spec"]["leaseTransitions"], Value::Null);
}

#[tokio::test]
async fn a_lease_that_is_gone_is_created_again_by_who_renews_it() {
    let server = Server::alone();
    let (election, leadership, mut lease) = server.leading(2000).await;
    *server.lease.lock().unwrap() = Value::Null;
    let kept = tokio::time::timeout(Duration::from_secs(4), election.keep(&mut lease)).await;
    assert!(kept.is_err() && leadership.holds(), "{kept:?}");
    assert_eq!(server.lease.lock().unwrap()["spec"]["holderIdentity"], "a");
}

/// The annotation of the Lease.
fn annotation(server: &Server, name: &str) -> Value {
    server.lease.lock().unwrap()["metadata"]["annotations"][name].clone()
}

/// Keeps the Lease until the condition holds.
async fn keeps_until(election: &Election, lease: &mut Lenient, what: &str, holds: impl Fn() -> bool) {
    let seen = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let kept = async {
        tokio::select! {
            why = election.keep(lease) => panic!("{what}: {why}"),
            () = seen => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(10), kept).await.expect(what);
}

#[tokio::test]
async fn notes_are_kept_at_once_and_what_others_write_there_stays() {
    let server = Server::alone();
    {
        let mut lease = server.lease.lock().unwrap();
        lease["metadata"]["annotations"] =
            json!({"of": "others", "accepted": "by the last one", "record": "old"});
        lease["metadata"]["labels"] = json!({"of": "others"});
        lease["metadata"]["managedFields"] = json!([{"time": "9999-12-31T23:59:59Z"}]);
        lease["spec"]["renewTime"] = json!("9999-12-31T23:59:59.999999Z");
        lease["spec"]["new"] = json!({"field": 1});
    }
    // Without a change of the notes it renews once in 100 s.
    let (election, leadership, notes) = server.noting("a", 500_000);
    let mut lease = election.acquire(&Health::default()).await;
    assert!(leadership.holds());
    assert_eq!((lease.annotation("record"), lease.annotation("accepted")), (Some("old"), None));
    assert_eq!(annotation(&server, "record"), "old");
    assert_eq!(annotation(&server, "accepted"), Value::Null, "what the last leader accepted does not count");
    assert_eq!(server.lease.lock().unwrap()["spec"]["new"], json!({"field": 1}));

    for value in ["1", "2"] {
        notes.send_replace(vec![("record", Some(value.into())), ("accepted", Some("yes".into()))]);
        keeps_until(&election, &mut lease, value, || annotation(&server, "record") == value).await;
        assert_eq!(annotation(&server, "accepted"), "yes");
    }
    // After somebody else's change, the first write is a conflict.
    {
        let mut lease = server.lease.lock().unwrap();
        lease["metadata"]["annotations"] = json!({"of": "others", "new": "too", "record": "forged"});
        lease["metadata"]["resourceVersion"] = json!("70");
    }
    notes.send_replace(vec![("record", Some("3".into())), ("accepted", None)]);
    keeps_until(&election, &mut lease, "after a conflict", || annotation(&server, "record") == "3").await;
    let now = server.lease.lock().unwrap()["metadata"].clone();
    assert_eq!(now["annotations"], json!({"of": "others", "new": "too", "record": "3", BACKLOG: "0"}));
    assert_eq!(now["labels"], json!({"of": "others"}));
    // The last notes are kept for the next leader.
    notes.send_replace(vec![("record", Some("4".into())), ("accepted", None)]);
    election.release().await;
    assert_eq!(annotation(&server, "record"), "4");
    assert_eq!(server.lease.lock().unwrap()["spec"]["holderIdentity"], Value::Null);
}

#[tokio::test]
async fn it_leads_on_where_there_is_no_room_for_notes() {
    let server = Server::alone();
    let (election, leadership, notes) = server.noting("a", 2000);
    let mut lease = election.acquire(&Health::default()).await;
    let full = "x".repeat((256 << 10) - "of".len());
    {
        let mut lease = server.lease.lock().unwrap();
        lease["metadata"]["annotations"] = json!({"of": full});
        lease["metadata"]["resourceVersion"] = json!("70");
    }
    let before = server.writes.load(Ordering::Relaxed);
    notes.send_replace(vec![("record", Some("1".into()))]);
    let renewed = || server.writes.load(Ordering::Relaxed) >= before + 3;
    keeps_until(&election, &mut lease, "renewals", renewed).await;
    assert!(leadership.holds());
    assert_eq!(annotation(&server, "of"), full);
    assert_eq!(annotation(&server, "record"), Value::Null);
    // Once there is room again, they are written again.
    {
        let mut lease = server.lease.lock().unwrap();
        lease["metadata"]["annotations"] = Value::Null;
        lease["metadata"]["resourceVersion"] = json!("80");
    }
    keeps_until(&election, &mut lease, "room", || annotation(&server, "record") == "1").await;
    assert!(leadership.holds());
}

#[tokio::test]
async fn the_lease_says_whose_the_work_is_while_there_is_any() {
    let server = Server::alone();
    let (election, _, mut lease) = server.leading(500).await;
    assert_eq!(annotation(&server, BY_NAMESPACE), Value::Null);
    let underway = election.load.taken_up("team-a", "uid-1", Some(12), 7);
    let says = || {
        let of = [BY_NAMESPACE, BACKLOG, UP_TO].map(|name| annotation(&server, name));
        of == ["team-a=7", "7", "12"]
    };
    keeps_until(&election, &mut lease, "work", says).await;
    drop(underway);
    let rests = || annotation(&server, BY_NAMESPACE).is_null() && annotation(&server, BACKLOG) == "0";
    keeps_until(&election, &mut lease, "rest", rests).await;
}

#[tokio::test]
async fn an_answer_that_is_no_lease_is_none() {
    let server = Server::alone();
    let (election, leadership) = server.election("a", 2000);
    for odd in [json!({"status": "ok"}), json!({"metadata": {"name": "other", "resourceVersion": "1"}})] {
        *server.lease.lock().unwrap() = odd;
        assert!(matches!(election.get().await, Err(Failure::Unreadable(_))));
    }
    assert!(!leadership.holds());
}
