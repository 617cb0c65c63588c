//! The state of one BulkUpdate between two passes. It changes by what happens, and by nothing else: [`Work::seen`],
//! [`Work::decided`], [`Work::recorded`], [`Work::sent_write`] and [`Work::sent_read`], [`Work::answered`].

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
        throttle::Throttle,
        work::entry::{find, position, sharing},
    },
    client::Failure,
    observed::{
        index::{Change, What},
        target::Target,
    },
};

pub use self::{
    entry::Entry,
    outcome::{about, accepted_delete, accepted_stop},
    plan::{Become, Intent, ItemPlan, Phase, Plan},
    progress::{LONGEST_MESSAGE, Progress, Read, UnresolvedWrite},
};

/// Of how many items it is kept what their last failure said: one of them is told at a time.
const MOST_ERRORS_KEPT: usize = 2;

/// One BulkUpdate under way.
#[derive(Debug)]
pub struct Work {
    /// What was asked for.
    request: Arc<Request>,
    /// When it was planned, if it was.
    start: Option<Start>,
    /// The items, in the order of the record.
    entries: Vec<Entry>,
    /// The status that the API server is known to have.
    recorded: BulkUpdateStatus,
    /// What names the BulkUpdate, in the version in which it has that status.
    identity: Identity,
    /// The generation of the spec.
    generation: i64,
    /// Its time to live after the end, in seconds, in that generation.
    time_to_live: Option<i32>,
    /// The last status that this process has sent without an answer.
    unanswered: Option<BulkUpdateStatus>,
    /// When this process took it up, or began to record its plan: the flag must have been read since.
    since: Instant,
    /// When this process saw a write accepted last.
    last_write: Option<Instant>,
    /// How many reads are under way.
    reading: usize,
    /// When status writes are due.
    throttle: Throttle,
}

/// What came of a request.
#[derive(Debug)]
pub enum Answer {
    /// A read.
    Read(Result<Option<Target>, Failure>),
    /// A write, and the resource version that guarded it.
    Written(Box<str>, Result<Accepted, Failure>),
    /// A write that was not sent, because something forbade it at the last moment.
    NotSent,
}

/// What an accepted write has left.
#[derive(Debug)]
pub enum Accepted {
    /// The object as it is now.
    Left(Target),
    /// Nothing: it is gone.
    Gone,
}

impl Work {
    /// Takes up a BulkUpdate as it stands on the API server, from the start or from where an earlier process left it. `made_at` is the
    /// resource version at which it was created, where that is known.
    #[must_use]
    pub fn new(bulk: &BulkUpdate, creation_version: Option<u64>) -> Self {
        let request = Request { creation_version, ..Request::from(bulk) };
        let recorded = sharing(&request, bulk.status.clone().unwrap_or_default());
        let start = recorded.start_time.as_ref().map(|t| t.0);
        let mut entries: Vec<_> =
            request.items.iter().map(|item| Entry::new(&request, item, &recorded, start)).collect();
        if start.is_some() {
            // A reorder of the request changes nothing: the record keeps its order.
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
            unanswered: None,
            since: Instant::now(),
            last_write: None,
            reading: 0,
            throttle: Throttle::default(),
        }
    }

    /// What was asked for.
    #[must_use]
    pub const fn request(&self) -> &Arc<Request> {
        &self.request
    }

    /// When it was planned; absent before that is on record.
    #[must_use]
    pub const fn start(&self) -> Option<Start> {
        self.start
    }

    /// The items, in the order of the record.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The status that the API server is known to have.
    #[must_use]
    pub const fn on_api_server(&self) -> &BulkUpdateStatus {
        &self.recorded
    }

    /// What names the BulkUpdate, in the version in which it has that status.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The generation of the spec.
    #[must_use]
    pub const fn generation(&self) -> i64 {
        self.generation
    }

    /// When this process took it up, or began to record its plan: the flag must have been read since.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// When this process saw a write accepted last.
    #[must_use]
    pub const fn last_write(&self) -> Option<Instant> {
        self.last_write
    }

    /// When status writes are due.
    #[must_use]
    pub const fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Whether reads are under way.
    #[must_use]
    pub const fn is_reading(&self) -> bool {
        self.reading > 0
    }

