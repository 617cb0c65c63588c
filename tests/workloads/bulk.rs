//! Many Jobs that exist already, adopted by `workloadRef`, stopped and deleted in bulk; and as many beside them, which stay as they
//! are.

use std::{collections::BTreeMap, time::Duration};

use ai_api_operator::api::{ItemResult, Kind};
use futures::{StreamExt, stream};
use k8s_openapi::api::{batch::v1::Job, core::v1::ConfigMap};
use kube::{
    Api, ResourceExt,
    api::{ListParams, ObjectMeta, PostParams},
};
use serde_json::{Value, json};
use support::{World, count, within};

use crate::on_nodes::{pods, world};

/// In how many BulkUpdates.
const REQUESTS: usize = 10;

/// How many objects are created at once.
const AT_ONCE: usize = 16;

/// How long a thousand may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// Uid, resourceVersion and generation.
type Version = (Option<String>, Option<String>, Option<i64>);

struct Crowd {
    world: World,
    jobs: Api<Job>,
    /// How many are adopted; there are as many others.
    number: usize,
}

/// The name of a Job that is adopted, and of its Execution.
fn adopted(n: usize) -> String {
    format!("nightly-{n:0>4}")
}

/// The name of one that is not.
fn neighbour(n: usize) -> String {
    format!("nightly-{n:0>4}-other")
}

impl Crowd {
    async fn new(name: &str, number: usize) -> Self {
        let world = world(name).await;
        let jobs = Api::namespaced(world.client.clone(), &world.namespace);
        Self { world, jobs, number }
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let came_true = within(PATIENCE, Duration::from_millis(200), || condition()).await;
        assert!(came_true, "not within {PATIENCE:?}: {what}");
    }

    /// Creates a Job; returns its uid.
    async fn job(&self, metadata: Value, more: Value) -> String {
        let mut spec = json!({"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": "none"}]}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let job = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        self.jobs.create(&PostParams::default(), &job).await.unwrap().uid().unwrap()
    }

    /// Creates an Execution, under the name of a Job, that refers to it by this uid.
    async fn execution(&self, name: &str, uid: &str) {
        let reference = json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid});
        self.world.target(Kind::Execution, name, json!({"workloadRef": reference}), json!({})).await;
    }

    /// Creates one that is not to be touched: it runs; is suspended; has an Execution that refers to it, but belongs to another
    /// controller; has the operator's label; or has an Execution that means an earlier object of its name.
    async fn neighbour(&self, n: usize, owner: &ConfigMap) {
        let name = neighbour(n);
        let no_pods = json!({"parallelism": 0});
        match n % 5 {
            0 => drop(self.job(json!({"name": name}), json!({})).await),
            1 => drop(self.job(json!({"name": name}), json!({"suspend": true})).await),
            2 => {
                let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(),
                    "uid": owner.uid(), "controller": true});
                let uid = self.job(json!({"name": name, "ownerReferences": [owner]}), no_pods).await;
                self.execution(&name, &uid).await;
            }
            3 => {
                let labels = json!({"aiapi.dev/owner-uid": "of-nobody"});
                self.job(json!({"name": name, "labels": labels}), no_pods).await;
            }
            _ => {
                self.execution(&name, "of-an-earlier-one").await;
                self.job(json!({"name": name}), no_pods).await;
            }
        }
    }

    async fn all(&self) -> BTreeMap<String, Job> {
        let all = self.jobs.list(&ListParams::default()).await.unwrap();
        all.into_iter().map(|job| (job.name_any(), job)).collect()
    }

    /// The versions of all but the adopted ones.
    async fn neighbours(&self) -> BTreeMap<String, Version> {
        let mut all = self.all().await;
        let mut version = |name: String| {
            let ObjectMeta { uid, resource_version, generation, .. } = all.remove(&name)?.metadata;
            Some((name, (uid, resource_version, generation)))
        };
        (0..self.number).filter_map(|n| version(neighbour(n))).collect()
    }

    /// Waits until all that are adopted have this state.
    async fn all_are(&self, wanted: &str) {
        self.until(wanted, async || {
            let all = self.world.targets(Kind::Execution).list(&ListParams::default()).await.unwrap();
            let states: BTreeMap<_, _> = all
                .iter()
                .map(|execution| (execution.name_any(), &execution.data["status"]["state"]))
                .collect();
            (0..self.number).all(|n| states[&adopted(n)] == wanted)
        })
        .await;
    }

    /// Has all that are adopted stopped or deleted, by several BulkUpdates at once.
    async fn carry_out(&self, request: &str, target_status: &str) {
        let each = self.number / REQUESTS;
        self.world.next_second().await;
        for n in 0..REQUESTS {
            let ids = (n * each..(n + 1) * each).map(adopted);
            let items: Vec<_> = ids.map(|id| json!({"id": id, "targetStatus": target_status})).collect();
            self.world.submit_at_once(&format!("{request}-{n}"), json!({"executions": items})).await;
        }
        let bulk_updates = self.world.bulk_updates();
        for n in 0..REQUESTS {
            let name = format!("{request}-{n}");
            let status = async || bulk_updates.get(&name).await.unwrap().status.unwrap_or_default();
            self.until(&name, async || status().await.completion_time.is_some()).await;
            let status = status().await;
            assert_eq!(count(&status, ItemResult::Settled), each, "{status:#?}");
        }
    }
}

