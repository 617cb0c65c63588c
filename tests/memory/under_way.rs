//! The maximum memory of a BulkUpdate in each state in which it may stay: counted as it is allocated, with a fake API
//! server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ai_api_operator::{
    api::{Kind, MAX_ITEMS},
    bulk_update::{Context, Events, HeldBack, Registry, Rules, Stored, Writers},
    client::{clock::Clock, slots::Slots},
    observed::{CapabilityFlag, Index, Observed, Policies, Scope},
    telemetry::Metrics,
};
use k8s_openapi::jiff::Timestamp;
use kube::{Client, client::Body, runtime::watcher::Event};
use serde_json::{Value, json};
use stats_alloc::Region;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{ALLOCATOR, ALONE};

/// The shared part is divided by this number.
const BULK_UPDATES: usize = 10;

/// The overhead of an allocation: with glibc a word, and rounding up.
const OVERHEAD: i64 = 16;

/// The most that may be kept for an active one and for a finished one, in bytes.
const UNDER_WAY: f64 = 64.0 * 1024.0;
const OVER: f64 = 4.0 * 1024.0;

/// One state, and how it is reached.
#[derive(Clone, Copy)]
struct State {
    what: &'static str,
    /// Whether it waits for the admission policy, which is missing.
    unchecked: bool,
    /// The state of its targets, if the index knows them.
    targets: Option<&'static str>,
    /// Whether the watch of targets shows what was written.
    watched: bool,
    /// The status that an earlier process has left, if any: that of each item except the first, which is scheduled.
    left: Option<fn() -> Value>,
    time_to_live: Option<u32>,
    /// The answers about targets, and the flag.
    answer: fn(&str, &str) -> (u16, Value),
    at_most: f64,
}

const STATE: State = State {
    what: "",
    unchecked: false,
    targets: Some("DEAD"),
    watched: false,
    left: None,
    time_to_live: None,
    answer: |method, path| if is_flag(path) { flag() } else { deleted(method, path) },
    at_most: UNDER_WAY,
};

