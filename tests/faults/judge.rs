//! The judge of one plan, based on the observer's history and the API server's audit log. It implements the rules
//! independently of the operator, and does not trust the operator's status: that is judged too.

use std::collections::HashMap;

use ai_api_operator::api::{BulkUpdateStatus, ItemResult, ItemStatus, Kind, Reason, TargetStatus};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use support::audit::Request;

use crate::{
    authors,
    basis::Bases,
    cluster::{Cluster, FINALIZER},
    conditions, end,
    fault::{Call, Change, Fault, Place},
    history::{Bulk, Version},
    leases,
    plan::Plan,
    truth,
};

pub struct Case<'a> {
    pub plan: &'a Plan,
    pub versions: Vec<Version>,
    pub requests: Vec<Request>,
    pub cancelled: Option<Timestamp>,
    /// The objects that others have deleted, by uid.
    pub others_deleted: Vec<String>,
    /// What the plans are based on.
    pub bases: &'a Bases,
    /// The Lease, the admission policy and its binding, where the shipped setup runs.
    pub shipped: Vec<Version>,
    /// The lives that were held, and the paths of the requests that were in flight then.
    pub held: Vec<(String, String)>,
    /// When a fault that lasts hit the first and the last request.
    pub lasted: Option<[Timestamp; 2]>,
    pub violations: Vec<String>,
}

pub fn kind_of(plural: &str) -> Kind {
    Kind::ALL.into_iter().find(|kind| kind.plural() == plural).unwrap()
}

/// The rules of the AI API.
pub fn may(version: &Version, verb: TargetStatus) -> bool {
    let state = version.state();
    !version.terminating()
        && match verb {
            TargetStatus::Stopped => ["PENDING", "RUNNING"].contains(&state) && !version.stop_pending(),
            TargetStatus::Deleted => ["STOPPED", "DEAD", "UNKNOWN"].contains(&state),
        }
}

impl<'a> Case<'a> {
    pub fn new(plan: &'a Plan, cluster: &Cluster, bases: &'a Bases, lasted: Option<[Timestamp; 2]>) -> Self {
        let versions = cluster.history.versions().into_iter().filter(|v| v.name != "observer-end");
        Self {
            versions: versions.collect(),
            requests: cluster.audit(),
            cancelled: cluster.cancelled(),
            others_deleted: cluster.others_deleted(),
            shipped: cluster.shipped.iter().flat_map(|shipped| shipped.versions()).collect(),
            ..Self::of(plan, bases, lasted)
        }
    }

    /// One of which nothing is known.
    pub fn of(plan: &'a Plan, bases: &'a Bases, lasted: Option<[Timestamp; 2]>) -> Self {
        Self {
            plan,
            versions: Vec::new(),
            requests: Vec::new(),
            cancelled: None,
            others_deleted: Vec::new(),
            bases,
            shipped: Vec::new(),
            held: Vec::new(),
            lasted,
            violations: Vec::new(),
        }
    }

    /// Whether somebody else has deleted this object.
    pub fn was_deleted_by_others(&self, uid: &str) -> bool {
        self.others_deleted.iter().any(|deleted| deleted == uid)
    }

    fn say(&mut self, what: String) {
        if !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }

    pub fn bulk_updates(&self) -> Vec<Bulk> {
        let mut bulks: Vec<Bulk> = Vec::new();
        for version in self.versions.iter().filter(|v| v.plural == "bulkupdates") {
            let entry = (version.revision, version.deleted, version.bulk());
            match bulks.iter_mut().find(|b| b.uid == version.uid) {
                Some(bulk) => bulk.versions.push(entry),
                None => bulks.push(Bulk {
                    uid: version.uid.clone(),
                    created: version.created().to_owned(),
                    versions: vec![entry],
                }),
            }
        }
        bulks
    }