/// Whether the Job controller has written all that it has to say of a Job so far.
fn has_begun(job: &Job) -> bool {
    let (spec, Some(status)) = (job.spec.as_ref().unwrap(), &job.status) else { return false };
    match (spec.suspend, spec.parallelism) {
        (Some(true), _) => status.conditions.as_ref().is_some_and(|all| !all.is_empty()),
        (_, Some(0)) => status.start_time.is_some(),
        _ => status.ready == Some(1),
    }
}

/// Whether a Job has stopped, and has no Pod that has not ended.
fn has_stopped(job: &Job) -> bool {
    let status = job.status.as_ref().unwrap();
    job.spec.as_ref().unwrap().suspend == Some(true)
        && status.active.unwrap_or_default() == 0
        && status.terminating.unwrap_or_default() == 0
}

async fn adopt_stop_and_delete(name: &str, number: usize) {
    let crowd = Crowd::new(name, number).await;
    let config_maps = Api::<ConfigMap>::namespaced(crowd.world.client.clone(), &crowd.world.namespace);
    let owner = serde_json::from_value(json!({"metadata": {"name": "controller"}})).unwrap();
    let owner = config_maps.create(&PostParams::default(), &owner).await.unwrap();
    let create = async |n| {
        crowd.neighbour(n, &owner).await;
        crowd.job(json!({"name": adopted(n)}), json!({})).await
    };
    let uids: Vec<String> = stream::iter(0..number).map(create).buffered(AT_ONCE).collect().await;
    crowd.until("the Jobs have begun", async || crowd.all().await.values().all(has_begun)).await;
    let neighbours = crowd.neighbours().await;
    assert_eq!(neighbours.len(), number);

    let adopt = async |(n, uid): (usize, &String)| crowd.execution(&adopted(n), uid).await;
    stream::iter(uids.iter().enumerate()).map(adopt).buffered(AT_ONCE).collect::<()>().await;
    crowd.all_are("RUNNING").await;
    crowd.carry_out("stop", "STOPPED").await;
    let all = crowd.all().await;
    for n in 0..number {
        let job = &all[&adopted(n)];
        assert!(has_stopped(job), "{job:#?}");
    }
    let running = (0..number).filter(|n| n % 5 == 0).count();
    assert_eq!(pods(&crowd.world).await, running, "those of the neighbours that run");
    crowd.carry_out("delete", "DELETED").await;
    assert_eq!(crowd.neighbours().await, neighbours);
    assert_eq!(crowd.all().await.len(), number, "only they are left");

    let requests = crowd.world.requests();
    let mut writes = BTreeMap::<_, Vec<_>>::new();
    for r in requests.iter().filter(|r| r.resource == "jobs" && !["get", "list", "watch"].contains(&&*r.verb))
    {
        writes.entry(r.name.clone()).or_default().push((&*r.verb, r.code));
    }
    // It was adopted and stopped. Kubernetes deletes it.
    let wanted = vec![("patch", 200); 2];
    assert_eq!(writes, (0..number).map(|n| (adopted(n), wanted.clone())).collect());
}

#[tokio::test]
async fn a_hundred_jobs_are_adopted_stopped_and_deleted_and_no_other_is_touched() {
    adopt_stop_and_delete("bulk-hundred", 100).await;
}

#[tokio::test]
#[ignore = "make bench-workloads runs it: it takes some minutes"]
async fn a_thousand_jobs_are_adopted_stopped_and_deleted_and_no_other_is_touched() {
    adopt_stop_and_delete("bulk-thousand", 1000).await;
}
