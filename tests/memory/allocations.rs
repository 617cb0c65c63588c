//! What the operator allocates for each target and each item: counted, so independent of time.

use ai_api_operator::{
    api::{BulkUpdate, Kind},
    bulk_update::{Gate, Gates, Observation, Planning, Rules, Work, plan},
    observed::{Admission, Index, Observed, Scope},
};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde_json::json;
use stats_alloc::Region;

use crate::{ALLOCATOR, ALONE};

const TARGETS: usize = 10_000;

fn name(at: usize) -> String {
    format!("3f2c1b7e-5d0a-4c1f-9a47-{at:0>12}")
}

/// As a watch brings it.
fn observed(at: usize) -> Observed {
    let object = json!({
        "apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution",
        "metadata": {"namespace": "team-a", "name": name(at), "uid": name(at), "resourceVersion": at.to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"scenarioId": "churn", "configurationId": name(at)},
        "status": {"state": "RUNNING"},
    });
    serde_json::from_value(object).unwrap()
}

#[test]
fn a_target_and_an_item_allocate_little() {
    let _alone = ALONE.blocking_lock();
    let scope = Scope { kind: Kind::Execution, namespace: None };
    let index = Index::new([scope.clone()]);
    let region = Region::new(ALLOCATOR);
    for at in 0..TARGETS {
        index.take_in(&scope, Event::Apply(observed(at)));
    }
    let change = region.change();
    let kept = (change.bytes_allocated - change.bytes_deallocated) as f64 / TARGETS as f64;
    println!("kept for each target: {kept:.0} bytes");

    let items: Vec<_> = (0..100).map(|at| json!({"id": name(at), "targetStatus": "STOPPED"})).collect();
    let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"namespace": "team-a", "name": "stops", "uid": "u", "resourceVersion": "1", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:01Z"},
        "spec": {"executions": items}});
    let bulk: BulkUpdate = serde_json::from_value(bulk).unwrap();
    let mut work = Work::unplanned(&bulk, None).unwrap();
    let gates = Gates { executions: Gate::Open, deployments: Gate::Open };
    let now: Timestamp = "2026-01-01T00:00:02Z".parse().unwrap();

    let region = Region::new(ALLOCATOR);
    let lookups = work.lookups(|item| index.get(item.kind, "team-a", &item.id));
    let looking = region.change().allocations as f64 / 100.0;
    let rules = Rules { delete_completed: false };
    let region = Region::new(ALLOCATOR);
    let at = tokio::time::Instant::now();
    let seen = Observation { at, admission: Admission::NotRequired, gates, lookups, not_listed: None };
    let plan = plan(work.request(), &seen, now.into(), rules);
    let planning = region.change().allocations as f64 / 100.0;
    assert!(matches!(&plan, Planning::Planned(items) if items.len() == 100), "{plan:?}");
    println!("allocations of each item: {looking:.2} to look, {planning:.2} to plan");

    // The values on 64 bits when this was written, plus a tenth.
    assert!(kept <= 258.0, "{kept} bytes are kept of each target");
    assert!(looking <= 1.1, "{looking} allocations to read an item");
    assert!(planning <= 1.1, "{planning} allocations to plan an item");
}
