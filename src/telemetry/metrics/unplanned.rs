//! Which BulkUpdates wait to be planned, and since when.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::jiff::Timestamp;

/// When each of them was created, by uid.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<Box<str>, Timestamp>>>);

impl Waiting {
    /// The operator starts to work on one; `created` only if it waits.
    pub(super) fn begin(&self, uid: &str, created: Option<Timestamp>) -> Unplanned {
        if let Some(created) = created {
            self.all().insert(uid.into(), created);
        }
        Unplanned { waiting: self.clone(), uid: uid.into() }
    }

    /// It was planned or rejected, or nothing is done for it any more.
    pub(super) fn end(&self, uid: &str) {
        self.all().remove(uid);
    }

    /// When the oldest was created.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.all().values().min().copied()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Box<str>, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A BulkUpdate that the operator works on; once this is dropped it does not count as waiting.
#[derive(Debug)]
pub struct Unplanned {
    waiting: Waiting,
    uid: Box<str>,
}

impl Drop for Unplanned {
    fn drop(&mut self) {
        self.waiting.end(&self.uid);
    }
}
