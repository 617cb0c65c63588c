//! How much the operator has to do, and how fast it does it: the items under way, and how many of them are carried out in a
//! second. The leader publishes both with its Lease, so that gateways take only what will be done in time.

mod by_namespace;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

pub use self::by_namespace::ByNamespace;
use crate::tasks::lock;

/// The annotation of the Lease with the number of items under way.
pub const BACKLOG: &str = "aiapi.dev/backlog";

/// The annotation of the Lease with how many of these each namespace has; none, if there are none.
pub const BY_NAMESPACE: &str = "aiapi.dev/backlog-by-namespace";

/// The annotation of the Lease with the items that are carried out in a second.
pub const RATE: &str = "aiapi.dev/rate";

/// The shortest time over which the rate is measured.
const SHORTEST: Duration = Duration::from_secs(1);

/// With fewer items than this left, it is not the rate that shows how long they take, but how long each waits for its own steps.
const BUSY: usize = 64;

/// What makes no progress for so long waits for something else than its turn: it delays nothing that is new.
const STUCK: Duration = Duration::from_secs(30);

/// The load of this process. A clone is the same.
#[derive(Clone, Default)]
pub struct Load(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By the uid of the BulkUpdate.
    underway: HashMap<Box<str>, Left>,
    done: usize,
    rate: Option<f64>,
    /// When the load was published last, and what it was: the backlog, and how many were done.
    last: Option<(Instant, usize, usize)>,
}

/// What is left of a BulkUpdate.
struct Left {
    namespace: Box<str>,
    items: usize,
    since: Instant,
}

impl Left {
    /// The items that are not stuck.
    fn moving(&self, now: Instant) -> usize {
        if now - self.since < STUCK { self.items } else { 0 }
    }
}

/// What the leader publishes.
#[derive(Debug, PartialEq)]
pub struct Published {
    /// How many items are under way.
    pub backlog: usize,
    pub by_namespace: ByNamespace,
    /// How many are carried out in a second, if anything is known of it.
    pub rate: Option<f64>,
}

/// A BulkUpdate counts until this is dropped.
pub struct Underway(Load, Box<str>);

impl Load {
    /// The operator starts to work on a BulkUpdate with so many items left.
    pub(crate) fn taken_up(&self, namespace: &str, uid: &str, left: usize) -> Underway {
        let left = Left { namespace: namespace.into(), items: left, since: Instant::now() };
        lock(&self.0).underway.insert(uid.into(), left);
        Underway(self.clone(), uid.into())
    }

    /// So many of its items are left.
    pub(crate) fn recorded(&self, uid: &str, left: usize) {
        if let Some(known) = lock(&self.0).underway.get_mut(uid)
            && known.items != left
        {
            (known.items, known.since) = (left, Instant::now());
        }
    }

    /// An item was carried out.
    pub(crate) fn done(&self) {
        lock(&self.0).done += 1;
    }

    /// The load as it is now.
    pub fn publish(&self) -> Published {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let moving = state.underway.values().map(|left| (&*left.namespace, left.moving(now)));
        let backlog = moving.clone().map(|(_, items)| items).sum();
        let by_namespace = ByNamespace::of(moving);
        let (at, before, done) = *state.last.get_or_insert((now, backlog, 0));
        // A write of the Lease that follows another one at once says nothing.
        if now - at >= SHORTEST {
            state.measure(now - at, before, done, backlog);
            state.last = Some((now, backlog, state.done));
        }
        Published { backlog, by_namespace, rate: state.rate }
    }
}

impl State {
    /// Takes in how much was done while there was this backlog before, and that one after.
    #[allow(clippy::cast_precision_loss, reason = "nobody has that many items")]
    fn measure(&mut self, took: Duration, before: usize, done: usize, after: usize) {
        let done = self.done - done;
        if done == 0 {
            return;
        }
        let measured = done as f64 / took.as_secs_f64();
        let busy = before.min(after) >= BUSY;
        self.rate = match self.rate {
            Some(rate) if busy => Some(f64::midpoint(rate, measured)),
            // There was not always enough to do: it is at least as fast.
            Some(rate) => Some(rate.max(measured)),
            None => Some(measured).filter(|_| busy),
        };
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        lock(&self.0.0).underway.remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PERIOD: Duration = Duration::from_secs(2);

    fn published(load: &Load) -> (usize, Option<f64>) {
        let Published { backlog, rate, .. } = load.publish();
        (backlog, rate)
    }

    async fn done(load: &Load, count: usize) -> (usize, Option<f64>) {
        for _ in 0..count {
            load.done();
        }
        advance(PERIOD).await;
        published(load)
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_a_time_in_which_there_was_always_something_to_do() {
        let load = Load::default();
        assert_eq!(published(&load), (0, None));
        let _busy = load.taken_up("team-a", "uid-1", 1000);
        assert_eq!(done(&load, 0).await, (1000, None));
        assert_eq!(done(&load, 200).await, (1000, Some(100.0)));
        load.recorded("uid-1", 600);
        // It has become slower.
        assert_eq!(done(&load, 100).await, (600, Some(75.0)));
        load.recorded("uid-1", 0);
        // Now there is not more to do.
        assert_eq!(done(&load, 50).await, (0, Some(75.0)));
        assert_eq!(done(&load, 1).await, (0, Some(75.0)));
        assert_eq!(done(&load, 0).await, (0, Some(75.0)));
        assert_eq!(done(&load, 400).await, (0, Some(200.0)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_no_progress_delays_nothing_that_is_new() {
        let load = Load::default();
        let (stuck, _other) = (load.taken_up("team-a", "uid-1", 70), load.taken_up("team-a", "uid-2", 5));
        advance(STUCK / 2).await;
        load.recorded("uid-2", 4);
        load.recorded("uid-1", 70);
        assert_eq!(load.publish().backlog, 74);
        advance(STUCK / 2).await;
        assert_eq!(load.publish().backlog, 4);
        assert_eq!(load.publish().by_namespace.to_string(), "team-a=4");
        load.recorded("uid-1", 69);
        assert_eq!(load.publish().backlog, 73);
        drop(stuck);
        assert_eq!(load.publish().backlog, 4);
    }
}
