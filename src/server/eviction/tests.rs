use super::*;

/// Adds something of the peer with this address; with what is cancelled when it is evicted.
fn add(set: &Arc<EvictingSet>, n: u8) -> (Arc<Entry>, CancellationToken) {
    let evicted = CancellationToken::new();
    (Arc::new(set.insert(Some([10, 0, 0, n].into()), evicted.clone())), evicted)
}

fn evicted(all: &[(Arc<Entry>, CancellationToken)]) -> Vec<usize> {
    (0..all.len()).filter(|at| all[*at].1.is_cancelled()).collect()
}

#[test]
fn a_full_set_evicts_what_the_greediest_peer_has_had_the_longest() {
    let set = EvictingSet::new(5);
    let few: Vec<_> = [1, 2].into_iter().map(|n| add(&set, n)).collect();
    let greedy: Vec<_> = (0..10).map(|_| add(&set, 3)).collect();
    assert_eq!(evicted(&greedy), [0, 1, 2, 3, 4, 5, 6]);
    let another = add(&set, 4);
    assert_eq!(evicted(&greedy), [0, 1, 2, 3, 4, 5, 6, 7]);
    // Those who have as many as others do not take from them.
    let mine = [add(&set, 4)];
    assert!(another.1.is_cancelled() || greedy[8].1.is_cancelled());
    assert!(evicted(&few).is_empty() && evicted(&mine).is_empty());
    assert_eq!(lock(&set.entries).all.len(), 5);
    drop((few, greedy, another, mine));
    let entries = lock(&set.entries);
    assert!(entries.all.is_empty() && entries.of_peer.is_empty());
}

#[test]
fn what_is_in_use_is_evicted_last() {
    let set = EvictingSet::new(3);
    let all: Vec<_> = (0..3).map(|_| add(&set, 1)).collect();
    let uses = [all[0].0.in_use(), all[0].0.in_use(), all[1].0.in_use()];
    let next = add(&set, 1);
    assert_eq!(evicted(&all), [2]);
    let [first, second, third] = uses;
    drop(first);
    let _in_use = next.0.in_use();
    let another = add(&set, 1);
    // All are in use: the one that has been for the longest time.
    assert_eq!(evicted(&all), [0, 2]);
    drop(second);
    drop(third);
    // Its last use has ended, but the other one has not been used for longer.
    let _last = add(&set, 1);
    assert_eq!((evicted(&all), next.1.is_cancelled()), (vec![0, 2], false));
    assert!(another.1.is_cancelled());
}

#[test]
fn what_was_taken_out_makes_room() {
    let set = EvictingSet::new(2);
    let (kept, other) = (add(&set, 1), add(&set, 1));
    drop(other);
    let _next = add(&set, 1);
    assert!(!kept.1.is_cancelled());
}

#[test]
fn an_ipv6_network_of_one_host_is_one_peer() {
    let peer = |address: &str| address.parse::<IpAddr>().unwrap();
    let set = EvictingSet::new(6);
    let add = |address: &str| {
        let evicted = CancellationToken::new();
        (set.insert(Some(peer(address)), evicted.clone()), evicted)
    };
    let count = |all: &[(Entry, CancellationToken)]| all.iter().filter(|(_, of)| of.is_cancelled()).count();
    // More than each of the other addresses has.
    let other: Vec<_> = (0..3).map(|_| add("2001:db8:0:1::1")).collect();
    let greedy: Vec<_> = (1..9).map(|n| add(&format!("2001:db8:0:2::{n}"))).collect();
    assert_eq!((count(&other), count(&greedy)), (0, 5));
    assert_eq!(network(peer("::ffff:10.0.0.1")), peer("10.0.0.1"));
}
