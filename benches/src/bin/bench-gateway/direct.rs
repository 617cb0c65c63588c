//! A client with a caller's rights that creates BulkUpdates itself, and follows each to its end.

use std::pin::pin;

use ai_api_operator::api::BulkUpdate;
use futures::TryStreamExt;
use kube::{
    Api, ResourceExt,
    api::{PostParams, WatchEvent, WatchParams},
};
use support::{World, control_plane::client_of, gateway::Caller, operator::kubeconfig_of};

use crate::requests::Request;

/// Where a caller's BulkUpdates are, for the caller: an admin passes the admission policy sooner.
pub async fn bulk_updates(world: &World, caller: &Caller) -> Api<BulkUpdate> {
    let account = caller.user.rsplit(':').next().unwrap();
    let file = kubeconfig_of(world.plane, &world.client, &caller.namespace, account).await;
    Api::namespaced(client_of(&file).await, &caller.namespace)
}

/// Creates the BulkUpdate of a request, and follows it until it has finished.
pub async fn carry_out(api: &Api<BulkUpdate>, request: Request<'_>) {
    let created = api.create(&PostParams::default(), &request.bulk_update()).await.unwrap();
    let only = WatchParams::default().fields(&format!("metadata.name={}", created.name_any()));
    let events = api.watch(&only, &created.resource_version().unwrap()).await.unwrap();
    let mut events = pin!(events);
    while let Some(event) = events.try_next().await.unwrap() {
        if let WatchEvent::Modified(bulk) = event
            && bulk.status.is_some_and(|status| status.completion_time.is_some())
        {
            return;
        }
    }
    panic!("the watch has ended before the BulkUpdate {}", created.name_any());
}