    /// Whether somebody else has written items into a status.
    pub fn is_forged(&self, bulk: &Bulk, status: &BulkUpdateStatus) -> bool {
        self.plan.changes().any(|c| c == Change::WidenStatus) && !bulk.has_its_items(status)
    }

    /// All violations.
    pub fn judged(mut self) -> Vec<String> {
        let bulks = self.bulk_updates();
        self.guards();
        self.writes(&bulks);
        self.deletions(&bulks);
        for bulk in &bulks {
            for problem in [truth::of(&self, bulk), conditions::of(&self, bulk)].concat() {
                self.say(problem);
            }
        }
        let others = [end::of(&self, &bulks), authors::of(&self, &bulks), leases::of(&self)];
        for problem in others.concat().into_iter().chain(self.accounts_agree()) {
            self.say(problem);
        }
        self.as_without_faults(&bulks);
        self.cost(&bulks);
        self.violations
    }

    /// Every destructive request carries its precondition, whatever the answer, and is of a kind that the operator may
    /// send.
    fn guards(&mut self) {
        // The deletion of a BulkUpdate after its TTL is like any other.
        let destroys = |r: &&Request| r.is_target_write() || r.verb == "delete";
        for r in self.requests.clone().iter().filter(destroys) {
            let uid = r.body.pointer("/preconditions/uid");
            let in_the_background = r.body.pointer("/propagationPolicy").is_none_or(|p| p == "Background");
            let guarded = r.guard().is_some() && (r.verb != "delete" || (uid.is_some() && in_the_background));
            let known = matches!((&*r.verb, &*r.subresource), ("delete", "") | ("patch", "status"));
            if !guarded || !known {
                self.say(format!("unguarded: {} {}/{} {}", r.verb, r.name, r.subresource, r.body));
            }
        }
        let records = self.requests.clone();
        let records = records.iter().filter(|r| r.is_record());
        let mut last: HashMap<&str, &Value> = HashMap::new();
        for r in records {
            if r.guard().is_none() {
                self.say(format!("a status without a guard: {}", r.body));
            }
            // A write without an answer may have been carried out.
            if r.code >= 500 {
                last.remove(&*r.name);
            }
            let again = r.succeeded() && last.insert(&r.name, &r.body["status"]) == Some(&r.body["status"]);
            if again && self.plan.changes().next().is_none() {
                self.say(format!("a status written again that had not changed: {}", r.body));
            }
        }
        for version in self.versions.clone() {
            let foreign = version
                .object
                .pointer("/metadata/finalizers")
                .and_then(|f| f.as_array())
                .is_some_and(|f| f.iter().any(|f| f != FINALIZER));
            if foreign || version.object.pointer("/metadata/ownerReferences").is_some() {
                self.say(format!("{} has finalizers or owners", version.name));
            }
        }
    }

    /// Whether an object existed when the BulkUpdate was created.
    pub fn is_older(&self, object: &Version, bulk: &Bulk) -> bool {
        let first = self.versions.iter().filter(|v| v.uid == object.uid).map(|v| v.revision).min();
        let before = first.is_some_and(|first| first < bulk.versions[0].0);
        object.created() < &*bulk.created || (object.created() == bulk.created && before)
    }

    /// The audit log, on which other checks are based, has each change that the observer has seen, though not always
    /// its answer: the client may have died by then.
    pub fn accounts_agree(&self) -> Vec<String> {
        let mut seen: HashMap<&str, (bool, bool)> = HashMap::new();
        let mut unknown = Vec::new();
        for version in self.versions.iter().filter(|v| v.plural != "bulkupdates") {
            let before = seen.entry(&version.uid).or_default();
            let now = (!version.stopped_by().is_empty(), version.deleted || version.terminating());
            let verbs = [("patch", now.0 && !before.0), ("delete", now.1 && !before.1)];
            let others = self.was_deleted_by_others(&version.uid);
            for (verb, _) in verbs.into_iter().filter(|(verb, new)| *new && !(others && *verb == "delete")) {
                let sent =
                    |r: &&Request| r.verb == verb && r.resource == version.plural && r.name == version.name;
                if !self.requests.iter().any(|r| sent(&r)) {
                    unknown.push(format!("the audit log lacks the {verb} of {}", version.name));
                }
            }
            *before = now;
        }
        unknown
    }

