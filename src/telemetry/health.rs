//! Liveness and readiness: are watches and reconciles making progress, and can this replica do its part?

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::{client::Failure, tasks::lock};

/// How long a watch lasts before it is restarted: the longest time without any event or bookmark.
pub const WATCH_LASTS: Duration = Duration::from_mins(1);

/// How long a watch may be silent, its first list included. A request without any answer is silence. A refused one is not: a
/// restart would not help, and it is retried at least every minute and a half.
pub const LONGEST_SILENCE: Duration = Duration::from_mins(2);

/// How long one reconcile of a BulkUpdate may take: it waits for a minute at most, and each of its requests takes 10 s at most.
/// The time in which it waits for a slot does not count, as long as others get theirs.
pub const LONGEST_RECONCILE: Duration = Duration::from_mins(20);

/// Why this replica is not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It does not know everything yet.
    #[error("not everything was listed yet")]
    Unlisted,
    /// It could not take over from the leader.
    #[error("the Lease cannot be read or acquired: {0}")]
    NoLease(Failure),
}

/// Why a restart may help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLive {
    #[error("the watch of {path} has made no progress for {silence:?}")]
    Watch { path: String, silence: Duration },
    #[error("a reconcile of a BulkUpdate has made no progress for {0:?}")]
    Reconcile(Duration),
}

/// Liveness and readiness of the whole operator.
#[derive(Default)]
pub struct Health(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    /// Whether this replica can do its part; absent until that was said for the first time.
    ready: Option<Result<(), NotReady>>,
    /// By what is listed and watched, see [`Health::stream`].
    watches: BTreeMap<String, Watch>,
    /// Of each BulkUpdate that has not finished, by the number of its [`Pulse`].
    reconciles: HashMap<u64, Reconcile>,
    last_number: u64,
    /// When any reconcile got a slot last.
    last_slot: Option<Instant>,
}

struct Watch {
    /// When it made progress or failed last.
    last_activity: Instant,
    /// When it made progress last: an event, a bookmark, a page of a list, or the regular end of a watch.
    last_progress: Option<Instant>,
    /// The same of a watch alone, without the list before it.
    last_event: Option<Instant>,
    /// How many pages of the current list have arrived.
    pages: u32,
    /// The most pages of any list since the last event of a watch.
    most_pages: u32,
    /// The API server's `Retry-After`.
    not_before: Option<Instant>,
}

impl Watch {
    fn new() -> Self {
        let (last_progress, last_event, not_before) = (None, None, None);
        Self { last_activity: Instant::now(), last_progress, last_event, pages: 0, most_pages: 0, not_before }
    }

    fn made_progress(&mut self) {
        self.last_activity = Instant::now();
        self.last_progress = Some(self.last_activity);
    }
}

struct Reconcile {
    since: Instant,
    waits_for_slot: bool,
}

/// The liveness of one BulkUpdate that has not finished; dropped when nothing is done for it any more.
pub struct Pulse {
    health: Arc<Health>,
    number: u64,
}

impl Health {
    pub(crate) fn set_ready(&self, ready: Result<(), NotReady>) {
        self.progress().ready = Some(ready);
    }

    /// Readiness: whether this replica can do its part.
    pub(crate) fn ready(&self) -> Result<(), NotReady> {
        self.progress().ready.clone().unwrap_or(Err(NotReady::Unlisted))
    }

    /// The name of a list and watch: its path, and its field and label selector, if there are any.
    pub fn stream(path: &str, selectors: [Option<&str>; 2]) -> String {
        let mut stream = path.to_owned();
        for selector in selectors.into_iter().flatten() {
            stream += " of ";
            stream += selector;
        }
        stream
    }

    /// From now on this list and watch has to make progress; nothing is noted of others, such as a list of Pods.
    pub fn expect(&self, stream: &str) {
        self.progress().watches.entry(stream.to_owned()).or_insert_with(Watch::new);
    }

    /// A request or its answer has failed, which is not silence; the API server may have asked to wait for so long.
    pub(super) fn failed(&self, path: &str, retry_after: Option<Duration>) {
        self.watch(path, |watch| {
            watch.last_activity = Instant::now();
            watch.not_before = retry_after.map(|wait| watch.last_activity + wait).or(watch.not_before);
        });
    }

