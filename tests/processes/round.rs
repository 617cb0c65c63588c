//! One round: a BulkUpdate of 100 items, the faults that befall it, and the judgement of an observer whom the operator
//! can't talk to.

use std::{collections::BTreeMap, time::Duration};

use ai_api_operator::api::{BulkUpdateStatus, Kind};
use kube::ResourceExt;
use serde_json::{Value, json};
use support::{
    World,
    audit::Request,
    item,
    operator::{LONG_LEASE, Operator},
    policy_in_force, until, within,
};
use tokio::sync::MutexGuard;

use crate::{
    alone,
    history::{self, Change},
};

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

    /// Waits for the end and judges it. `most` is how many requests it may have taken.
    pub async fn judge(mut self, most: usize) {
        self.go_on();
        self.over(NAME).await;
        let at_the_end = self.requests();
        // Whatever might still come has come when a restarted operator has carried out another one.
        self.standby = None;
        self.world.operator.kill();
        self.world.operator.start(&[]);
        self.make(Kind::Execution, "afterwards", "RUNNING", BYSTANDER).await;
        let item = json!({"id": "afterwards", "targetStatus": "STOPPED"});
        self.world.submit("afterwards", json!({"executions": [item]})).await;
        let last = self.over("afterwards").await;

        let changes = history::read(&self.world.plane.folder, &self.world.namespace, self.since, last);
        let made = changes.iter().find(|c| c.resource == "bulkupdates" && c.name == NAME).unwrap().revision;
        let elsewhere = history::read(&self.world.plane.folder, &self.next_door, 0, last);
        assert!(elsewhere.len() >= 8, "there is nobody next door: {elsewhere:#?}");
        let struck: Vec<_> = elsewhere.iter().filter(|c| c.revision > made).collect();
        assert!(struck.is_empty(), "targets of another namespace have changed: {struck:#?}");
        let status = self.status().await;
        let own = self.judge_history(&changes);
        self.judge_status(&status);
        judge_requests(&self.requests());
        let log = self.world.operator.log();
        assert!(!log.contains("panicked"), "{log}");
        let requests: Vec<_> = at_the_end
            .iter()
            .filter(|r| r.resource == "configmaps" || r.resource == "bulkupdates" || r.is_target())
            .filter(|r| r.verb != "watch" && r.verb != "list")
            .collect();
        assert!(requests.len() <= most, "{} requests, more than {most}", requests.len());
        let known = log.matches("outcome=accepted").count() - 1;
        println!(
            "{}: {}; starts: {}, requests: {}, changes of targets: {own}, of them unknown to who made them: {}",
            self.world.namespace,
            self.faults.join(", "),
            self.starts,
            requests.len(),
            own.saturating_sub(known),
        );
    }

    /// What was done, by etcd's account; gives back how many changes the operator has made.
    fn judge_history(&self, changes: &[Change]) -> usize {
        let (round, targets): (Vec<_>, Vec<_>) = changes.iter().partition(|c| c.resource == "bulkupdates");
        let round: Vec<_> = round.into_iter().filter(|c| c.name == NAME).collect();
        let made = round[0];
        let is_over =
            |c: &&&Change| c.after.as_ref().is_some_and(|bulk| !bulk["status"]["completionTime"].is_null());
        let end = round.iter().find(is_over).unwrap().revision;
        assert_eq!(round.last().unwrap().revision, end, "the BulkUpdate changed after its end");

        let mut own = 0;
        for ((resource, name), expected) in self.expected.iter().filter(|(key, _)| key.1 != "afterwards") {
            let of_name = targets.iter().filter(|c| c.resource == *resource && c.name == *name);
            let since: Vec<_> = of_name.filter(|c| c.revision > made.revision).collect();
            assert_eq!(since.len(), expected.own + expected.foreign, "{resource}/{name}: {since:#?}");
            let stops = since.iter().filter(|c| {
                c.after.as_ref().is_some_and(|a| a["status"]["stopRequest"]["uid"] == made.uid())
            });
            assert!(expected.own == 1 || stops.count() == 0, "{resource}/{name}: {since:#?}");
            if expected.own == 0 {
                continue;
            }
            own += 1;
            let change = since[0];
            let uid = &self.uids[&(resource.clone(), name.clone())];
            assert_eq!(change.uid(), uid, "{resource}/{name}");
            assert!(change.revision < end, "{resource}/{name} changed after the end");
            judge_change(change, made.uid(), &round);
            // From then on the record may say so, and not before.
            let told = round.iter().filter(|r| r.revision < change.revision);
            for record in told.filter_map(|r| recorded(r.after.as_ref()?, resource, name)) {
                assert_eq!(record["result"], "Planned", "{resource}/{name} was told before it was done");
            }
        }
        own
    }

    /// What the operator tells, against what has to have happened.
    fn judge_status(&self, status: &BulkUpdateStatus) {
        let mut counts = (0, 0, 0);
        for kind in Kind::ALL {
            assert_eq!(status.items(kind).len(), 50);
            for n in 0..50 {
                let id = id(n);
                let key = (kind.plural().to_owned(), id.clone());
                let outcome = support::outcome(status, kind, &id);
                let expected = &self.expected[&key];
                // Where no answer came, the object is found gone, and nobody can know who did it.
                let gone = outcome == "Settled Gone" && n % 2 == 1 && expected.own == 1;
                assert!(gone || outcome == expected.outcome, "{key:?} is {outcome}, not {expected:?}");
                assert_eq!(item(status, kind, &id).uid.as_deref(), Some(&*self.uids[&key]));
                match &*outcome {
                    o if o.starts_with("Settled") => counts.0 += 1,
                    o if o.starts_with("Refused") => counts.1 += 1,
                    _ => counts.2 += 1,
                }
            }
        }
        let summary = status.summary.as_ref().unwrap();
        assert_eq!((summary.settled, summary.refused, summary.failed), counts, "{summary:?}");
        let ready = status.condition("Ready").unwrap();
        let reason = if counts.2 > 0 { "ItemsFailed" } else { "ItemsRefused" };
        assert_eq!((&*ready.status, &*ready.reason), ("False", reason));
    }
}

