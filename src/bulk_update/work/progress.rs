//! What this process knows of an item beyond its record.
//!
//! A hundred of these are kept of each BulkUpdate under way, and of most there is nothing to be known: they are made with the first
//! thing that there is, and given up at the item's end.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    api::Reason,
    client::{Failure, Next, backoff},
    decode::text::cut,
    observed::target::Target,
};

/// The longest message of an item, in bytes: a hundred of them have to fit into a status below 40 kB.
pub const LONGEST_MESSAGE: usize = 120;

/// How long a write that is forbidden is tried again: roles take a moment to spread.
const FORBIDDEN_FOR: Duration = Duration::from_secs(10);

/// The longest text that is kept of a failure that is tried again, in bytes.
const LONGEST_ERROR: usize = 512;

/// What this process knows of an item.
pub type Progress = OnDemand<ItemProgress>;

/// A box that is made when it is first written to, and reads as nothing before.
#[derive(Clone, Debug, Default)]
pub struct OnDemand<T>(Option<Box<T>>);

/// What has a value that stands for nothing.
pub trait Empty: Default + 'static {
    /// The value.
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

/// See [`Progress`].
#[derive(Clone, Debug, Default)]
pub struct ItemProgress {
    /// Whether a write may have been sent that got no answer.
    pub unresolved: UnresolvedWrite,
    /// Whether the object has to be read before anything else.
    pub must_read: bool,
    /// The resource version that the accepted write has made; absent where that was no number.
    pub written: Option<u64>,
    /// Whether a watch has said that the planned object was deleted.
    pub gone: bool,
    /// Whether a request about it is under way.
    pub in_flight: bool,
    /// What was last seen of it other than by the index.
    pub seen: Option<Arc<Target>>,
    /// What a live read has answered that nothing was decided on yet, and when.
    pub answer: Option<Box<(Read, Instant)>>,
    /// Nothing is sent about it before.
    pub not_before: Option<Instant>,
    /// How many reads have failed since one has succeeded, and how many writes at all.
    pub(super) reads_failed: u16,
    pub(super) writes_failed: u16,
    /// Why they have.
    pub failed: OnDemand<Failed>,
}

impl Empty for ItemProgress {
    const EMPTY: &Self = &Self {
        unresolved: UnresolvedWrite::None,
        must_read: false,
        written: None,
        gone: false,
        in_flight: false,
        seen: None,
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
    /// There is none.
    #[default]
    None,
    /// It was refused, otherwise than by a conflict. What stands between here and the API server may refuse what has been
    /// carried out: it has failed only if the object does not say otherwise.
    Rejected,
    /// It carried this resource version, and can't take hold on another.
    Guarded(u64),
    /// An earlier process may have sent one, or it carried a resource version that is no number.
    Unknown,
}

/// What a live read has answered.
#[derive(Clone, Debug)]
pub enum Read {
    /// The object, or that there is none.
    Object(Option<Arc<Target>>),
    /// It could not be read.
    Failed,
}

/// What is left of the failures of an item's requests.
#[derive(Clone, Debug, Default)]
pub struct Failed {
    /// The write was refused for good; why.
    pub refused: Option<(Reason, Arc<str>)>,
    /// Why it could not be read, as long as it can't.
    pub(super) read: Option<Box<str>>,
    /// Why it could not be written to, as long as it can't.
    pub(super) write: Option<Box<str>>,
    /// Since when writes have been forbidden.
    forbidden_since: Option<Instant>,
}

impl Empty for Failed {
    const EMPTY: &Self = &Self { refused: None, read: None, write: None, forbidden_since: None };
}

impl ItemProgress {
    /// A read has failed.
    pub(super) fn read_failed(&mut self, failure: &Failure) {
        self.must_read = true;
        self.reads_failed = self.reads_failed.saturating_add(1);
        self.failed.read = Some(error_text(failure));
        self.wait(failure.wait(self.reads_failed.into()));
    }

    /// A read has succeeded.
    pub(super) fn read_succeeded(&mut self) {
        (self.must_read, self.reads_failed) = (false, 0);
        if self.failed.read.is_some() {
            self.failed.read = None;
        }
    }

    /// A write with this guard has failed.
    pub(super) fn write_failed(&mut self, failure: &Failure, guard: &str) {
        self.writes_failed = self.writes_failed.saturating_add(1);
        let attempts = self.writes_failed.into();
        if failure.next() != Next::ReadAgain && self.unresolved == UnresolvedWrite::None {
            self.unresolved = UnresolvedWrite::Rejected;
        }
        if failure.outcome_unknown() {
            self.must_read = true;
            // The guard of an earlier one does not fit any more where this one's may: only the newest can take hold.
            if self.unresolved != UnresolvedWrite::Unknown {
                self.unresolved = guard.parse().map_or(UnresolvedWrite::Unknown, UnresolvedWrite::Guarded);
            }
        }
        // The first conflict is ordinary.
        if failure.next() != Next::ReadAgain || attempts > 1 {
            self.failed.write = Some(error_text(failure));
        }
        let refused = |reason| Some((reason, cut(&failure.to_string(), LONGEST_MESSAGE).into()));
        match failure.next() {
            Next::ReadAgain => {
                self.must_read = true;
                // An object that keeps changing is not chased at full speed.
                if attempts > 1 {
                    self.wait(backoff(attempts - 1));
                }
            }
            Next::Retry => self.wait(failure.wait(attempts)),
            Next::RetryForbidden => {
                let since = *self.failed.forbidden_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= FORBIDDEN_FOR {
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

    /// A write has succeeded.
    pub(super) fn write_succeeded(&mut self) {
        if self.failed.write.is_some() {
            self.failed.write = None;
        }
    }

    /// Whether it is kept what the last failure said.
    pub(super) fn has_error(&self) -> bool {
        self.failed.read.is_some() || self.failed.write.is_some()
    }

    /// Keeps it no longer.
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
