//! How much memory a BulkUpdate under way takes, at its largest: counted as it is allocated, against an API server that answers
//! as it is told to.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]
#![allow(clippy::cast_precision_loss, reason = "the numbers are small")]

use std::{
    alloc::System,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ai_api_operator::{
    admission::Policies,
    api::Kind,
    bulk_update::{Context, Crowd, Registry, decide::Rules, stored::Stored},
    clock::Clock,
    index::{Index, Scope},
    meta::Meta,
    metrics::Metrics,
    slots::Slots,
    target::Observed,
};
use futures::{StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client,
    client::Body,
    runtime::{events::Recorder, watcher::Event},
};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BULK_UPDATES: usize = 100;

fn id(bulk: usize, at: usize) -> String {
    format!("{bulk:0>10}-{at:0>53}")
}

fn object(bulk: usize, at: usize, version: u64, state: &str, terminating: bool) -> Value {
    let mut object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution",
        "metadata": {"namespace": namespace(bulk), "name": id(bulk, at), "uid": uid(bulk * 1000 + at), "resourceVersion": version.to_string(),
            "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {}, "status": {"state": state}});
    if terminating {
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    object
}

fn uid(n: usize) -> String {
    format!("3f2c1b7e-5d0a-4c1f-9a47-{n:0>12}")
}

fn namespace(bulk: usize) -> String {
    format!("{:0>63}", bulk % 10)
}

fn bulk(n: usize, verb: &str, uids: bool) -> Value {
    let items: Vec<_> = (0..100)
        .map(|at| {
            let mut item = json!({"id": id(n, at), "targetStatus": verb});
            if uids {
                item["uid"] = uid(n * 1000 + at).into();
            }
            item
        })
        .collect();
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"namespace": namespace(n), "name": format!("{n:0>230}"), "uid": uid(n), "resourceVersion": "10000000",
            "generation": 1, "creationTimestamp": Timestamp::now().to_string(), "annotations": {"a": "b"}},
        "spec": {"executions": items}})
}

type Answer = Box<dyn Fn(&str, &str) -> (u16, Value) + Send + Sync>;

fn context(required: bool, index: &Arc<Index>, answer: Answer) -> Arc<Context> {
    let version = AtomicU64::new(20_000_000);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let (code, mut body) = if path.contains("/bulkupdates/") && (method == "PUT" || method == "PATCH") {
            (200, json!({"metadata": {}}))
        } else if path.contains("/events") {
            (500, json!({}))
        } else {
            answer(method, path)
        };
        if code == 200 {
            let old = body["metadata"]["resourceVersion"].as_str().is_some();
            if !old {
                let version = version.fetch_add(1, Ordering::SeqCst);
                body["metadata"]["resourceVersion"] = version.to_string().into();
            }
        }
        let body = Body::from(body.to_string().into_bytes());
        std::future::ready(http::Response::builder().status(code).body(body))
    });
    let client = Client::new(service, "default");
    Arc::new(Context {
        index: Arc::clone(index),
        meta: Meta::new(client.clone(), "ai-api-system".into(), "ai-api-meta".into()),
        policies: Policies::new(required, None, watch::Sender::default()),
        clock: Clock::default(),
        metrics: Metrics::default(),
        health: Arc::default(),
        slots: Slots::new(16),
        rules: Rules::default(),
        recorder: Recorder::new(client.clone(), "test".into()),
        writing: Crowd::default(),
        tracker: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        client,
    })
}

fn failure(path: &str, code: u16) -> (u16, Value) {
    let name = path.rsplit('/').next().unwrap();
    (
        code,
        json!({"kind": "Status", "code": code, "message": format!("{path} {}", "no ".repeat(1000)), "details": {"name": name}}),
    )
}

fn flag(on: bool) -> (u16, Value) {
    if on {
        (
            200,
            json!({"metadata": {"uid": "x", "resourceVersion": "1"}, "data": {"bulkUpdates": "{executions: true, deployments: true}"}}),
        )
    } else {
        (500, json!({"kind": "Status", "code": 500, "message": "m".repeat(5000)}))
    }
}

fn of_path(path: &str) -> (usize, usize) {
    let name = path.trim_end_matches("/status").rsplit('/').next().unwrap();
    let (bulk, at) = name.split_once('-').unwrap();
    (bulk.parse().unwrap(), at.parse().unwrap())
}

fn taken(stats: &Stats) -> (f64, f64) {
    let bytes = stats.bytes_allocated as f64 - stats.bytes_deallocated as f64;
    let count = stats.allocations as f64 - stats.deallocations as f64;
    (bytes, count)
}

