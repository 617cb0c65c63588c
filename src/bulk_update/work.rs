//! The state of one BulkUpdate between two passes.

pub mod progress;
mod seen;

use std::{iter, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    api::{BulkUpdate, BulkUpdateStatus, ItemResult, ItemStatus},
    bulk_update::{
        facts::Start,
        over::Over,
        pace::Pace,
        request::{Item, Request, without_record},
        resource::Named,
    },
    client::Failure,
    decode::text::shortened,
    observed::target::Target,
};

pub use self::progress::{Open, Progress, Read};

/// The longest message of an item, in bytes: a hundred of them have to fit into a status below 40 kB.
pub(super) const LONGEST_MESSAGE: usize = 120;

/// How long an answer holds while planning waits for another.
const ANSWER_HOLDS: Duration = Duration::from_secs(10);

/// Of how many items it is kept what their last failure said: one of them is told at a time.
const MOST_TOLD: usize = 2;

/// One BulkUpdate under way.
#[derive(Debug)]
pub struct Work {
    /// What was asked for.
    pub request: Arc<Request>,
    /// When it was planned, if it was.
    pub start: Option<Start>,
    /// The items, in the order of the record.
    pub entries: Vec<Entry>,
    /// The status that the API server is known to have.
    pub recorded: BulkUpdateStatus,
    /// What names the BulkUpdate, in the version in which it has that status.
    pub named: Named,
    /// The generation of the spec.
    pub generation: i64,
    /// Its time to live after the end, in seconds, in that generation.
    time_to_live: Option<i32>,
    /// The last status that this process has sent without an answer.
    pub unanswered: Option<BulkUpdateStatus>,
    /// When this process took it up, or began to record its plan: the flag must have been read since.
    pub since: Instant,
    /// When this process saw a write accepted last.
    pub last_write: Option<Instant>,
    /// How many reads are under way.
    pub reading: usize,
    /// When status writes are due.
    pub pace: Pace,
}

/// One item under way.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was asked for.
    pub item: Item,
    /// What became of it so far; absent until planned.
    pub record: Option<ItemStatus>,
    /// What only this process knows.
    pub progress: Progress,
}

impl Work {
    /// Takes up a BulkUpdate as it stands on the API server, from the start or from where an earlier process left it.
    #[must_use]
    pub fn take_up(bulk: &BulkUpdate) -> Self {
        let request = Request::from(bulk);
        let recorded = sharing(&request, bulk.status.clone().unwrap_or_default());
        let start = recorded.start_time.as_ref().map(|t| t.0);
        let mut entries: Vec<_> =
            request.items.iter().map(|item| Entry::take_up(&request, item, &recorded, start)).collect();
        if start.is_some() {
            // A reorder of the request changes nothing: the record keeps its order.
            entries.sort_by_key(|e| position(&e.item, &recorded));
        }
        Self {
            request: Arc::new(request),
            start: start.map(Start::from),
            entries,
            recorded,
            named: Named::from(&bulk.metadata),
            time_to_live: bulk.spec.ttl_seconds_after_finished,
            generation: bulk.metadata.generation.unwrap_or_default(),
            unanswered: None,
            since: Instant::now(),
            last_write: None,
            reading: 0,
            pace: Pace::default(),
        }
    }

    /// The same for a request of which it is known, or not, at which resource version it was created.
    #[must_use]
    pub fn made_at(mut self, version: Option<u64>) -> Self {
        Arc::make_mut(&mut self.request).made_at = version;
        self
    }

    /// Whether the end is on record.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.recorded.completion_time.is_some()
    }

    /// What is left to be known of it, if its end is on record.
    #[must_use]
    pub fn over(&self) -> Option<Over> {
        Over::of(self.named.clone(), Some(self.generation), &self.recorded, self.time_to_live)
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

    /// Whether the record says that this very object is to be written to: no write starts without.
    #[must_use]
    pub fn is_intended(&self, at: usize, target: &Target) -> bool {
        let record = self.on_record(&self.entries[at].item);
        record.is_some_and(|record| {
            !self.request.dry_run
                && record.result == ItemResult::Planned
                && record.uid.as_deref() == Some(&*target.uid)
        })
    }

    /// Of the many items that may fail for one reason, the words of the first few are kept.
    pub fn keep_few_words(&mut self) {
        let told = self.entries.iter_mut().filter(|entry| entry.progress.has_words());
        told.skip(MOST_TOLD).for_each(|entry| entry.progress.forget_words());
    }

    /// A plan that could not be recorded was never made: it is made anew, if there is still time for it.
    pub fn keep_to_the_record(&mut self) {
        if self.start.is_some() && self.recorded.start_time.is_none() {
            self.start = None;
            for entry in &mut self.entries {
                entry.record = None;
                entry.progress = Progress::default();
            }
        }
    }

    /// Takes a status of this process' own for the record, whose write got no answer and took hold all the same; gives
    /// back what stood there before. If it is the plan, it is the one to be carried out: no write was sent before it
    /// was known to stand.
    pub fn adopt(&mut self, stands: BulkUpdateStatus) -> BulkUpdateStatus {
        if self.recorded.start_time.is_none() {
            self.start = stands.start_time.as_ref().map(|t| t.0.into());
            for entry in &mut self.entries {
                entry.record = self.start.and_then(|_| find(&entry.item, &stands)).cloned();
                entry.progress = Progress::default();
            }
        }
        self.unanswered = None;
        std::mem::replace(&mut self.recorded, stands)
    }

    /// The recorded entry of an item.
    #[must_use]
    pub fn on_record(&self, item: &Item) -> Option<&ItemStatus> {
        find(item, &self.recorded)
    }
}