    /// A list was requested from its first page on.
    pub(super) fn list_started(&self, path: &str) {
        self.watch(path, |watch| watch.pages = 0);
    }

    /// A page of a list has arrived completely. It is no progress if an earlier list, which failed later on, had come that far.
    pub(super) fn page_arrived(&self, path: &str) {
        self.watch(path, |watch| {
            watch.pages += 1;
            if watch.pages > watch.most_pages {
                watch.most_pages = watch.pages;
                watch.made_progress();
            }
        });
    }

    /// A watch has brought an event or a bookmark, or has ended regularly.
    pub(super) fn watch_event(&self, path: &str) {
        self.watch(path, |watch| {
            watch.made_progress();
            watch.last_event = watch.last_progress;
            watch.most_pages = 0;
        });
    }

    /// Whether the watch of this path, without the list before it, has brought an event or a bookmark since then, or has ended regularly.
    pub(crate) fn watched_since(&self, path: &str, since: Instant) -> bool {
        self.progress().watches.get(path).and_then(|watch| watch.last_event).is_some_and(|time| time > since)
    }

    /// How much longer the API server wants no request for this path.
    pub fn retry_after(&self, path: &str) -> Duration {
        let not_before = self.progress().watches.get(path).and_then(|watch| watch.not_before);
        not_before.map_or(Duration::ZERO, |time| time.saturating_duration_since(Instant::now()))
    }

    /// When the watches of each resource made progress last, if it is `now`: of several, the one that has been silent longest.
    pub(crate) fn last_events(&self, now: Timestamp) -> BTreeMap<String, Timestamp> {
        let mut last = BTreeMap::new();
        for (path, watch) in &self.progress().watches {
            let Some(progress) = watch.last_progress else { continue };
            let since = SignedDuration::try_from(progress.elapsed()).unwrap_or_default();
            let time = now.saturating_sub(since).unwrap_or(now);
            let (path, _) = path.split_once(' ').unwrap_or((path, ""));
            let resource = path.rsplit('/').next().unwrap_or_default().to_owned();
            last.entry(resource).and_modify(|t: &mut Timestamp| *t = (*t).min(time)).or_insert(time);
        }
        last
    }

    /// From now on the reconciles of one more BulkUpdate have to make progress.
    pub fn pulse(self: &Arc<Self>) -> Pulse {
        let mut progress = self.progress();
        progress.last_number += 1;
        let pulse = Pulse { health: Arc::clone(self), number: progress.last_number };
        progress.reconciles.insert(pulse.number, Reconcile { since: Instant::now(), waits_for_slot: false });
        pulse
    }

    /// How many BulkUpdates have not finished.
    pub fn underway(&self) -> usize {
        self.progress().reconciles.len()
    }

    /// Liveness: whether watches and reconciles make progress.
    pub(crate) fn check(&self) -> Result<(), NotLive> {
        let progress = self.progress();
        for (path, watch) in &progress.watches {
            let silence = watch.last_activity.elapsed();
            if silence > LONGEST_SILENCE {
                return Err(NotLive::Watch { path: path.clone(), silence });
            }
        }
        // Without a last slot this is `since` itself: None is less than any time.
        let since = |r: &Reconcile| progress.last_slot.filter(|_| r.waits_for_slot).max(Some(r.since));
        let longest = progress.reconciles.values().filter_map(since).map(|since| since.elapsed()).max();
        longest.filter(|time| *time > LONGEST_RECONCILE).map_or(Ok(()), |time| Err(NotLive::Reconcile(time)))
    }

    fn watch(&self, path: &str, note: impl FnOnce(&mut Watch)) {
        self.progress().watches.get_mut(path).map(note);
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.0)
    }
}

impl Pulse {
    pub fn beat(&self) {
        self.set(false);
    }

    /// Waits for a slot: however long that takes, it counts as progress as long as others get theirs.
    pub async fn in_line<T>(&self, slot: impl Future<Output = T>) -> T {
        self.set(true);
        let slot = slot.await;
        self.set(false);
        self.health.progress().last_slot = Some(Instant::now());
        slot
    }

    fn set(&self, waits_for_slot: bool) {
        if let Some(reconcile) = self.health.progress().reconciles.get_mut(&self.number) {
            *reconcile = Reconcile { since: Instant::now(), waits_for_slot };
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.health.progress().reconciles.remove(&self.number);
    }
}
