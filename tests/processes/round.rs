//! One round: a BulkUpdate of 100 items, and the faults that hit it.

mod judge;

use std::{collections::BTreeMap, time::Duration};

use ai_api_operator::api::{BulkUpdateStatus, Kind};
use kube::ResourceExt;
use serde_json::{Value, json};
use support::{
    World,
    audit::Request,
    operator::{LONG_LEASE, Operator},
    policy_in_force, until, within,
};
use tokio::sync::MutexGuard;

use crate::alone;

/// The BulkUpdate.
const NAME: &str = "round";

/// How many of its items are eligible.
pub const ELIGIBLE: usize = 96;

/// The maximum duration: the API server's own restart and the longest back-offs included.
const ROUND_TIMEOUT: Duration = Duration::from_mins(3);

/// The expected outcome of an item.
#[derive(Clone, Debug)]
struct Expected {
    /// Result and reason.
    outcome: &'static str,
    /// How often the operator changes the object.
    own: usize,
    /// How often others change an object of its name.
    foreign: usize,
}

pub struct Round {
    pub world: World,
    /// A second replica, if there is one: it leads when the operator of the world has ended.
    pub standby: Option<Operator>,
    /// A namespace with targets of the same names, which no BulkUpdate names.
    next_door: String,
    /// The items of the BulkUpdate.
    spec: Value,
    /// By resource and name.
    expected: BTreeMap<(String, String), Expected>,
    /// The uid that each name had when the BulkUpdate was created.
    uids: BTreeMap<(String, String), String>,
    /// The revision at the start, and the length of the audit log.
    since: u64,
    logged: u64,
    starts: usize,
    /// The faults so far, for the line that it prints.
    faults: Vec<String>,
    /// These tests take down what all of them share.
    _alone: MutexGuard<'static, ()>,
}

const DONE: Expected = Expected { outcome: "Settled", own: 1, foreign: 0 };
const REFUSED: Expected = Expected { outcome: "Refused WrongState", own: 0, foreign: 0 };
const BYSTANDER: Expected = Expected { outcome: "", own: 0, foreign: 0 };

impl Round {
    /// A namespace with the targets; the operator does not run yet. It will run as shipped.
    pub async fn new(namespace: &str) -> Self {
        Self::of(namespace, true).await
    }

    /// The same with an operator that runs as in most other tests: for its own namespace only, and without the
    /// admission policy.
    pub async fn in_one_namespace(namespace: &str) -> Self {
        Self::of(namespace, false).await
    }

    async fn of(namespace: &str, shipped: bool) -> Self {
        let alone = alone().await;
        let next_door = format!("{namespace}-next-door");
        let mut world = World::with_tenant(namespace, &next_door).await;
        for kind in Kind::ALL {
            for (n, state) in ["RUNNING", "STOPPED"].into_iter().enumerate() {
                world.own(kind, &id(n), state).await;
            }
        }
        if shipped {
            world.operator.shipped = true;
            world = world.in_tenant(&format!("{namespace}-tenant")).await;
            policy_in_force(&world.client, "bulkupdates.aiapi.dev").await;
        } else {
            world.namespace.clone_from(&world.home);
        }
        let since =
            world.flags().get("ai-api-meta").await.unwrap().resource_version().unwrap().parse().unwrap();
        let logged = world.plane.audited();
        let mut round = Self {
            world,
            standby: None,
            next_door,
            spec: Value::Null,
            expected: BTreeMap::new(),
            uids: BTreeMap::new(),
            since,
            logged,
            starts: 0,
            faults: Vec::new(),
            _alone: alone,
        };
        let mut spec = json!({});
        for kind in Kind::ALL {
            let mut items = Vec::new();
            for n in 0..50 {
                let stop = n % 2 == 0;
                let (state, expected) = match (n, stop) {
                    (24, _) => ("STOPPED", REFUSED),
                    (25, _) => ("RUNNING", REFUSED),
                    (_, true) => (["RUNNING", "PENDING"][n / 2 % 2], DONE),
                    (_, false) => (["STOPPED", "DEAD", "UNKNOWN"][n % 3], DONE),
                };
                let id = id(n);
                round.make(kind, &id, state, expected).await;
                items.push(json!({"id": id, "targetStatus": if stop { "STOPPED" } else { "DELETED" }}));
            }
            spec[kind.plural()] = items.into();
            round.make(kind, "bystander-running", "RUNNING", BYSTANDER).await;
            round.make(kind, "bystander-stopped", "STOPPED", BYSTANDER).await;
        }
        round.spec = spec;
        round
    }

    /// Creates the BulkUpdate.
    pub async fn submit(&self) {
        self.world.submit(NAME, self.spec.clone()).await;
    }

    async fn make(&mut self, kind: Kind, id: &str, state: &str, expected: Expected) {
        let uid = self.world.own(kind, id, state).await;
        let key = (kind.plural().to_owned(), id.to_owned());
        self.uids.insert(key.clone(), uid);
        self.expected.insert(key, expected);
    }

