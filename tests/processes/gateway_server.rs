//! The API server is paused or killed while a request is in progress.

use ai_api_operator::api::{ItemResult, Kind};
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};
use support::{
    World, count,
    gateway::{Answer, Caller, Gateway},
    operator::LONG_LEASE,
    until,
};

use crate::alone;

const KIND: Kind = Kind::Execution;
const PATH: &str = "/v2/lm/executions";

fn stop(id: &str) -> Value {
    json!({"executions": [{"id": id, "targetStatus": "STOPPED"}]})
}

async fn state(world: &World, name: &str) -> Value {
    world.find(KIND, name).await.unwrap().data["status"]["state"].clone()
}

async fn bulk_updates(world: &World) -> Vec<String> {
    world
        .bulk_updates()
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(ResourceExt::name_any)
        .collect()
}

/// Expects the outcome to be unknown, because the API server may still create the BulkUpdate; returns its name.
async fn answered_504(caller: &Caller, id: &str) -> String {
    let answer = caller.patch(PATH, &stop(id)).await;
    let (code, message) = answer.error(504);
    let name = format!("request-{}", answer.id());
    assert!(code == "OutcomeUnknown" && message.contains(&name), "{message}");
    assert!(message.contains("it may have been created"), "{message}");
    name
}

/// Expects that there was no connection for it.
fn was_not_sent(answer: &Answer) {
    let (code, message) = answer.error(503);
    let begins = message.starts_with("cannot reach the Kubernetes API: ");
    assert!(code == "ServiceUnavailable" && begins && message.ends_with("; nothing was done"), "{message}");
}

/// The status and the object agree: it was carried out, or nothing was done.
async fn is_consistent(world: &World, bulk: &str, id: &str) {
    if world.bulk_updates().get_opt(bulk).await.unwrap().is_some() {
        let status = world.finished(bulk).await;
        assert_eq!(
            state(world, id).await == "STOPPED",
            count(&status, ItemResult::Settled) == 1,
            "{status:#?}"
        );
    } else {
        assert_eq!(state(world, id).await, "RUNNING");
    }
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_reported_with_an_unknown_outcome() {
    let _alone = alone().await;
    let mut world = World::new("gw-server").await;
    world.operator.start(&LONG_LEASE);
    for n in 0..6 {
        world.own(KIND, &format!("running-{n}"), "RUNNING").await;
    }
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    caller.patch(PATH, &stop("running-0")).await.ok(202);
    // It leaves a connection to the API server, on which the next request is sent at once.
    caller.get(PATH).await.ok(200);
    // Without a connection to the API server for callers, so far.
    let other = Gateway::start(&world).await;
    let unconnected = other.caller(&world, "caller").await;

    // Paused before the request.
    let held = world.plane.hold("kube-apiserver");
    let last = stop("running-5");
    let (name, unsent) = tokio::join!(answered_504(&caller, "running-1"), unconnected.patch(PATH, &last));
    was_not_sent(&unsent);
    for path in [PATH, "/v2/lm/meta"] {
        let (code, message) = caller.get(path).await.error(503);
        let why = ["cannot reach the Kubernetes API: ", "none within 10s"];
        assert!(code == "ServiceUnavailable" && why.iter().any(|why| message.contains(why)), "{message}");
    }
    drop(held);
    // It may create the BulkUpdate now, as the answer said.
    caller.patch(PATH, &stop("running-2")).await.ok(202);
    is_consistent(&world, &name, "running-1").await;
    // And not the other one, of which it has seen nothing.
    let never = format!("request-{}", unsent.id());
    assert!(!bulk_updates(&world).await.contains(&never));

    // Paused after the creation, before the operator, paused too, has planned.
    world.operator.signal("STOP");
    let before = bulk_updates(&world).await;
    let patch = tokio::spawn({
        let caller = caller.clone();
        async move { caller.patch(PATH, &stop("running-3")).await }
    });
    until("a BulkUpdate", || async { bulk_updates(&world).await.len() > before.len() }).await;
    let held = world.plane.hold("kube-apiserver");
    let answer = patch.await.unwrap();
    let (code, message) = answer.error(504);
    let name = format!("request-{}", answer.id());
    assert!(code == "OutcomeUnknown" && message.contains(&name), "{message}");
    assert!(message.contains("it could not be withdrawn"), "{message}");
    drop(held);
    world.operator.signal("CONT");
    caller.patch(PATH, &stop("running-4")).await.ok(202);
    is_consistent(&world, &name, "running-3").await;

    // Killed: nothing received the request.
    let before = bulk_updates(&world).await.len();
    world.plane.kill("kube-apiserver").await;
    for path in [PATH, "/v2/lm/executions/running-5", "/v2/lm/executions/$count", "/v2/lm/meta"] {
        caller.get(path).await.error(503);
    }
    was_not_sent(&caller.patch(PATH, &stop("running-5")).await);
    assert_eq!((gateway.probe("/livez").await.status, gateway.probe("/readyz").await.status), (200, 200));
    world.plane.up();
    assert_eq!(bulk_updates(&world).await.len(), before);
    assert_eq!(state(&world, "running-5").await, "RUNNING");
    // The operator takes a while to follow a restarted server: the gateway must not depend on that.
    world.own(KIND, "canary", "RUNNING").await;
    world.carry_out("canary", stop("canary")).await;
    // The gateway and its connections have survived it.
    caller.patch(PATH, &stop("running-5")).await.ok(202);
    assert_eq!(state(&world, "running-5").await, "STOPPED");
    assert!(world.operator.is_running());
}
