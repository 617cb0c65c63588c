//! The facts of a run, arranged for the rules.

use std::collections::{HashMap, HashSet};

use ai_api_operator::api::{BulkUpdateStatus, Kind};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    bulk::{Bulk, Record},
    exchanges::{ToTarget, is_change},
    facts::{Exchange, Facts, Moment, Program, Request, Version},
    versions::kind_of,
};

pub struct Case<'a> {
    pub facts: &'a Facts,
    pub bulks: Vec<Bulk<'a>>,
    by_uid: HashMap<&'a str, Vec<&'a Version>>,
    by_name: ByObject<'a, Version>,
    /// By the revision that each has made.
    makers: HashMap<u64, &'a Request>,
    /// The exchanges about each object.
    exchanges: ByObject<'a, Exchange>,
    /// The names of targets that something runs for: kind, namespace, name.
    runs: HashSet<[&'a str; 3]>,
}

/// What is about an object: by its name, and then by resource and namespace.
struct ByObject<'a, T>(HashMap<&'a str, Vec<OfObject<'a, T>>>);

struct OfObject<'a, T> {
    resource: &'a str,
    namespace: &'a str,
    all: Vec<&'a T>,
}

impl<'a, T> ByObject<'a, T> {
    fn add(&mut self, [resource, namespace, name]: [&'a str; 3], one: &'a T) {
        let same_name = self.0.entry(name).or_default();
        let known = same_name.iter_mut().find(|of| of.resource == resource && of.namespace == namespace);
        match known {
            Some(known) => known.all.push(one),
            None => same_name.push(OfObject { resource, namespace, all: vec![one] }),
        }
    }

    fn of(&self, resource: &str, namespace: &str, name: &str) -> &[&'a T] {
        let mut same_name = self.0.get(name).into_iter().flatten();
        let found = same_name.find(|of| of.resource == resource && of.namespace == namespace);
        found.map(|of| &*of.all).unwrap_or_default()
    }
}

impl<'a> Case<'a> {
    pub fn of(facts: &'a Facts) -> Self {
        let mut bulks: Vec<Bulk<'a>> = Vec::new();
        let mut by_uid: HashMap<_, Vec<_>> = HashMap::new();
        let mut by_name = ByObject(HashMap::new());
        let mut runs = HashSet::new();
        for version in &facts.versions {
            by_uid.entry(&*version.uid).or_default().push(version);
            by_name.add([&version.plural, &version.namespace, &version.name], version);
            if version.runs_something() {
                runs.insert([&*version.plural, &*version.namespace, &*version.name]);
            }
            if version.plural == "bulkupdates" {
                let known = bulks.iter().position(|bulk| bulk.uid == version.uid);
                let at = known.unwrap_or_else(|| {
                    bulks.push(Bulk::new(version));
                    bulks.len() - 1
                });
                bulks[at].take_in(version);
            }
        }
        let changes = facts.requests.iter().filter(|r| is_change(&r.verb) && r.succeeded());
        let makers = changes.filter_map(|r| Some((r.revision?, r))).collect();
        let mut exchanges = ByObject(HashMap::new());
        for e in &facts.exchanges {
            exchanges.add([&e.resource, &e.namespace, &e.name], e);
        }
        Self { facts, bulks, by_uid, by_name, makers, exchanges, runs }
    }

    /// How many targets something runs for.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Whether a read of a target may be for what runs for it, and not for a BulkUpdate.
    pub fn may_be_for_what_runs(&self, e: &Exchange) -> bool {
        e.is_target_read() && self.runs.contains(&[&*e.resource, &*e.namespace, &*e.name])
    }

    /// Whether it is known what the processes have sent.
    pub fn knows_exchanges(&self) -> bool {
        !self.facts.exchanges.is_empty()
    }

    /// Whether it is known which request has made which revision.
    pub fn knows_makers(&self) -> bool {
        !self.makers.is_empty()
    }

    /// The request that has made this revision.
    pub fn maker(&self, revision: u64) -> Option<&'a Request> {
        self.makers.get(&revision).copied()
    }

    /// The process that has made this revision, if that is known.
    pub fn life_of(&self, revision: u64) -> Option<usize> {
        self.maker(revision)?.life
    }