    /// Records that a third party changes a target `times` times, and the expected outcome of its item.
    pub fn foreign(&mut self, kind: Kind, id: &str, times: usize, outcome: &'static str) {
        let key = (kind.plural().to_owned(), id.to_owned());
        self.expected.insert(key, Expected { outcome, own: 0, foreign: times });
    }

    /// The audit log is this long now.
    pub fn mark(&self) -> u64 {
        self.world.plane.audited()
    }

    /// Starts the operator; it leads in any case.
    pub fn start(&mut self, max_in_flight: &str) {
        self.start_with(&[&["--max-in-flight", max_in_flight], LONG_LEASE.as_slice()].concat());
    }

    /// Starts a second replica beside the operator, both with the shipped timings of the Lease.
    pub async fn start_two(&mut self, arguments: &[&str]) {
        self.start_with(arguments);
        self.logged("the first leads", |log| log.contains(" leads identity=")).await;
        let mut standby = self.world.operator.another(&self.world.client).await;
        standby.start(arguments);
        self.standby = Some(standby);
        self.until_standby().await;
    }

    /// Kills the leader, and deletes its Lease; then the other one leads, and the killed one is restarted.
    pub fn kill_the_leader(&mut self, arguments: &[&str]) {
        self.kill();
        let standby = self.standby.as_mut().unwrap();
        std::mem::swap(&mut self.world.operator, standby);
        self.starts += 1;
        standby.start(arguments);
    }

    /// Waits until the second replica is on standby.
    async fn until_standby(&self) {
        let standby = self.standby.as_ref().unwrap();
        until("the second waits", || async { standby.log().contains("waiting to lead") }).await;
    }

    /// Starts the operator.
    pub fn start_with(&mut self, arguments: &[&str]) {
        self.starts += 1;
        self.world.operator.start(arguments);
    }

    /// Kills the operator: every other time while it is held, with answers that it has not read, otherwise while it
    /// runs.
    pub fn kill(&mut self) {
        if self.starts.is_multiple_of(2) {
            self.resume();
        }
        self.world.operator.kill();
        self.note("SIGKILL");
    }

    /// Lets the operator run (SIGCONT).
    pub fn resume(&self) {
        self.world.operator.signal("CONT");
    }

    /// Records a fault, and the progress of the round.
    pub fn note(&mut self, what: &str) {
        self.faults.push(format!("{what} at {}", self.written()));
    }

    /// The operator's requests in this round.
    pub fn requests(&self) -> Vec<Request> {
        self.world.plane.requests_since(self.logged, &self.world.operator.user)
    }

    /// How many writes to targets have succeeded.
    pub fn written(&self) -> usize {
        self.requests().iter().filter(|r| r.is_target_write() && r.succeeded()).count()
    }

    /// As [`Self::hold_at`], when this many more writes have been answered.
    pub async fn hold_after(&self, more: usize) -> bool {
        let writes = self.written() + more;
        self.hold_at(&format!("{writes} writes"), |_| self.written() >= writes).await
            && self.written() < ELIGIBLE
    }

    /// Lets the operator run in small steps until its requests meet a condition, and holds it there (SIGSTOP). Checking
    /// takes time, and on a busy machine a round that was not held meanwhile would be finished. Returns whether the
    /// condition was met before the end.
    pub async fn hold_at(&self, what: &str, moment: impl Fn(&[Request]) -> bool) -> bool {
        let is_end = |r: &Request| r.body["status"]["completionTime"].is_string() && r.succeeded();
        let (mut came, mut over) = (false, false);
        let step = || {
            self.world.operator.signal("STOP");
            let requests = self.requests();
            (came, over) = (moment(&requests), requests.iter().any(is_end));
            if !(came || over) {
                self.resume();
            }
            std::future::ready(came || over)
        };
        assert!(
            within(ROUND_TIMEOUT, Duration::from_millis(2), step).await,
            "not within {ROUND_TIMEOUT:?}: {what}"
        );
        !over
    }

    /// Waits until the operator's log meets `condition`.
    pub async fn logged(&self, what: &str, condition: impl Fn(&str) -> bool) {
        until(what, || async { condition(&self.world.operator.log()) }).await;
    }

    /// The stored status.
    pub async fn status(&self) -> BulkUpdateStatus {
        self.world.bulk_updates().get(NAME).await.unwrap().status.unwrap()
    }

    /// Waits for the end of a BulkUpdate.
    pub async fn over(&self, name: &str) -> u64 {
        let api = self.world.bulk_updates();
        let over = || async {
            api.get(name).await.is_ok_and(|b| b.status.is_some_and(|s| s.completion_time.is_some()))
        };
        let over = within(ROUND_TIMEOUT, Duration::from_millis(100), over).await;
        assert!(over, "{name}: {:#?}\n{}", api.get(name).await, self.world.operator.log());
        api.get(name).await.unwrap().resource_version().unwrap().parse().unwrap()
    }
}

/// The id of the n-th item of a kind.
pub fn id(n: usize) -> String {
    format!("item-{n:02}")
}
