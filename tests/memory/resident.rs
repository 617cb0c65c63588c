//! The operator's memory does not depend on what users write into their objects. Resident memory, as counted by the
//! kernel: a bound, independent of time. `make bench` measures the same with a thousand times as much
//! (benches/src/bin/bench-operator/sizes.rs).

use std::{collections::HashSet, time::Duration};

use ai_api_operator::{
    api::{BulkUpdate, Kind},
    telemetry::NotReady,
};
use kube::api::PostParams;
use serde_json::{Value, json};
use support::{DEADLINE, World, etcd, memory, until, within};

use crate::ALONE;

/// BulkUpdates of a hundred items, with 250 kB of annotations each.
const BULK_UPDATES: u64 = 200;

/// Targets with as much in their metadata.
const LARGE: u64 = 200;

/// Targets of ten kB.
const TARGETS: u64 = 2000;

/// The most that is kept for a target, for an active BulkUpdate, and for a finished one, in kB.
const A_TARGET: u64 = 1;
const UNDER_WAY: u64 = 64;
const OVER: u64 = 4;

/// The most that lists may take in addition, in kB.
const IN_FLIGHT: u64 = 32 << 10;

/// What allocator, connections and tasks take, independent of the number of objects, in kB.
const SLACK: u64 = 8 << 10;

#[tokio::test]
async fn what_users_write_into_their_objects_takes_no_memory() {
    let _alone = ALONE.lock().await;
    let mut world = World::new("memory").await;
    let binding = world.delete_binding();
    let empty = begin(&mut world).await.now;

    make_targets(&world, "large", LARGE, 250_000).await;
    make_targets(&world, "many", TARGETS, 10_000).await;
    let known = || async {
        let samples = world.operator.samples().await;
        (samples[r#"aiapi_index_targets{kind="Execution"}"#] - (LARGE + TARGETS) as f64).abs() < 0.5
    };
    until("all targets are known", known).await;
    let targets = (LARGE + TARGETS) * A_TARGET;
    let with_targets = resident(&world);
    println!("{empty} kB without objects, {with_targets} kB with {LARGE} and {TARGETS} targets");
    at_most("with targets", with_targets, empty + targets + SLACK);

    let from = world.plane.audited();
    make_bulk_updates(&world).await;
    until_each_is(&world, from, "Waiting").await;
    let waiting = targets + BULK_UPDATES * UNDER_WAY;
    let running = resident(&world);
    println!("{running} kB with {BULK_UPDATES} BulkUpdates that wait besides");
    at_most("with BulkUpdates that wait", running, empty + waiting + SLACK);

    let again = begin(&mut world).await;
    println!("{} kB after another start, {} kB at the most", again.now, again.peak);
    at_most("at the most, in a start", again.peak, empty + waiting + IN_FLIGHT + SLACK);
    at_most("after another start", again.now, empty + waiting + SLACK);

    // They were created while nobody checked their authors, and are rejected.
    let from = world.plane.audited();
    world.restore_binding(binding);
    until_each_is(&world, from, "NotAuthorized").await;
    let over = targets + BULK_UPDATES * OVER;
    let last = begin(&mut world).await;
    println!("{} kB after a start with as many finished ones, {} kB at the most", last.now, last.peak);
    at_most("at the most, in a start with the finished ones", last.peak, empty + over + IN_FLIGHT + SLACK);
    at_most("after a start with the finished ones", last.now, empty + over + SLACK);
}

fn at_most(when: &str, found: u64, bound: u64) {
    assert!(found <= bound, "{found} kB {when}, which is more than {bound} kB");
}

/// In kB, once everything was listed.
struct Started {
    now: u64,
    peak: u64,
}

/// Starts the operator (again), and waits until it has listed everything.
async fn begin(world: &mut World) -> Started {
    if world.operator.is_running() {
        assert!(world.operator.stop().success());
    }
    world.operator.start_with(&[], &[("AI_API_REQUIRE_ADMISSION_POLICY", "true")]);
    until("everything is listed", || async {
        let (code, why) = world.operator.probe("/readyz").await;
        code == 200 || (code == 503 && !why.contains(&NotReady::Unlisted.to_string()))
    })
    .await;
    Started { now: resident(world), peak: memory(world.operator.pid(), "VmHWM") }
}

fn resident(world: &World) -> u64 {
    memory(world.operator.pid(), "VmRSS")
}

/// Creates Executions with this many bytes of annotations.
async fn make_targets(world: &World, name: &str, count: u64, bytes: usize) {
    world.own(Kind::Execution, name, "RUNNING").await;
    multiply(world, "executions", name, count, bytes).await;
}

async fn make_bulk_updates(world: &World) {
    let items: Vec<_> =
        (0..100).map(|at| json!({"id": format!("{at:0>64}"), "targetStatus": "STOPPED"})).collect();
    let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "metadata": {"name": "waits"},
        "spec": {"executions": items}});
    let bulk: BulkUpdate = serde_json::from_value(bulk).unwrap();
    world.bulk_updates().create(&PostParams::default(), &bulk).await.unwrap();
    multiply(world, "bulkupdates", "waits", BULK_UPDATES, 250_000).await;
}

/// Creates this many copies of an object, with this many bytes of annotations, as fast as etcd accepts them.
async fn multiply(world: &World, plural: &str, name: &str, count: u64, bytes: usize) {
    let key = |name: &str| etcd::key(plural, &world.namespace, name);
    let mut object = etcd::get(world.plane, &key(name)).await.unwrap();
    object["metadata"]["annotations"] = json!({"example.com/note": "x".repeat(bytes)});
    let of = |n: u64| {
        let name = format!("{name}-{n}");
        object["metadata"]["name"] = name.clone().into();
        object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
        (key(&name), object.to_string())
    };
    etcd::put(world.plane, (1..count).map(of)).await;
}

/// Waits until the operator has recorded this reason for each, from this offset in the audit log.
async fn until_each_is(world: &World, from: u64, reason: &str) {
    let all = || async {
        let mut requests = world.plane.requests_since(from, &world.operator.user);
        requests.retain(|request| {
            let conditions = request.body["status"]["conditions"].as_array();
            let is = |condition: &Value| condition["type"] == "Ready" && condition["reason"] == reason;
            request.is_record() && request.succeeded() && conditions.is_some_and(|all| all.iter().any(is))
        });
        let names: HashSet<_> = requests.into_iter().map(|request| request.name).collect();
        names.len() as u64 == BULK_UPDATES
    };
    let all = within(3 * DEADLINE, Duration::from_millis(500), all).await;
    assert!(all, "not within {:?}: each is {reason}", 3 * DEADLINE);
}
