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

/// How long it may take to the end: the API server's own restart and the longest back-offs included.
const TO_THE_END: Duration = Duration::from_mins(3);

/// What has to become of an item.
#[derive(Clone, Debug)]
struct Expected {
    /// Result and reason.
    outcome: &'static str,
    /// How often the operator changes the object.
    own: usize,
    /// How often others change what has its name.
    foreign: usize,
}

pub struct Round {
    pub world: World,
    /// A second replica, if there is one: it leads when the operator of the world has ended.
    pub standby: Option<Operator>,
    /// A namespace with targets of the same names, for which nobody asks.
    next_door: String,
    /// What is asked for.
    spec: Value,
    /// By resource and name.
    expected: BTreeMap<(String, String), Expected>,
    /// The uid that each name had when the BulkUpdate was made.
    uids: BTreeMap<(String, String), String>,
    /// The revision at which it all began, and how long the audit log was.
    since: u64,
    logged: u64,
    starts: usize,
    /// What was done to it, for the line that it prints.
    faults: Vec<String>,
    /// These tests take down what all of them share.
    _alone: MutexGuard<'static, ()>,
}

const DONE: Expected = Expected { outcome: "Settled", own: 1, foreign: 0 };
const REFUSED: Expected = Expected { outcome: "Refused WrongState", own: 0, foreign: 0 };
const BYSTANDER: Expected = Expected { outcome: "", own: 0, foreign: 0 };

impl Round {
    /// A namespace with the targets; the operator does not run yet. It will run as it is shipped.
    pub async fn new(namespace: &str) -> Self {
        Self::of(namespace, true).await
    }

    /// The same with an operator that runs as most other tests run it: for its own namespace alone, and without the admission
    /// policy.
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

    /// Makes the BulkUpdate.
    pub async fn submit(&self) {
        self.world.submit(NAME, self.spec.clone()).await;
    }

    async fn make(&mut self, kind: Kind, id: &str, state: &str, expected: Expected) {
        let uid = self.world.own(kind, id, state).await;
        let key = (kind.plural().to_owned(), id.to_owned());
        self.uids.insert(key.clone(), uid);
        self.expected.insert(key, expected);
    }

    /// Says that a third party changes a target `times` times, and what has to become of its item then.
    pub fn foreign(&mut self, kind: Kind, id: &str, times: usize, outcome: &'static str) {
        let key = (kind.plural().to_owned(), id.to_owned());
        self.expected.insert(key, Expected { outcome, own: 0, foreign: times });
    }

    /// The audit log is this long now.
    pub fn mark(&self) -> u64 {
        self.world.plane.audited()
    }

    /// Starts the operator; it leads whatever happens.
    pub fn start(&mut self, max_in_flight: &str) {
        self.start_with(&[&["--max-in-flight", max_in_flight], LONG_LEASE.as_slice()].concat());
    }

    /// Starts a second replica beside the operator, both with the times of the Lease that are shipped.
    pub async fn start_two(&mut self, arguments: &[&str]) {
        self.start_with(arguments);
        self.logged("the first leads", |log| log.contains(" leads identity=")).await;
        let mut standby = self.world.operator.another(&self.world.client).await;
        standby.start(arguments);
        self.standby = Some(standby);
        self.stands_by().await;
    }

    /// Kills the leader, and frees its Lease; the other leads then, and the one that was killed is started again.
    pub fn kill_the_leader(&mut self, arguments: &[&str]) {
        self.kill();
        let standby = self.standby.as_mut().unwrap();
        std::mem::swap(&mut self.world.operator, standby);
        self.starts += 1;
        standby.start(arguments);
    }

    /// Waits until the second replica waits to lead.
    async fn stands_by(&self) {
        let standby = self.standby.as_ref().unwrap();
        until("the second waits", || async { standby.log().contains("waiting to lead") }).await;
    }

    /// Starts the operator.
    pub fn start_with(&mut self, arguments: &[&str]) {
        self.starts += 1;
        self.world.operator.start(arguments);
    }

    /// Kills the operator: every other time while it is held, with answers that it has not read, else in motion.
    pub fn kill(&mut self) {
        if self.starts.is_multiple_of(2) {
            self.go_on();
        }
        self.world.operator.kill();
        self.note("SIGKILL");
    }

    /// Lets the operator run (SIGCONT).
    pub fn go_on(&self) {
        self.world.operator.signal("CONT");
    }

    /// Keeps in mind what was done, and how far the round was.
    pub fn note(&mut self, what: &str) {
        self.faults.push(format!("{what} at {}", self.written()));
    }

    /// What the operator has asked for in this round.
    pub fn requests(&self) -> Vec<Request> {
        self.world.plane.requests_since(self.logged, &self.world.operator.user)
    }

    /// How many writes to targets have been answered with a success.
    pub fn written(&self) -> usize {
        self.requests().iter().filter(|r| r.is_target_write() && r.succeeded()).count()
    }

    /// As [`Self::hold_at`], when so many writes more than at the beginning of this have been answered.
    pub async fn hold_after(&self, more: usize) -> bool {
        let writes = self.written() + more;
        self.hold_at(&format!("{writes} writes"), |_| self.written() >= writes).await
            && self.written() < ELIGIBLE
    }

    /// Lets the operator run in small steps up to a moment in what it has asked for, and holds it there (SIGSTOP). Looking
    /// takes time, and on a busy machine a round that went on meanwhile would be over. Says whether the moment came
    /// before the end.
    pub async fn hold_at(&self, what: &str, moment: impl Fn(&[Request]) -> bool) -> bool {
        let is_end = |r: &Request| r.body["status"]["completionTime"].is_string() && r.succeeded();
        let (mut came, mut over) = (false, false);
        let step = || {
            self.world.operator.signal("STOP");
            let requests = self.requests();
            (came, over) = (moment(&requests), requests.iter().any(is_end));
            if !(came || over) {
                self.go_on();
            }
            std::future::ready(came || over)
        };
        assert!(
            within(TO_THE_END, Duration::from_millis(2), step).await,
            "not within {TO_THE_END:?}: {what}"
        );
        !over
    }

    /// Waits until the operator's log is as `condition` wants it.
    pub async fn logged(&self, what: &str, condition: impl Fn(&str) -> bool) {
        until(what, || async { condition(&self.world.operator.log()) }).await;
    }

    /// The status as it is on record.
    pub async fn status(&self) -> BulkUpdateStatus {
        self.world.bulk_updates().get(NAME).await.unwrap().status.unwrap()
    }

    /// Waits for the end of a BulkUpdate.
    pub async fn over(&self, name: &str) -> u64 {
        let api = self.world.bulk_updates();
        let over = || async {
            api.get(name).await.is_ok_and(|b| b.status.is_some_and(|s| s.completion_time.is_some()))
        };
        let over = within(TO_THE_END, Duration::from_millis(100), over).await;
        assert!(over, "{name}: {:#?}\n{}", api.get(name).await, self.world.operator.log());
        api.get(name).await.unwrap().resource_version().unwrap().parse().unwrap()
    }
}

/// The id of the n-th item of a kind.
pub fn id(n: usize) -> String {
    format!("item-{n:02}")
}
