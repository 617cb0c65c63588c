//! What an item's decision rests on: the newer of what was read and what the index has.

use std::time::Duration;

use super::{Entry, Look};
use crate::target::{Target, not_older};

impl Entry {
    /// What to decide on: an answer that just came, else the newer of the index and what was last seen. What the index has
    /// got since the answer is as good as one.
    #[must_use]
    pub fn look(&self, indexed: Option<Target>) -> Look {
        match &self.progress.answer {
            // A read that failed is tried again when it is time.
            Some(Look::Failed(_)) if self.may_ask() => {}
            Some(Look::Live(Some(read))) => return compared(read, indexed),
            Some(answer) => return answer.clone(),
            None => {}
        }
        Look::Cached(match (indexed, &self.progress.seen) {
            (Some(indexed), Some(seen)) if !not_older(&indexed.resource_version, &seen.resource_version) => {
                Some(seen.clone().seen_before(Some(&indexed)))
            }
            (Some(indexed), seen) => Some(indexed.seen_before(seen.as_ref())),
            (None, seen) => seen.clone(),
        })
    }

    /// A watch has said that the object of this uid was deleted, or a new list does not have it: what was read before does not
    /// count any more for a plan.
    pub fn may_be_gone(&mut self, uid: Option<&str>) {
        let of_it = |target: &Target| uid.is_none_or(|uid| uid == &*target.uid);
        if self.record.is_none() && matches!(&self.progress.answer, Some(Look::Live(Some(t))) if of_it(t)) {
            self.progress.answer = None;
            self.progress.seen = None;
        }
    }

    /// How long ago that was read on which a plan waits to be made.
    #[must_use]
    pub fn age_of_answer(&self) -> Option<Duration> {
        self.progress.answered.filter(|_| self.progress.answer.is_some()).map(|time| time.elapsed())
    }
}

/// What an answer says, beside what the index has.
fn compared(read: &Target, indexed: Option<Target>) -> Look {
    match indexed {
        Some(indexed) if is_newer(&indexed, read) => Look::Live(Some(indexed.seen_before(Some(read)))),
        Some(indexed) if indexed.resource_version == read.resource_version => {
            Look::Live(Some(read.clone().seen_before(Some(&indexed))))
        }
        behind => Look::Ahead(read.clone().seen_before(behind.as_ref())),
    }
}

fn is_newer(a: &Target, b: &Target) -> bool {
    a.resource_version != b.resource_version && not_older(&a.resource_version, &b.resource_version)
}