/// A status as it was read, with the texts of its items held once, however many know of them.
fn sharing(request: &Request, mut status: BulkUpdateStatus) -> BulkUpdateStatus {
    for item in &request.items {
        for entry in status.items_mut(item.kind).iter_mut().filter(|entry| entry.id == item.id) {
            entry.id = Arc::clone(&item.id);
            entry.uid = entry.uid.take().map(|uid| item.uid.clone().filter(|own| *own == uid).unwrap_or(uid));
        }
    }
    status
}

fn position(item: &Item, status: &BulkUpdateStatus) -> (crate::api::Kind, usize) {
    let list = status.items(item.kind);
    (item.kind, list.iter().position(|s| s.id == item.id).unwrap_or(usize::MAX))
}

/// A record counts only if it says what the request says.
fn find<'a>(item: &Item, status: &'a BulkUpdateStatus) -> Option<&'a ItemStatus> {
    let list = status.items(item.kind);
    list.iter().find(|s| s.id == item.id && s.target_status == item.target)
}

impl Entry {
    fn take_up(
        request: &Request,
        item: &Item,
        recorded: &BulkUpdateStatus,
        start: Option<Timestamp>,
    ) -> Self {
        // Whatever a status says, a dry run has planned no write.
        let fits = |record: &&ItemStatus| {
            !(request.dry_run && matches!(record.result, ItemResult::Planned | ItemResult::Scheduled))
        };
        let record =
            start.map(|_| find(item, recorded).filter(fits).cloned().unwrap_or_else(|| without_record(item)));
        // An earlier process may have sent the write and not lived to see the answer.
        let open = record.as_ref().is_some_and(|r| r.result == ItemResult::Planned);
        let mut progress = Progress::default();
        if open {
            (progress.open, progress.must_look) = (Open::Unknown, true);
        }
        Self { item: item.clone(), record, progress }
    }

    /// Whether a request about it may be sent now.
    #[must_use]
    pub fn may_ask(&self) -> bool {
        !self.progress.in_flight && self.progress.not_before.is_none_or(|time| time <= Instant::now())
    }

    /// Where the item is.
    #[must_use]
    pub fn result(&self) -> Option<ItemResult> {
        self.record.as_ref().map(|r| r.result)
    }

    /// Whether it was planned and is not at its end.
    #[must_use]
    pub fn is_underway(&self) -> bool {
        matches!(self.result(), Some(ItemResult::Planned | ItemResult::Scheduled))
    }

    /// What an item that is not at its end waits for, where that is a request which has to be tried again.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        let failed = Some(&*self.progress.failed).filter(|_| self.is_underway())?;
        let read = failed.read.as_ref().map(|why| self.cannot_be("read", why));
        read.or_else(|| failed.write.as_ref().map(|why| self.cannot_be("written to", why)))
    }

    fn cannot_be(&self, done: &str, why: &str) -> String {
        format!("{} {} can't be {done}: {why}", self.item.kind.name(), self.item.id)
    }

    /// Gives the item this entry. A new object to rest on makes a new plan of it; of one that is at its end nothing else is kept.
    pub fn becomes(&mut self, record: ItemStatus, rests_on: Option<Arc<Target>>) {
        let underway = matches!(record.result, ItemResult::Planned | ItemResult::Scheduled);
        if rests_on.is_some() || self.record.is_none() || !underway {
            self.progress = Progress::default();
        }
        if underway && rests_on.is_some() {
            self.progress.seen = rests_on;
        }
        let known = iter::chain(&self.item.uid, self.record.as_ref().and_then(|record| record.uid.as_ref()));
        let uid =
            record.uid.map(|uid| known.into_iter().find(|known| **known == uid).cloned().unwrap_or(uid));
        let message = record.message.map(|text| shortened(text, LONGEST_MESSAGE));
        self.record = Some(ItemStatus { message, uid, ..record });
    }

    /// A live read was answered.
    pub fn read(&mut self, answer: Result<Option<Target>, Failure>) {
        let progress = &mut *self.progress;
        progress.in_flight = false;
        let read = match answer {
            Ok(target) => {
                progress.read_succeeded();
                progress.seen = target.map(Arc::new);
                Read::Object(progress.seen.clone())
            }
            Err(failure) => {
                progress.read_failed(&failure);
                Read::Failed
            }
        };
        progress.answer = Some(Box::new((read, Instant::now())));
    }

    /// Planning has to wait for something else: what was read long ago is read again before it refuses anything.
    pub fn planning_waits(&mut self) {
        if self.age_of_answer().is_some_and(|age| age > ANSWER_HOLDS) {
            self.progress.answer = None;
        }
    }

    /// What a live read has answered has been decided on.
    pub fn decided(&mut self) {
        if self.progress.answer.is_some() {
            self.progress.answer = None;
        }
    }

    /// A write was accepted, and has left this of the object.
    pub fn accepted(&mut self, left: Option<Target>) {
        self.progress.in_flight = false;
        self.progress.write_succeeded();
        self.progress.seen = left.map(Arc::new);
    }

    /// A write was refused, or got no answer.
    pub fn write_failed(&mut self, failure: &Failure, guard: &str) {
        self.progress.in_flight = false;
        self.progress.write_failed(failure, guard);
    }
}

#[cfg(test)]
mod tests;