async fn measure(
    what: &str,
    required: bool,
    indexed: Option<(&str, bool)>,
    verb: &str,
    uids: bool,
    seconds: u64,
    status: Option<fn(usize) -> Value>,
    answer: Answer,
) {
    let scope = Scope { kind: Kind::Execution, namespace: None };
    let index = Index::new([]);
    if let Some((state, _)) = indexed {
        index.take_in(&scope, Event::Init);
        for n in 0..BULK_UPDATES {
            for at in 0..100 {
                let object: Observed =
                    serde_json::from_str(&object(n, at, 1_000_000, state, false).to_string()).unwrap();
                index.take_in(&scope, Event::InitApply(object));
            }
        }
    }
    let ctx = context(required, &index, answer);
    let (send, receive) = futures::channel::mpsc::unbounded();
    let running = tokio::spawn(Registry::new(Arc::clone(&ctx)).run(receive));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let region = Region::new(ALLOCATOR);
    for n in 0..BULK_UPDATES {
        let mut bulk = bulk(n, verb, uids);
        if let Some(status) = status {
            bulk["status"] = status(n);
        }
        let stored: Stored = serde_json::from_str(&bulk.to_string()).unwrap();
        send.unbounded_send((None::<String>, Event::Apply(stored))).unwrap();
        drop(bulk);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    if let Some((state, true)) = indexed {
        let between = region.change();
        for n in 0..BULK_UPDATES {
            for at in 0..100 {
                let object: Observed =
                    serde_json::from_str(&object(n, at, 30_000_000, state, true).to_string()).unwrap();
                index.take_in(&scope, Event::Apply(object));
            }
        }
        let _ = between;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    let (bytes, count) = taken(&region.change());
    let each = BULK_UPDATES as f64;
    println!(
        "{what}: {:.0} bytes in {:.0} allocations: about {:.1} kB",
        bytes / each,
        count / each,
        (bytes + 16.0 * count) / each / 1000.0
    );
    assert_eq!(ctx.health.underway(), BULK_UPDATES, "{what}");
    ctx.shutdown.cancel();
    running.await.unwrap();
    drop(send);
    let _ = stream::iter([1]).next().await;
}

#[test]
fn a_bulk_update_under_way_is_bounded() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        measure(
            "waits for the policy",
            true,
            None,
            "STOPPED",
            true,
            20,
            None,
            Box::new(|_, path| failure(path, 500)),
        )
        .await;
        measure("waits for the flag", false, None, "STOPPED", true, 20, None, Box::new(|_, _| flag(false)))
            .await;
        let gets_fail =
            |_: &str, path: &str| if path.contains("configmaps") { flag(true) } else { failure(path, 500) };
        measure("reads fail", false, None, "STOPPED", true, 60, None, Box::new(gets_fail)).await;
        measure(
            "writes and reads fail",
            false,
            Some(("RUNNING", false)),
            "STOPPED",
            true,
            120,
            None,
            Box::new(gets_fail),
        )
        .await;
        let writes_fail = |method: &str, path: &str| match method {
            _ if path.contains("configmaps") => flag(true),
            "GET" => {
                let (n, at) = of_path(path);
                (200, object(n, at, 1_000_000, "RUNNING", false))
            }
            _ => failure(path, 500),
        };
        measure(
            "writes fail",
            false,
            Some(("RUNNING", false)),
            "STOPPED",
            true,
            120,
            None,
            Box::new(writes_fail),
        )
        .await;
        let deletes = |_: &str, path: &str| {
            if path.contains("configmaps") {
                return flag(true);
            }
            let (n, at) = of_path(path);
            (200, object(n, at, 30_000_000, "DEAD", true))
        };
        measure("accepted", false, Some(("DEAD", false)), "DELETED", true, 60, None, Box::new(deletes)).await;
        measure(
            "accepted and watched",
            false,
            Some(("DEAD", true)),
            "DELETED",
            true,
            60,
            None,
            Box::new(deletes),
        )
        .await;
        let refused = |_: &str, path: &str| {
            if path.contains("configmaps") {
                return flag(true);
            }
            let (n, at) = of_path(path);
            if at == 0 {
                (200, object(n, at, 30_000_000, "DEAD", true))
            } else {
                (200, object(n, at, 1_000_000, &"X".repeat(400), false))
            }
        };
        measure("refused", false, Some(("DEAD", false)), "DELETED", true, 60, None, Box::new(refused)).await;
    });
}
