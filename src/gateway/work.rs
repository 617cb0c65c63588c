//! Whether a modification will be carried out in time, by what the operator has to do and how fast it does it: the leader publishes
//! both with its Lease. What would be late is refused, with the time after which it will not be.
//!
//! Each gateway takes what fits into half the time, because others do so as well before any of it shows in the Lease.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use crate::{
    decode::object::Lenient,
    gateway::problem::Problem,
    tasks::lock,
    telemetry::load::{BACKLOG, RATE},
};

/// How long a BulkUpdate may be carried out: its `notAfter`.
pub const WRITE_LIMIT: Duration = Duration::from_secs(45);

/// How many seconds a modification that is taken may wait: half of the time in which it has to be carried out.
const HALF: f64 = WRITE_LIMIT.as_secs_f64() / 2.0;

/// How many items are carried out in a second where the operator does not know it yet.
const FIRST_RATE: f64 = 20.0;

/// How long the Lease may stay as it is before it says nothing any more: as long as the operator's replicas wait for each other.
const STALE: Duration = Duration::from_secs(15);

/// How old a BulkUpdate may be that the Lease does not count yet.
const UNCOUNTED: Duration = Duration::from_secs(2);

/// How long before somebody comes again room is kept for them.
const SOON: Duration = Duration::from_secs(3);

/// How much more may be ahead of who comes again than of others, because what was taken lately may be counted twice.
const CLAIMED: f64 = 1.25;

/// How much later than in time a caller may come again.
const GRACE: Duration = Duration::from_secs(5);

/// The work that is known, and what was promised.
#[derive(Default)]
pub struct Promises(Mutex<State>);

#[derive(Default)]
struct State {
    counter: u64,
    load: Option<Load>,
    /// What is in progress, by the order in which it was taken.
    taken: BTreeMap<u64, Taken>,
    /// Who has to come again.
    later: Vec<Later>,
}

/// What the Lease says.
#[derive(Clone)]
struct Load {
    /// Its resource version, and since when it is known.
    version: String,
    since: Instant,
    backlog: f64,
    rate: f64,
}

struct Taken {
    namespace: Arc<str>,
    items: f64,
    at: Instant,
}

struct Later {
    who: Who,
    items: f64,
    due: Instant,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Who {
    /// The hash of the token and the namespace.
    pub pair: u64,
    /// Empty for all whose tokens are not known.
    pub namespace: Arc<str>,
}

/// A modification that was taken, until this is dropped.
pub struct Promise {
    promises: Arc<Promises>,
    number: u64,
}

impl Promises {
    /// Takes in the Lease as it was read.
    pub fn seen(&self, lease: &Lenient) {
        let mut state = lock(&self.0);
        let version = lease.text("resourceVersion").unwrap_or_default();
        if state.load.as_ref().is_some_and(|load| load.version == version) {
            return;
        }
        let number = |name| lease.annotation(name)?.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0);
        let (version, since) = (version.to_owned(), Instant::now());
        let load =
            |backlog| Load { version, since, backlog, rate: number(RATE).unwrap_or(FIRST_RATE).max(1.0) };
        state.load = number(BACKLOG).map(load);
    }

    /// Promises that so many items will be carried out in time.
    ///
    /// # Errors
    /// 429 if they will not; with the time after which they will be.
    pub fn promise(self: &Arc<Self>, who: Who, items: usize) -> Result<Promise, Problem> {
        let mut state = lock(&self.0);
        let now = Instant::now();
        state.later.retain(|later| now < later.due + GRACE);
        #[allow(clippy::cast_precision_loss, reason = "at most 100")]
        let items = items as f64;
        let load = state.load.clone().filter(|load| now < load.since + STALE);
        if let Some(wait) = load.and_then(|load| state.wait(&load, &who, items, now)) {
            let message = format!(
                "the operator has too much to do to carry this out in time: nothing was done; try again after {} s",
                wait.as_secs()
            );
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(wait));
        }
        state.counter += 1;
        let number = state.counter;
        state.taken.insert(number, Taken { namespace: who.namespace, items, at: now });
        Ok(Promise { promises: Arc::clone(self), number })
    }
}

impl State {
    /// How long to wait before so many items fit; not at all if they do. Who has to wait has a claim from then on.
    fn wait(&mut self, load: &Load, who: &Who, items: f64, now: Instant) -> Option<Duration> {
        let uncounted = |taken: &&Taken| taken.at + UNCOUNTED > load.since;
        let ahead =
            load.backlog + self.taken.values().filter(uncounted).map(|taken| taken.items).sum::<f64>();
        let room = load.rate * HALF;
        // Nothing is done sooner than what is alone.
        if ahead <= 0.0 {
            return None;
        }
        let mine = self.later.iter().position(|later| later.who == *who && later.due <= now);
        if let Some(mine) = mine
            && ahead + items <= room * CLAIMED
        {
            self.later.swap_remove(mine);
            return None;
        }
        let all: f64 = self.later.iter().map(|later| later.items).sum();
        let soon = self.later.iter().filter(|later| later.due <= now + SOON);
        let soon: f64 = soon.map(|later| later.items).sum();
        let own = self.of(&who.namespace);
        // As with places, nobody takes more than is left for others. Those who come later find room by then.
        let left = room - ahead - soon;
        if own + items <= left {
            return None;
        }
        let share = if items <= left { room / 2.0 } else { room };
        let seconds = ((ahead + all + items - share) / load.rate).max(1.0).ceil();
        let wait = Duration::from_secs_f64(seconds);
        let owed: f64 =
            self.later.iter().filter(|later| later.who.namespace == who.namespace).map(|l| l.items).sum();
        if owed + items <= room / 2.0 {
            self.later.push(Later { who: who.clone(), items, due: now + wait });
        }
        Some(wait)
    }

    fn of(&self, namespace: &str) -> f64 {
        self.taken.values().filter(|taken| &*taken.namespace == namespace).map(|taken| taken.items).sum()
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        lock(&self.promises.0).taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