    /// Every accepted write is to an object that was eligible and had been planned in a stored status; none is made
    /// twice.
    fn writes(&mut self, bulks: &[Bulk]) {
        let mut hit: Vec<(String, String)> = Vec::new();
        for r in self.requests.clone().iter().filter(|r| r.is_target_write() && r.succeeded()) {
            let (kind, verb) = (kind_of(&r.resource), verb_of(r));
            let guard: u64 = r.guard().and_then(|v| v.parse().ok()).unwrap_or_default();
            let of_object = |v: &&Version| v.plural == r.resource && v.name == r.name;
            let Some(before) = self.versions.iter().find(|v| of_object(v) && v.revision == guard).cloned()
            else {
                self.say(format!(
                    "{verb:?} of {} is based on a version that was never seen: {guard}",
                    r.name
                ));
                continue;
            };
            let effect = self.versions.iter().filter(of_object).map(|v| v.revision).find(|v| *v > guard);
            let effect = effect.unwrap_or(u64::MAX);
            if !may(&before, verb) {
                self.say(format!("{verb:?} of {}, which was {}", r.name, before.object));
            }
            let asker = r.body.pointer("/status/stopRequest/uid").and_then(|u| u.as_str());
            let is_meant = |bulk: &&Bulk| {
                bulk.asks(kind, &r.name, &before.uid, verb)
                    && asker.is_none_or(|uid| uid == bulk.uid)
                    && self.is_older(&before, bulk)
            };
            let meant: Vec<_> = bulks.iter().filter(is_meant).collect();
            if meant.is_empty() {
                self.say(format!("{verb:?} of {}; no BulkUpdate asked for it", r.name));
            }
            let planned = |b: &Bulk| b.had_planned(kind, &r.name, &before.uid, effect);
            if !meant.into_iter().any(planned) {
                self.say(format!("{verb:?} of {} before the plan was recorded", r.name));
            }
            let key = (before.uid.clone(), asker.unwrap_or("deleted").to_owned());
            if hit.contains(&key) {
                self.say(format!("{verb:?} of {} twice", r.name));
            }
            hit.push(key);
        }
    }

    /// No object is gone unless somebody deleted it or its deletion was planned; no stop without its BulkUpdate.
    fn deletions(&mut self, bulks: &[Bulk]) {
        let targets: Vec<_> = self.versions.iter().filter(|v| v.plural != "bulkupdates").cloned().collect();
        for gone in targets.iter().filter(|v| v.deleted) {
            let kind = kind_of(&gone.plural);
            let planned = bulks.iter().any(|b| {
                b.asks(kind, &gone.name, &gone.uid, TargetStatus::Deleted)
                    && b.had_planned(kind, &gone.name, &gone.uid, gone.revision)
            });
            if !planned && !self.was_deleted_by_others(&gone.uid) {
                self.say(format!("{} is gone, without a plan to delete it", gone.name));
            }
        }
        for (at, version) in targets.iter().enumerate().filter(|(_, v)| !v.stopped_by().is_empty()) {
            let earlier = targets[..at].iter().rev().find(|v| v.uid == version.uid);
            if earlier.is_some_and(|v| v.stopped_by() == version.stopped_by()) {
                continue;
            }
            let managers = version.object.pointer("/metadata/managedFields").and_then(|f| f.as_array());
            if !managers.is_some_and(|m| m.iter().any(|field| field["manager"] == "ai-api-operator")) {
                self.say(format!("{} does not say who has stopped it", version.name));
            }
            let kind = kind_of(&version.plural);
            let by = bulks.iter().find(|b| b.uid == version.stopped_by());
            let planned = by.is_some_and(|b| {
                b.asks(kind, &version.name, &version.uid, TargetStatus::Stopped)
                    && b.had_planned(kind, &version.name, &version.uid, version.revision)
            });
            if !planned {
                self.say(format!("{} was stopped without a plan", version.name));
            }
        }
    }

