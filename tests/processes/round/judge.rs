//! The judge of a round, which does not ask the operator: etcd's history and the audit log.

use std::collections::BTreeMap;

use ai_api_operator::api::{BulkUpdateStatus, Kind};
use serde_json::{Value, json};
use support::{audit::Request, item};

use super::{BYSTANDER, NAME, Round, id};
use crate::history::{self, Change};

impl Round {
    /// Waits for the end and judges it. `most` is the maximum number of requests.
    pub async fn judge(mut self, most: usize) {
        self.resume();
        self.over(NAME).await;
        let at_the_end = self.requests();
        // When a restarted operator has carried out another one, nothing more can come of this one.
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
        assert!(elsewhere.len() >= 8, "the other namespace has no targets: {elsewhere:#?}");
        let foreign: Vec<_> = elsewhere.iter().filter(|c| c.revision > made).collect();
        assert!(foreign.is_empty(), "targets of another namespace have changed: {foreign:#?}");
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
            "{}: {}; starts: {}, requests: {}, changes of targets: {own}, of which the operator does not know: {}",
            self.world.namespace,
            self.faults.join(", "),
            self.starts,
            requests.len(),
            own.saturating_sub(known),
        );
    }

    /// What was done, according to etcd; returns how many changes the operator has made.
    fn judge_history(&self, changes: &[Change]) -> usize {
        let (round, targets): (Vec<_>, Vec<_>) = changes.iter().partition(|c| c.resource == "bulkupdates");
        let round: Vec<_> = round.into_iter().filter(|c| c.name == NAME).collect();
        let made = round[0];
        let is_finished =
            |c: &&&Change| c.after.as_ref().is_some_and(|bulk| !bulk["status"]["completionTime"].is_null());
        let end = round.iter().find(is_finished).unwrap().revision;
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
            // The record may say so from then on, and not before.
            let earlier = round.iter().filter(|r| r.revision < change.revision);
            for record in earlier.filter_map(|r| recorded(r.after.as_ref()?, resource, name)) {
                assert_eq!(record["result"], "Planned", "{resource}/{name} was reported before it was done");
            }
        }
        own
    }

    /// What the operator reports, compared with what has to have happened.
    fn judge_status(&self, status: &BulkUpdateStatus) {
        let mut counts = (0, 0, 0);
        for kind in Kind::ALL {
            assert_eq!(status.items(kind).len(), 50);
            for n in 0..50 {
                let id = id(n);
                let key = (kind.plural().to_owned(), id.clone());
                let outcome = support::outcome(status, kind, &id);
                let expected = &self.expected[&key];
                // If there was no answer, the object is found gone, and it is unknown who deleted it.
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

/// One change that the operator has made: allowed by the state before it, and planned in the record before it.
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

/// Each write carries its precondition, whatever the answer.
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
    assert!(!accepted.is_empty(), "the audit log has no write");
    for (target, times) in accepted {
        assert_eq!(times, 1, "{target:?} was written to more than once");
    }
}
