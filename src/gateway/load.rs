//! Whether a modification will be carried out in time, by what the operator has to do and how fast it does it: the leader publishes
//! both with its Lease. What would be late is refused, with the time after which it will not be.
//!
//! Each gateway takes what fits into a quarter of the time, because others do so as well before any of it shows in the Lease.
//!
//! The operator works on all namespaces in turn, so that the backlog of one delays another only as long as that one has something
//! left itself: what somebody has sent with kubectl does not keep the others out.

mod ahead;
mod queue;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use tokio::time::{Instant, sleep};

pub use self::queue::Request;
use self::{
    ahead::{Ahead, Load, Outstanding},
    queue::Queue,
};
use crate::{
    decode::object::Lenient,
    gateway::problem::Problem,
    tasks::lock,
    telemetry::load::{BACKLOG, BY_NAMESPACE, RATE, UP_TO},
};

/// How long a BulkUpdate may be carried out: its `notAfter`.
pub const WRITE_LIMIT: Duration = Duration::from_secs(45);

/// How many seconds the operator may need for all that is in progress: a quarter of the time in which each has to be carried out.
/// It carries them out side by side, so what comes later takes up as much time again, before the first ones are done.
const QUARTER: f64 = WRITE_LIMIT.as_secs_f64() / 4.0;

/// How many items are carried out in a second where the operator does not know it yet.
const FIRST_RATE: f64 = 200.0;

/// How long the Lease may stay as it is before it says nothing any more: as long as the operator's replicas wait for each other.
const STALE: Duration = Duration::from_secs(15);

/// How far the Lease, as it was read, may be behind.
const BEHIND: Duration = Duration::from_secs(2);

/// How long after its plan is on record a modification is surely in the Lease as it was read: this is renewed, and then read.
const IN_THE_LEASE: Duration = BEHIND.saturating_add(BEHIND).saturating_add(BEHIND);

/// How long before somebody comes again room is kept for them.
const SOON: Duration = Duration::from_secs(3);

/// How much more may be ahead of who comes again than of others, for each time: the Lease may still count what is done, and
/// other gateways make promises as well.
const ANOTHER_TIME: f64 = 0.25;

/// For how many times that holds: then twice as much is ahead, which is still done in time.
const MOST_TIMES: u32 = 4;

/// The longest `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

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
    queue: Queue,
}

struct Taken {
    namespace: Arc<str>,
    /// The items that are not carried out yet.
    left: u32,
    /// The resource version of its BulkUpdate when that was created, or read instead of created again.
    created: Option<u64>,
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
        let rate = number(RATE).unwrap_or(FIRST_RATE).max(1.0);
        let by_namespace = lease.annotation(BY_NAMESPACE).and_then(|text| text.parse().ok());
        let up_to = lease.annotation(UP_TO).and_then(|text| text.parse().ok());
        // One that is being created may be there, and its answer on the way.
        let may_be_counted = |taken: &&Taken| taken.created.is_none() || taken.is_counted(up_to);
        let counted = state.taken.values().filter(may_be_counted);
        let promised = counted.fold(HashMap::<_, f64>::new(), |mut promised, taken| {
            *promised.entry(Arc::clone(&taken.namespace)).or_default() += f64::from(taken.left);
            promised
        });
        state.load = number(BACKLOG).map(|backlog| Load {
            version,
            since,
            backlog,
            rate,
            by_namespace,
            up_to,
            promised,
        });
    }

    /// Promises that so many items will be carried out in time.
    ///
    /// # Errors
    /// 429 if they will not; with the time after which they will be.
    pub fn promise(self: &Arc<Self>, request: Request, items: usize) -> Result<Promise, Problem> {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let items = u32::try_from(items).unwrap_or(u32::MAX);
        let load = state.load.clone().filter(|load| now < load.since + STALE);
        if let Some(wait) = load.and_then(|load| state.wait(&load, &request, items, now)) {
            let message = format!(
                "the operator has too much to do to carry this out in time: nothing was done; try again after {} s",
                wait.as_secs()
            );
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(wait));
        }
        state.queue.remove(request.hash);
        state.counter += 1;
        let number = state.counter;
        state.taken.insert(number, Taken { namespace: request.namespace, left: items, created: None });
        Ok(Promise { promises: Arc::clone(self), number })
    }
}

impl State {
    /// How long to wait before so many items fit; not at all if they do. Who has to wait is in the queue from then on.
    fn wait(&mut self, load: &Load, request: &Request, items: u32, now: Instant) -> Option<Duration> {
        self.queue.forget_late(now);
        let room = load.rate * QUARTER;
        let outstanding = self.outstanding(load);
        // Room is left to those before it who are about to return, as far as their namespaces may use it.
        let usable = |(namespace, items): (&str, f64)| {
            items.min((room / 2.0 - outstanding.of(namespace).left).max(0.0))
        };
        let due = self.queue.due_by(now + SOON, self.queue.known_place(request.hash));
        let soon = due.into_iter().map(usable).sum();
        let ahead = Ahead::of(load, &outstanding, request, items, soon);
        let early = self.queue.due(request.hash).filter(|due| now < *due);
        // The bonus is for those who wait until they are due.
        let times = if early.is_some() { 0 } else { self.queue.times(request.hash).min(MOST_TIMES) };
        if ahead.fits(room * (1.0 + f64::from(times) * ANOTHER_TIME)) {
            return None;
        }
        if let Some(due) = early {
            return Some(whole_seconds(due - now));
        }
        let place = self.queue.place(request, items);
        let seconds = ahead.seconds(room, load.rate, self.queue.before(&place, &request.namespace));
        let seconds = seconds.max(0.0).ceil().min(LONGEST_WAIT.as_secs_f64());
        let wait = (Duration::from_secs_f64(seconds) + BEHIND).min(LONGEST_WAIT);
        self.queue.put(place, request.clone(), items, now + wait);
        Some(wait)
    }

    /// The items of what is in progress, as far as they are not carried out yet.
    fn outstanding(&self, load: &Load) -> Outstanding<'_> {
        let mut all = Outstanding::default();
        for taken in self.taken.values() {
            let left = f64::from(taken.left);
            let namespace = all.by_namespace.entry(&taken.namespace).or_default();
            for of in [&mut all.total, namespace] {
                of.left += left;
                if !taken.is_counted(load.up_to) {
                    of.not_counted += left;
                }
            }
        }
        all
    }
}

/// Rounded up, as `Retry-After` has no fractions.
fn whole_seconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

impl Taken {
    /// Whether a Lease counts it that counts the BulkUpdates up to this resource version.
    fn is_counted(&self, up_to: Option<u64>) -> bool {
        self.created.is_some_and(|created| up_to >= Some(created))
    }
}

impl Promise {
    /// Its BulkUpdate was created in this resource version.
    pub fn created(&self, version: Option<u64>) {
        if let Some(taken) = lock(&self.promises.0).taken.get_mut(&self.number) {
            taken.created = version;
        }
    }

    /// So many items are not carried out yet.
    pub fn left(&self, items: usize) {
        if let Some(taken) = lock(&self.promises.0).taken.get_mut(&self.number) {
            taken.left = u32::try_from(items).unwrap_or(u32::MAX);
        }
    }

    /// Keeps it until its items are in the Lease, where nobody follows them until they are carried out.
    pub fn hand_over(self: Arc<Self>) {
        tokio::spawn(async move {
            sleep(IN_THE_LEASE).await;
            drop(self);
        });
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        lock(&self.promises.0).taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