/// The id of the n-th item of a kind.
pub fn id(n: usize) -> String {
    format!("item-{n:02}")
}

/// One change that the operator has made: allowed by the state before it, and intended by the record before it.
fn judge_change(change: &Change, bulk_uid: &str, round: &[&Change]) {
    let before = change.before.as_ref().unwrap();
    let state = before["status"]["state"].as_str().unwrap();
    let stop = ["RUNNING", "PENDING"].contains(&state);
    match &change.after {
        None => assert!(!stop, "deleted in {state}: {change:#?}"),
        Some(after) => {
            assert!(stop, "stopped in {state}: {change:#?}");
            assert_eq!(after["status"]["stopRequest"]["uid"], bulk_uid, "{change:#?}");
            assert_eq!(after["status"]["state"], "STOPPED", "{change:#?}");
        }
    }
    let record = round.iter().rfind(|r| r.revision < change.revision).unwrap();
    let entry = recorded(record.after.as_ref().unwrap(), &change.resource, &change.name);
    let entry = entry.unwrap_or_else(|| panic!("written before the plan was on record: {change:#?}"));
    assert_eq!((&entry["result"], &entry["uid"]), (&json!("Planned"), &json!(change.uid())), "{change:#?}");
}

fn recorded<'a>(bulk: &'a Value, resource: &str, name: &str) -> Option<&'a Value> {
    bulk["status"][resource].as_array()?.iter().find(|entry| entry["id"] == name)
}

/// Each write carries its guard, whatever came of it.
fn judge_requests(requests: &[Request]) {
    let mut accepted = BTreeMap::<_, usize>::new();
    for write in requests.iter().filter(|r| r.is_target_write()) {
        assert!(write.guard().is_some_and(|version| !version.is_empty()), "unguarded: {write:#?}");
        if write.verb == "delete" {
            assert!(write.body["preconditions"]["uid"].is_string(), "{write:#?}");
        } else {
            assert_eq!((&*write.verb, &*write.subresource), ("patch", "status"), "{write:#?}");
        }
        if write.succeeded() {
            *accepted.entry((&write.resource, &write.name)).or_default() += 1;
        }
    }
    assert!(!accepted.is_empty(), "the audit log does not tell of any write");
    for (target, times) in accepted {
        assert_eq!(times, 1, "{target:?} was written to so often");
    }
}
