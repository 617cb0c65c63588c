//! Two replicas: the leader is killed, asked to end, or paused, in the middle of a round, and the other one takes over.
//! Their requests are distinguished by their tokens.

use std::time::{Duration, Instant};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use support::{
    audit::Request,
    operator::{LONG_LEASE, Operator},
    until, within,
};

use crate::round::Round;

const IN_FLIGHT: [&str; 2] = ["--max-in-flight", "2"];

/// Arguments of a replica that keeps its Lease for long, and hardly ever checks it.
const RARE_POLLING: [&str; 3] = [LONG_LEASE[0], LONG_LEASE[1], "--leader-elect-retry-period=40m"];

/// A round in its middle, with a second replica on standby, each started with its own arguments.
async fn in_the_middle(name: &str, of_first: &[&str], of_second: &[&str]) -> (Round, Operator) {
    let mut round = Round::new(name).await;
    let mut second = round.world.operator.another(&round.world.client).await;
    round.start_with(&[&IN_FLIGHT, of_first].concat());
    round.logged("the first leads", |log| log.contains(" leads identity=")).await;
    second.start(&[&IN_FLIGHT, of_second].concat());
    until("the second waits", || async { second.log().contains("waiting to lead") }).await;
    round.submit().await;
    assert!(round.hold_after(10).await, "it was not in the middle of the work");
    (round, second)
}

/// The token of the last write to a target.
fn token_of_the_leader(round: &Round) -> String {
    round.requests().iter().rfind(|r| r.is_target_write()).unwrap().token.clone()
}

/// Waits until the other one leads and has written; prints how long that took.
async fn assert_takes_over(round: &Round, second: &Operator, first: &str, since: Instant, what: &str) {
    until("the second leads", || async { second.log().contains(" leads identity=") }).await;
    let leads = since.elapsed();
    let written = || async {
        round.requests().iter().any(|r| r.is_target_write() && r.succeeded() && r.token != first)
    };
    assert!(within(Duration::from_secs(40), Duration::from_millis(20), written).await, "{}", second.log());
    println!("{what}: the other leads after {leads:.1?} and writes after {:.1?}", since.elapsed());
}

#[tokio::test]
async fn the_leader_is_killed_and_the_other_takes_over_when_its_lease_has_lapsed() {
    let (mut round, mut second) = in_the_middle("leader-killed", &[], &[]).await;
    let first = token_of_the_leader(&round);
    round.world.operator.die();
    round.note("SIGKILL of the leader");
    assert_takes_over(&round, &second, &first, Instant::now(), "SIGKILL").await;
    std::mem::swap(&mut round.world.operator, &mut second);
    round.judge(500).await;
}

#[tokio::test]
async fn the_leader_is_asked_to_end_and_the_other_takes_over_at_once() {
    // The second one polls so rarely that only its watch can notify it.
    let (mut round, mut second) = in_the_middle("leader-terminated", &[], &RARE_POLLING).await;
    let first = token_of_the_leader(&round);
    round.note("SIGTERM of the leader");
    round.world.operator.signal("TERM");
    let since = Instant::now();
    round.resume();
    until("the first ends", || std::future::ready(second_ended(&mut round))).await;
    assert!(round.world.operator.log().contains("the Lease is released"), "{}", round.world.operator.log());
    assert_takes_over(&round, &second, &first, since, "SIGTERM").await;
    std::mem::swap(&mut round.world.operator, &mut second);
    round.judge(500).await;
}

fn second_ended(round: &mut Round) -> bool {
    round.world.operator.ended().is_some_and(|status| {
        assert!(status.success(), "{status}");
        true
    })
}

