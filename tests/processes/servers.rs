//! The API server and etcd are killed, or held, in the middle of a round: requests sent by then are carried out, or
//! not, or later, and the operator does not learn which.

use support::{control_plane::ControlPlane, operator::LONG_LEASE};

use crate::round::Round;

/// How many requests have got no answer, or one about problems of the server, by the operator's log.
fn open(log: &str) -> usize {
    ["no answer", "outcome=50", "failure=50"].iter().map(|text| log.matches(text).count()).sum()
}

/// Waits for one more.
async fn one_is_open(round: &Round, before: usize) {
    round.logged("a request with an open outcome", |log| open(log) > before).await;
}

#[tokio::test]
async fn the_api_server_is_killed_and_the_operator_with_it_the_second_time() {
    let mut round = Round::new("no-api-server").await;
    let plane = ControlPlane::get();
    round.submit().await;
    round.start("4");
    assert!(round.hold_after(10).await, "it was not in the middle of the work");
    round.resume();
    plane.kill("kube-apiserver").await;
    round.note("SIGKILL of kube-apiserver");
    one_is_open(&round, 0).await;
    // Without this it would finish before the API server is seen again, and there has to be a second time.
    round.world.operator.signal("STOP");
    plane.up();
    assert!(round.hold_after(8).await, "it was not in the middle of the work");
    round.resume();
    plane.kill("kube-apiserver").await;
    round.kill();
    round.note("SIGKILL of kube-apiserver");
    // It starts without an API server, and waits for it.
    let failed = |log: &str| log.matches("the API server cannot be reached yet").count();
    let before = failed(&round.world.operator.log());
    round.start("4");
    round.logged("a failed request", |log| failed(log) > before).await;
    plane.up();
    round.world.operator.free_lease();
    round.judge(700).await;
}

#[tokio::test]
async fn etcd_is_killed() {
    let mut round = Round::new("no-etcd").await;
    let plane = ControlPlane::get();
    // For as long as etcd may be down; a replica that has lost the Lease exits, and does not log every request.
    round.start_two(&[&["--max-in-flight", "4"], LONG_LEASE.as_slice()].concat()).await;
    round.submit().await;
    for first in [true, false] {
        if !round.hold_after(8).await {
            assert!(!first, "it was not in the middle of the work");
            break;
        }
        round.resume();
        let before = open(&round.world.operator.log());
        plane.kill("etcd").await;
        round.note("SIGKILL of etcd");
        one_is_open(&round, before).await;
        plane.up();
    }
    round.judge(700).await;
}

#[tokio::test]
async fn etcd_carries_out_writes_after_the_operator_has_given_them_up() {
    let mut round = Round::new("held-etcd").await;
    round.submit().await;
    round.start("4");
    assert!(round.hold_after(15).await, "it was not in the middle of the work");
    round.resume();
    let held = round.world.plane.hold("etcd");
    round.note("SIGSTOP of etcd");
    one_is_open(&round, 0).await;
    drop(held);
    round.judge(700).await;
}
