//! The gateway, beside a client that creates the same BulkUpdates itself and follows them to their end, in the same run: how many
//! writes a second come through it, how long one caller waits, and what becomes of many callers at once. A program, run by `make
//! bench-gateway`: it prints figures, and fails only if an answer is missing or wrong.
//!
//! `AI_API_BENCH_GROUPS=alone,crowd` measures only these (alone, throughput, crowd).
//!
//! On a control plane of its own, whose etcd runs without fsync and whose API server keeps an audit log.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the measurement")]

mod alone;
mod crowd;
mod direct;
mod requests;
mod throughput;

use support::{World, bench::only_groups, gateway::Gateway};

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(measure());
}

/// The groups of measurements.
const GROUPS: [&str; 3] = ["alone", "throughput", "crowd"];

async fn measure() {
    let only = only_groups(&GROUPS);
    let wanted = |group: &str| only.is_empty() || only.contains(&group);
    let world = World::running("bench").await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    println!("gateway at start: {} kB resident", gateway.resident("VmRSS"));
    if wanted("alone") {
        alone::measure(&world, &caller).await;
    }
    if wanted("throughput") {
        throughput::measure(&world, &gateway, &caller).await;
    }
    // One that has answered nothing yet, so that its peak is that of the crowd.
    drop(gateway);
    if wanted("crowd") {
        for gateways in [1, 2] {
            for callers in [64, 256, 1024] {
                crowd::measure(&world, gateways, callers).await;
            }
        }
    }
}