    /// Where only the operator changed anything, the outcome is the same as without faults.
    fn as_without_faults(&mut self, bulks: &[Bulk]) {
        if !self.plan.is_calm() {
            return;
        }
        let refused = self.refused_for_good();
        if let [bulk] = bulks {
            let (_, status) = bulk.last();
            for (kind, id, expected) in self.plan.scenario.outcomes {
                let found = outcome(status.items(*kind).iter().find(|i| *i.id == **id));
                let refused = refused.as_deref() == Some(*id) && found == "Failed WriteFailed";
                if found != *expected && found != format!("{expected} Gone") && !refused {
                    self.say(format!("{id}: {found}, without faults it is {expected}"));
                }
            }
        }
        for name in self.plan.scenario.written.iter().filter(|name| refused.as_deref() != Some(**name)) {
            let of_name: Vec<_> =
                self.versions.iter().filter(|v| v.plural != "bulkupdates" && v.name == *name).collect();
            let first = &of_name[0].uid;
            let deleted = of_name.iter().any(|v| v.uid == *first && v.deleted);
            let stopped = of_name.iter().any(|v| v.uid == *first && !v.stopped_by().is_empty());
            if deleted == stopped {
                self.say(format!("{name}: deleted {deleted}, stopped {stopped}"));
            }
        }
    }

    /// Without faults: a write for each item that is written, a read for each that is refused or not settled in time,
    /// and five others.
    fn cost(&mut self, bulks: &[Bulk]) {
        let [bulk] = bulks else { return };
        if !self.plan.is_undisturbed() || self.plan.scenario.outcomes.is_empty() {
            return;
        }
        let (_, status) = bulk.last();
        let items = Kind::ALL.into_iter().flat_map(|kind| status.items(kind).to_vec());
        let looked_at =
            |i: &ItemStatus| i.result == ItemResult::Refused || i.reason == Some(Reason::NotSettledInTime);
        let refused = items.filter(looked_at).count();
        let expired =
            self.requests.iter().filter(|r| r.resource == "bulkupdates" && r.verb == "delete").count();
        let others = self.requests.iter().filter(|r| r.is_overhead()).count();
        if others > 5 + refused + expired {
            self.say(format!("{others} requests besides the writes, {refused} items refused or not settled"));
        }
    }

    /// The target whose write got a made-up final refusal.
    fn refused_for_good(&self) -> Option<String> {
        let final_refusal = |fault| matches!(fault, Fault::Answer { code: 410, passed_on: false, .. });
        let injection = self.plan.injections.iter().find(|injection| final_refusal(injection.fault))?;
        let verb = match injection.place {
            Place::Nth(Call::Stop, _) => TargetStatus::Stopped,
            Place::Nth(Call::Delete, _) => TargetStatus::Deleted,
            _ => return None,
        };
        let bulk = self.bulk_updates().pop()?;
        let (_, status) = bulk.last();
        let items = Kind::ALL.into_iter().flat_map(|kind| status.items(kind).to_vec());
        let mut failed = items.filter(|i| i.target_status == verb && i.reason == Some(Reason::WriteFailed));
        failed.next().map(|i| i.id.to_string())
    }
}

pub fn outcome(item: Option<&ItemStatus>) -> String {
    let Some(item) = item else { return "not in the status".into() };
    let reason = item.reason.map(|r| format!(" {r:?}")).unwrap_or_default();
    format!("{:?}{reason}", item.result)
}

pub fn verb_of(request: &Request) -> TargetStatus {
    if request.verb == "delete" { TargetStatus::Deleted } else { TargetStatus::Stopped }
}