#[tokio::test]
async fn a_leader_paused_until_another_leads_writes_nothing_and_exits() {
    let (mut round, mut second) = in_the_middle("leader-paused", &[], &[]).await;
    let first = token_of_the_leader(&round);
    round.note("SIGSTOP of the leader");
    let stopped = Timestamp::now();
    assert_takes_over(&round, &second, &first, Instant::now(), "SIGSTOP").await;
    let paused = round.mark();
    std::mem::swap(&mut round.world.operator, &mut second);
    second.signal("CONT");
    until("the first ends", || std::future::ready(ended_with_an_error(&mut second))).await;
    let log = second.log();
    assert!(log.contains("lost the Lease"), "{log}");
    let since = round.world.plane.requests_since(paused, &second.user);
    let written = |r: &&Request| r.token == first && !matches!(r.verb.as_str(), "get" | "list" | "watch");
    let written: Vec<_> = since.iter().filter(written).collect();
    // What was already handed to a connection cannot be held back: it is sent as soon as the process continues. It
    // cannot be more than was in flight, and the time in a stop shows that it was made before. The judge checks that it
    // does no harm.
    let made_before = |r: &&&Request| {
        let time = r.body.pointer("/status/stopRequest/time").and_then(|time| time.as_str());
        time.is_none_or(|time| time.parse::<Timestamp>().unwrap() <= stopped)
    };
    let before = written.iter().filter(made_before).count();
    assert!(before == written.len(), "a write started after the renew deadline: {written:#?}");
    assert!(before <= 2, "more than was in flight: {written:#?}");
    println!("{before} writes had been handed to a connection when it was paused");
    round.judge(500).await;
}

#[tokio::test]
async fn a_paused_leader_that_still_believes_it_leads_is_stopped_by_preconditions() {
    let (mut round, mut second) = in_the_middle("leader-deluded", &RARE_POLLING, &[]).await;
    let first = token_of_the_leader(&round);
    round.note("SIGSTOP of the leader");
    // It would keep its Lease for an hour: the admin removes it.
    round.world.operator.free_lease();
    assert_takes_over(&round, &second, &first, Instant::now(), "SIGSTOP and a Lease that is deleted").await;
    std::mem::swap(&mut round.world.operator, &mut second);
    round.over("round").await;
    let paused = round.mark();
    second.signal("CONT");
    let user = second.user.clone();
    let written = || {
        let since = round.world.plane.requests_since(paused, &user);
        let own = since.into_iter().filter(|r| r.token == first);
        own.filter(|r| r.is_target_write() || (r.is_record() && matches!(&*r.verb, "update" | "patch")))
            .collect::<Vec<_>>()
    };
    // Which comes first, the next write to a target or the next report, depends on which answer it handles first.
    until("it tries to write", || async { !written().is_empty() }).await;
    assert!(second.is_running());
    // On SIGTERM it waits for the answers to everything that it has sent, and releases a Lease only if it is its own.
    assert!(second.stop().success());
    let written = written();
    assert!(written.iter().all(|r| !r.succeeded()), "the guards do not hold: {written:#?}");
    let targets = written.iter().filter(|r| r.is_target_write()).count();
    println!("{} writes were refused, {targets} of them to targets", written.len());
    round.judge(500).await;
}

fn ended_with_an_error(operator: &mut Operator) -> bool {
    operator.ended().is_some_and(|status| {
        assert_eq!(status.code(), Some(1), "{status}");
        true
    })
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_exits() {
    let mut round = Round::new("leader-deposed").await;
    round.start_with(&IN_FLIGHT);
    round.logged("it leads", |log| log.contains(" leads identity=")).await;
    let leases = Api::<Lease>::namespaced(round.world.client.clone(), &round.world.home);
    let other = json!({"spec": {"holderIdentity": "somebody-else"}});
    leases.patch("ai-api-operator", &PatchParams::default(), &Patch::Merge(other)).await.unwrap();
    round.note("another holds the Lease");
    until("it ends", || std::future::ready(ended_with_an_error(&mut round.world.operator))).await;
    let log = round.world.operator.log();
    assert!(log.contains("lost the Lease: somebody-else has taken it"), "{log}");
    round.submit().await;
    // It must not take it: the next one waits until it has not changed for its duration.
    round.start_with(&IN_FLIGHT);
    round.judge(500).await;
}
