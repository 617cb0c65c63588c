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
/// are not. (With a watch for each of some namespaces one may come a moment later that was created before.)
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
    /// The items of those that are being carried out, and how many of these were stuck when the load was published last.
    items: usize,
    stuck: usize,
    counter: u64,
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
    /// When some of it was done or recorded last.
    since: Instant,
    /// Whether any was. Before that it waits, and reads: what takes time then says nothing about the rate, or who asks for what
    /// there is not would make the operator seem slow.
    has_begun: bool,
    /// Which taking up it was.
    number: u64,
}

impl Left {
    /// The items that are not stuck.
    fn moving(&self, now: Instant) -> usize {
        if now - self.since < STUCK { self.items } else { 0 }
    }

    const fn underway(&self) -> usize {
        if self.has_begun { self.items } else { 0 }
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
pub struct Underway {
    load: Load,
    uid: Box<str>,
    number: u64,
}

impl Load {
    /// The operator starts to work on a BulkUpdate in this resource version, with so many items left.
    pub(crate) fn taken_up(&self, namespace: &str, uid: &str, version: Option<u64>, left: usize) -> Underway {
        let mut state = lock(&self.0);
        state.counter += 1;
        let (number, since) = (state.counter, Instant::now());
        let left = Left { namespace: namespace.into(), items: left, since, has_begun: false, number };
        state.replace(uid, Some(left));
        state.up_to = state.up_to.max(version);
        drop(state);
        Underway { load: self.clone(), uid: uid.into(), number }
    }

    /// So many of its items are left.
    pub(crate) fn recorded(&self, uid: &str, left: usize) {
        lock(&self.0).change(uid, |known| {
            if known.items != left || !known.has_begun {
                (known.items, known.since, known.has_begun) = (left, Instant::now(), true);
            }
        });
    }

    /// An item of it was carried out.
    pub(crate) fn done(&self, uid: &str) {
        let mut state = lock(&self.0);
        state.change(uid, |known| (known.since, known.has_begun) = (Instant::now(), true));
        if state.busy_since.is_some() {
            state.done += 1;
        }
    }

    /// The load as it is now.
    pub fn publish(&self) -> Published {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let moving = state.underway.values().map(|left| (&*left.namespace, left.moving(now)));
        let backlog = moving.clone().map(|(_, items)| items).sum();
        let by_namespace = ByNamespace::of(moving);
        let stuck = state.underway.values().filter(|left| left.moving(now) == 0);
        state.stuck = stuck.map(Left::underway).sum();
        state.count_time(now);
        state.measure();
        Published { backlog, by_namespace, up_to: state.up_to, rate: state.rate }
    }
}

impl State {
    /// Adds a BulkUpdate, or removes it.
    fn replace(&mut self, uid: &str, left: Option<Left>) {
        self.items += left.as_ref().map_or(0, Left::underway);
        let before = match left {
            Some(left) => self.underway.insert(uid.into(), left),
            None => self.underway.remove(uid),
        };
        self.items -= before.as_ref().map_or(0, Left::underway);
        self.count_time(Instant::now());
    }

    /// Changes what is left of a BulkUpdate.
    fn change(&mut self, uid: &str, change: impl FnOnce(&mut Left)) {
        let Some(left) = self.underway.get_mut(uid) else { return };
        let before = left.underway();
        change(left);
        self.items = self.items - before + left.underway();
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
        let mut state = lock(&self.load.0);
        // It may have been taken up again meanwhile.
        if state.underway.get(&self.uid).is_some_and(|left| left.number == self.number) {
            state.replace(&self.uid, None);
        }
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

    /// So many items of `uid-1` are done until the load is published again.
    async fn done(load: &Load, count: usize) -> (usize, Option<f64>) {
        (0..count).for_each(|_| load.done("uid-1"));
        advance(HALF).await;
        published(load)
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_time_in_which_there_was_enough_to_do() {
        let load = Load::default();
        assert_eq!(published(&load), (0, None));
        let _busy = load.taken_up("team-a", "uid-1", Some(7), 2000);
        load.recorded("uid-1", 1000);
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
        for _ in 0..3 {
            let underway = load.taken_up("team-a", "uid-1", Some(7), 100);
            advance(Duration::from_millis(50)).await;
            load.recorded("uid-1", 90);
            (0..90).for_each(|_| load.done("uid-1"));
            advance(Duration::from_millis(150)).await;
            load.recorded("uid-1", 0);
            drop(underway);
            // Nobody waits for anything until the Lease is renewed.
            assert_eq!(done(&load, 0).await, (0, Some(600.0)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_what_there_is_not_makes_nothing_slow() {
        let load = Load::default();
        let of_others = load.taken_up("team-a", "uid-1", Some(7), 100);
        load.recorded("uid-1", 100);
        assert_eq!(done(&load, 500).await, (100, Some(100.0)));
        load.recorded("uid-1", 5);
        for n in 0..20 {
            let uid = format!("uid-{}", n + 2);
            let _read_and_refused = load.taken_up("team-b", &uid, Some(8), 100);
            assert_eq!(done(&load, 1).await, (105, Some(100.0)));
            load.recorded(&uid, 0);
        }
        drop(of_others);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_taken_up_again_counts_once_the_first_time_is_over() {
        let load = Load::default();
        let first = load.taken_up("team-a", "uid-1", Some(7), 100);
        load.recorded("uid-1", 90);
        let again = load.taken_up("team-a", "uid-1", Some(9), 90);
        drop(first);
        assert_eq!(load.publish().backlog, 90);
        drop(again);
        assert_eq!((load.publish().backlog, lock(&load.0).items), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_makes_no_progress_delays_nothing_that_is_new() {
        let load = Load::default();
        let (stuck, _other) =
            (load.taken_up("team-a", "uid-1", Some(8), 70), load.taken_up("team-a", "uid-2", Some(7), 5));
        load.recorded("uid-1", 70);
        advance(STUCK / 2).await;
        load.recorded("uid-2", 4);
        load.recorded("uid-1", 70);
        assert_eq!(load.publish().backlog, 74);
        advance(STUCK / 2).await;
        assert_eq!(load.publish().backlog, 4);
        assert_eq!(load.publish().by_namespace.to_string(), "team-a=4");
        load.recorded("uid-1", 69);
        assert_eq!(load.publish().backlog, 73);
        // What is done counts before it is recorded.
        advance(STUCK / 2).await;
        load.done("uid-1");
        advance(STUCK / 2).await;
        assert_eq!(load.publish().backlog, 69);
        load.recorded("uid-2", 3);
        drop(stuck);
        assert_eq!(load.publish().backlog, 3);
        assert_eq!(load.publish().up_to, Some(8));
    }
}
