//! The state of one BulkUpdate between two passes. Private, and changed only here, by what has happened: a watch event
//! ([`Work::seen`]), a decision ([`Work::decided`]), a status write and its answer ([`Work::plan_is_sent`], [`Work::recorded`],
//! [`Work::sent_without_answer`], [`Work::not_recorded`], [`Work::not_planned`]), a live read of the BulkUpdate ([`Work::found`],
//! [`Work::adopted`]), a request about an item and its answer ([`Work::sent_read`], [`Work::sent_write`], [`Work::answered`]); and by
//! what is known from before ([`Work::hold_back`], [`Work::starts_after`]).

mod entry;
mod lookup;
mod outcome;
mod plan;
pub mod progress;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    api::{BulkUpdate, BulkUpdateStatus, ItemResult, ItemStatus, TargetStatus},
    bulk_update::{
        facts::{Lookup, Obstacle},
        finished::Finished,
        identity::Identity,
        request::{Item, Request, Start},
        resource::{Live, Written},
        stored::digest,
        throttle::Throttle,
        work::entry::{find, position, sharing},
    },
    client::Failure,
    observed::{
        index::{Change, What},
        target::Target,
    },
};

#[cfg(test)]
pub use self::progress::Progress;
pub use self::{
    entry::Entry,
    outcome::{about, accepted_delete, accepted_stop},
    plan::{Intent, ItemPlan, Phase, Plan},
    progress::UnresolvedWrite,
};

/// How many items keep the text of their last error: the status reports one at a time.
const MOST_ERRORS_KEPT: usize = 2;

/// How many unanswered statuses are remembered.
const UNANSWERED: usize = 16;

/// One BulkUpdate under way.
#[derive(Debug)]
pub struct Work {
    request: Arc<Request>,
    /// When it was planned; absent until the plan is on record.
    start: Option<Start>,
    /// In the order of the record.
    entries: Vec<Entry>,
    /// The status that the API server is known to have.
    recorded: BulkUpdateStatus,
    /// Its identity, at the resource version that has this status.
    identity: Identity,
    generation: i64,
    /// `ttlSecondsAfterFinished` of that generation.
    time_to_live: Option<i32>,
    /// Digests of the last statuses that were sent and may be stored.
    unanswered: Vec<u64>,
    /// When this process started on it, or began to write its plan: the flag must have been read since.
    since: Instant,
    /// When a write was last accepted.
    last_write: Option<Instant>,
    reading: usize,
    throttle: Throttle,
}

#[derive(Debug)]
pub enum Answer {
    Read(Result<Option<Target>, Failure>),
    /// To a write, the resource version that guarded it, and when the answer came.
    Written(Box<str>, Instant, Result<Accepted, Failure>),
    /// A write that was not sent: a last check forbade it.
    NotSent,
}

/// What an accepted write returned.
#[derive(Debug)]
pub enum Accepted {
    /// The object as it is now.
    Left(Target),
    /// Nothing: the object is gone.
    Gone,
}

impl Work {
    /// Starts on a BulkUpdate that has no plan as far as it was seen: to write one finds out whether that is so.
    /// `None` if it has one.
    pub fn unplanned(bulk: &BulkUpdate, creation_version: Option<u64>) -> Option<Self> {
        let has_plan = bulk.status.as_ref().is_some_and(|status| status.start_time.is_some());
        (!has_plan).then(|| Self::on(bulk, creation_version))
    }

    /// Starts on a BulkUpdate, and continues its plan if it has one. `creation_version` is the resource version at which
    /// it was created, if known.
    pub fn new(live: &Live, creation_version: Option<u64>) -> Self {
        Self::on(live, creation_version)
    }

    fn on(bulk: &BulkUpdate, creation_version: Option<u64>) -> Self {
        let request = Request { creation_version, ..Request::from(bulk) };
        let recorded = sharing(&request, bulk.status.clone().unwrap_or_default());
        let start = recorded.start_time.as_ref().map(|t| t.0);
        let mut entries: Vec<_> =
            request.items.iter().map(|item| Entry::new(&request, item, &recorded, start)).collect();
        if start.is_some() {
            // The record keeps its order when the request is reordered.
            entries.sort_by_key(|e| position(&e.item, &recorded));
        }
        Self {
            request: Arc::new(request),
            start: start.map(Start::from),
            entries,
            recorded,
            identity: Identity::from(&bulk.metadata),
            time_to_live: bulk.spec.ttl_seconds_after_finished,
            generation: bulk.metadata.generation.unwrap_or_default(),
            unanswered: Vec::new(),
            since: Instant::now(),
            last_write: None,
            reading: 0,
            throttle: Throttle::default(),
        }
    }

