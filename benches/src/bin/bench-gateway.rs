//! The gateway under load: 64 callers at once send 1,000 bulk requests of 100 items each; and a bare client creates the same
//! BulkUpdates. A request that is refused is sent again at the time that the answer names. A program, run by `make bench-gateway`: it prints figures, and fails only if an answer is missing or wrong.
//!
//! On a control plane of its own, whose etcd runs without fsync and whose API server keeps an audit log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the measurement")]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use ai_api_operator::api::{BulkUpdate, Execution, ExecutionSpec};
use futures::{StreamExt, stream};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use support::{
    World,
    gateway::{Caller, Gateway, http_client},
};

const CALLERS: usize = 64;
const ROUNDS: usize = 5;
const REQUESTS: u32 = 200;
/// Of each request's 100 items, these exist and can be deleted; the others do not exist.
const GOOD: usize = 90;
const ITEMS: usize = 100;

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(measure());
}

fn id(round: usize, request: u32, item: usize) -> String {
    format!("run-{round}-{request:03}-{item:02}")
}

fn items(round: usize, request: u32) -> Value {
    // The two sorts alternate, so that an answer out of order is noticed.
    let list = (0..ITEMS).map(|item| json!({"id": id(round, request, item), "targetStatus": "DELETED"}));
    list.collect()
}

/// Whether the item exists.
fn good(item: usize) -> bool {
    !item.is_multiple_of(ITEMS / (ITEMS - GOOD))
}

/// The durations of as many calls as there are requests, [`CALLERS`] at once; in milliseconds, sorted.
async fn timed<F: Future<Output = ()>>(call: impl Fn(u32) -> F) -> (Duration, Vec<f64>) {
    let began = Instant::now();
    let one = |at| {
        let call = call(at);
        async move {
            let began = Instant::now();
            call.await;
            began.elapsed().as_secs_f64() * 1000.0
        }
    };
    let mut took: Vec<_> = stream::iter(0..REQUESTS).map(one).buffer_unordered(CALLERS).collect().await;
    took.sort_by(f64::total_cmp);
    (began.elapsed(), took)
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

async fn measure() {
    let world = World::running("bench").await;
    let idle = World::new("bare").await;
    let gateway = Gateway::start(&world).await;
    // Each has a connection of their own.
    let one = gateway.caller(&world, "caller").await;
    let callers: Vec<_> = (0..CALLERS).map(|_| Caller { http: http_client(None), ..one.clone() }).collect();
    let executions: Api<Execution> = Api::namespaced(world.client.clone(), &world.namespace);
    let bare: Api<BulkUpdate> = Api::namespaced(world.client.clone(), &idle.namespace);
    println!(
        "{CALLERS} callers at once, {ROUNDS} rounds of {REQUESTS} requests of {ITEMS} items ({GOOD} of them exist)"
    );
    println!("gateway at start: {} kB resident", gateway.resident("VmRSS"));
    println!("round  create p50  p99 ms   gateway p50  p99 ms   ratio p50  p99   requests/s   resident kB");
    let refused = AtomicUsize::new(0);
    let mut all = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        make_executions(&executions, round).await;
        let (_, create) = timed(|request| {
            let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
                "metadata": {"name": format!("bare-{round}-{request}")},
                "spec": {"executions": items(round, request), "notAfter": "2100-01-01T00:00:00Z",
                    "startingDeadlineSeconds": 30, "ttlSecondsAfterFinished": 600}});
            let bulk: BulkUpdate = serde_json::from_value(bulk).unwrap();
            let bare = &bare;
            async move {
                bare.create(&PostParams::default(), &bulk).await.unwrap();
            }
        })
        .await;
        let (whole, answered) = timed(|request| {
            let (caller, refused) = (&callers[request as usize % CALLERS], &refused);
            async move {
                let body = json!({"executions": items(round, request)});
                let mut answer = caller.patch("/v2/lm/executions", &body).await;
                while answer.status == 429 {
                    refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_secs(answer.header("retry-after").parse().unwrap()))
                        .await;
                    answer = caller.patch("/v2/lm/executions", &body).await;
                }
                check(round, request, &answer.ok(202));
            }
        })
        .await;
        let left = executions.list(&ListParams::default()).await.unwrap().items.len();
        assert_eq!(left, 0, "{left} Executions remain that were reported as scheduled for deletion");
        let row = |p| (percentile(&create, p), percentile(&answered, p));
        let ((c50, g50), (c99, g99)) = (row(50), row(99));
        println!(
            "{round:5}  {c50:10.1}  {c99:6.1}   {g50:11.1}  {g99:6.1}   {:9.1}  {:4.1}   {:10.1}   {}",
            g50 / c50,
            g99 / c99,
            f64::from(REQUESTS) / whole.as_secs_f64(),
            gateway.resident("VmRSS")
        );
        all.0.extend(create);
        all.1.extend(answered);
    }
    all.0.sort_by(f64::total_cmp);
    all.1.sort_by(f64::total_cmp);
    let (create, answered) = &all;
    println!(
        "all: {} requests answered, {} items; p50 {:.1} ms, {:.1} times the bare create; p99 {:.1} ms, {:.1} times",
        answered.len(),
        answered.len() * ITEMS,
        percentile(answered, 50),
        percentile(answered, 50) / percentile(create, 50),
        percentile(answered, 99),
        percentile(answered, 99) / percentile(create, 99)
    );
    println!(
        "gateway: {} refused and sent again; peak {} kB, after {} kB resident",
        refused.load(Ordering::Relaxed),
        gateway.resident("VmHWM"),
        gateway.resident("VmRSS")
    );
}

/// Creates the targets of a round.
async fn make_executions(executions: &Api<Execution>, round: usize) {
    let wanted = (0..REQUESTS).flat_map(|request| (0..ITEMS).map(move |item| (request, item)));
    stream::iter(wanted.filter(|(_, item)| good(*item)))
        .for_each_concurrent(CALLERS, |(request, item)| async move {
            let object = Execution::new(&id(round, request, item), ExecutionSpec::default());
            executions.create(&PostParams::default(), &object).await.unwrap();
        })
        .await;
}

/// Checks that there is an entry for each item, in the order of the request, with the expected content.
fn check(round: usize, request: u32, answer: &Value) {
    let entries = answer["executions"].as_array().unwrap();
    assert_eq!(entries.len(), ITEMS);
    for (item, entry) in entries.iter().enumerate() {
        assert_eq!(entry["id"], json!(id(round, request, item)));
        if good(item) {
            assert_eq!(entry["message"], "Execution modification scheduled", "{entry}");
        } else {
            assert_eq!(entry["error"]["code"], "01010020", "{entry}");
        }
    }
}
