//! What many peers have going at the same time, such as connections, in a bounded set. When it is full, something of the peer
//! that has the most of it is evicted for what is new: so nobody keeps the others out.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use tokio_util::sync::CancellationToken;

use crate::tasks::lock;

/// Whose it is: an address, where it came over a network. One host has all addresses of an IPv6 network of 64 bits (RFC 6177), which
/// therefore count as one.
pub type Peer = Option<IpAddr>;

/// The set.
#[derive(Debug)]
pub struct EvictingSet {
    most: usize,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    counter: u64,
    /// In the order in which those of one peer are evicted.
    all: BTreeMap<Rank, (Peer, CancellationToken)>,
    of_peer: HashMap<Peer, usize>,
}

/// Whether something is in use, and since when it has been as it is.
type Rank = (bool, u64);

/// Something in the set, until this is dropped.
#[derive(Debug)]
pub struct Entry {
    set: Arc<EvictingSet>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rank: Rank,
    uses: usize,
}

/// One use of an entry. What is in use is evicted after all of the same peer's that is not.
#[derive(Debug)]
pub struct InUse(Arc<Entry>);

impl EvictingSet {
    /// An empty set that takes so many.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, entries: Mutex::default() })
    }

    /// Adds something of this peer. `evicted` is cancelled if it is evicted.
    pub fn insert(self: &Arc<Self>, peer: Peer, evicted: CancellationToken) -> Entry {
        let peer = peer.map(network);
        let mut entries = lock(&self.entries);
        if entries.all.len() >= self.most {
            entries.evict(peer);
        }
        let rank = entries.rank(false);
        entries.all.insert(rank, (peer, evicted));
        *entries.of_peer.entry(peer).or_default() += 1;
        Entry { set: Arc::clone(self), state: Mutex::new(State { rank, uses: 0 }) }
    }
}

/// The addresses that count as this one, by the first of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

impl Entries {
    fn rank(&mut self, in_use: bool) -> Rank {
        self.counter += 1;
        (in_use, self.counter)
    }

    fn evict(&mut self, newest: Peer) {
        // The new one counts.
        let count = |(peer, count): (&Peer, &usize)| count + usize::from(*peer == newest);
        let Some((greedy, _)) = self.of_peer.iter().max_by_key(|one| count(*one)) else { return };
        let first = self.all.iter().find(|(_, (peer, _))| peer == greedy);
        if let Some(rank) = first.map(|(rank, _)| *rank)
            && let Some((_, evicted)) = self.remove(rank)
        {
            evicted.cancel();
        }
    }

    /// Nothing, if it was evicted before.
    fn remove(&mut self, rank: Rank) -> Option<(Peer, CancellationToken)> {
        let removed = self.all.remove(&rank)?;
        if let Some(count) = self.of_peer.get_mut(&removed.0) {
            *count -= 1;
            if *count == 0 {
                self.of_peer.remove(&removed.0);
            }
        }
        Some(removed)
    }
}

impl Entry {
    /// Uses it until the result is dropped.
    pub fn in_use(self: &Arc<Self>) -> InUse {
        self.change(|uses| uses + 1);
        InUse(Arc::clone(self))
    }

    fn change(&self, uses: impl FnOnce(usize) -> usize) {
        let mut state = lock(&self.state);
        let was = state.uses;
        state.uses = uses(was);
        if (was == 0) != (state.uses == 0) {
            let mut entries = lock(&self.set.entries);
            // One that was evicted has no rank any more.
            if let Some(entry) = entries.all.remove(&state.rank) {
                state.rank = entries.rank(state.uses > 0);
                entries.all.insert(state.rank, entry);
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let rank = lock(&self.state).rank;
        lock(&self.set.entries).remove(rank);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.change(|uses| uses - 1);
    }
}
