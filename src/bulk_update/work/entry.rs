//! One item of a BulkUpdate under way.

use std::{iter, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    api::{BulkUpdateStatus, ItemResult, ItemStatus, Kind},
    bulk_update::{
        facts::Obstacle,
        request::{Item, Request, without_record},
        stored::LONGEST_ITEM_MESSAGE,
        work::progress::{Progress, Read, UnresolvedWrite},
    },
    client::Failure,
    decode::text::shortened,
    observed::target::Target,
};

/// How long the answer to a read stays valid while planning waits for something else.
pub(super) const ANSWER_HOLDS: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct Entry {
    pub item: Item,
    /// Its entry in the status; absent until planned.
    pub record: Option<ItemStatus>,
    pub progress: Progress,
}

impl Entry {
    pub(super) fn new(
        request: &Request,
        item: &Item,
        recorded: &BulkUpdateStatus,
        start: Option<Timestamp>,
    ) -> Self {
        // A dry run plans no write, whatever its status says.
        let fits = |record: &&ItemStatus| {
            !(request.dry_run && matches!(record.result, ItemResult::Planned | ItemResult::Scheduled))
        };
        let record =
            start.map(|_| find(item, recorded).filter(fits).cloned().unwrap_or_else(|| without_record(item)));
        // An earlier process may have sent the write without seeing the answer.
        let mut progress = Progress::default();
        if record.as_ref().is_some_and(|r| r.result == ItemResult::Planned) {
            (progress.unresolved, progress.must_read) = (UnresolvedWrite::Unknown, true);
        }
        Self { item: item.clone(), record, progress }
    }

    /// Whether a request about it may be sent at this moment.
    pub fn can_send(&self, now: Instant) -> bool {
        !self.progress.in_flight && self.progress.not_before.is_none_or(|time| time <= now)
    }

    pub fn result(&self) -> Option<ItemResult> {
        self.record.as_ref().map(|r| r.result)
    }

    /// Whether it was planned and has not finished.
    pub fn is_underway(&self) -> bool {
        matches!(self.result(), Some(ItemResult::Planned | ItemResult::Scheduled))
    }

    /// What an unfinished item waits for, if that is a request to be retried.
    pub fn waits_for(&self) -> Option<Obstacle> {
        let failed = Some(&*self.progress.failed).filter(|_| self.is_underway())?;
        let (kind, id) = (self.item.kind, || Arc::clone(&self.item.id));
        let read = failed.read.as_ref().map(|why| Obstacle::Read { kind, id: id(), why: why.clone() });
        read.or_else(|| Some(Obstacle::Write { kind, id: id(), why: failed.write.clone()? }))
    }

    /// The same where the error was not kept, because those of other items were.
    pub fn waits_too(&self) -> Option<Obstacle> {
        let waits = self.progress.not_before.is_some_and(|time| time > Instant::now());
        let (kind, id) = (self.item.kind, Arc::clone(&self.item.id));
        (waits && self.is_underway()).then(|| Obstacle::Write { kind, id, why: "retrying".into() })
    }

    /// The entry as it is kept: sharing texts that are in memory already, and within the bounds.
    pub fn kept(&self, record: ItemStatus) -> ItemStatus {
        let known = iter::chain(&self.item.uid, self.record.as_ref().and_then(|record| record.uid.as_ref()));
        let uid =
            record.uid.map(|uid| known.into_iter().find(|known| **known == uid).cloned().unwrap_or(uid));
        let message = record.message.map(|text| shortened(text, LONGEST_ITEM_MESSAGE));
        ItemStatus { message, uid, ..record }
    }

    /// Sets the item's entry. With `based_on` it is a new plan. What else is known of a finished item is dropped.
    pub fn becomes(&mut self, record: ItemStatus, based_on: Option<Arc<Target>>) {
        let underway = matches!(record.result, ItemResult::Planned | ItemResult::Scheduled);
        if based_on.is_some() || self.record.is_none() || !underway {
            self.progress = Progress::default();
        }
        if underway && based_on.is_some() {
            self.progress.seen = based_on;
        }
        self.record = Some(self.kept(record));
    }

    pub fn read(&mut self, answer: Result<Option<Target>, Failure>) {
        let progress = &mut *self.progress;
        progress.in_flight = false;
        let read = match answer {
            Ok(target) => {
                progress.read_succeeded();
                let before = progress.seen.take().or_else(|| progress.earlier.take());
                progress.seen = target.map(|read| Arc::new(read).seen_before(before.as_deref()));
                Read::Object(progress.seen.clone())
            }
            Err(failure) => {
                progress.read_failed(&failure);
                Read::Failed
            }
        };
        progress.answer = Some(Box::new((read, Instant::now())));
    }

    /// Planning has to wait: an answer that has become too old is dropped, so that nothing is refused because of it.
    pub fn planning_waits(&mut self) {
        if self.age_of_answer(Instant::now()).is_some_and(|age| age > ANSWER_HOLDS) {
            self.progress.answer = None;
        }
    }

    pub fn age_of_answer(&self, now: Instant) -> Option<Duration> {
        self.progress.answer.as_deref().map(|(_, time)| now.saturating_duration_since(*time))
    }

    pub fn decided(&mut self) {
        if self.progress.answer.is_some() {
            self.progress.answer = None;
        }
    }

    pub fn accepted(&mut self, left: Option<Target>) {
        let progress = &mut *self.progress;
        progress.in_flight = false;
        if progress.failed.write.is_some() {
            progress.failed.write = None;
        }
        progress.seen = left.map(Arc::new);
    }
}

/// The item's position in the record, in the list of its kind; items that it lacks come last.
pub(super) fn position(item: &Item, status: &BulkUpdateStatus) -> (Kind, usize) {
    let list = status.items(item.kind);
    (item.kind, list.iter().position(|s| s.id == item.id).unwrap_or(usize::MAX))
}

/// The item's entry in a status, if that agrees with the request.
pub(super) fn find<'a>(item: &Item, status: &'a BulkUpdateStatus) -> Option<&'a ItemStatus> {
    let list = status.items(item.kind);
    list.iter().find(|s| s.id == item.id && s.target_status == item.target)
}

/// The status with the texts of its items shared with the request.
pub(super) fn sharing(request: &Request, mut status: BulkUpdateStatus) -> BulkUpdateStatus {
    for item in &request.items {
        for entry in status.items_mut(item.kind).iter_mut().filter(|entry| entry.id == item.id) {
            entry.id = Arc::clone(&item.id);
            entry.uid = entry.uid.take().map(|uid| item.uid.clone().filter(|own| *own == uid).unwrap_or(uid));
        }
    }
    status
}
