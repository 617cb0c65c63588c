//! How often a status is written.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::{
    client::{Failure, Next},
    tasks::lock,
};

/// The shortest interval between two progress reports: the first one, and the longest with few writers.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// The interval for each other BulkUpdate that is being written, if that is longer. For the API server, a status of a
/// hundred items costs as much as a dozen writes to targets: a hundred that report every ten seconds would take an
/// eighth of two cores.
const INTERVAL_PER_WRITER: Duration = Duration::from_millis(500);

const LONGEST_SHARED_INTERVAL: Duration = Duration::from_mins(1);

/// The BulkUpdates that are sending requests about targets. The budget for status writes is shared between namespaces
/// first, as slots are, so that a BulkUpdate next to a tenant's thousand reports as if there were one other. Clones
/// share the count.
#[derive(Clone, Debug, Default)]
pub struct Writers(Arc<Mutex<HashMap<Box<str>, usize>>>);

impl Writers {
    /// Counts one more in this namespace until the guard is dropped.
    pub(super) fn enter(&self, namespace: &str) -> WriterGuard {
        *self.namespaces().entry(namespace.into()).or_default() += 1;
        WriterGuard { writers: self.clone(), namespace: namespace.into() }
    }

    /// How many others a BulkUpdate of this namespace, not counted itself, shares with: as many as if each namespace
    /// had as many as its own.
    pub(super) fn others(&self, namespace: &str) -> usize {
        let namespaces = self.namespaces();
        let own = namespaces.get(namespace).copied().unwrap_or_default();
        let all = namespaces.len() + usize::from(own == 0);
        all.saturating_mul(own + 1) - 1
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<Box<str>, usize>> {
        lock(&self.0)
    }
}

#[derive(Debug)]
pub struct WriterGuard {
    writers: Writers,
    namespace: Box<str>,
}

impl Drop for WriterGuard {
    fn drop(&mut self) {
        let mut namespaces = self.writers.namespaces();
        if let Some(writing) = namespaces.get_mut(&self.namespace) {
            *writing -= 1;
            if *writing == 0 {
                namespaces.remove(&self.namespace);
            }
        }
    }
}

/// Until when the API server has asked to wait before the next write to a BulkUpdate, by uid. The next one may be another task's,
/// as when it cannot be read any more, or a list shows it once more. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct HeldBack(Arc<Mutex<HashMap<Box<str>, Instant>>>);

impl HeldBack {
    /// A write to the BulkUpdate with this uid failed like this.
    pub(super) fn failed(&self, uid: &str, failure: &Failure) {
        let wait =
            failure.retry_after().filter(|_| matches!(failure.next(), Next::Retry | Next::RetryForbidden));
        let Some(until) = wait.map(|wait| Instant::now() + wait) else { return };
        let mut held_back = lock(&self.0);
        // No wait is longer than half a minute.
        held_back.retain(|_, until| *until > Instant::now());
        held_back.insert(uid.into(), until);
    }

    /// Until when it has to wait, if it has to.
    pub(super) fn until(&self, uid: &str) -> Option<Instant> {
        lock(&self.0).get(uid).copied().filter(|until| *until > Instant::now())
    }

    /// Waits until it may be written to.
    pub(super) async fn wait(&self, uid: &str) {
        if let Some(until) = self.until(uid) {
            sleep_until(until).await;
        }
    }
}

/// When progress reports are due: after 1 s, then at doubling intervals up to 10 s, and longer ones with many writers;
/// and when a failed write is retried.
#[derive(Debug, Default)]
pub struct Throttle {
    last: Option<Instant>,
    interval: Duration,
    failed: u32,
    /// The class of the last failure, if the last write failed.
    why: Option<&'static str>,
    not_before: Option<Instant>,
}

impl Throttle {
    /// When the next status may be written, with this many other writers.
    pub fn next(&self, others: usize) -> Option<Instant> {
        self.held_back().or_else(|| self.due_at(others))
    }

    pub fn due(&self, others: usize) -> bool {
        self.due_at(others).is_none_or(|due| due <= Instant::now())
    }

    /// Until when a failed write backs off.
    pub fn held_back(&self) -> Option<Instant> {
        self.not_before.filter(|time| *time > Instant::now())
    }

    pub fn failing(&self) -> bool {
        self.failed > 0
    }

    /// Nothing may be written before this.
    pub fn hold_back(&mut self, until: Option<Instant>) {
        self.not_before = self.not_before.max(until);
    }

    pub fn written(&mut self) {
        let (shortest, longest) = INTERVALS;
        self.interval = (self.interval * 2).clamp(shortest, longest);
        self.last = Some(Instant::now());
        self.failed = 0;
        self.why = None;
        self.not_before = None;
    }

    /// A write failed. Returns whether the reason is new.
    pub fn failed(&mut self, failure: &Failure) -> bool {
        self.failed += 1;
        self.not_before = Some(Instant::now() + failure.wait(self.failed));
        self.why.replace(failure.reason()) != Some(failure.reason())
    }

    fn due_at(&self, others: usize) -> Option<Instant> {
        let others = INTERVAL_PER_WRITER.saturating_mul(others.try_into().unwrap_or(u32::MAX));
        self.last.map(|last| last + self.interval.max(others.min(LONGEST_SHARED_INTERVAL)))
    }
}

#[cfg(test)]
mod tests;
