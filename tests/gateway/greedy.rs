//! Somebody takes as much of the gateway as they can get, with a token or without: what a bystander gets meanwhile.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use ai_api_operator::{api::Kind, server::raise_open_files};
use futures::future::join_all;
use http_body_util::BodyExt;
use serde_json::json;
use support::{
    World,
    gateway::{Caller, Gateway},
    until, within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::requests::{all_of, written};

const PATH: &str = "/v2/lm/executions/running-1";

/// More than the gateway ever needs, in kB.
const MOST_MEMORY: u64 = 64 * 1024;

/// How many bodies may be arriving.
const ARRIVING: usize = 256;

/// How many connections may be open.
const CONNECTIONS: usize = 1024;

/// Somebody in a namespace of their own, with an operator of its own, and an execution that runs.
async fn bystander(gateway: &Gateway, name: &str) -> (World, Caller) {
    let world = World::running(name).await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    let caller = gateway.caller(&world, "bystander").await;
    (world, caller)
}

/// Their reads and modifications are carried out, and probes are answered.
async fn is_served(gateway: &Gateway, world: &World, caller: &Caller) {
    assert_eq!(caller.get("/v2/lm/executions").await.ok(200)["count"], 1);
    caller.get(PATH).await.ok(200);
    caller.get("/v2/lm/meta").await.ok(200);
    for probe in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(gateway.probe(probe).await.status, 200, "{probe}");
    }
    world.next_second().await;
    caller.patch(PATH, &json!({"targetStatus": "STOPPED"})).await.ok(202);
}

