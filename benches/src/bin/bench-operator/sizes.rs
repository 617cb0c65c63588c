//! How much memory it takes to watch objects that users have filled to their limits: during the start, and after it.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use ai_api_operator::api::BulkUpdate;
use kube::{
    Api,
    api::{DynamicObject, ListParams, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use support::{etcd, within};

use crate::{
    figures::{Figures, Goal, Of, at_most},
    lab::{Lab, Work},
    process::Process,
};

const GROUP: &str = "sizes";

const NAMESPACE: &str = "sizes";

/// The size of the annotations of a BulkUpdate and a target, in bytes.
const OF_A_BULK_UPDATE: usize = 250_000;
const OF_A_TARGET: usize = 10_000;

/// The most that may be kept for a target, for an active BulkUpdate, and for a finished one, in kB; and what lists may
/// take in addition, in MiB.
const A_TARGET: f64 = 1.0;
const UNDER_WAY: f64 = 64.0;
const OVER: f64 = 4.0;
const IN_FLIGHT: f64 = 32.0;

/// The memory of a process, in MiB.
pub struct Taken {
    pub steady: f64,
    pub peak: f64,
}

/// Identical objects of one kind that load the operator.
pub struct Stock {
    plural: &'static str,
    pub count: usize,
}

impl Stock {
    fn key(&self, at: usize) -> String {
        etcd::key(self.plural, NAMESPACE, &format!("sizes-{at:0>26}"))
    }

    /// Creates them from one, which need not exist.
    async fn fill(&self, lab: &Lab, mut object: Value, annotation: usize) {
        object["metadata"]["annotations"] = json!({"example.com/note": "x".repeat(annotation)});
        object["metadata"]["namespace"] = NAMESPACE.into();
        let of = |at| {
            object["metadata"]["name"] = format!("sizes-{at:0>26}").into();
            object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
            (self.key(at), object.to_string())
        };
        etcd::put(lab.world.plane, (0..self.count).map(of)).await;
    }

    pub async fn delete_all(self, lab: &Lab) {
        etcd::remove(lab.world.plane, (0..self.count).map(|at| self.key(at))).await;
        etcd::compact(lab.world.plane).await;
    }
}

/// Measures all three; deletes what it creates.
pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    lab.namespace(NAMESPACE).await;
    let nothing = start(lab).await;
    figures.alone(GROUP, "nothing: RSS after the start", "MiB", &[nothing.steady], None);
    waiting(lab, figures, &nothing).await;
    finished(lab, figures, &nothing).await;
    targets(lab, figures, &nothing).await;
    figures.took(GROUP, began);
}

/// BulkUpdates that wait, because the admission policy's binding is missing.
async fn waiting(lab: &Lab, figures: &mut Figures, nothing: &Taken) {
    let binding = lab.world.delete_binding();
    let items: Vec<_> = (0..100)
        .map(|at| json!({"id": format!("3f2c1b7e-5d0a-4c1f-9a47-{at:0>12}"), "targetStatus": "STOPPED"}))
        .collect();
    let object = template(lab, json!({"executions": items})).await;
    let stock = Stock { plural: "bulkupdates", count: number("AI_API_BENCH_BULK_UPDATES", 1000) };
    stock.fill(lab, object, OF_A_BULK_UPDATE).await;
    let with = format!("{} waiting BulkUpdates of 100 items, 250 kB of annotations each", stock.count);
    let from = lab.audited();
    let operator = Process::start_as_shipped(lab).await;
    recorded(lab, from, stock.count).await;
    let first = settled(&operator).await;
    operator.stop();
    let operator = Process::start_as_shipped(lab).await;
    let again = settled(&operator).await;
    operator.stop();
    let bound = kib(UNDER_WAY) * stock.count as f64;
    add(figures, &format!("{with}, none of which has a status yet"), nothing, &first, bound);
    add(figures, &with, nothing, &again, bound);
    stock.delete_all(lab).await;
    lab.world.restore_binding(binding);
}

/// Finished BulkUpdates.
async fn finished(lab: &Lab, figures: &mut Figures, nothing: &Taken) {
    let operator = Process::start(lab).await;
    let made = lab.make(NAMESPACE, 100, Work::Deletes).await;
    // etcd was compacted a moment ago, and the watch of BulkUpdates restarts: for one that a list shows, it is unknown
    // whether targets of the same second are older.
    tokio::time::sleep(Duration::from_secs(1)).await;
    lab.carry_out(&[&made]).await;
    operator.stop();
    let there: Api<DynamicObject> =
        Api::namespaced_with(lab.admin.clone(), NAMESPACE, &ApiResource::erase::<BulkUpdate>(&()));
    let one = there.list(&ListParams::default()).await.unwrap().items.remove(0);
    let name = one.metadata.name.unwrap();
    let object = etcd::get(lab.world.plane, &etcd::key("bulkupdates", NAMESPACE, &name)).await.unwrap();
    lab.clear_all(NAMESPACE).await;
    let stock = Stock { plural: "bulkupdates", count: number("AI_API_BENCH_BULK_UPDATES", 1000) };
    stock.fill(lab, object, OF_A_BULK_UPDATE).await;
    let taken = start(lab).await;
    let with = format!("{} finished BulkUpdates of 100 items, 250 kB of annotations each", stock.count);
    add(figures, &with, nothing, &taken, kib(OVER) * stock.count as f64);
    stock.delete_all(lab).await;
}

/// Fills etcd with targets that nothing runs for.
pub async fn targets_in_stock(lab: &Lab) -> Stock {
    lab.namespace(NAMESPACE).await;
    let made = lab.make(NAMESPACE, 1, Work::Stops).await;
    let key = etcd::key("executions", NAMESPACE, &made[0].name);
    let object = etcd::get(lab.world.plane, &key).await.unwrap();
    lab.clear_all(NAMESPACE).await;
    let stock = Stock { plural: "executions", count: number("AI_API_BENCH_TARGETS", 100_000) };
    stock.fill(lab, object, OF_A_TARGET).await;
    stock
}

async fn targets(lab: &Lab, figures: &mut Figures, nothing: &Taken) {
    let stock = targets_in_stock(lab).await;
    let taken = start(lab).await;
    let with = format!("{} targets of 10 kB each", stock.count);
    add(figures, &with, nothing, &taken, kib(A_TARGET) * stock.count as f64);
    stock.delete_all(lab).await;
}

/// A newly created BulkUpdate.
async fn template(lab: &Lab, spec: Value) -> Value {
    let bulks: Api<BulkUpdate> = Api::namespaced(lab.admin.clone(), NAMESPACE);
    let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "metadata": {"name": "template"},
        "spec": spec});
    bulks.create(&PostParams::default(), &serde_json::from_value(bulk).unwrap()).await.unwrap();
    let object = etcd::get(lab.world.plane, &etcd::key("bulkupdates", NAMESPACE, "template")).await.unwrap();
    lab.clear(NAMESPACE).await;
    object
}

