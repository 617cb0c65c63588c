//! Slots: how many requests may be in flight at once, and who is next if more are waiting.
//!
//! Free slots go round-robin over the namespaces that wait for one, and within a namespace over its BulkUpdates. The one with the
//! fewest slots is first, and among several the one that has not had its turn in this round, so a namespace whose requests are slow
//! does not end up with all the slots. A turn counts until its round is over, also for one that has left the line meanwhile: with
//! few requests it is often not in line, and neither loses its turn by that nor gains another one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::oneshot;

use crate::tasks::lock;

/// The slots of one operator. Clones share them.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Mutex<State>>);

impl Slots {
    /// Creates this many free slots.
    pub fn new(slots: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: slots, turns: 0, namespaces: Line::default() })))
    }

    /// Waits for a slot, for a request of the BulkUpdate with this uid in this namespace. It joins the queue when it is first
    /// polled, and leaves it when it is dropped. Joining, leaving and each turn take O(log n) of those that wait. A BulkUpdate that
    /// neither waits nor holds a slot is forgotten once its round is over, or a slot is free.
    pub fn acquire(&self, namespace: &str, uid: &str) -> impl Future<Output = Slot> + Send + use<> {
        let slots = self.clone();
        let party = Party { namespace: namespace.into(), uid: uid.into() };
        async move {
            let place = slots.state().join(&party);
            let mut slot = Slot { slots, party, place };
            if let Some((_, turn)) = &mut slot.place {
                // Never an error: the sender is dropped only after it has sent, or when this place is given up.
                let _ = turn.await;
            }
            slot.place = None;
            slot
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

/// A BulkUpdate that wants slots.
#[derive(Debug)]
struct Party {
    namespace: Arc<str>,
    uid: Arc<str>,
}

/// The right to have one request in flight, until it is dropped. Before [`Slots::acquire`] returns it, it may be a place in the queue
/// instead, so that a caller that gives up waiting leaves the queue.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    party: Party,
    /// While it waits.
    place: Option<Place>,
}

/// The place in the queue of one that still waits: its number, and what says that its turn has come.
type Place = (u64, oneshot::Receiver<()>);

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        if let Some((number, turn)) = &mut self.place
            && turn.try_recv().is_err()
        {
            state.leave(&self.party, *number);
        } else {
            // It has got a slot, whether it took it or not.
            state.release(&self.party);
        }
    }
}

#[derive(Debug)]
struct State {
    /// While there are any, no request waits: one that joins gets a slot at once.
    free: usize,
    /// The number of the last turn or place in the queue.
    turns: u64,
    namespaces: Line<Line<Waiters>>,
}

/// The waiting requests of one BulkUpdate, by the numbers of their places.
type Waiters = BTreeMap<u64, oneshot::Sender<()>>;

