//! The AI API over HTTP: what callers get, and that the cluster agrees.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod bad_requests;
mod callers;
mod extensions;
mod greedy;
mod kubelet;
mod load;
mod logs;
mod modify;
mod operator;
mod read;
mod requests;
mod tls;

use ai_api_operator::api::{BulkUpdate, Kind};
use kube::api::ListParams;
use serde_json::{Value, json};
use support::{
    World,
    gateway::{Caller, Gateway},
};

const OTHER: &str = "pipelines.example.com/runner";

async fn gateway(name: &str) -> (World, Gateway, Caller) {
    let world = World::running(name).await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    (world, gateway, caller)
}

fn all(kind: Kind) -> String {
    format!("/v2/lm/{}", kind.plural())
}

fn item(id: &str, target: &str) -> Value {
    json!({"id": id, "targetStatus": target})
}

async fn state(world: &World, kind: Kind, name: &str) -> Option<String> {
    let object = world.find(kind, name).await?;
    Some(object.data["status"]["state"].as_str().unwrap().to_owned())
}

/// The BulkUpdate that a request has created.
async fn made(world: &World, id: &str) -> BulkUpdate {
    world.bulk_updates().get(&format!("request-{id}")).await.unwrap()
}

async fn bulk_updates(world: &World) -> usize {
    world.bulk_updates().list(&ListParams::default()).await.unwrap().items.len()
}
