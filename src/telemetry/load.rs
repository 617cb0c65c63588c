//! How much the operator has to do, and how fast it does it: the items under way, and how many of them are carried out in a
//! second. The leader publishes both with its Lease, so that gateways take only what will be done in time.

mod by_namespace;

use std::{
    collections::HashMap,
    mem,
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

/// The annotation of the Lease with the resource version up to which the BulkUpdates are counted: those that were created later
/// are not.
pub const UP_TO: &str = "aiapi.dev/backlog-resource-version";

/// The annotation of the Lease with the items that are carried out in a second.
pub const RATE: &str = "aiapi.dev/rate";

/// With fewer items than this left, it is not the rate that shows how long they take, but how long each waits for its own steps.
const BUSY: usize = 64;

/// The rate is measured over so many items, or over so much time in which there was enough to do.
const ENOUGH: usize = BUSY;
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// What is measured in so much time counts as much as all that was measured before: some passes, each of which plans, carries out
/// and reports.
const HALF: Duration = Duration::from_secs(5);

/// What makes no progress for so long waits for something else than its turn: it delays nothing that is new.
const STUCK: Duration = Duration::from_secs(30);

/// The load of this process. A clone is the same.
#[derive(Clone, Default)]
pub struct Load(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By the uid of the BulkUpdate.
    underway: HashMap<Box<str>, Left>,
    /// The highest resource version that one had when it was taken up.
    up_to: Option<u64>,
    /// The items of all of them, and how many of these were stuck when the load was published last.
    items: usize,
    stuck: usize,
    /// Since when there is enough to do.
    busy_since: Option<Instant>,
    /// How long there was since the rate was measured, and what was done meanwhile.
    busy: Duration,
    done: usize,
    rate: Option<f64>,
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
    /// The resource version up to which they are counted.
    pub up_to: Option<u64>,
    /// How many are carried out in a second, if anything is known of it.
    pub rate: Option<f64>,
}

/// A BulkUpdate counts until this is dropped.
pub struct Underway(Load, Box<str>);

impl Load {
    /// The operator starts to work on a BulkUpdate in this resource version, with so many items left.
    pub(crate) fn taken_up(&self, namespace: &str, uid: &str, version: Option<u64>, left: usize) -> Underway {
        let left = Left { namespace: namespace.into(), items: left, since: Instant::now() };
        let mut state = lock(&self.0);
        state.change(uid, |known| *known = Some(left));
        state.up_to = state.up_to.max(version);
        drop(state);
        Underway(self.clone(), uid.into())
    }

    /// So many of its items are left.
    pub(crate) fn recorded(&self, uid: &str, left: usize) {
        lock(&self.0).change(uid, |known| {
            if let Some(known) = known.as_mut().filter(|known| known.items != left) {
                (known.items, known.since) = (left, Instant::now());
            }
        });
    }

    /// An item was carried out.
    pub(crate) fn done(&self) {
        let mut state = lock(&self.0);
        if state.busy_since.is_some() {
            state.done += 1;
        }
    }

    /// The load as it is now.
    pub fn publish(&self) -> Published {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let moving = state.underway.values().map(|left| (&*left.namespace, left.moving(now)));
        let backlog: usize = moving.clone().map(|(_, items)| items).sum();
        let by_namespace = ByNamespace::of(moving);
        state.stuck = state.items - backlog;
        state.count_time(now);
        state.measure();
        Published { backlog, by_namespace, up_to: state.up_to, rate: state.rate }
    }
}

impl State {
    /// Changes what is left of a BulkUpdate.
    fn change(&mut self, uid: &str, change: impl FnOnce(&mut Option<Left>)) {
        let mut left = self.underway.remove(uid);
        let before = left.as_ref().map_or(0, |left| left.items);
        change(&mut left);
        self.items = self.items - before + left.as_ref().map_or(0, |left| left.items);
        self.underway.extend(left.map(|left| (uid.into(), left)));
        self.count_time(Instant::now());
    }

    /// Counts the time until now, if there was enough to do, and the time from now on, if there is.
    fn count_time(&mut self, now: Instant) {
        self.busy += self.busy_since.map_or(Duration::ZERO, |since| now - since);
        self.busy_since = (self.items.saturating_sub(self.stuck) >= BUSY).then_some(now);
    }

    /// Takes in how much was done while there was enough to do.
    #[allow(clippy::cast_precision_loss, reason = "nobody has that many items")]
    fn measure(&mut self) {
        if self.done < ENOUGH && self.busy < LONG_ENOUGH {
            return;
        }
        let (busy, done) = (mem::take(&mut self.busy).as_secs_f64(), mem::take(&mut self.done));
        // Where nothing was done, something else than its turn was waited for.
        if done == 0 || busy <= 0.0 {
            return;
        }
        let measured = done as f64 / busy;
        let weight = busy / (busy + HALF.as_secs_f64());
        self.rate = Some(self.rate.map_or(measured, |rate| rate + (measured - rate) * weight));
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        lock(&self.0.0).change(&self.1, |left| *left = None);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn published(load: &Load) -> (usize, Option<f64>) {
        let Published { backlog, rate, .. } = load.publish();
        (backlog, rate)
    }

    async fn done(load: &Load, count: usize) -> (usize, Option<f64>) {
        for _ in 0..count {
            load.done();
        }
        advance(HALF).await;
        published(load)
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_time_in_which_there_was_enough_to_do() {
        let load = Load::default();
        assert_eq!(published(&load), (0, None));
        let _busy = load.taken_up("team-a", "uid-1", Some(7), 1000);
        assert_eq!(done(&load, 0).await, (1000, None));
        assert_eq!(done(&load, 500).await, (1000, Some(100.0)));
        load.recorded("uid-1", 600);
        // It has become slower.
        assert_eq!(done(&load, 250).await, (600, Some(75.0)));
        load.recorded("uid-1", 63);
        // Now there is not enough to do, and then nothing.
        assert_eq!(done(&load, 375).await, (63, Some(75.0)));
        load.recorded("uid-1", 0);
        assert_eq!(done(&load, 0).await, (0, Some(75.0)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_in_a_moment_tells_the_rate_of_that_moment() {
        let load = Load::default();
        for number in 0..3 {
            let uid = format!("uid-{number}");
            let underway = load.taken_up("team-a", &uid, Some(7), 100);
            (0..90).for_each(|_| load.done());
            advance(Duration::from_millis(150)).await;
            load.recorded(&uid, 0);
            drop(underway);
            // Nobody waits for anything until the Lease is renewed.
            assert_eq!(done(&load, 0).await, (0, Some(600.0)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_no_progress_delays_nothing_that_is_new() {
        let load = Load::default();
        let (stuck, _other) =
            (load.taken_up("team-a", "uid-1", Some(8), 70), load.taken_up("team-a", "uid-2", Some(7), 5));
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
        assert_eq!(load.publish().up_to, Some(8));
    }
}
