//! What a BulkUpdate costs, apart from time: requests, and the bytes of its status. `make bench` measures the rest.

use ai_api_operator::api::{ItemResult, Kind};
use serde_json::{Value, json};
use support::{
    World,
    audit::{Request, most_overhead},
    count,
};

/// The maximum size of the status of a hundred items, in bytes.
const LARGEST_STATUS: usize = 40_000;

/// The items of a request: the state of each target, and the targetStatus.
const SORTS: [(&str, &[(&str, &str)]); 3] = [
    ("stops", &[("RUNNING", "STOPPED")]),
    ("deletes", &[("STOPPED", "DELETED")]),
    ("mixed", &[("PENDING", "STOPPED"), ("UNKNOWN", "DELETED")]),
];

/// Creates targets of both kinds, with ids of the maximum length; returns the items for them.
async fn items(world: &World, prefix: &str, number: usize, sorts: &[(&str, &str)]) -> Value {
    let mut spec = json!({});
    for at in 0..number {
        let (kind, (state, asked)) = (Kind::ALL[at / 2 % 2], sorts[at % sorts.len()]);
        let id = format!("{prefix}-{at:0>width$}", width = 63 - prefix.len());
        world.own(kind, &id, state).await;
        let list = spec.as_object_mut().unwrap().entry(kind.plural()).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(json!({"id": id, "targetStatus": asked}));
    }
    spec
}

/// The sizes of the statuses that were written.
fn statuses(requests: &[Request]) -> Vec<usize> {
    requests.iter().filter(|r| r.is_record()).map(|r| r.body["status"].to_string().len()).collect()
}

#[tokio::test]
async fn n_items_cost_n_writes_and_five_other_requests_in_each_run() {
    let world = World::running("cost").await;
    let mut before = 0;
    for (name, sorts) in SORTS {
        for number in [100, 10, 1] {
            let run = format!("{name}-{number}");
            let spec = items(&world, &run, number, sorts).await;
            let status = world.carry_out(&run, spec).await;
            assert_eq!(count(&status, ItemResult::Settled), number, "{run}");
            let all = world.requests();
            let requests = &all[before..];
            before = all.len();
            let writes: Vec<_> = requests.iter().filter(|r| r.is_target_write() && r.succeeded()).collect();
            assert_eq!(writes.len(), number, "{run}");
            let others = requests.iter().filter(|r| r.is_overhead()).count();
            let sizes = statuses(requests);
            println!("{run}: {others} other requests, statuses of {sizes:?} bytes");
            assert!(others <= most_overhead(&writes), "{run}: {requests:#?}");
            assert!(sizes.iter().all(|size| *size <= LARGEST_STATUS), "{run}: {sizes:?}");
        }
    }
}

#[tokio::test]
async fn a_hundred_refusals_fit_into_the_status_too() {
    let world = World::running("cost-refusals").await;
    let spec = items(&world, "refused", 100, &[("RUNNING", "DELETED")]).await;
    let status = world.carry_out("refused", spec).await;
    assert_eq!(count(&status, ItemResult::Refused), 100);
    let requests = world.requests();
    assert_eq!(requests.iter().filter(|r| r.is_target_write()).count(), 0);
    // Each is confirmed by a read.
    let reads = requests.iter().filter(|r| r.is_target() && r.verb == "get").count();
    assert!(reads <= 100, "{reads}");
    let sizes = statuses(&requests);
    println!("100 refusals: statuses of {sizes:?} bytes");
    assert!(sizes.iter().all(|size| *size <= LARGEST_STATUS), "{sizes:?}");
}
