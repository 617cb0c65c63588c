//! The operator beside a bare client that makes the same writes, on one control plane: duration, throughput, cost, and
//! the number of objects in the cluster. `make bench` runs it: it prints a table and writes target/bench/operator.json
//! (operator-part.json, if it does not measure everything). It asserts no times.
//!
//! `AI_API_BENCH_GROUPS=latency,cost` measures only these (scale, latency, cost, in-flight, slow, fairness, throughput,
//! sizes, workloads, plugin; all but in-flight, sizes, workloads and plugin if it is not set); `AI_API_BENCH_ROUNDS` (5, at the most), `AI_API_BENCH_TARGETS`
//! (100000, of scale, sizes and plugin; throughput makes 27,500 for each round) and `AI_API_BENCH_BULK_UPDATES` (1000, of
//! sizes) make it shorter; `AI_API_BENCH_OPERATOR` is another binary of the operator's, for before and after;
//! `AI_API_TEST_FSYNC=1` lets etcd wait for the disk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the measurement")]
#![allow(clippy::cast_precision_loss, reason = "the numbers are small")]
#![allow(clippy::too_many_arguments, reason = "a figure has that many values")]

mod bare;
mod cost;
mod fairness;
mod figures;
mod lab;
mod latency;
mod machine;
mod plugin;
mod process;
mod proxy;
mod scale;
mod sizes;
mod slow;
mod throughput;
mod workloads;

use std::time::Instant;

use figures::Figures;
use lab::Lab;
use machine::{Machine, Moment, own_seconds};
use support::bench::only_groups;

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(measure());
}

/// The groups of measurements.
const GROUPS: [&str; 10] = [
    "scale",
    "latency",
    "cost",
    "in-flight",
    "slow",
    "fairness",
    "throughput",
    "sizes",
    "workloads",
    "plugin",
];

async fn measure() {
    let began = Instant::now();
    let only = only_groups(&GROUPS);
    let wanted = |group: &str| only.is_empty() || only.contains(&group);
    let lab = Lab::new().await;
    let before = Moment::now(own_seconds(&lab));
    let mut figures =
        Figures::new(began, if only.is_empty() { "operator.json" } else { "operator-part.json" });
    // With few targets first.
    let few = if wanted("scale") { Some(scale::measure_few(&lab, &mut figures).await) } else { None };
    if wanted("latency") {
        latency::measure(&lab, &mut figures).await;
    }
    if wanted("cost") {
        cost::measure(&lab, &mut figures).await;
    }
    // What --max-in-flight does is only measured where it is asked for.
    if !only.is_empty() && wanted("in-flight") {
        throughput::measure_in_flight(&lab, &mut figures).await;
    }
    if wanted("slow") {
        slow::measure(&lab, &mut figures).await;
    }
    if wanted("fairness") {
        fairness::measure(&lab, &mut figures).await;
    }
    if let Some(few) = few {
        scale::measure_many(&lab, &mut figures, few).await;
    }
    // It deletes what that has created.
    if wanted("throughput") {
        throughput::measure(&lab, &mut figures).await;
    }
    if wanted("scale") {
        scale::measure_finished(&lab, &mut figures).await;
    }
    // It fills etcd with large objects.
    if !only.is_empty() && wanted("sizes") {
        sizes::measure(&lab, &mut figures).await;
    }
    if !only.is_empty() && wanted("plugin") {
        plugin::measure(&lab, &mut figures).await;
    }
    // Nodes, and what runs Jobs on them, would slow the others down.
    if !only.is_empty() && wanted("workloads") {
        workloads::measure(&lab, &mut figures).await;
    }
    figures.print(&Machine::since(&before, &lab).await);
}