impl State {
    /// Takes a free slot, or a place in the queue.
    fn join(&mut self, party: &Party) -> Option<Place> {
        self.turns += 1;
        let number = self.turns;
        if self.free > 0 {
            self.free -= 1;
            self.namespaces.take_turn(&party.namespace, number, |bulk_updates| {
                bulk_updates.take_turn(&party.uid, number, |_| ());
            });
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.namespaces.join(&party.namespace, number, |bulk_updates| {
            bulk_updates.join(&party.uid, number, |waiters| waiters.insert(number, sender));
        });
        Some((number, receiver))
    }

    fn leave(&mut self, party: &Party, number: u64) {
        self.namespaces.change(&party.namespace, |namespace| {
            namespace.of.change(&party.uid, |bulk_update| bulk_update.of.remove(&number));
        });
    }

    /// Returns a slot, and gives it to the next.
    fn release(&mut self, party: &Party) {
        self.namespaces.change(&party.namespace, |namespace| {
            namespace.held -= 1;
            namespace.of.change(&party.uid, |bulk_update| bulk_update.held -= 1);
        });
        self.free += 1;
        while self.free > 0 && self.grant() {
            self.free -= 1;
        }
        if self.free > 0 {
            // Nobody waits, so nobody is before anybody else.
            self.namespaces.forget(u64::MAX);
            self.namespaces.members.values_mut().for_each(|namespace| namespace.of.forget(u64::MAX));
        }
    }

    /// Gives a slot to the next that waits, if any.
    fn grant(&mut self) -> bool {
        self.turns += 1;
        let number = self.turns;
        let granted = self.namespaces.next(number, |bulk_updates| {
            bulk_updates.next(number, |waiters| {
                // The receiver exists: a request that is dropped leaves the queue first.
                waiters.pop_first().map(|(_, waiter)| waiter.send(()))
            })
        });
        granted.is_some()
    }
}

/// Where requests may be waiting.
trait Waits: Default {
    fn waits(&self) -> bool;
}

impl Waits for Waiters {
    fn waits(&self) -> bool {
        !self.is_empty()
    }
}

impl<T: Waits> Waits for Line<T> {
    fn waits(&self) -> bool {
        !self.order.is_empty()
    }
}

/// Members by name, and the order in which the waiting ones get their turns.
#[derive(Debug, Default)]
struct Line<T> {
    members: HashMap<Arc<str>, Member<T>>,
    order: BTreeMap<Rank, Arc<str>>,
    /// Those that neither wait nor hold a slot, by round and number.
    idle: BTreeMap<(u64, u64), Arc<str>>,
    /// The round of the last turn.
    round: u64,
}

/// How many slots a member holds, the round of its next turn, and a unique number: that of its last turn, or of its first place if it
/// has had none.
type Rank = (usize, u64, u64);

#[derive(Debug, Default)]
struct Member<T> {
    held: usize,
    round: u64,
    number: u64,
    of: T,
}

impl<T> Member<T> {
    fn rank(&self) -> Rank {
        (self.held, self.round, self.number)
    }
}

impl<T: Waits> Line<T> {
    /// The next that waits, if any, has its turn.
    fn next<R>(&mut self, number: u64, turn: impl FnOnce(&mut T) -> R) -> Option<R> {
        let name = Arc::clone(self.order.first_key_value()?.1);
        Some(self.take_turn(&name, number, turn))
    }

    /// A member waits for a turn, in this round unless it has had one: it goes before those that have.
    fn join<R>(&mut self, name: &Arc<str>, number: u64, join: impl FnOnce(&mut T) -> R) -> R {
        let round = self.round;
        self.change(name, |member| {
            if !member.of.waits() {
                member.round = member.round.max(round);
            }
            if member.number == 0 {
                member.number = number;
            }
            join(&mut member.of)
        })
    }

    /// A member has its turn; the next one is in the next round.
    fn take_turn<R>(&mut self, name: &Arc<str>, number: u64, turn: impl FnOnce(&mut T) -> R) -> R {
        let of_member = self.members.get(name).map_or(0, |member| member.round);
        self.round = self.round.max(of_member);
        let next = self.round + 1;
        self.change(name, |member| {
            member.round = next;
            member.number = number;
            member.held += 1;
            turn(&mut member.of)
        })
    }

    /// Changes a member, and updates its position.
    fn change<R>(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Member<T>) -> R) -> R {
        let member = self.members.entry(Arc::clone(name)).or_default();
        self.order.remove(&member.rank());
        self.idle.remove(&(member.round, member.number));
        let result = change(member);
        if member.of.waits() {
            self.order.insert(member.rank(), Arc::clone(name));
        } else if member.held == 0 {
            self.idle.insert((member.round, member.number), Arc::clone(name));
        }
        self.forget(self.round);
        result
    }

    /// Forgets those that neither wait nor hold a slot and that would have had their turn before this round: they join like new
    /// ones.
    fn forget(&mut self, round: u64) {
        while let Some(first) = self.idle.first_entry().filter(|first| first.key().0 < round) {
            self.members.remove(&first.remove());
        }
    }
}

#[cfg(test)]
mod tests;