#[tokio::test]
async fn bodies_that_do_not_arrive_keep_nobody_out() {
    let (_world, gateway, caller) = crate::gateway("gw-slow-bodies").await;
    let (world, bystander) = bystander(&gateway, "gw-slow-bodies-by").await;
    let head = format!(
        "PATCH {PATH} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer x\r\nAI-Resource-Group: {}\r\n\
         Content-Type: application/json\r\nContent-Length: 27\r\nConnection: close\r\n\r\n{{\"targetStatus\":",
        caller.namespace
    );
    let (late, evicted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // Each that has ended is followed by another, so that there are always as many as there may be.
    let slow = join_all((0..ARRIVING + 40).map(async |_| {
        loop {
            let answer = all_of(written(&gateway.address, &head).await).await;
            let body = answer.split_once("\r\n\r\n").unwrap().1;
            if answer.starts_with("HTTP/1.1 408 ") {
                assert!(body.contains("the body did not arrive within 10s"), "{answer}");
                late.fetch_add(1, Ordering::Relaxed);
            } else {
                assert!(
                    answer.starts_with("HTTP/1.1 429 ") && answer.contains("\r\nretry-after: 1\r\n"),
                    "{answer}"
                );
                assert!(
                    body.contains("too many bodies are arriving, and this one has taken the longest"),
                    "{answer}"
                );
                evicted.fetch_add(1, Ordering::Relaxed);
            }
        }
    }));
    let meanwhile = async {
        until("as many are arriving as may", || async { evicted.load(Ordering::Relaxed) > 0 }).await;
        is_served(&gateway, &world, &bystander).await;
    };
    tokio::select! { _ = slow => {}, () = meanwhile => {} }
    assert!(gateway.resident("VmHWM") < MOST_MEMORY);
    // One that has all the time it may have.
    let answer = all_of(written(&gateway.address, &head).await).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn modifications_with_tokens_that_nobody_has_accepted_keep_nobody_out() {
    let world = World::new("gw-forged").await;
    // There is room for one of them.
    crate::load::busy(&world, 1000).await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    let gateway = Gateway::start(&world).await;
    let bystander = gateway.caller(&world, "bystander").await;
    let forged = join_all((0..100).map(async |n| {
        let items: Vec<_> =
            (0..100).map(|item| crate::item(&format!("item-{n}-{item}"), "STOPPED")).collect();
        let headers = [
            ("Authorization", "Bearer x"),
            ("AI-Resource-Group", &*world.namespace),
            ("Content-Type", "application/json"),
        ];
        let body = json!({"executions": items}).to_string();
        bystander.raw("PATCH", "/v2/lm/executions", &headers, &body).await.unwrap()
    }))
    .await;
    for answer in forged {
        let (_, message) = answer.error(401);
        assert!(message.contains("does not accept the bearer token"), "{message}");
    }
    // Taken, and withdrawn for want of an operator.
    bystander.patch(PATH, &json!({"targetStatus": "STOPPED"})).await.error(503);
}

#[tokio::test]
async fn responses_that_nobody_receives_keep_nobody_out_and_end() {
    let (world, gateway, greedy) = crate::gateway("gw-stalled").await;
    let (other_world, bystander) = bystander(&gateway, "gw-stalled-by").await;
    join_all((0..120).map(async |n| {
        world.own(Kind::Execution, &format!("running-{n}"), "RUNNING").await;
    }))
    .await;
    // From now on the token is known, and its requests count for its namespace at once.
    greedy.get(PATH).await.ok(200);
    // As many on each as the gateway takes.
    let connections: Vec<_> = (0..10).map(|_| greedy.over_a_narrow_connection()).collect();
    let lists =
        connections.iter().flat_map(|over| (0..100).map(move |_| over.begin("GET", "/v2/lm/executions")));
    let answers = join_all(lists).await;
    let (begun, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status() == 200);
    // Half of the places of reads: what is left is for others.
    assert_eq!(begun.len(), 64);
    assert!(
        refused.iter().all(|answer| answer.status() == 429 && answer.headers().contains_key("retry-after"))
    );
    let message = greedy.get(PATH).await.error(429).1;
    assert!(message.contains("for this namespace, and what is left is for others"), "{message}");
    is_served(&gateway, &other_world, &bystander).await;
    // Nor do they keep their own modifications out.
    world.next_second().await;
    greedy.patch(PATH, &json!({"targetStatus": "STOPPED"})).await.ok(202);
    let is_free = || async { greedy.get(PATH).await.status == 200 };
    assert!(within(Duration::from_mins(1), Duration::from_secs(1), is_free).await, "they keep their places");
    let broken = begun.into_iter().map(async |answer| answer.into_body().collect().await.is_err());
    // Those whose time is not over yet are received now.
    assert!(join_all(broken).await.into_iter().any(|broken| broken), "each was received");
    assert!(gateway.resident("VmHWM") < MOST_MEMORY);
}

#[tokio::test]
async fn modifications_that_wait_for_the_operator_keep_no_read_out_and_nobody_else() {
    let world = World::new("gw-no-operator").await;
    let gateway = Gateway::start(&world).await;
    let greedy = gateway.caller(&world, "greedy").await;
    let (other_world, bystander) = bystander(&gateway, "gw-no-operator-by").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    let stop = json!({"targetStatus": "STOPPED"});
    let first = greedy.patch(PATH, &stop);
    let waiting = async {
        // From now on the token is known, and its requests count for its namespace at once.
        until("the first waits", || async { crate::bulk_updates(&world).await == 1 }).await;
        join_all((0..199).map(async |_| greedy.patch(PATH, &stop).await)).await
    };
    let meanwhile = async {
        // Half of the places: what is left is for others.
        until("as many wait as may", || async { crate::bulk_updates(&world).await == 128 }).await;
        let (_, message) = greedy.patch(PATH, &stop).await.error(429);
        assert!(message.contains("for this namespace, and what is left is for others"), "{message}");
        greedy.get(PATH).await.ok(200);
        greedy.get("/v2/lm/meta").await.ok(200);
        is_served(&gateway, &other_world, &bystander).await;
    };
    let (first, mut answers, ()) = tokio::join!(first, waiting, meanwhile);
    answers.push(first);
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(503), count(429)), (128, 72), "{answers:?}");
    assert_eq!(crate::bulk_updates(&world).await, 0, "each was withdrawn");
}

#[tokio::test]
async fn connections_that_stay_open_keep_nobody_out() {
    raise_open_files();
    let (_world, gateway, caller) = crate::gateway("gw-connections").await;
    let (world, bystander) = bystander(&gateway, "gw-connections-by").await;
    drop(caller);
    let mut open = vec![];
    for _ in 0..CONNECTIONS + 40 {
        let mut stream = written(&gateway.address, "HEAD /nowhere HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
        // Answered, and idle from now on.
        assert_eq!(stream.read_u8().await.unwrap(), b'H');
        open.push(stream);
    }
    is_served(&gateway, &world, &bystander).await;
    let is_closed = async |stream: &mut TcpStream| {
        // What is left of its first answer comes first.
        let asked =
            stream.write_all(b"GET /last HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n").await;
        let mut answer = String::new();
        asked.is_err() || stream.read_to_string(&mut answer).await.is_err() || !answer.contains("/last")
    };
    assert!(is_closed(&mut open[0]).await, "the oldest");
    assert!(!is_closed(open.last_mut().unwrap()).await, "the newest");
    assert!(gateway.resident("VmHWM") < MOST_MEMORY);
}
