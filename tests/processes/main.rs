//! Faults of real processes: the operator, the API server and etcd are killed, held and restarted in the middle of a
//! round of 100 items. The time of a fault is defined by the progress of the round, never by the clock.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod gateway_server;
mod history;
mod replicas;
mod round;
mod servers;

use std::time::Duration;

use ai_api_operator::api::{ItemResult, Kind};
use kube::api::DeleteParams;
use round::{ELIGIBLE, Round, id};
use serde_json::json;
use support::{audit::Request, control_plane::ControlPlane, count, within};
use tokio::sync::{Mutex, MutexGuard};

/// Each test holds this guard: it takes down servers that all tests share. A failed one may have left a server down.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let guard = ALONE.lock().await;
    ControlPlane::get().up();
    guard
}

/// The time that Kubernetes gives a Pod to terminate.
const GRACE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn killed_at_moments_from_the_first_request_to_the_last_write() {
    const TWO: [&str; 2] = ["--max-in-flight", "2"];
    let mut round = Round::new("killed").await;
    round.start_two(&TWO).await;
    round.submit().await;
    round
        .hold_at("a reading of the flag", |all| {
            all.iter().any(|r| r.resource == "configmaps" && r.verb == "get")
        })
        .await;
    round.kill_the_leader(&TWO);
    round.hold_at("a status", |all| all.iter().any(Request::is_record)).await;
    round.kill_the_leader(&TWO);
    let mut in_the_middle = 0;
    for more in [1, 2, 5, 10, 1, 20, 5, 10, 5] {
        in_the_middle += usize::from(round.hold_after(more).await);
        round.kill_the_leader(&TWO);
    }
    assert!(in_the_middle > 2, "it was hardly in the middle of the work: {in_the_middle}");
    round.judge(1300).await;
}

#[tokio::test]
async fn a_crash_loop_ends_where_one_life_would_have_ended() {
    let mut round = Round::in_one_namespace("crash-loop").await;
    round.submit().await;
    let mut lives = 0;
    // As a rule, every other life is killed after it has read a target, before it has written.
    while lives < 16 && round.written() < ELIGIBLE - 16 {
        let kind = |r: &&Request| r.is_target_write() || (lives % 2 == 1 && r.is_target() && r.verb == "get");
        let moments = |all: &[Request]| all.iter().filter(kind).count();
        let before = moments(&round.requests());
        round.start("2");
        let in_the_middle = round.hold_at("a request about a target", |all| moments(all) > before).await;
        round.kill();
        if !in_the_middle {
            break;
        }
        lives += 1;
    }
    assert!(lives > 1, "it was not in the middle of the work");
    round.start("2");
    round.judge(1700).await;
}

#[tokio::test]
async fn paused_for_longer_than_its_requests_may_take_while_others_change_what_was_planned() {
    let mut round = Round::new("paused").await;
    round.submit().await;
    round.start("4");
    round.hold_after(10).await;
    round.note("SIGSTOP");
    change_last_items(&mut round).await;
    // The passing of time is the condition itself: when it continues, the time-outs of a request, 10 s, and of the
    // start of a watch, 30 s, have passed.
    tokio::time::sleep(Duration::from_secs(32)).await;
    round.judge(500).await;
}

/// Changes the last items in every possible way.
async fn change_last_items(round: &mut Round) {
    const KIND: Kind = Kind::Deployment;
    let (stops, deletes) = ([40, 42, 44, 46, 48].map(id), [41, 43, 45, 47].map(id));
    for name in stops.iter().chain(&deletes) {
        let object = round.world.find(KIND, name).await;
        let touched = object.is_none_or(|o| !o.data["status"]["stopRequest"].is_null());
        assert!(!touched, "it was not in the middle of the work");
    }
    for (name, status, outcome) in [
        (&stops[0], json!({"state": "STOPPED"}), "Failed WrongState"),
        (&stops[1], json!({"state": "COMPLETED"}), "Failed WrongState"),
        (&stops[2], json!({"targetStatus": "STOPPED"}), "Failed StopPending"),
        (&deletes[0], json!({"state": "RUNNING"}), "Failed WrongState"),
        (&deletes[1], json!({"state": "COMPLETED"}), "Failed WrongState"),
    ] {
        round.world.set_status(KIND, name, status).await;
        round.foreign(KIND, name, 1, outcome);
    }
    for (name, outcome) in [(&stops[3], "Failed Gone"), (&deletes[2], "Settled Gone")] {
        round.world.targets(KIND).delete(name, &DeleteParams::default()).await.unwrap();
        round.foreign(KIND, name, 1, outcome);
    }
    // The new object of the same name has an eligible state; but it is another object.
    for (name, state, outcome) in
        [(&stops[4], "RUNNING", "Failed Replaced"), (&deletes[3], "STOPPED", "Settled Gone")]
    {
        round.world.targets(KIND).delete(name, &DeleteParams::default()).await.unwrap();
        round.world.own(KIND, name, state).await;
        round.foreign(KIND, name, 3, outcome);
    }
}

#[tokio::test]
async fn after_sigterm_the_record_is_complete_and_without_an_api_server_the_objects_decide() {
    let mut round = Round::new("terminated").await;
    round.submit().await;
    round.start("3");
    round.hold_after(10).await;
    assert!(terminate(&mut round).await, "it did not exit by itself");
    let settled = count(&round.status().await, ItemResult::Settled);
    assert_eq!(settled, round.written(), "what was done is recorded");
    assert!(settled < ELIGIBLE, "it was not in the middle of the work");

    // If the API server does not answer any more, nothing can be recorded; and requests sent by then may or may not be
    // carried out afterwards.
    round.start("3");
    round.hold_after(10).await;
    round.resume();
    let held = round.world.plane.hold("kube-apiserver");
    let ended = terminate(&mut round).await;
    drop(held);
    if ended {
        // It could not release its Lease either.
        round.world.operator.free_lease();
    } else {
        round.kill();
    }
    round.start("3");
    round.judge(500).await;
}

/// Asks the operator to end; returns whether it exited by itself within the time that a Pod has.
async fn terminate(round: &mut Round) -> bool {
    round.note("SIGTERM");
    let operator = &mut round.world.operator;
    operator.signal("TERM");
    operator.signal("CONT");
    within(GRACE, Duration::from_millis(20), || std::future::ready(operator.ended().is_some())).await
}
