//! Liveness: are the watches and the passes over BulkUpdates making progress?

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// How long a watch lasts before it is started again: the longest that the API server may have nothing to say.
pub const WATCH_LASTS: Duration = Duration::from_mins(1);

/// How long a watch may be silent, its first list included. One that is refused, or whose connection is, is not: to restart
/// would mend nothing, and it is tried again at least every minute and a half. One that gets no answer at all is.
pub const LONGEST_SILENCE: Duration = Duration::from_mins(2);

/// How long one pass over a BulkUpdate may take: it waits a minute at the most, and each of its requests takes 10 s at the
/// most. The time that it stands in line for a slot does not count, as long as the line moves.
pub const LONGEST_PASS: Duration = Duration::from_mins(20);

/// What is missing at first.
pub const UNLISTED: &str = "not everything was listed yet";

/// The signs of life; one for the whole operator.
#[derive(Debug)]
pub struct Health {
    ready: Mutex<Result<(), String>>,
    signs: Mutex<Signs>,
}

impl Default for Health {
    fn default() -> Self {
        Self { ready: Mutex::new(Err(UNLISTED.into())), signs: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Signs {
    /// By the path that is listed and watched.
    watches: HashMap<String, Watch>,
    /// Of each BulkUpdate under way, by a number of its own.
    passes: HashMap<u64, Pass>,
    /// How many numbers were given out.
    numbers: u64,
    /// When anybody's turn in the line for a slot came last.
    last_turn: Option<Instant>,
}

#[derive(Debug)]
struct Watch {
    last_activity: Instant,
    /// When the last event, bookmark, or page of a list arrived, or a watch ended as it should.
    last_event: Option<Instant>,
    /// The same of a watch alone, not of the list before it.
    last_watched: Option<Instant>,
    /// How many pages of the present list have arrived, and how many of any list since the last event of a watch.
    pages: (u32, u32),
    /// The API server has asked that it is not asked before.
    not_before: Option<Instant>,
}

impl Watch {
    fn new() -> Self {
        Self {
            last_activity: Instant::now(),
            last_event: None,
            last_watched: None,
            pages: (0, 0),
            not_before: None,
        }
    }

    fn event(&mut self) {
        self.last_activity = Instant::now();
        self.last_event = Some(self.last_activity);
    }
}

#[derive(Debug)]
struct Pass {
    since: Instant,
    in_line: bool,
}

/// The sign of life of one BulkUpdate under way, until it is dropped.
#[derive(Debug)]
pub struct Pulse {
    health: Arc<Health>,
    number: u64,
}

impl Health {
    /// From now on this replica can do its part, or can't; why.
    pub fn is_ready(&self, ready: Result<(), String>) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = ready;
    }

    /// Whether this replica can do its part.
    ///
    /// # Errors
    /// What is missing.
    pub fn ready(&self) -> Result<(), String> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on the list and watch of this path has to show signs of life.
    pub fn expect(&self, path: &str) {
        self.watch(path, |_| ());
    }

    /// A sign of life that says nothing else: a refusal, a connection that failed.
    pub(super) fn active(&self, path: &str) {
        self.watch(path, |watch| watch.last_activity = Instant::now());
    }

    /// The API server has refused, and may have asked to be left alone for some time.
    pub(super) fn refused(&self, path: &str, retry_after: Option<Duration>) {
        self.watch(path, |watch| {
            watch.last_activity = Instant::now();
            watch.not_before = retry_after.map(|wait| Instant::now() + wait);
        });
    }

    /// A list starts.
    pub(super) fn list_started(&self, path: &str) {
        self.watch(path, |watch| watch.pages.0 = 0);
    }

    /// A page of a list has arrived in whole. One that has arrived before, in a list that did not come to its end, is no
    /// progress.
    pub(super) fn page_arrived(&self, path: &str) {
        self.watch(path, |watch| {
            let (now, furthest) = &mut watch.pages;
            *now += 1;
            if now > furthest {
                *furthest = *now;
                watch.event();
            }
        });
    }

    /// A watch has brought an event or a bookmark, or has ended as it should.
    pub(super) fn watch_event(&self, path: &str) {
        self.watch(path, |watch| {
            watch.event();
            watch.last_watched = Some(Instant::now());
            watch.pages.1 = 0;
        });
    }

    /// Whether the watch of this path has brought an event or a bookmark since then, or has ended as it should. (The list
    /// before it does not count.)
    #[must_use]
    pub fn watched_since(&self, path: &str, since: Instant) -> bool {
        self.signs().watches.get(path).and_then(|watch| watch.last_watched).is_some_and(|time| time > since)
    }

    /// How long the API server has asked to wait, still, before this path is asked for again.
    #[must_use]
    pub fn retry_after(&self, path: &str) -> Duration {
        let not_before = self.signs().watches.get(path).and_then(|watch| watch.not_before);
        not_before.map_or(Duration::ZERO, |time| time.saturating_duration_since(Instant::now()))
    }

    /// When the watches of each resource brought something last, if it is `now`; of several, the one that has been silent
    /// longest counts.
    #[must_use]
    pub fn last_events(&self, now: Timestamp) -> HashMap<String, Timestamp> {
        let mut last = HashMap::new();
        for (path, watch) in &self.signs().watches {
            let Some(event) = watch.last_event else { continue };
            let since = SignedDuration::try_from(event.elapsed()).unwrap_or_default();
            let time = now.saturating_sub(since).unwrap_or(now);
            let resource = path.rsplit('/').next().unwrap_or_default().to_owned();
            last.entry(resource).and_modify(|t: &mut Timestamp| *t = (*t).min(time)).or_insert(time);
        }
        last
    }

    /// A BulkUpdate is under way from now on.
    #[must_use]
    pub fn pulse(self: &Arc<Self>) -> Pulse {
        let mut signs = self.signs();
        signs.numbers += 1;
        let number = signs.numbers;
        signs.passes.insert(number, Pass { since: Instant::now(), in_line: false });
        Pulse { health: Arc::clone(self), number }
    }

    /// How many BulkUpdates are under way.
    #[must_use]
    pub fn underway(&self) -> usize {
        self.signs().passes.len()
    }

    /// Whether all makes progress.
    ///
    /// # Errors
    /// What does not, in words for whoever looks at the probe.
    pub fn check(&self) -> Result<(), String> {
        let signs = self.signs();
        for (path, Watch { last_activity, .. }) in &signs.watches {
            if last_activity.elapsed() > LONGEST_SILENCE {
                return Err(format!(
                    "nothing was heard of the watch of {path} for {:?}",
                    last_activity.elapsed()
                ));
            }
        }
        let stands_since = |pass: &Pass| match signs.last_turn.filter(|_| pass.in_line) {
            Some(turn) => pass.since.max(turn),
            None => pass.since,
        };
        match signs.passes.values().map(|pass| stands_since(pass).elapsed()).max() {
            Some(longest) if longest > LONGEST_PASS => {
                Err(format!("a BulkUpdate has made no progress for {longest:?}"))
            }
            _ => Ok(()),
        }
    }

    fn watch<T>(&self, path: &str, note: impl FnOnce(&mut Watch) -> T) -> T {
        let mut signs = self.signs();
        match signs.watches.get_mut(path) {
            Some(watch) => note(watch),
            None => note(signs.watches.entry(path.to_owned()).or_insert_with(Watch::new)),
        }
    }

    fn signs(&self) -> MutexGuard<'_, Signs> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// It makes progress.
    pub fn beat(&self) {
        self.is(false);
    }

    /// Waits for its turn in the line for a slot: however long that takes, it does not stand still as long as others have
    /// theirs.
    pub async fn in_line<T>(&self, turn: impl Future<Output = T>) -> T {
        self.is(true);
        let slot = turn.await;
        self.is(false);
        self.health.signs().last_turn = Some(Instant::now());
        slot
    }

    fn is(&self, in_line: bool) {
        if let Some(pass) = self.health.signs().passes.get_mut(&self.number) {
            *pass = Pass { since: Instant::now(), in_line };
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.health.signs().passes.remove(&self.number);
    }
}