/// Waits until the operator has written the status of this many BulkUpdates since.
async fn recorded(lab: &Lab, from: u64, number: usize) {
    let all = within(Duration::from_mins(10), Duration::from_secs(1), || async {
        let requests = lab.world.plane.requests_since(from, &lab.world.operator.user);
        let recorded = requests.iter().filter(|request| request.is_record() && request.succeeded());
        recorded.map(|request| &request.name).collect::<HashSet<_>>().len() >= number
    });
    assert!(all.await, "less than {number} BulkUpdates have a status");
}

async fn start(lab: &Lab) -> Taken {
    let operator = Process::start(lab).await;
    let taken = settled(&operator).await;
    operator.stop();
    taken
}

/// Its memory, once that has not grown for a second.
pub async fn settled(operator: &Process<'_>) -> Taken {
    let mut last = 0.0;
    loop {
        let peak = operator.peak();
        if peak <= last {
            return Taken { steady: operator.resident(), peak };
        }
        last = peak;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn add(figures: &mut Figures, with: &str, nothing: &Taken, taken: &Taken, bound: f64) {
    let goal = |bound| -> Option<Goal> { Some(at_most(Of::Highest, bound)) };
    figures.alone(GROUP, format!("{with}: RSS after the start"), "MiB", &[taken.steady], None);
    figures.alone(GROUP, format!("{with}: RSS at the most"), "MiB", &[taken.peak], None);
    let (steady, peak) = (taken.steady - nothing.steady, taken.peak - nothing.steady);
    figures.alone(GROUP, format!("{with}: added after the start"), "MiB", &[steady], goal(bound));
    figures.alone(GROUP, format!("{with}: added at the most"), "MiB", &[peak], goal(bound + IN_FLIGHT));
}

/// kB as MiB.
fn kib(kilobytes: f64) -> f64 {
    kilobytes / 1024.0
}

fn number(setting: &str, default: usize) -> usize {
    std::env::var(setting).map_or(default, |text| text.parse().unwrap())
}
