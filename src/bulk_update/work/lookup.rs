//! What the decision about an item is based on: the newer of what was read and what the cache has.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    bulk_update::{
        facts::{Lookup, Obstacle},
        work::{entry::Entry, progress::Read},
    },
    observed::target::{Target, not_older},
};

impl Entry {
    /// The work starts again: since when the object has been there is known from before.
    pub fn starts_after(&mut self, before: &[Self]) {
        let same = |other: &&Self| (other.item.kind, &other.item.id) == (self.item.kind, &self.item.id);
        let known = before.iter().find(same).map(|before| &before.progress);
        if let Some(seen) = known.and_then(|progress| progress.seen.as_ref().or(progress.earlier.as_ref())) {
            self.progress.earlier = Some(Arc::clone(seen));
        }
    }

    /// An answer that was not used yet, else the newer of the cache and what was last seen. What the cache received
    /// since the answer is as good as the answer.
    pub fn lookup(&self, indexed: Option<Arc<Target>>) -> Lookup {
        match self.answer() {
            // Due for a retry.
            Some(Read::Failed) if self.can_send(Instant::now()) => {}
            Some(Read::Failed) => {
                let why = self.progress.failed.read.clone().unwrap_or_else(|| "retrying".into());
                return Lookup::Failed(Obstacle::Read {
                    kind: self.item.kind,
                    id: Arc::clone(&self.item.id),
                    why,
                });
            }
            Some(Read::Object(Some(read))) => return compared(read, indexed),
            Some(Read::Object(None)) => return Lookup::Live(None),
            None => {}
        }
        Lookup::Cached(match (indexed, &self.progress.seen) {
            (Some(indexed), Some(seen)) if !not_older(&indexed.resource_version, &seen.resource_version) => {
                Some(Arc::clone(seen).seen_before(Some(&indexed)))
            }
            (Some(indexed), Some(seen)) => Some(indexed.seen_before(Some(seen))),
            (Some(indexed), None) => Some(indexed.seen_before(self.progress.earlier.as_deref())),
            (None, seen) => seen.clone(),
        })
    }

    /// If the cache has the object as it was seen, or newer, it is not kept twice.
    pub fn share(&mut self, indexed: Option<&Arc<Target>>) {
        let (Some(seen), Some(indexed)) = (&self.progress.seen, indexed) else { return };
        if seen.uid == indexed.uid && not_older(&indexed.resource_version, &seen.resource_version) {
            self.progress.seen = Some(Arc::clone(indexed).seen_before(Some(seen)));
        }
    }

    fn answer(&self) -> Option<&Read> {
        self.progress.answer.as_deref().map(|(read, _)| read)
    }

    pub fn deleted(&mut self, uid: &str) {
        self.may_be_gone(Some(uid));
        if self.record.as_ref().and_then(|record| record.uid.as_deref()) == Some(uid) {
            self.progress.gone = true;
            self.progress.seen = None;
        }
    }

    pub fn vanished(&mut self) {
        self.may_be_gone(None);
        if self.is_underway() {
            self.progress.must_read = true;
        }
    }

    /// The object may be gone: an earlier read is not used for a plan any more.
    pub fn may_be_gone(&mut self, uid: Option<&str>) {
        let of_it = |target: &Target| uid.is_none_or(|uid| uid == &*target.uid);
        if self.record.is_some() {
            return;
        }
        if matches!(self.answer(), Some(Read::Object(Some(t))) if of_it(t)) {
            self.progress.answer = None;
        }
        if self.progress.seen.as_deref().is_some_and(of_it) {
            self.progress.seen = None;
        }
    }
}

fn compared(read: &Arc<Target>, indexed: Option<Arc<Target>>) -> Lookup {
    match indexed {
        Some(indexed) if indexed.resource_version == read.resource_version => {
            Lookup::Live(Some(Arc::clone(read).seen_before(Some(&indexed))))
        }
        Some(indexed) if not_older(&indexed.resource_version, &read.resource_version) => {
            Lookup::Live(Some(indexed.seen_before(Some(read))))
        }
        behind => Lookup::Ahead(Arc::clone(read).seen_before(behind.as_deref())),
    }
}