    /// Whether the end is on record.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.recorded.completion_time.is_some()
    }

    /// What is left to be known of it, if its end is on record.
    #[must_use]
    pub fn finished(&self) -> Option<Finished> {
        Finished::of(self.identity.clone(), Some(self.generation), &self.recorded, self.time_to_live)
    }

    /// Whether an item is in this state.
    #[must_use]
    pub fn any(&self, result: ItemResult) -> bool {
        self.entries.iter().any(|e| e.result() == Some(result))
    }

    /// Whether planning has waited for so long, or longer, since something was read.
    #[must_use]
    pub fn has_waited(&self, time: Duration) -> bool {
        self.entries.iter().filter_map(Entry::age_of_answer).any(|age| age >= time)
    }

    /// What an item waits for, where that is a request which has to be tried again.
    pub fn waits_for(&self) -> Option<Obstacle> {
        self.entries.iter().find_map(Entry::waits_for)
    }

    /// The recorded entry of an item.
    #[must_use]
    pub fn on_record(&self, item: &Item) -> Option<&ItemStatus> {
        find(item, &self.recorded)
    }

    /// The last status that was sent without an answer, if it is this one: it has taken hold.
    pub fn was_applied(&mut self, stands: &BulkUpdateStatus) -> bool {
        self.unanswered.take_if(|sent| sent == stands).is_some()
    }

    /// Those of the writes that the record intends: to this very object, as planned.
    #[must_use]
    pub fn intents(&self, writes: Vec<(usize, Arc<Target>)>) -> Vec<Intent> {
        let Some(start) = self.start.filter(|_| !self.request.dry_run) else { return Vec::new() };
        let intent = |(at, target)| {
            let entry: &Entry = self.entries.get(at)?;
            Intent::on(self.on_record(&entry.item)?, at, target, start)
        };
        writes.into_iter().filter_map(intent).collect()
    }

    /// What is known of each item's target, with what the index has of it.
    pub fn lookups(&mut self, indexed: impl Fn(&Item) -> Option<Arc<Target>>) -> Vec<Lookup> {
        let lookup = |entry: &mut Entry| {
            let indexed = indexed(&entry.item);
            entry.share(indexed.as_ref());
            entry.lookup(indexed)
        };
        self.entries.iter_mut().map(lookup).collect()
    }

    /// A watch has brought a change of a target.
    pub fn seen(&mut self, change: &Change) {
        let entries = self.entries.iter_mut();
        for entry in entries.filter(|e| e.item.kind == change.kind && *e.item.id == *change.name) {
            match &change.what {
                What::Updated => {}
                What::Deleted(uid) => entry.deleted(uid),
                What::Vanished => entry.vanished(),
            }
        }
    }

    /// A pass has decided this.
    pub fn decided(&mut self, phase: Option<&Phase>, became: Vec<Become>) {
        if self.start.is_some() {
            self.entries.iter_mut().for_each(Entry::decided);
        } else if let Some(Phase::Waiting(..)) = phase {
            self.entries.iter_mut().for_each(Entry::planning_waits);
        }
        for Become { at, record, based_on } in became {
            self.entries[at].becomes(record, based_on);
        }
    }

    /// The plan is about to be written: the flag has to be read from now on.
    pub fn plan_is_sent(&mut self) {
        self.since = Instant::now();
    }

    /// This status was written, in this version, and with it what it says: a plan is one from now on. Gives back what stood there
    /// before.
    pub fn recorded(
        &mut self,
        phase: Phase,
        status: BulkUpdateStatus,
        version: Box<str>,
    ) -> BulkUpdateStatus {
        if let Phase::Proposed(Plan { start, items }) = phase {
            self.start = Some(start);
            for (entry, plan) in self.entries.iter_mut().zip(items) {
                entry.becomes(plan.record, plan.based_on);
            }
        }
        self.identity.resource_version = version;
        self.unanswered = None;
        self.throttle.written();
        std::mem::replace(&mut self.recorded, status)
    }

    /// This status got no answer, or one that does not tell whether it was written.
    pub fn sent_without_answer(&mut self, status: BulkUpdateStatus) {
        self.unanswered = Some(status);
    }

    /// A status could not be written. Whether that is news.
    pub fn not_recorded(&mut self, failure: &Failure) -> bool {
        self.throttle.failed(failure)
    }

    /// The plan is not on record, so that there is none: it is made anew, if there is still time for it, of what is read then.
    pub fn not_planned(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.progress = Progress::default());
    }

    /// The BulkUpdate was found in another version, in which nothing that matters is different.
    pub fn found(&mut self, identity: Identity, generation: Option<i64>) {
        self.identity = identity;
        self.generation = generation.unwrap_or_default();
    }

    /// A status of this process' own stands there, whose write got no answer; gives back what stood there before. If it is the plan,
    /// it is the one to be carried out: no write was sent before it was known to stand.
    pub fn adopted(&mut self, stands: BulkUpdateStatus) -> BulkUpdateStatus {
        if self.recorded.start_time.is_none() {
            self.start = stands.start_time.as_ref().map(|t| t.0.into());
            for entry in &mut self.entries {
                entry.record = self.start.and_then(|_| find(&entry.item, &stands)).cloned();
                entry.progress = Progress::default();
            }
        }
        self.unanswered = None;
        self.throttle.written();
        std::mem::replace(&mut self.recorded, stands)
    }

    /// A read of an item's target goes out.
    pub fn sent_read(&mut self, at: usize) -> &Item {
        self.reading += 1;
        self.sent(at)
    }

    /// A write goes out.
    pub fn sent_write(&mut self, intent: &Intent) -> &Item {
        self.sent(intent.at())
    }

    fn sent(&mut self, at: usize) -> &Item {
        let entry = &mut self.entries[at];
        entry.progress.in_flight = true;
        &entry.item
    }

    /// A request about an item was answered. Whether that asks for a new decision.
    pub fn answered(&mut self, at: usize, answer: Answer) -> bool {
        let entry = &mut self.entries[at];
        match answer {
            Answer::Read(answer) => {
                entry.read(answer);
                self.reading -= 1;
                self.limit_errors();
            }
            Answer::NotSent => entry.progress.in_flight = false,
            Answer::Written(guard, Err(failure)) => {
                entry.write_failed(&failure, &guard);
                self.limit_errors();
            }
            Answer::Written(_, Ok(accepted)) => {
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

    /// Of the many items that may fail for one reason, the words of the first few are kept.
    fn limit_errors(&mut self) {
        let told = self.entries.iter_mut().filter(|entry| entry.progress.has_error());
        told.skip(MOST_ERRORS_KEPT).for_each(|entry| entry.progress.forget_error());
    }

    /// One in the middle of it.
    #[cfg(test)]
    pub(super) fn midway(mut self, start: Start, entries: Vec<Entry>) -> Self {
        let items = entries.iter().map(|entry| entry.item.clone()).collect();
        Arc::make_mut(&mut self.request).items = items;
        Self { start: Some(start), entries, ..self }
    }

    /// An item in the middle of it.
    #[cfg(test)]
    pub(super) fn entry_mut(&mut self, at: usize) -> &mut Entry {
        &mut self.entries[at]
    }
}

#[cfg(test)]
mod tests;
