use std::collections::HashMap;

use serde_json::json;
use tokio::time::advance;

use super::*;
use crate::telemetry::load::ByNamespace;

/// The Lease in this version, with this backlog and rate.
fn lease(version: u32, backlog: f64, rate: f64) -> Lenient {
    serde_json::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {},
        "metadata": {"name": "ai-api-operator", "resourceVersion": version.to_string(), "annotations":
            {BACKLOG: format!("{backlog:.0}"), RATE: format!("{rate:.1}")}},
    }))
    .unwrap()
}

/// The same, where it says whose the backlog is.
fn lease_of(version: u32, backlog: &[(&str, usize)], rate: f64) -> Lenient {
    let all = backlog.iter().map(|(_, items)| *items).sum::<usize>();
    let mut lease = lease(version, f64::from(u32::try_from(all).unwrap()), rate);
    lease.annotate(BY_NAMESPACE, Some(&ByNamespace::of(backlog.iter().copied()).to_string()));
    lease.annotate(UP_TO, Some(&version.to_string()));
    lease
}

fn request(hash: u64, namespace: &str) -> Request {
    Request { hash, namespace: namespace.into() }
}

/// A gateway's promises, where the Lease says this.
fn promises(backlog: f64, rate: f64) -> Arc<Promises> {
    let promises = Arc::new(Promises::default());
    promises.seen(&lease(1, backlog, rate));
    promises
}

/// As many requests of 100 items as are taken of these; and the longest time that another one has to wait.
fn taken(
    promises: &Arc<Promises>,
    namespace: &str,
    hashes: std::ops::Range<u64>,
) -> (Vec<Promise>, Option<Duration>) {
    let (mut all, mut longest) = (vec![], None);
    for hash in hashes {
        match promises.promise(request(hash, namespace), 100) {
            Ok(promise) => all.push(promise),
            Err(problem) => {
                assert_eq!(problem.code.status(), StatusCode::TOO_MANY_REQUESTS);
                longest = longest.max(problem.retry_after);
            }
        }
    }
    (all, longest)
}

#[tokio::test(start_paused = true)]
async fn what_fits_into_half_the_time_is_taken_and_no_namespace_takes_more_than_half_of_that() {
    let promises = promises(400.0, 100.0);
    // 1,125 items fit, of which 725 are left.
    let (first, wait) = taken(&promises, "a", 0..20);
    assert_eq!(first.len(), 5);
    assert!(wait.is_some());
    advance(SOON).await;
    let (second, _) = taken(&promises, "b", 20..40);
    assert_eq!(second.len(), 1);
    // What has ended has left its place.
    drop(first);
    promises.seen(&lease(2, 0.0, 100.0));
    assert_eq!(taken(&promises, "c", 40..41).0.len(), 1);
}

/// The names of so many namespaces.
fn teams(count: usize) -> Vec<&'static str> {
    (0..count).map(|n| &*format!("team-{n}").leak()).collect()
}

fn index(hash: u64) -> usize {
    usize::try_from(hash).unwrap()
}

