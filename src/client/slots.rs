//! How many requests may be under way at once, and whose turn it is when more are wanted.
//!
//! Free slots go round the namespaces that want one, and within a namespace round its BulkUpdates. The party with the fewest
//! slots in hand comes first, and of several such the one that has not had its turn in this round: where the requests of one
//! party take longer than those of others, it does not end up with all the slots.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

/// The slots of one operator. A clone shares them.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Mutex<State>>);

impl Slots {
    /// So many slots, all of them free.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: slots, turns: 0, namespaces: Line::default() })))
    }

    /// Waits for a slot, for a request of the BulkUpdate with this uid in this namespace. It joins the line when it is first
    /// polled, and leaves it when it is dropped. Joining, leaving and each turn take O(log n) of the parties that wait;
    /// nothing is kept of a party that neither waits nor has a slot in hand.
    pub fn acquire(&self, namespace: &str, uid: &str) -> Acquire {
        let party = Party { namespace: namespace.into(), uid: uid.into() };
        Acquire { slots: self.clone(), party, place: None, done: false }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere ends the process.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A BulkUpdate, as far as turns are concerned.
#[derive(Clone, Debug)]
struct Party {
    namespace: Arc<str>,
    uid: Arc<str>,
}

/// The right to have one request under way, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Slots,
    party: Party,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.state().release(&self.party);
    }
}

/// A place in the line; see [`Slots::acquire`].
#[derive(Debug)]
#[must_use = "it joins the line when it is polled"]
pub struct Acquire {
    slots: Slots,
    party: Party,
    place: Option<(u64, oneshot::Receiver<()>)>,
    done: bool,
}

impl Future for Acquire {
    type Output = Slot;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        if self.done {
            return Poll::Pending;
        }
        if self.place.is_none() {
            let place = self.slots.state().join(&self.party);
            self.place = place;
        }
        if let Some((_, turn)) = &mut self.place {
            // The sender is dropped only after it has sent, or with the place.
            if ready!(Pin::new(turn).poll(cx)).is_err() {
                return Poll::Pending;
            }
        }
        self.place = None;
        self.done = true;
        Poll::Ready(Slot { slots: self.slots.clone(), party: self.party.clone() })
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some((number, mut turn)) = self.place.take() else { return };
        let mut state = self.slots.state();
        if turn.try_recv().is_ok() {
            // Its turn came, and nobody took it.
            state.release(&self.party);
        } else {
            state.leave(&self.party, number);
        }
    }
}

#[derive(Debug)]
struct State {
    /// Whoever joins while there are any gets one at once, so that nobody waits then.
    free: usize,
    /// How many turns and places in the line there have been: each has a number of its own.
    turns: u64,
    namespaces: Line<Line<Waiters>>,
}

/// Those of one BulkUpdate who wait, by the numbers of their places.
type Waiters = BTreeMap<u64, oneshot::Sender<()>>;

impl State {
    /// Takes a free slot, or a place in the line.
    fn join(&mut self, party: &Party) -> Option<(u64, oneshot::Receiver<()>)> {
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

    /// Gives a slot back, and the next one its turn.
    fn release(&mut self, party: &Party) {
        self.namespaces.change(&party.namespace, |namespace| {
            namespace.held -= 1;
            namespace.of.change(&party.uid, |bulk_update| bulk_update.held -= 1);
        });
        self.free += 1;
        while self.free > 0 && self.grant() {
            self.free -= 1;
        }
    }

    /// Gives the next one its turn, if there is one.
    fn grant(&mut self) -> bool {
        self.turns += 1;
        let number = self.turns;
        let Some(next) = self.namespaces.next() else { return false };
        self.namespaces.take_turn(&next, number, |bulk_updates| {
            let Some(next) = bulk_updates.next() else { return };
            bulk_updates.take_turn(&next, number, |waiters| {
                if let Some((_, waiter)) = waiters.pop_first() {
                    // It is there: who goes away leaves the line first.
                    let _ = waiter.send(());
                }
            });
        });
        true
    }
}

/// What may have somebody in it who waits.
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

/// Members by name, and the order in which those of them who wait have their turns.
#[derive(Debug)]
struct Line<T> {
    members: HashMap<Arc<str>, Member<T>>,
    order: BTreeMap<Rank, Arc<str>>,
    /// The round of the last turn.
    round: u64,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { members: HashMap::new(), order: BTreeMap::new(), round: 0 }
    }
}

/// How many slots a member has in hand, the round in which its next turn is, and a number that no other has: that of its last
/// turn, or of its place where it has only begun to wait.
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
    fn next(&self) -> Option<Arc<str>> {
        self.order.first_key_value().map(|(_, name)| Arc::clone(name))
    }

    /// A member wants a turn, in the present round if it has not had one: it goes before those who have.
    fn join<R>(&mut self, name: &Arc<str>, number: u64, join: impl FnOnce(&mut T) -> R) -> R {
        let round = self.round;
        self.change(name, |member| {
            if !member.of.waits() {
                member.round = member.round.max(round);
                member.number = number;
            }
            join(&mut member.of)
        })
    }

    /// A member has its turn, and its next one in the next round.
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

    /// Changes a member, and puts it where it belongs then. One that neither waits nor has a slot is forgotten.
    fn change<R>(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Member<T>) -> R) -> R {
        let member = self.members.entry(Arc::clone(name)).or_default();
        self.order.remove(&member.rank());
        let result = change(member);
        if member.of.waits() {
            self.order.insert(member.rank(), Arc::clone(name));
        } else if member.held == 0 {
            self.members.remove(name);
        }
        result
    }
}

#[cfg(test)]
mod tests;