    /// What the request that has made this revision was for its process, if that is known.
    pub fn exchange_that_made(&self, revision: u64) -> Option<&'a Exchange> {
        self.exchange_of(self.maker(revision)?)
    }

    /// Whether this version was certainly not made by the operator.
    pub fn is_made_by_others(&self, revision: u64) -> bool {
        self.knows_makers() && !self.maker(revision).is_some_and(|r| self.is_operators(r))
    }

    pub fn is_operators(&self, request: &Request) -> bool {
        request.life.is_some_and(|life| self.is_operator(life))
    }

    pub fn is_operator(&self, life: usize) -> bool {
        self.facts.lives.get(life).is_none_or(|life| life.program == Program::Operator)
    }

    /// The requests of the operator.
    pub fn requests(&self) -> impl DoubleEndedIterator<Item = &'a Request> {
        self.facts.requests.iter().filter(|r| self.is_operators(r))
    }

    /// What the operator's processes have sent.
    pub fn sent(&self) -> impl DoubleEndedIterator<Item = &'a Exchange> {
        self.facts.exchanges.iter().filter(|e| self.is_operator(e.life))
    }

    /// What processes have sent about an object, in order.
    pub fn about(&self, resource: &str, namespace: &str, name: &str) -> &[&'a Exchange] {
        self.exchanges.of(resource, namespace, name)
    }

    pub fn of_uid(&self, uid: &str) -> &[&'a Version] {
        self.by_uid.get(uid).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn of_name(&self, plural: &str, namespace: &str, name: &str) -> &[&'a Version] {
        self.by_name.of(plural, namespace, name)
    }

    pub fn targets_of(&self, bulk: &Bulk<'_>, kind: Kind, id: &str) -> &[&'a Version] {
        self.of_name(kind.plural(), bulk.namespace, id)
    }

    pub fn of_plural(&self, plural: &str) -> impl DoubleEndedIterator<Item = &'a Version> {
        self.facts.versions.iter().filter(move |v| v.plural == plural)
    }

    pub fn targets(&self) -> impl DoubleEndedIterator<Item = &'a Version> {
        self.facts.versions.iter().filter(|v| v.is_target())
    }

    /// What was under the name from the creation of the BulkUpdate to a revision.
    pub fn present(&self, bulk: &Bulk<'_>, kind: Kind, id: &str, to: u64) -> Vec<Option<&'a Version>> {
        let from = bulk.first().version.revision;
        let mut before = None;
        let mut present = vec![None];
        for version in self.targets_of(bulk, kind, id).iter().filter(|v| v.revision < to) {
            let now = (!version.deleted).then_some(*version);
            if version.revision <= from {
                before = now;
            } else {
                present.push(now);
            }
        }
        present[0] = before;
        present
    }

    /// The version of a BulkUpdate that guards a write to it.
    pub fn guarded(&self, namespace: &str, name: &str, guard: Option<u64>) -> Option<&'a Version> {
        let versions = self.of_name("bulkupdates", namespace, name).iter();
        versions.copied().find(|v| Some(v.revision) == guard)
    }

    /// The version of an object at a revision, or the last one before it.
    pub fn version_at(&self, uid: &str, revision: u64) -> Option<&'a Version> {
        self.of_uid(uid).iter().rfind(|v| v.revision <= revision).copied()
    }

    /// Whether somebody else has deleted this object.
    pub fn was_deleted_by_others(&self, uid: &str) -> bool {
        self.facts.others.deleted.iter().any(|deleted| deleted == uid)
    }

    /// Whether somebody else has written this status.
    pub fn is_forged(&self, bulk: &Bulk<'_>, status: &BulkUpdateStatus) -> bool {
        self.may_be_forged(bulk) && !bulk.has_its_items(status)
    }

    /// Whether somebody else has ever written its status.
    pub fn may_be_forged(&self, bulk: &Bulk<'_>) -> bool {
        self.facts.others.forged.iter().any(|uid| *uid == bulk.uid)
    }

    /// Whether this very record was written by somebody else.
    pub fn is_foreign(&self, record: &Record<'_>) -> bool {
        self.facts.others.forged_at.contains(&record.version.revision)
    }

    /// How many of its records before this revision nobody remembers: somebody has put text in the place of the status, which
    /// ends what is known of the plan, and then something else.
    pub fn forgotten(&self, bulk: &Bulk<'_>, before: u64) -> usize {
        let end = bulk.records.iter().take_while(|r| r.version.revision < before).count();
        let records = &bulk.records[..end];
        let changed = records.iter().rposition(|r| self.is_foreign(r));
        let blotted = records.iter().take(changed.unwrap_or(0)).rposition(Record::is_blotted);
        blotted.unwrap_or(0)
    }

    /// What this request is for the process that has sent it, if that is known.
    pub fn exchange_of(&self, request: &Request) -> Option<&'a Exchange> {
        self.facts.exchanges.get(request.exchange?)
    }

    /// The earliest time at which the operator may have sent it.
    pub fn sent_at(&self, request: &Request) -> Option<Timestamp> {
        match self.exchange_of(request) {
            Some(exchange) => Some(exchange.sent.at),
            None if request.delayed => None,
            None => Some(request.received - self.facts.tolerances.in_transit),
        }
    }

    /// What the operator's processes have sent to change targets.
    pub fn writes_sent(&self) -> impl Iterator<Item = &'a Exchange> {
        self.sent().filter(|e| e.is_target_write())
    }

    /// When a process was first shown this object, by a list or a watch.
    pub fn first_shown(&self, life: usize, uid: &str) -> Option<Moment> {
        self.facts.sights.iter().find(|s| s.life == life && s.uid == uid).map(|sight| sight.when)
    }

    /// Whether the operator watches this namespace.
    pub fn is_watched(&self, namespace: &str) -> bool {
        let watched = &self.facts.settings.watch_namespaces;
        watched.is_empty() || watched.iter().any(|watched| watched == namespace)
    }

    /// Whether there is one BulkUpdate only.
    pub fn is_alone(&self) -> bool {
        self.bulks.len() == 1
    }

    /// How many BulkUpdates name this target.
    pub fn askers(&self, resource: &str, namespace: &str, name: &str) -> usize {
        let asks = |bulk: &&Bulk<'_>| {
            let item = kind_of(resource).and_then(|kind| bulk.item(kind, name));
            bulk.namespace == namespace && item.is_some()
        };
        self.bulks.iter().filter(asks).count()
    }

    /// Whether a write to a target can only be for this BulkUpdate.
    pub fn is_for(&self, bulk: &Bulk<'_>, write: &impl ToTarget) -> bool {
        let (resource, namespace, name) = write.target();
        let alone = || {
            let item = kind_of(resource).and_then(|kind| bulk.item(kind, name));
            namespace == bulk.namespace && item.is_some() && self.askers(resource, namespace, name) == 1
        };
        write.asker().map_or_else(alone, |uid| uid == bulk.uid)
    }

    /// The time that much later, if there is one.
    pub fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
        time.saturating_add(by).unwrap_or(Timestamp::MAX)
    }
}
