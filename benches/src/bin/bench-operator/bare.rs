//! A client that only writes: the same guarded writes as the operator's, as many at once, and nothing else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ai_api_operator::{
    api::{Kind, TargetStatus},
    client::{Failure, send},
    observed::Observed,
};
use kube::{
    Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::Request,
};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

/// A target as it was created, and the action on it.
#[derive(Clone, Debug)]
pub struct Made {
    pub kind: Kind,
    pub namespace: Arc<str>,
    pub name: String,
    pub uid: String,
    pub version: String,
    pub verb: TargetStatus,
}

/// Carries out each action; returns how long that took, in milliseconds.
pub async fn write(client: &Client, targets: &[Made], in_flight: usize) -> f64 {
    let began = Instant::now();
    side_by_side(targets.iter().cloned(), in_flight, |slots, made| {
        let client = client.clone();
        async move { patiently(&slots, || write_one(&client, &made)).await }
    })
    .await;
    began.elapsed().as_secs_f64() * 1000.0
}

async fn write_one(client: &Client, made: &Made) -> Result<Value, Failure> {
    let url = Observed::url_path(&made.kind.api_resource(), Some(&made.namespace));
    let request = Request::new(url);
    let request = match made.verb {
        TargetStatus::Stopped => {
            let patch = json!({"metadata": {"resourceVersion": made.version}, "status": {
                "state": "STOPPED", "targetStatus": "STOPPED",
                "stopRequest": {"bulkUpdate": "bare", "uid": made.uid, "time": "2026-01-01T00:00:00Z"},
                "message": "stop requested by BulkUpdate bare"}});
            request.patch_subresource("status", &made.name, &PatchParams::default(), &Patch::Merge(patch))
        }
        TargetStatus::Deleted => {
            let preconditions =
                Preconditions { uid: Some(made.uid.clone()), resource_version: Some(made.version.clone()) };
            let params = DeleteParams {
                preconditions: Some(preconditions),
                propagation_policy: Some(PropagationPolicy::Background),
                ..DeleteParams::default()
            };
            request.delete(&made.name, &params)
        }
    };
    send(client, request).await
}

/// Creates an object of a kind, with a spec and an optional state; returns the object.
pub async fn create(client: &Client, key: (Kind, &str, &str), spec: &Value, state: Option<&str>) -> Value {
    create_labelled(client, key, &Value::Null, spec, state).await
}

/// The same with labels.
pub async fn create_labelled(
    client: &Client,
    (kind, namespace, name): (Kind, &str, &str),
    labels: &Value,
    spec: &Value,
    state: Option<&str>,
) -> Value {
    let url = Observed::url_path(&kind.api_resource(), Some(namespace));
    let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": kind.name(),
        "metadata": {"name": name, "labels": labels}, "spec": spec});
    let made = Request::new(&url).create(&PostParams::default(), object.to_string().into_bytes());
    let made: Value = send(client, made).await.unwrap();
    let Some(state) = state else { return made };
    set_state(client, (kind, namespace, name), state).await
}

/// Calls for each, `in_flight` at once; returns the results, in their order.
pub async fn side_by_side<T, R, F>(
    each: impl IntoIterator<Item = T>,
    in_flight: usize,
    call: impl Fn(Arc<Semaphore>, T) -> F,
) -> Vec<R>
where
    R: Send + 'static,
    F: Future<Output = R> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(in_flight));
    let mut tasks = JoinSet::new();
    for (at, each) in each.into_iter().enumerate() {
        // Not more tasks than slots; otherwise there would be a hundred thousand at once.
        let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
        let call = call(Arc::clone(&slots), each);
        tasks.spawn(async move {
            let result = call.await;
            drop(slot);
            (at, result)
        });
    }
    let mut results = tasks.join_all().await;
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Retries what the server rejects with 429, after the time that it says; its slot is free meanwhile.
async fn patiently<R, F>(slots: &Semaphore, call: impl Fn() -> F) -> R
where
    F: Future<Output = Result<R, Failure>>,
{
    loop {
        match call().await {
            Ok(result) => return result,
            Err(Failure::Refused { code: 429, retry_after, .. }) => {
                slots.add_permits(1);
                tokio::time::sleep(retry_after.unwrap_or(Duration::from_millis(100))).await;
                slots.acquire().await.unwrap().forget();
            }
            Err(failure) => panic!("{failure}"),
        }
    }
}

/// Sets a target's state, as its controller does; returns the object.
pub async fn set_state(client: &Client, (kind, namespace, name): (Kind, &str, &str), state: &str) -> Value {
    let url = Observed::url_path(&kind.api_resource(), Some(namespace));
    let patch = Patch::Merge(json!({"status": {"state": state}}));
    let patch = Request::new(url).patch_subresource("status", name, &PatchParams::default(), &patch);
    send(client, patch).await.unwrap()
}
