use serde_json::json;
use tokio::time::advance;

use super::*;

/// The Lease in this version, with this backlog and rate.
fn lease(version: u32, backlog: u32, rate: f64) -> Lenient {
    serde_json::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {},
        "metadata": {"name": "ai-api-operator", "resourceVersion": version.to_string(), "annotations":
            {BACKLOG: backlog.to_string(), RATE: format!("{rate:.1}")}},
    }))
    .unwrap()
}

fn who(pair: u64, namespace: &str) -> Who {
    Who { pair, namespace: namespace.into() }
}

/// As many requests of 100 items as are taken of these; and the longest time that another one has to wait.
fn taken(promises: &Arc<Promises>, namespace: &str, count: u64) -> (Vec<Promise>, Option<Duration>) {
    let (mut all, mut longest) = (vec![], None);
    for pair in 0..count {
        match promises.promise(who(pair, namespace), 100) {
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
async fn what_fits_into_half_the_time_is_taken() {
    let promises = Arc::new(Promises::default());
    promises.seen(&lease(1, 1000, 100.0));
    // 2,250 items fit, of which 1,250 are left. A namespace takes no more than it leaves.
    let (first, wait) = taken(&promises, "a", 20);
    assert_eq!(first.len(), 6);
    assert!(wait.is_some());
    let (second, _) = taken(&promises, "b", 20);
    assert_eq!(second.len(), 3);
    // What has ended has left its place.
    drop(first);
    promises.seen(&lease(2, 0, 100.0));
    assert_eq!(taken(&promises, "c", 1).0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_comes_again_in_time_is_taken() {
    let promises = Arc::new(Promises::default());
    let mut version = 1;
    promises.seen(&lease(version, 2200, 100.0));
    let mut waiting = vec![];
    for pair in 0..8 {
        let namespace = format!("team-{pair}");
        let refused = promises.promise(who(pair, &namespace), 100).err().unwrap();
        waiting.push((Instant::now() + refused.retry_after.unwrap(), who(pair, &namespace)));
    }
    assert!(waiting.is_sorted_by(|a, b| a.0 < b.0), "one after the other");
    // The operator does what it has said; what is new comes behind those who wait.
    let mut held = vec![];
    let mut backlog = 2200;
    for (due, who) in waiting {
        while Instant::now() < due {
            advance(Duration::from_secs(1)).await;
            backlog -= 100;
            version += 1;
            promises.seen(&lease(version, backlog, 100.0));
        }
        assert!(promises.promise(super::Who { pair: 99, namespace: "new".into() }, 100).is_err());
        let promise = promises.promise(who, 100);
        assert!(promise.is_ok(), "it has a claim");
        held.push(promise);
        backlog += 100;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_claims_more_than_a_share_and_claims_end() {
    let promises = Arc::new(Promises::default());
    promises.seen(&lease(1, 2250, 100.0));
    let (none, longest) = taken(&promises, "greedy", 1000);
    assert!(none.is_empty() && longest.unwrap() <= Duration::from_secs(14), "{longest:?}");
    assert_eq!(lock(&promises.0).later.len(), 11);
    advance(longest.unwrap() + GRACE).await;
    promises.seen(&lease(2, 100, 100.0));
    assert_eq!(taken(&promises, "other", 1).0.len(), 1);
    assert!(lock(&promises.0).later.is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_known_nothing_is_refused() {
    let promises = Arc::new(Promises::default());
    assert_eq!(taken(&promises, "a", 300).0.len(), 300);
    promises.seen(&lease(1, 1_000_000, 1.0));
    let (none, wait) = taken(&promises, "a", 1);
    assert!(none.is_empty() && wait.is_some());
    // An operator that does not renew its Lease.
    advance(STALE).await;
    promises.seen(&lease(1, 1_000_000, 1.0));
    assert_eq!(taken(&promises, "a", 300).0.len(), 300);
    // One that says nothing, and one that has not carried out anything yet.
    promises.seen(&Lenient::new("coordination.k8s.io/v1", "Lease", "ai-api-operator"));
    assert_eq!(taken(&promises, "a", 300).0.len(), 300);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_taken_once_nothing_is_ahead() {
    let promises = Arc::new(Promises::default());
    promises.seen(&lease(1, 1, 1.0));
    assert!(promises.promise(who(1, "a"), 100).is_err());
    promises.seen(&lease(2, 0, 1.0));
    let _taken = promises.promise(who(1, "a"), 100).ok().unwrap();
    assert!(promises.promise(who(1, "a"), 1).is_err());
}