    /// What was asked for.
    pub const fn request(&self) -> &Arc<Request> {
        &self.request
    }

    pub(super) const fn start(&self) -> Option<Start> {
        self.start
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) const fn on_api_server(&self) -> &BulkUpdateStatus {
        &self.recorded
    }

    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) const fn generation(&self) -> i64 {
        self.generation
    }

    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    pub(super) const fn last_write(&self) -> Option<Instant> {
        self.last_write
    }

    pub(super) const fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    pub(super) const fn is_reading(&self) -> bool {
        self.reading > 0
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.recorded.completion_time.is_some()
    }

    pub(super) fn finished(&self) -> Option<Finished> {
        Finished::of(self.identity.clone(), Some(self.generation), &self.recorded, self.time_to_live)
    }

    pub(super) fn any(&self, result: ItemResult) -> bool {
        self.entries.iter().any(|e| e.result() == Some(result))
    }

    /// Whether planning has waited at least this long since a target was read.
    pub(super) fn has_waited(&self, time: Duration, now: Instant) -> bool {
        self.entries.iter().filter_map(|entry| entry.age_of_answer(now)).any(|age| age >= time)
    }

    pub(super) fn waits_for(&self) -> Option<Obstacle> {
        let mut entries = self.entries.iter();
        entries.find_map(Entry::waits_for).or_else(|| self.entries.iter().find_map(Entry::waits_too))
    }

    pub(super) fn on_record(&self, item: &Item) -> Option<&ItemStatus> {
        find(item, &self.recorded)
    }

    /// Whether this is a status that was sent and not answered, so it was applied.
    pub(super) fn was_applied(&self, live: &BulkUpdateStatus) -> bool {
        !self.unanswered.is_empty() && self.unanswered.contains(&digest(live))
    }

    /// Those of the writes that the record intends: to the very object that is on record as planned.
    pub(super) fn intents(&self, writes: Vec<(usize, Arc<Target>)>) -> Vec<Intent> {
        let Some(start) = self.start.filter(|_| !self.request.dry_run) else { return Vec::new() };
        let intent = |(at, target): (usize, Arc<Target>)| {
            let entry = self.entries.get(at)?;
            let record = self.on_record(&entry.item)?;
            let intended =
                record.result == ItemResult::Planned && record.uid.as_deref() == Some(&*target.uid);
            intended.then(|| Intent {
                at,
                item: entry.item.clone(),
                target,
                start,
                request: Arc::clone(&self.request),
            })
        };
        writes.into_iter().filter_map(intent).collect()
    }

    /// What is known of each item's target, given what the cache has.
    pub fn lookups(&mut self, indexed: impl Fn(&Item) -> Option<Arc<Target>>) -> Vec<Lookup> {
        let lookup = |entry: &mut Entry| {
            let indexed = indexed(&entry.item);
            entry.share(indexed.as_ref());
            entry.lookup(indexed)
        };
        self.entries.iter_mut().map(lookup).collect()
    }

    pub(super) fn seen(&mut self, change: &Change) {
        let entries = self.entries.iter_mut();
        for entry in entries.filter(|e| e.item.kind == change.kind && *e.item.id == *change.name) {
            match &change.what {
                What::Updated => {}
                What::Deleted(uid) => entry.deleted(uid),
                What::Vanished => entry.vanished(),
            }
        }
    }

    pub(super) fn decided(&mut self, phase: Option<&Phase>, became: Vec<(usize, ItemPlan)>) {
        if self.start.is_some() {
            self.entries.iter_mut().for_each(Entry::decided);
        } else if let Some(Phase::Waiting(..)) = phase {
            self.entries.iter_mut().for_each(Entry::planning_waits);
        }
        for (at, plan) in became {
            self.entries[at].becomes(plan.record, plan.based_on);
        }
    }

    /// The plan is about to be written: from now on the flag must be read again.
    pub(super) fn plan_is_sent(&mut self) {
        self.since = Instant::now();
    }

    /// This status was written. A proposed plan takes effect now. Returns the status before.
    pub(super) fn recorded(
        &mut self,
        phase: Phase,
        status: BulkUpdateStatus,
        written: Written,
    ) -> BulkUpdateStatus {
        if let Phase::Proposed(Plan { start, items }) = phase {
            self.start = Some(start);
            for (entry, plan) in self.entries.iter_mut().zip(items) {
                entry.becomes(plan.record, plan.based_on);
            }
        }
        self.identity.resource_version = written.into_version();
        self.unanswered.clear();
        self.throttle.written();
        std::mem::replace(&mut self.recorded, status)
    }

    /// This status was sent; whether it was written is not known. They share a guard, so that at most one of them is.
    pub(super) fn sent_without_answer(&mut self, status: &BulkUpdateStatus) {
        let digest = digest(status);
        self.unanswered.retain(|earlier| *earlier != digest);
        self.unanswered.push(digest);
        if self.unanswered.len() > UNANSWERED {
            self.unanswered.remove(0);
        }
    }

    /// A status could not be written. Returns whether the reason is new.
    pub(super) fn not_recorded(&mut self, failure: &Failure) -> bool {
        self.throttle.failed(failure)
    }

    /// It may not be written before this.
    pub(super) fn hold_back(&mut self, until: Option<Instant>) {
        self.throttle.hold_back(until);
    }

    /// The work starts again, from another record.
    pub(super) fn starts_after(&mut self, before: &Self) {
        self.entries.iter_mut().for_each(|entry| entry.starts_after(&before.entries));
    }

    /// The proposed plan is not on record, so it never took effect. The next one is based on new reads.
    pub(super) fn not_planned(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.progress.begin_again());
    }

    /// The BulkUpdate was read at another resource version, with no relevant difference. Its TTL may be another one.
    pub(super) fn found(&mut self, live: &Live) {
        self.identity = Identity::from(&live.metadata);
        self.generation = live.metadata.generation.unwrap_or_default();
        self.time_to_live = live.spec.ttl_seconds_after_finished;
    }

    /// The status that this process sent without getting an answer was found on the API server. Returns the status
    /// before. If it has the plan, that takes effect now: this process has sent no write before.
    pub(super) fn adopted(&mut self, live: &Live) -> BulkUpdateStatus {
        let stored = live.status.clone().unwrap_or_default();
        if self.recorded.start_time.is_none() {
            self.start = stored.start_time.as_ref().map(|t| t.0.into());
            for entry in &mut self.entries {
                entry.record = self.start.and_then(|_| find(&entry.item, &stored)).cloned();
                entry.progress.begin_again();
                // Another process may have had the same plan in the same second, and have begun to write.
                if entry.is_underway() {
                    entry.progress.must_read = true;
                }
            }
        }
        self.unanswered.clear();
        self.throttle.written();
        std::mem::replace(&mut self.recorded, stored)
    }

    pub(super) fn sent_read(&mut self, at: usize) -> &Item {
        self.reading += 1;
        self.sent(at)
    }

    pub(super) fn sent_write(&mut self, intent: &Intent) {
        self.sent(intent.at());
    }

    fn sent(&mut self, at: usize) -> &Item {
        let entry = &mut self.entries[at];
        entry.progress.in_flight = true;
        &entry.item
    }

    /// A request about an item was answered. Returns whether a new decision is needed.
    pub(super) fn answered(&mut self, at: usize, answer: Answer) -> bool {
        let entry = &mut self.entries[at];
        match answer {
            Answer::Read(answer) => {
                entry.read(answer);
                self.reading -= 1;
                self.limit_errors();
            }
            Answer::NotSent => entry.progress.in_flight = false,
            Answer::Written(guard, at, Err(failure)) => {
                entry.progress.write_failed(&failure, &guard, at);
                self.limit_errors();
            }
            Answer::Written(_, _, Ok(accepted)) => {
                let Some(record) = entry.record.clone() else { return true };
                let (record, left) = match (accepted, entry.item.target) {
                    (Accepted::Gone, _) => (ItemStatus { result: ItemResult::Settled, ..record }, None),
                    (Accepted::Left(target), TargetStatus::Stopped) => {
                        entry.progress.written = target.version();
                        (accepted_stop(&record, &target), Some(target))
                    }
                    (Accepted::Left(target), TargetStatus::Deleted) => {
                        (accepted_delete(&record, &target), Some(target))
                    }
                };
                entry.accepted(left);
                entry.becomes(record, None);
                self.last_write = Some(Instant::now());
                return false;
            }
        }
        true
    }

    /// Many items may fail for the same reason: only the first few keep the text.
    fn limit_errors(&mut self) {
        let with_error = self.entries.iter_mut().filter(|entry| entry.progress.has_error());
        with_error.skip(MOST_ERRORS_KEPT).for_each(|entry| entry.progress.forget_error());
    }
}

#[cfg(test)]
mod tests;
