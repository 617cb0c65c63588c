//! The environment: a control plane, the operator's ServiceAccount, the bare client's, and a watch of how BulkUpdates
//! end.

use std::{
    collections::HashMap,
    fmt::Debug,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ai_api_operator::{
    api::{BulkUpdate, Kind, TargetStatus},
    client::find_cluster,
};
use futures::{StreamExt, future::join_all};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{Config, watcher},
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{World, audit::Request, built, control_plane::apply, operator::kubeconfig_of};
use tokio::sync::watch;

use crate::bare::{self, Made, side_by_side};

/// How many requests are in flight at once: the operator's default, and the bare client's.
pub const IN_FLIGHT: usize = 16;

/// The same for creating objects, which is not measured.
const CREATES_IN_FLIGHT: usize = 32;

/// How long a busy machine may take for anything.
const PATIENCE: Duration = Duration::from_mins(5);

/// The bare client's name in the audit log.
pub const BARE: &str = "system:serviceaccount:bare:ai-api-operator";

/// How many namespaces share large numbers of objects.
pub const CROWD: usize = 20;

/// The action on targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Stops,
    Deletes,
    Mixed,
}

pub struct Lab {
    pub world: World,
    pub admin: Client,
    /// A ServiceAccount of its own, with the operator's rights.
    pub bare: Client,
    pub bare_kubeconfig: PathBuf,
    /// The operator's.
    pub binary: PathBuf,
    pub rounds: usize,
    ends: Arc<Ends>,
    made: AtomicUsize,
    stock: Mutex<HashMap<String, Vec<Made>>>,
    spent: Mutex<f64>,
}

/// When each BulkUpdate was seen to have ended, by namespace and name.
#[derive(Default)]
struct Ends {
    seen: Mutex<HashMap<(String, String), Timestamp>>,
    more: watch::Sender<()>,
}

/// The outcome of some BulkUpdates.
pub struct Run {
    /// When the first was sent.
    pub began: Timestamp,
    /// When each create was answered.
    pub created: Vec<Timestamp>,
    /// When each was seen to have ended.
    pub ended: Vec<Timestamp>,
    /// The operator's requests in this time, as far as they are known by now.
    pub requests: Vec<Request>,
}

impl Lab {
    pub async fn new() -> Self {
        let world = World::new("bench").await;
        let other = World::new("bare").await;
        let bare_kubeconfig = kubeconfig_of(world.plane, &world.client, "bare", "ai-api-operator").await;
        let admin = client(&world.plane.admin_kubeconfig());
        let ends = Arc::new(Ends::default());
        tokio::spawn(follow_ends(admin.clone(), Arc::clone(&ends)));
        drop(other);
        let built = built::operator();
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
        let rounds = number("AI_API_BENCH_ROUNDS").unwrap_or(5);
        // More would exceed the thousand finished BulkUpdates of the measurement.
        assert!((1..=5).contains(&rounds), "AI_API_BENCH_ROUNDS: {rounds} is not from 1 to 5");
        Self {
            bare: client(&bare_kubeconfig),
            bare_kubeconfig,
            binary: std::env::var_os("AI_API_BENCH_OPERATOR").map_or(built, PathBuf::from),
            rounds,
            ends,
            made: AtomicUsize::new(0),
            stock: Mutex::default(),
            spent: Mutex::default(),
            admin,
            world,
        }
    }

    /// Whether its etcd uses fsync.
    pub fn fsync() -> bool {
        std::env::var_os("AI_API_TEST_FSYNC").is_some_and(|value| !value.is_empty())
    }

    /// CPU seconds of operators that have ended.
    pub fn spent(&self) -> f64 {
        *self.spent.lock().unwrap()
    }

    pub fn spend(&self, seconds: f64) {
        *self.spent.lock().unwrap() += seconds;
    }

    /// A name that was not used before.
    pub fn new_name(&self, of: &str) -> String {
        format!("{of}-{}", self.made.fetch_add(1, Ordering::Relaxed))
    }

    pub async fn namespace(&self, name: &str) -> String {
        let new = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        apply(&self.admin, new).await;
        name.to_owned()
    }

    /// How many targets to be deleted are in stock.
    pub fn in_stock(&self, namespace: &str) -> usize {
        self.stock.lock().unwrap().get(namespace).map_or(0, Vec::len)
    }

    /// Creates this many more.
    pub async fn stock_up(&self, namespace: &str, number: usize) {
        let made = self.make(namespace, number, Work::Deletes).await;
        self.stock.lock().unwrap().entry(namespace.to_owned()).or_default().extend(made);
    }

    /// Takes some out of the stock: creating them takes longer than deleting them.
    pub fn take(&self, namespace: &str, number: usize) -> Vec<Made> {
        let mut stock = self.stock.lock().unwrap();
        let stock = stock.get_mut(namespace).unwrap();
        stock.split_off(stock.len().checked_sub(number).unwrap())
    }