/// An operator that carries out so many items in a second, of gateways whose callers come again when they may.
struct World {
    rate: f64,
    gateways: Vec<Arc<Promises>>,
    /// Gateway, request, namespace, when it is sent, and how often it was refused.
    callers: Vec<(usize, u64, &'static str, Instant, u32)>,
    working: Vec<Working>,
    /// How many more requests come from those whose last one is done.
    more: u64,
    /// What was sent otherwise, by namespace.
    others: Vec<(&'static str, f64)>,
    version: u32,
    /// The longest that one took.
    longest: Duration,
}

/// A request that is being carried out.
struct Working {
    promise: Promise,
    namespace: &'static str,
    left: f64,
    /// What its status says is left.
    recorded: f64,
    since: Instant,
}

impl World {
    fn new(rate: f64, gateways: usize, callers: impl Iterator<Item = (u64, &'static str)>) -> Self {
        let gateways: Vec<_> = (0..gateways).map(|_| promises(0.0, rate)).collect();
        let now = Instant::now();
        let callers =
            callers.map(|(hash, namespace)| (index(hash) % gateways.len(), hash, namespace, now, 0));
        let callers = callers.collect();
        Self {
            rate,
            gateways,
            callers,
            working: vec![],
            more: 0,
            others: vec![],
            version: 1,
            longest: Duration::ZERO,
        }
    }

    /// Runs until all is done; how often each was refused, by namespace, and how long all of it took.
    async fn run(&mut self) -> (Vec<(&'static str, u32)>, Duration) {
        let (began, step) = (Instant::now(), Duration::from_millis(100));
        let mut refused = vec![];
        while !self.callers.is_empty() || !self.working.is_empty() {
            let now = Instant::now();
            assert!(now - began < Duration::from_hours(1), "{} are left", self.callers.len());
            let (gateways, working) = (&self.gateways, &mut self.working);
            self.callers.retain_mut(|(gateway, hash, namespace, at, times)| {
                if *at > now {
                    return true;
                }
                match gateways[*gateway].promise(request(*hash, namespace), 100) {
                    Ok(promise) => {
                        promise.created(Some(self.version.into()));
                        working.push(Working {
                            promise,
                            namespace,
                            left: 100.0,
                            recorded: 100.0,
                            since: now,
                        });
                        refused.push((*namespace, *times));
                        false
                    }
                    Err(problem) => {
                        (*at, *times) = (now + problem.retry_after.unwrap(), *times + 1);
                        true
                    }
                }
            });
            // All namespaces are worked on side by side, and so is all that one has.
            self.others.retain(|(_, left)| *left > 0.0);
            let mut requests: HashMap<&str, f64> = self.others.iter().map(|(of, _)| (*of, 1.0)).collect();
            self.working.iter().for_each(|request| *requests.entry(request.namespace).or_default() += 1.0);
            let of_each =
                self.rate * step.as_secs_f64() / requests.values().map(|_| 1.0).sum::<f64>().max(1.0);
            self.others.iter_mut().for_each(|(of, left)| *left -= of_each / requests[of]);
            let longest = &mut self.longest;
            self.working.retain_mut(|request| {
                request.left -= of_each / requests[request.namespace];
                let age = now - request.since;
                *longest = (*longest).max(age);
                // As often as a status is written.
                if [10, 30, 70, 150, 250, 350].contains(&(age.as_millis() / 100)) {
                    request.recorded = request.left;
                    request.promise.left((0..100_u32).filter(|item| f64::from(*item) < request.left).count());
                }
                if request.left <= 0.0 && self.more > 0 {
                    self.more -= 1;
                    let hash = 1_000_000 + self.more;
                    self.callers.push((index(hash) % self.gateways.len(), hash, request.namespace, now, 0));
                }
                request.left > 0.0
            });
            // The Lease is renewed every two seconds, and read up to two seconds later.
            self.version += 1;
            if self.version.is_multiple_of(20) {
                let working = self.working.iter().map(|request| (request.namespace, request.recorded));
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are small")]
                let items = |(of, left): (&'static str, f64)| (of, left.max(0.0).ceil() as usize);
                let backlog: Vec<_> = working.chain(self.others.iter().copied()).map(items).collect();
                for gateway in &self.gateways {
                    gateway.seen(&lease_of(self.version, &backlog, self.rate));
                }
            }
            advance(step).await;
        }
        (refused, began.elapsed())
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_at_once_are_all_done_in_time_and_none_waits_more_than_three_times() {
    for (gateways, namespaces) in [(1, 1), (1, 100), (2, 1), (2, 100)] {
        let names = teams(namespaces);
        let mut world =
            World::new(500.0, gateways, (0..1024).map(|hash| (hash, names[index(hash) % namespaces])));
        let (refused, took) = world.run().await;
        let most = refused.iter().map(|(_, times)| *times).max();
        assert!(most <= Some(3), "{most:?} with {gateways} gateways and {namespaces} namespaces");
        assert!(world.longest < WRITE_LIMIT, "{:?}", world.longest);
        // 102,400 items at 500 a second take 205 s. Gateways that do not know of each other promise less than they could.
        assert!(took < Duration::from_secs(if gateways == 1 { 210 } else { 320 }), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_namespace_does_not_wait_behind_a_large_one() {
    let large = (0..1000).map(|hash| (hash, "large"));
    let mut world = World::new(500.0, 1, large.chain((1000..1005).map(|hash| (hash, "small"))));
    let (refused, _) = world.run().await;
    let last = refused.iter().rposition(|(namespace, _)| *namespace == "small").unwrap();
    assert!(last < 150, "{last}");
}

#[tokio::test(start_paused = true)]
async fn what_is_new_takes_nothing_from_those_who_come_again() {
    let promises = promises(3000.0, 100.0);
    let wait = promises.promise(request(1, "a"), 100).err().unwrap().retry_after.unwrap();
    advance(wait).await;
    promises.seen(&lease(2, 950.0, 100.0));
    // Also of the same namespace.
    for (hash, namespace) in [(2, "a"), (3, "b")] {
        assert!(promises.promise(request(hash, namespace), 100).is_err());
    }
    assert!(promises.promise(request(1, "a"), 100).is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_gains_nothing() {
    let promises = promises(1900.0, 100.0);
    let refused = || promises.promise(request(1, "a"), 100).err().unwrap().retry_after.unwrap();
    let mut wait = refused();
    advance(Duration::from_millis(500)).await;
    // No promise is for less than what is left.
    assert_eq!(refused(), wait);
    advance(Duration::from_millis(500)).await;
    // There is room for somebody who has waited, but that is not yet so.
    promises.seen(&lease(2, 1200.0, 100.0));
    while wait > Duration::from_secs(1) {
        wait -= Duration::from_secs(1);
        assert_eq!(refused(), wait);
        advance(Duration::from_secs(1)).await;
    }
    // That it came so often counts for nothing: this would fit after the third time.
    promises.seen(&lease(3, 1700.0, 100.0));
    let again = refused();
    advance(again).await;
    promises.seen(&lease(4, 1500.0, 100.0));
    assert!(promises.promise(request(1, "a"), 100).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_not_expected_more_often_than_it_leaves_and_who_is_late_is_forgotten() {
    let promises = promises(2250.0, 100.0);
    let (none, longest) = taken(&promises, "greedy", 0..10_000);
    assert!(none.is_empty());
    assert_eq!(longest, Some(LONGEST_WAIT));
    assert_eq!(lock(&promises.0).queue.len(), 2048);
    let (none, _) = taken(&promises, "other", 10_000..10_001);
    assert!(none.is_empty());
    assert_eq!(lock(&promises.0).queue.len(), 2049);
    advance(LONGEST_WAIT + Duration::from_secs(6)).await;
    promises.seen(&lease(2, 100.0, 100.0));
    assert_eq!(taken(&promises, "other", 10_001..10_002).0.len(), 1);
    assert_eq!(lock(&promises.0).queue.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_known_nothing_is_refused() {
    let promises = Arc::new(Promises::default());
    assert_eq!(taken(&promises, "a", 0..300).0.len(), 300);
    promises.seen(&lease(1, 1_000_000.0, 1.0));
    let (none, wait) = taken(&promises, "a", 0..1);
    assert!(none.is_empty() && wait.is_some());
    // An operator that does not renew its Lease.
    advance(STALE).await;
    promises.seen(&lease(1, 1_000_000.0, 1.0));
    assert_eq!(taken(&promises, "a", 0..300).0.len(), 300);
    // One that says nothing, and one that has not carried out anything yet.
    promises.seen(&Lenient::new("coordination.k8s.io/v1", "Lease", "ai-api-operator"));
    assert_eq!(taken(&promises, "a", 0..300).0.len(), 300);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_taken_once_nothing_is_ahead() {
    let promises = promises(1.0, 1.0);
    assert!(promises.promise(request(1, "a"), 100).is_err());
    promises.seen(&lease(2, 0.0, 1.0));
    let _taken = promises.promise(request(1, "a"), 100).ok().unwrap();
    assert!(promises.promise(request(2, "a"), 1).is_err());
}

#[tokio::test(start_paused = true)]
async fn whatever_the_lease_says_it_is_an_answer() {
    for (backlog, rate) in [(f64::MAX, 1.0), (f64::MAX, f64::MAX), (1.0, 1e-300), (f64::MAX, 0.0)] {
        let promises = promises(backlog, rate);
        let refused = promises.promise(request(1, "a"), 100).err();
        assert!(
            refused.is_none_or(|problem| problem.retry_after.unwrap() <= LONGEST_WAIT),
            "{backlog} {rate}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_have_sent_otherwise_keeps_nobody_out() {
    let promises = Arc::new(Promises::default());
    promises.seen(&lease_of(1, &[("large", 50_000), ("larger", 60_000)], 100.0));
    assert_eq!(taken(&promises, "large", 0..1).0.len(), 0);
    // A third of the rate is for it: of 1,125 items, 375.
    let (first, wait) = taken(&promises, "a", 10..20);
    assert_eq!(first.len(), 3);
    assert!(wait < Some(Duration::from_mins(1)), "{wait:?}");
    // Of four: 281.
    let (second, _) = taken(&promises, "b", 20..30);
    assert_eq!(second.len(), 2);
    // What is over makes room.
    drop(first);
    promises.seen(&lease_of(2, &[("large", 50_000), ("larger", 60_000), ("b", 200)], 100.0));
    advance(Duration::from_mins(1)).await;
    promises.seen(&lease_of(3, &[("large", 49_000), ("larger", 59_000)], 100.0));
    assert_eq!(taken(&promises, "a", 10..11).0.len(), 1);
    // Where nobody gets enough in time, it takes until something is over.
    let many: Vec<String> = (0..40).map(|n| format!("team-{n}")).collect();
    let many: Vec<_> = many.iter().map(|name| (&**name, 5_000)).collect();
    promises.seen(&lease_of(4, &many, 100.0));
    assert_eq!(taken(&promises, "c", 40..41).1, Some(LONGEST_WAIT));
}

#[tokio::test(start_paused = true)]
async fn beside_the_backlog_of_others_all_that_is_taken_is_done_in_time() {
    for (gateways, namespaces) in [(1, 1), (1, 20), (2, 20)] {
        let names = teams(namespaces);
        let callers = (0..200).map(|hash| (hash, names[index(hash) % namespaces]));
        let mut world = World::new(500.0, gateways, callers);
        world.others = vec![("large", 100_000.0), ("team-0", 1_000.0)];
        let (refused, _) = world.run().await;
        let most = refused.iter().map(|(_, times)| *times).max();
        assert!(world.longest < WRITE_LIMIT, "{:?}", world.longest);
        assert!(most <= Some(3), "{most:?} with {gateways} gateways and {namespaces} namespaces");
    }
}

#[tokio::test(start_paused = true)]
async fn who_always_comes_back_keeps_the_operator_busy() {
    for (callers, gateways, namespaces) in [(64, 1, 1), (64, 1, 8), (64, 2, 1), (256, 1, 1), (256, 1, 8)] {
        let names = teams(namespaces);
        let all = (0..callers).map(|hash| (hash, names[index(hash) % namespaces]));
        let mut world = World::new(700.0, gateways, all);
        world.more = 2 * callers;
        let (_, took) = world.run().await;
        let at_best = Duration::from_secs(3 * callers * 100 / 700);
        let of = format!("{callers} callers of {namespaces} namespaces at {gateways} gateways");
        assert!(took < at_best + Duration::from_secs(5), "{of} took {took:?}, and {at_best:?} at best");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_the_lease_yet_counts_as_well() {
    let promises = Arc::new(Promises::default());
    promises.seen(&lease_of(5, &[("other", 1)], 100.0));
    let take = |namespace, hashes| {
        let (all, _) = taken(&promises, namespace, hashes);
        for promise in &all {
            promise.created(Some(6));
        }
        all
    };
    // 1,125 items fit, and half of that for each.
    let all = [take("a", 0..5), take("b", 10..15), take("c", 20..22)];
    assert_eq!(all.each_ref().map(Vec::len), [5, 5, 1]);
    promises.seen(&lease_of(6, &[("a", 500), ("b", 500), ("c", 100)], 100.0));
    assert_eq!(take("d", 30..31).len(), 0);
    // Then only the Lease says how many are left.
    promises.seen(&lease_of(7, &[("a", 100), ("b", 100), ("c", 100)], 100.0));
    advance(LONGEST_WAIT + Duration::from_secs(6)).await;
    promises.seen(&lease_of(8, &[("a", 100), ("b", 100), ("c", 100)], 100.0));
    assert_eq!(take("d", 40..45).len(), 5);
}
