//! What this process knows of an item beyond its record.
//!
//! A hundred of these are kept for each BulkUpdate under way, and most are empty: they are allocated on the first
//! write and dropped when the item finishes.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    api::Reason,
    bulk_update::stored::LONGEST_ITEM_MESSAGE,
    client::{Failure, Next, backoff},
    decode::text::cut,
    observed::target::Target,
};

/// How long a forbidden write is retried: RBAC changes take a moment to propagate.
const FORBIDDEN_FOR: Duration = Duration::from_secs(10);

/// The longest error text that is kept for a request to be retried, in bytes.
const LONGEST_ERROR: usize = 512;

pub type Progress = OnDemand<ItemProgress>;

/// A box that is allocated on the first write and reads as empty before.
#[derive(Clone, Debug, Default)]
pub struct OnDemand<T>(Option<Box<T>>);

/// A type with a value that means "nothing known".
pub trait Empty: Default + 'static {
    const EMPTY: &Self;
}

impl<T: Empty> Deref for OnDemand<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty> DerefMut for OnDemand<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

#[derive(Clone, Debug, Default)]
pub struct ItemProgress {
    /// The last write, if its outcome is not known.
    pub unresolved: UnresolvedWrite,
    /// Whether the object must be read before anything else.
    pub must_read: bool,
    /// The resource version returned by the accepted write; absent if it was not a number.
    pub written: Option<u64>,
    /// Whether a watch reported that the planned object was deleted.
    pub gone: bool,
    pub in_flight: bool,
    /// The newest version seen other than in the cache.
    pub seen: Option<Arc<Target>>,
    /// What was read before everything began again: only since when the object has been there still counts.
    pub earlier: Option<Arc<Target>>,
    /// The answer to a live read that no decision has used yet, and when it came.
    pub answer: Option<Box<(Read, Instant)>>,
    /// Back-off: nothing is sent about it before this.
    pub not_before: Option<Instant>,
    /// Failed reads since the last successful one, and failed writes in all.
    pub(super) reads_failed: u16,
    pub(super) writes_failed: u16,
    pub failed: OnDemand<Failed>,
}

impl OnDemand<ItemProgress> {
    /// Nothing is known any more but since when the object has been there.
    pub(super) fn begin_again(&mut self) {
        let earlier = self.seen.clone().or_else(|| self.earlier.clone());
        *self = Self::default();
        if earlier.is_some() {
            self.earlier = earlier;
        }
    }
}

impl Empty for ItemProgress {
    const EMPTY: &Self = &Self {
        unresolved: UnresolvedWrite::None,
        must_read: false,
        written: None,
        gone: false,
        in_flight: false,
        seen: None,
        earlier: None,
        answer: None,
        not_before: None,
        reads_failed: 0,
        writes_failed: 0,
        failed: OnDemand(None),
    };
}

/// A write whose outcome is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnresolvedWrite {
    #[default]
    None,
    /// It was refused. A proxy may refuse what the API server carried out, or send it twice, and the second one meets a
    /// conflict: it has failed only if the object does not show it.
    Rejected,
    /// The same, because there was nothing under the name: what has it now was created since, whatever its timestamp says.
    NotFound,
    /// It was guarded by this resource version, and cannot be applied to another one.
    Guarded(u64),
    /// An earlier process may have sent one, or its guard was not a number.
    Unknown,
}

#[derive(Clone, Debug)]
pub enum Read {
    Object(Option<Arc<Target>>),
    Failed,
}

#[derive(Clone, Debug, Default)]
pub struct Failed {
    /// The write was refused for good: it is not retried.
    pub refused: Option<(Reason, Arc<str>)>,
    /// Why the last read failed, until one succeeds.
    pub(super) read: Option<Box<str>>,
    /// Why the last write failed, until one succeeds.
    pub(super) write: Option<Box<str>>,
    /// Since when writes have been forbidden.
    forbidden_since: Option<Instant>,
}

impl Empty for Failed {
    const EMPTY: &Self = &Self { refused: None, read: None, write: None, forbidden_since: None };
}

impl ItemProgress {
    pub(super) fn read_failed(&mut self, failure: &Failure) {
        self.must_read = true;
        self.reads_failed = self.reads_failed.saturating_add(1);
        self.failed.read = Some(error_text(failure));
        self.wait(failure.wait(self.reads_failed.into()));
    }

    pub(super) fn read_succeeded(&mut self) {
        (self.must_read, self.reads_failed) = (false, 0);
        if self.failed.read.is_some() {
            self.failed.read = None;
        }
    }

    /// A write with this guard failed, at this time: the answer may have waited for the record to be written.
    pub fn write_failed(&mut self, failure: &Failure, guard: &str, at: Instant) {
        self.in_flight = false;
        self.writes_failed = self.writes_failed.saturating_add(1);
        let attempts = self.writes_failed.into();
        if matches!(self.unresolved, UnresolvedWrite::None | UnresolvedWrite::Rejected) {
            let absent = failure.is_not_found();
            self.unresolved = if absent { UnresolvedWrite::NotFound } else { UnresolvedWrite::Rejected };
        }
        if failure.outcome_unknown() {
            self.must_read = true;
            // Only the newest write can still be applied: the guards of earlier ones are out of date.
            if self.unresolved != UnresolvedWrite::Unknown {
                self.unresolved = guard.parse().map_or(UnresolvedWrite::Unknown, UnresolvedWrite::Guarded);
            }
        }
        // A single conflict is normal.
        if failure.next() != Next::ReadAgain || attempts > 1 {
            self.failed.write = Some(error_text(failure));
        }
        let refused = |reason| Some((reason, cut(&failure.to_string(), LONGEST_ITEM_MESSAGE).into()));
        match failure.next() {
            Next::ReadAgain => {
                self.must_read = true;
                // Back-off for an object that keeps changing.
                if attempts > 1 {
                    self.wait(backoff(attempts - 1));
                }
            }
            Next::Retry => self.wait(failure.wait(attempts)),
            Next::RetryForbidden => {
                let since = *self.failed.forbidden_since.get_or_insert(at);
                if at.duration_since(since) >= FORBIDDEN_FOR {
                    self.failed.refused = refused(Reason::Forbidden);
                } else {
                    self.wait(failure.wait(attempts));
                }
            }
            Next::GiveUp => self.failed.refused = refused(Reason::WriteFailed),
        }
        if failure.next() != Next::RetryForbidden && self.failed.forbidden_since.is_some() {
            self.failed.forbidden_since = None;
        }
    }

    pub(super) fn has_error(&self) -> bool {
        self.failed.read.is_some() || self.failed.write.is_some()
    }

    pub(super) fn forget_error(&mut self) {
        if self.failed.refused.is_none() && self.failed.forbidden_since.is_none() {
            self.failed = OnDemand::default();
        } else {
            (self.failed.read, self.failed.write) = (None, None);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.not_before = Some(Instant::now() + time);
    }
}

fn error_text(failure: &Failure) -> Box<str> {
    cut(&failure.to_string(), LONGEST_ERROR).into()
}