#[test]
fn a_bulk_update_has_a_bound_in_each_state_that_lasts() {
    let _alone = ALONE.blocking_lock();
    let states = [
        State { what: "waits for the policy", unchecked: true, answer: |_, path| refused(path), ..STATE },
        State { what: "waits for the flag", answer: |_, path| refused(path), ..STATE },
        State {
            what: "waits for reads that fail",
            targets: None,
            answer: |_, path| if is_flag(path) { flag() } else { refused(path) },
            ..STATE
        },
        State {
            what: "waits for writes that fail",
            answer: |method, path| match method {
                "GET" if is_flag(path) => flag(),
                "GET" => (200, object(path, "10000000", "DEAD")),
                _ => refused(path),
            },
            ..STATE
        },
        State {
            what: "waits for reads and writes that fail",
            answer: |_, path| if is_flag(path) { flag() } else { refused(path) },
            ..STATE
        },
        State { what: "waits for its targets", watched: true, ..STATE },
        State { what: "waits for its targets again", left: Some(|| left("Scheduled")), ..STATE },
        State {
            what: "waits for one of its targets, the others refused",
            answer: |method, path| match path {
                _ if is_flag(path) => flag(),
                _ if path.ends_with("000") => deleted(method, path),
                _ => (200, object(path, "10000000", &"X".repeat(500))),
            },
            ..STATE
        },
        State {
            what: "waits for one of its targets again, the others failed",
            left: Some(|| left("Failed")),
            ..STATE
        },
        State { what: "is finished", left: Some(over), at_most: OVER, ..STATE },
        State {
            what: "is finished, and to be deleted in a day",
            left: Some(over),
            time_to_live: Some(86_400),
            at_most: OVER,
            ..STATE
        },
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let measure = async {
        let mut beyond = Vec::new();
        for state in &states {
            let kept = kept(state).await;
            println!("{}: {:.1} kB of {:.0}", state.what, kept / 1024.0, state.at_most / 1024.0);
            beyond.extend((kept > state.at_most).then_some(state.what));
        }
        assert!(beyond.is_empty(), "they take more memory than allowed: {beyond:?}");
    };
    runtime.unwrap().block_on(measure);
}

/// The number of bytes kept for one in this state.
async fn kept(state: &State) -> f64 {
    let scope = Scope { kind: Kind::Execution, namespace: None };
    let index = Index::new([]);
    let all = |version: &str, as_it_is: &str| {
        for (bulk, at) in (0..BULK_UPDATES).flat_map(|bulk| (0..MAX_ITEMS).map(move |at| (bulk, at))) {
            let object = object(&id(bulk, at), version, as_it_is).to_string();
            let object: Observed = serde_json::from_str(&object).unwrap();
            index.take_in(&scope, Event::Apply(object));
        }
    };
    if let Some(targets) = state.targets {
        all("10000000", targets);
    }
    let ctx = context(*state, &index);
    let (events, registry) = futures::channel::mpsc::unbounded();
    let registry = tokio::spawn(Registry::new(Arc::clone(&ctx)).run(registry));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let region = Region::new(ALLOCATOR);
    for number in 0..BULK_UPDATES {
        let stored: Stored = serde_json::from_str(&bulk_update(number, state).to_string()).unwrap();
        events.unbounded_send((None, Event::Apply(stored))).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    if state.watched {
        all("30000000", "DEAD");
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let change = region.change();
    assert_eq!(
        ctx.health.underway(),
        if state.at_most < UNDER_WAY { 0 } else { BULK_UPDATES },
        "{}",
        state.what
    );
    let number = |n: usize| i64::try_from(n).unwrap();
    let bytes = number(change.bytes_allocated) - number(change.bytes_deallocated);
    let count = number(change.allocations) - number(change.deallocations);
    ctx.shutdown.cancel();
    registry.await.unwrap();
    (bytes + OVERHEAD * count) as f64 / BULK_UPDATES as f64
}

fn context(state: State, index: &Arc<Index>) -> Arc<Context> {
    let versions = AtomicU64::new(20_000_000);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let (code, body) = match path.contains("/bulkupdates/") {
            true if method == "GET" => (200, bulk_update(last_of(path)[..20].parse().unwrap(), &state)),
            true => (
                200,
                json!({"metadata": {"resourceVersion": versions.fetch_add(1, Ordering::SeqCst).to_string()}}),
            ),
            false if path.ends_with("/events") => (201, json!({})),
            false => (state.answer)(method, path),
        };
        let body = Body::from(body.to_string().into_bytes());
        std::future::ready(http::Response::builder().status(code).body(body))
    });
    let client = Client::new(service, "default");
    let (clock, tracker) = (Clock::default(), TaskTracker::new());
    Arc::new(Context {
        events: Events::new(client.clone(), clock.clone(), tracker.clone()),
        index: Arc::clone(index),
        flag: CapabilityFlag::new(client.clone(), "ai-api-system".into(), "ai-api-meta".into()),
        policies: Policies::new(state.unchecked, None, watch::Sender::default()),
        clock,
        metrics: Metrics::default(),
        health: Arc::default(),
        slots: Slots::new(16),
        rules: Rules::default(),
        writers: Writers::default(),
        held_back: HeldBack::default(),
        tracker,
        shutdown: CancellationToken::new(),
        client,
    })
}

/// The longest that the schema accepts. The part before the dash says which BulkUpdate it belongs to.
fn id(bulk: usize, at: usize) -> String {
    format!("{bulk:0>20}-{at:0>43}")
}

fn name(bulk: usize) -> String {
    format!("{bulk:0>20}-{:0>200}", 0)
}

fn last_of(path: &str) -> &str {
    path.trim_end_matches("/status").rsplit('/').next().unwrap()
}

fn uid(of: &str) -> String {
    format!("3f2c1b7e-5d0a-4c1f-{}-{}", &of[16..20], &of[of.len() - 12..])
}

fn bulk_update(number: usize, state: &State) -> Value {
    let items: Vec<_> = (0..MAX_ITEMS)
        .map(|at| json!({"id": id(number, at), "targetStatus": "DELETED", "uid": uid(&id(number, at))}))
        .collect();
    let mut bulk_update = json!({
        "apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"namespace": "n".repeat(63), "name": name(number), "uid": uid(&name(number)),
            "resourceVersion": "10000000", "generation": 1, "creationTimestamp": Timestamp::now().to_string(),
            "annotations": {"example.com/note": "of others"}},
        "spec": {"executions": items},
    });
    if let Some(seconds) = state.time_to_live {
        bulk_update["spec"]["ttlSecondsAfterFinished"] = seconds.into();
    }
    if let Some(left) = state.left {
        let mut status = left();
        let of_each = status["executions"].take();
        let mut entries = vec![of_each; MAX_ITEMS];
        entries[0] = json!({"result": "Scheduled"});
        for (entry, item) in entries.iter_mut().zip(items) {
            entry.as_object_mut().unwrap().extend(item.as_object().unwrap().clone());
        }
        status["executions"] = entries.into();
        bulk_update["status"] = status;
    }
    bulk_update
}

fn left(result: &str) -> Value {
    let message = (result == "Failed").then(|| "m".repeat(120));
    let condition = |type_: &str| {
        json!({"type": type_, "status": "True", "reason": "Waiting", "message": "m".repeat(1024),
            "lastTransitionTime": Timestamp::now().to_string(), "observedGeneration": 1})
    };
    let conditions = ["Accepted", "Ready", "Reconciling", "Stalled"].map(condition);
    json!({"observedGeneration": 1, "startTime": Timestamp::now().to_string(),
        "conditions": conditions,
        "executions": {"result": result, "message": message, "observedState": "DEAD"}})
}

fn over() -> Value {
    let mut status = left("Failed");
    status["completionTime"] = Timestamp::now().to_string().into();
    status
}

/// The target of this path, or with this name.
fn object(path: &str, version: &str, state: &str) -> Value {
    let name = last_of(path);
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution",
        "metadata": {"namespace": "n".repeat(63), "name": name, "uid": uid(name), "resourceVersion": version,
            "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {}, "status": {"state": state}})
}

/// It still exists, because of a finalizer.
fn deleted(_: &str, path: &str) -> (u16, Value) {
    let mut object = object(path, "30000000", "DEAD");
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    (200, object)
}

fn is_flag(path: &str) -> bool {
    path.contains("/configmaps/")
}

fn flag() -> (u16, Value) {
    let data = json!({"bulkUpdates": "{executions: true, deployments: true}"});
    (200, json!({"metadata": {"uid": "u", "resourceVersion": "1"}, "data": data}))
}

/// A refusal by something between the operator and the API server.
fn refused(path: &str) -> (u16, Value) {
    (500, json!({"kind": "Status", "code": 500, "message": format!("{path}: {}", "m".repeat(3000))}))
}
