//! A modification is taken only if it will be carried out in time, by what the operator publishes with its Lease.

use std::collections::BTreeMap;

use ai_api_operator::api::{FIELD_MANAGER, Kind};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use support::{World, gateway::Gateway, until};

use crate::{item, state};

const PATH: &str = "/v2/lm/executions/running-1";

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.client.clone(), &world.home)
}

fn load(backlog: u32) -> BTreeMap<String, String> {
    [("aiapi.dev/backlog", backlog.to_string()), ("aiapi.dev/rate", "100.0".to_owned())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// The Lease of an operator that has so many items to do.
pub async fn busy(world: &World, backlog: u32) {
    let metadata = ObjectMeta {
        name: Some(FIELD_MANAGER.into()),
        annotations: Some(load(backlog)),
        ..ObjectMeta::default()
    };
    leases(world).create(&PostParams::default(), &Lease { metadata, spec: None }).await.unwrap();
}

#[tokio::test]
async fn what_would_be_late_is_refused_unless_it_waits_for_other_namespaces_only() {
    let world = World::new("gw-late").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    busy(&world, 5000).await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    let stop = json!({"targetStatus": "STOPPED"});
    let answer = caller.patch(PATH, &stop).await;
    let (code, message) = answer.error(429);
    assert_eq!(code, "TooManyRequests");
    // Until no more than 11.25 s of work are left, at 100 items a second, and two seconds more.
    assert_eq!(answer.header("retry-after"), "41", "{message}");
    assert!(message.starts_with("the operator has too much to do"), "{message}");
    // What carries out nothing is not refused, nor is a read.
    caller.get(PATH).await.ok(200);
    assert_eq!(crate::bulk_updates(&world).await, 0);
    // As much as before, and none of it its own.
    let whose = json!({"aiapi.dev/backlog-by-namespace": "somebody-else=5000"});
    let patch = Patch::Merge(json!({"metadata": {"annotations": whose}}));
    leases(&world).patch(FIELD_MANAGER, &PatchParams::default(), &patch).await.unwrap();
    // Taken, and withdrawn for want of an operator.
    until("it is taken", || async { caller.patch(PATH, &stop).await.status == 503 }).await;
}

#[tokio::test]
async fn the_operator_publishes_how_much_it_has_to_do() {
    let (world, _gateway, caller) = crate::gateway("gw-load").await;
    for n in 0..20 {
        world.own(Kind::Execution, &format!("running-{n}"), "RUNNING").await;
    }
    let published = async |name: &str| {
        let lease = leases(&world).get(FIELD_MANAGER).await.unwrap();
        lease.metadata.annotations.unwrap_or_default().remove(name)?.parse::<f64>().ok()
    };
    assert_eq!(published("aiapi.dev/backlog").await, Some(0.0));
    assert_eq!(published("aiapi.dev/rate").await, None, "it was never busy");
    world.next_second().await;
    let items: Vec<_> = (0..20).map(|n| item(&format!("running-{n}"), "STOPPED")).collect();
    caller.patch("/v2/lm/executions", &json!({"executions": items})).await.ok(202);
    until("nothing is left", || async { published("aiapi.dev/backlog").await == Some(0.0) }).await;
    assert_eq!(state(&world, Kind::Execution, "running-0").await.as_deref(), Some("STOPPED"));
}