    /// Creates targets, both kinds in turn; those to be deleted are UNKNOWN, those to be stopped RUNNING.
    pub async fn make(&self, namespace: &str, number: usize, work: Work) -> Vec<Made> {
        self.make_with(namespace, number, work, json!({})).await
    }

    /// The same with more in their spec.
    pub async fn make_with(&self, namespace: &str, number: usize, work: Work, more: Value) -> Vec<Made> {
        let prefix = self.new_name("run");
        let namespace: Arc<str> = namespace.into();
        let mut spec = json!({"scenarioId": "churn", "configurationId": "3f2c1b7e-5d0a-4c1f-9a47-0d6f5c1e2b3a",
            "configurationName": "nightly training", "executableId": "churn-training"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let spec = Arc::new(spec);
        side_by_side(0..number, CREATES_IN_FLIGHT, |_, at| {
            let (client, namespace, spec) = (self.admin.clone(), Arc::clone(&namespace), Arc::clone(&spec));
            // As long as a UUID.
            let name = format!("{prefix}-{at:0>width$}", width = 35 - prefix.len());
            async move {
                let kind = Kind::ALL[at / 2 % 2];
                let verb = match (work, at % 2) {
                    (Work::Stops, _) | (Work::Mixed, 0) => TargetStatus::Stopped,
                    (Work::Deletes | Work::Mixed, _) => TargetStatus::Deleted,
                };
                let state = (verb == TargetStatus::Stopped).then_some("RUNNING");
                let object = bare::create(&client, (kind, &namespace, &name), &spec, state).await;
                let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
                Made { kind, uid: text("uid"), version: text("resourceVersion"), namespace, name, verb }
            }
        })
        .await
    }

    /// Gives the operator's watches time to show it what was created.
    pub async fn spread(&self) {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }

    /// Creates a BulkUpdate for these targets; returns when the API server had answered.
    pub async fn submit(&self, name: &str, targets: &[Made]) -> Timestamp {
        submit(&self.admin, name, targets).await
    }

    /// Creates BulkUpdates of these targets at once and waits for their ends.
    pub async fn carry_out(&self, groups: &[&[Made]]) -> Run {
        self.carry_out_while(groups, async || ()).await
    }

    /// The same, and does something once they have been created.
    pub async fn carry_out_while(&self, groups: &[&[Made]], then: impl AsyncFnOnce()) -> Run {
        let from = self.audited();
        let began = Timestamp::now();
        let (name, created) = self.submit_all(groups).await;
        then().await;
        let mut ended = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            ended.push(self.end_of(&group[0].namespace, &format!("{name}-{at}")).await);
        }
        let writes = groups.iter().map(|group| group.len()).sum();
        Run { began, created, ended, requests: self.audit(from, writes, groups.len()).await }
    }

    /// Creates BulkUpdates of these targets at once; returns the prefix of their names, and when each create was
    /// answered.
    pub async fn submit_all(&self, groups: &[&[Made]]) -> (String, Vec<Timestamp>) {
        let name = self.new_name("bulk");
        let created = side_by_side(groups.iter().enumerate(), IN_FLIGHT, |_, (at, group)| {
            let (client, name, group) = (self.admin.clone(), format!("{name}-{at}"), group.to_vec());
            async move { submit(&client, &name, &group).await }
        })
        .await;
        (name, created)
    }

    /// The present end of the audit log.
    pub fn audited(&self) -> u64 {
        self.world.plane.audited()
    }

    /// When the last of this many accepted writes of the bare client since then was answered.
    pub async fn last_write_of_bare(&self, from: u64, writes: usize) -> Timestamp {
        last_write(&self.requests_of(BARE, from, writes, 0).await)
    }

    /// The operator's requests since then; waits until this many accepted writes to targets are among them, and this
    /// many ends of BulkUpdates: a line is written after its answer.
    pub async fn audit(&self, from: u64, writes: usize, ends: usize) -> Vec<Request> {
        self.requests_of(&self.world.operator.user, from, writes, ends).await
    }

    async fn requests_of(&self, user: &str, from: u64, writes: usize, ends: usize) -> Vec<Request> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let requests = self.world.plane.requests_since(from, user);
            let enough = accepted(&requests).count() >= writes;
            if enough && requests.iter().filter(|r| is_an_end(r)).count() >= ends {
                return requests;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the audit log has less than {writes} accepted writes and {ends} ends of {user}");
    }

    /// Waits until a BulkUpdate has ended; returns when that was seen.
    pub async fn end_of(&self, namespace: &str, name: &str) -> Timestamp {
        let key = (namespace.to_owned(), name.to_owned());
        let mut more = self.ends.more.subscribe();
        let seen = async {
            loop {
                if let Some(seen) = self.ends.seen.lock().unwrap().get(&key) {
                    return *seen;
                }
                more.changed().await.unwrap();
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        seen.unwrap_or_else(|_| panic!("{namespace}/{name} does not end"))
    }

    /// How many BulkUpdates there are.
    pub async fn finished(&self) -> usize {
        let bulks: Api<BulkUpdate> = Api::all(self.admin.clone());
        bulks.list_metadata(&ListParams::default()).await.unwrap().items.len()
    }

    /// Deletes the BulkUpdates of a namespace.
    pub async fn clear(&self, namespace: &str) {
        delete_all(&Api::<BulkUpdate>::namespaced(self.admin.clone(), namespace), 20).await;
    }

    /// Deletes its targets, too.
    pub async fn clear_all(&self, namespace: &str) {
        self.clear(namespace).await;
        for kind in Kind::ALL {
            let resource = kind.api_resource();
            let targets: Api<DynamicObject> = Api::namespaced_with(self.admin.clone(), namespace, &resource);
            delete_all(&targets, 500).await;
        }
    }
}

impl Run {
    /// The operator's accepted writes to targets.
    pub fn writes(&self) -> impl Iterator<Item = &Request> {
        accepted(&self.requests)
    }

    /// When the last of them was answered.
    pub fn last_write(&self) -> Timestamp {
        last_write(&self.requests)
    }

    /// When the last BulkUpdate was seen to have ended.
    pub fn last_end(&self) -> Timestamp {
        self.ended.iter().copied().max().unwrap()
    }
}

fn accepted(requests: &[Request]) -> impl Iterator<Item = &Request> {
    requests.iter().filter(|r| r.is_target_write() && r.succeeded())
}

fn last_write(requests: &[Request]) -> Timestamp {
    accepted(requests).map(|r| moment(&r.answered)).max().unwrap()
}

/// Deletes all of a kind, a limited number at a time: all at once would exceed the time-out of a request.
pub async fn delete_all<K: Clone + DeserializeOwned + Debug>(api: &Api<K>, at_once: u32) {
    let few = ListParams::default().limit(at_once);
    while !api.list_metadata(&few).await.unwrap().items.is_empty() {
        api.delete_collection(&DeleteParams::background(), &few).await.unwrap();
    }
}

/// Whether it has recorded the end of a BulkUpdate.
pub fn is_an_end(request: &Request) -> bool {
    request.is_record() && request.succeeded() && request.body["status"]["completionTime"].is_string()
}

/// A time in the audit log.
pub fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// From one moment to another, in milliseconds.
pub fn millis(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

/// The client that both the operator and the bare client use: one attempt a request.
pub fn client(kubeconfig: &Path) -> Client {
    find_cluster(Some(kubeconfig), None).unwrap().client().unwrap()
}

async fn submit(client: &Client, name: &str, targets: &[Made]) -> Timestamp {
    let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"name": name}, "spec": spec(targets)});
    let bulk: BulkUpdate = serde_json::from_value(bulk).unwrap();
    let bulks: Api<BulkUpdate> = Api::namespaced(client.clone(), &targets[0].namespace);
    bulks.create(&PostParams::default(), &bulk).await.unwrap();
    Timestamp::now()
}

/// The namespaces that share large numbers of objects.
pub async fn crowd(lab: &Lab) -> Vec<String> {
    let names = (0..CROWD).map(async |number| lab.namespace(&format!("crowd-{number}")).await);
    join_all(names).await
}

/// The items of a BulkUpdate of these targets.
pub fn spec(targets: &[Made]) -> Value {
    // It is to be deleted a day after it has finished.
    let mut spec = json!({"ttlSecondsAfterFinished": 86_400});
    for kind in Kind::ALL {
        let of_kind = targets.iter().filter(|made| made.kind == kind);
        let items: Vec<_> =
            of_kind.map(|made| json!({"id": made.name, "targetStatus": made.verb.word()})).collect();
        if !items.is_empty() {
            spec[kind.plural()] = items.into();
        }
    }
    spec
}

async fn follow_ends(client: Client, ends: Arc<Ends>) {
    let watch =
        watcher(Api::<BulkUpdate>::all(client), Config::default()).default_backoff().touched_objects();
    let mut bulks = std::pin::pin!(watch);
    while let Some(bulk) = bulks.next().await {
        let Ok(bulk) = bulk else { continue };
        if bulk.status.as_ref().is_some_and(|status| status.completion_time.is_some()) {
            let key = (bulk.namespace().unwrap_or_default(), bulk.name_any());
            ends.seen.lock().unwrap().entry(key).or_insert_with(Timestamp::now);
            ends.more.send_replace(());
        }
    }
}
