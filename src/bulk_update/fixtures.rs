//! Fixtures of the unit tests.

use std::sync::{Arc, Mutex};

use k8s_openapi::jiff::Timestamp;
use kube::{Client, Config, client::Body};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{BulkUpdate, EngineKind, ItemResult, ItemStatus, Kind, State, TargetStatus},
    bulk_update::{
        Events, HeldBack, Writers,
        context::Context,
        facts::{Lookup, Obstacle, Rejection, Rules},
        request::{Item, Request, item_status},
        resource::Live,
        work::{Entry, Progress, Work},
    },
    client::{clock::Clock, slots::Slots},
    observed::{
        admission::Policies,
        flag::CapabilityFlag,
        index::Index,
        target::{self, Target},
    },
    telemetry::metrics::Metrics,
};

/// The uid of the BulkUpdate.
pub(super) const OWN: &str = "uid-of-the-bulk-update";
/// The id of the item, where there is one.
pub(super) const ID: &str = "churn-model-v3";
/// The uid of its target.
pub(super) const MEANT: &str = "uid-of-the-object";
/// The uid of another object under that name.
pub(super) const OTHER: &str = "uid-of-another-object";

pub(super) const VERBS: [TargetStatus; 2] = [TargetStatus::Stopped, TargetStatus::Deleted];

pub(super) const RESULTS: [ItemResult; 6] = [
    ItemResult::Planned,
    ItemResult::Eligible,
    ItemResult::Scheduled,
    ItemResult::Settled,
    ItemResult::Refused,
    ItemResult::Failed,
];

/// A context whose API server does not answer.
pub(super) fn context() -> Arc<Context> {
    context_of(Client::try_from(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap())
}

/// A context whose API server answers each request (method and path) with a status and a body, and the list of
/// requests.
pub(super) fn answering(
    answer: impl Fn(&str, &str) -> (u16, Value) + Send + Sync + 'static,
) -> (Arc<Context>, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&asked);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (method, path) = (request.method().as_str(), request.uri().path());
        list.lock().unwrap().push(format!("{method} {path}"));
        let (status, body) = answer(method, path);
        let body = Body::from(body.to_string().into_bytes());
        std::future::ready(http::Response::builder().status(status).body(body))
    });
    (context_of(Client::new(service, "default")), asked)
}

pub(super) fn context_of(client: Client) -> Arc<Context> {
    let (clock, tracker) = (Clock::default(), TaskTracker::new());
    Arc::new(Context {
        events: Events::new(client.clone(), clock.clone(), tracker.clone()),
        index: Index::new([]),
        flag: CapabilityFlag::new(client.clone(), "ai-api-system".into(), "ai-api-meta".into()),
        policies: Policies::for_bulk_updates(false, |_| None, watch::Sender::default()),
        work_policies: Policies::for_work(false, |_| None, watch::Sender::default()),
        clock,
        metrics: Metrics::default(),
        health: Arc::default(),
        slots: Slots::new(1),
        rules: Rules::default(),
        writers: Writers::default(),
        held_back: HeldBack::default(),
        tracker,
        shutdown: CancellationToken::new(),
        client,
    })
}

/// This many seconds after the BulkUpdate was created.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_268_800 + seconds).unwrap()
}

pub(super) fn bulk(spec: &Value) -> BulkUpdate {
    serde_json::from_value(json!({
        "apiVersion": "aiapi.dev/v1alpha1",
        "kind": "BulkUpdate",
        "metadata": {"namespace": "team-a", "name": "nightly", "uid": OWN, "resourceVersion": "7",
            "generation": 1, "creationTimestamp": at(0).to_string()},
        "spec": spec,
    }))
    .unwrap()
}

/// One item and no options.
pub(super) fn spec(kind: Kind, verb: TargetStatus) -> Value {
    json!({kind.plural(): [{"id": ID, "targetStatus": verb}]})
}

pub(super) fn request(kind: Kind, verb: TargetStatus) -> Request {
    Request::from(&bulk(&spec(kind, verb)))
}

/// The work of a target that has some.
pub(super) const WORK: target::Work =
    target::Work { given: target::Given::Template, engine: Some(EngineKind::Job) };

/// Managed by the operator, without work, an hour older than the BulkUpdate.
pub(super) fn target(state: State) -> Target {
    Target {
        uid: MEANT.into(),
        resource_version: "10".into(),
        created: at(-3600).as_second(),
        first_seen: 10,
        state: Ok(state),
        stop_asked: false,
        stop_request: None,
        managed_by_other: false,
        work: None,
        terminating: false,
        unobserved: false,
    }
}

/// From the cache.
pub(super) fn cached(object: Option<Target>) -> Lookup {
    Lookup::Cached(object.map(Arc::new))
}

/// Read live.
pub(super) fn live(object: Option<Target>) -> Lookup {
    Lookup::Live(object.map(Arc::new))
}

/// Read live, while the cache is stale.
pub(super) fn ahead(object: Target) -> Lookup {
    Lookup::Ahead(Arc::new(object))
}

/// The target cannot be read.
pub(super) fn unread(why: &str) -> Obstacle {
    Obstacle::Read { kind: Kind::Execution, id: ID.into(), why: why.into() }
}

/// What a process knows that has read it live.
pub(super) fn work_on(bulk: &BulkUpdate, creation_version: Option<u64>) -> Work {
    Work::new(&Live::of(bulk.clone()), creation_version)
}

/// The flag is off.
pub(super) fn off() -> Rejection {
    Rejection::Disabled { kind: Kind::Execution, config_map: "ai-api-system/ai-api-meta".into() }
}

/// One that the operation applies to.
pub(super) fn eligible(verb: TargetStatus) -> Target {
    target(match verb {
        TargetStatus::Stopped => State::Running,
        TargetStatus::Deleted => State::Dead,
    })
}

pub(super) fn record(item: &Item, result: ItemResult) -> ItemStatus {
    ItemStatus { uid: Some(MEANT.into()), ..item_status(item, result) }
}

pub(super) fn entry(item: &Item, result: ItemResult) -> Entry {
    Entry { item: item.clone(), record: Some(record(item, result)), progress: Progress::default() }
}
