use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use proptest::prelude::*;
use tokio::{task::JoinSet, time::sleep};

use super::*;

impl State {
    /// Who waits and how many slots are in hand, counted from the bottom; holds the books against each other.
    fn audit(&self) -> (usize, usize) {
        let (mut waiting, mut held) = (0, 0);
        let may_be_idle = |round, of: u64| self.free == 0 && round >= of;
        for namespace in self.namespaces.members.values() {
            let is_idle = namespace.held == 0 && !namespace.of.waits();
            assert!(
                !is_idle || may_be_idle(namespace.round, self.namespaces.round),
                "remembered for nothing"
            );
            let (mut of_namespace, mut waits) = (0, false);
            for bulk_update in namespace.of.members.values() {
                let is_idle = bulk_update.held == 0 && !bulk_update.of.waits();
                assert!(
                    !is_idle || may_be_idle(bulk_update.round, namespace.of.round),
                    "remembered for nothing"
                );
                of_namespace += bulk_update.held;
                waiting += bulk_update.of.len();
                waits |= bulk_update.of.waits();
            }
            assert_eq!(namespace.held, of_namespace);
            assert_eq!(namespace.of.waits(), waits);
            let in_order =
                namespace.of.order.values().filter(|uid| namespace.of.members[*uid].of.waits()).count();
            let waiting_members = namespace.of.members.values().filter(|m| m.of.waits()).count();
            assert_eq!((namespace.of.order.len(), in_order), (waiting_members, waiting_members));
            held += of_namespace;
        }
        let waiting_namespaces = self.namespaces.members.values().filter(|m| m.of.waits()).count();
        assert_eq!(self.namespaces.order.len(), waiting_namespaces);
        (waiting, held)
    }
}

/// A BulkUpdate that sends so many requests, one after the other, each of which takes so long; it notes each turn.
fn sends(
    slots: &Slots,
    who: (&'static str, usize),
    requests: usize,
    takes: u64,
    turns: &Arc<Mutex<Vec<&'static str>>>,
) -> impl Future<Output = ()> + use<> {
    let (slots, turns) = (slots.clone(), Arc::clone(turns));
    async move {
        for _ in 0..requests {
            let slot = slots.acquire(who.0, &who.1.to_string()).await;
            turns.lock().unwrap().push(who.0);
            sleep(Duration::from_millis(takes)).await;
            drop(slot);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_one_has_as_many_turns_as_one_with_a_thousand() {
    for count in [1, 2, 16] {
        let (slots, turns) = (Slots::new(count), Arc::default());
        let mut crowd = JoinSet::new();
        for uid in 0..1000 {
            crowd.spawn(sends(&slots, ("crowd", uid), 100, 10, &turns));
        }
        // It comes while each of the crowd waits.
        sleep(Duration::from_millis(95)).await;
        let from = turns.lock().unwrap().len();
        sends(&slots, ("lone", 0), 50, 10, &turns).await;
        let turns = turns.lock().unwrap()[from..].to_vec();
        let first = turns.iter().position(|who| *who == "lone").unwrap();
        // Those who get a slot at the same moment note it in any order.
        assert!(first < count, "{first} turns of the crowd came before its first, of {count} slots");
        let of_crowd = turns.iter().filter(|who| **who == "crowd").count();
        // It sends one request at a time: where there are more slots, the crowd has the others.
        let share = 50 * (count - 1).max(1);
        assert!(
            (share - count..=share + count).contains(&of_crowd),
            "{of_crowd} beside 50, of {count} slots"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn within_a_namespace_a_small_one_waits_for_a_round_at_most() {
    let (slots, turns) = (Slots::new(1), Arc::default());
    let mut large = JoinSet::new();
    for uid in 0..20 {
        large.spawn(sends(&slots, ("large", uid), 100, 10, &turns));
    }
    sleep(Duration::from_millis(500)).await;
    let from = turns.lock().unwrap().len();
    let slot = slots.acquire("large", "small").await;
    let before = turns.lock().unwrap().len() - from;
    assert!(before <= 20, "{before} turns of 20 came before");
    drop(slot);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_requests_hang_does_not_end_up_with_all_slots() {
    let (slots, turns) = (Slots::new(16), Arc::default());
    let mut tenants = JoinSet::new();
    for uid in 0..100 {
        tenants.spawn(sends(&slots, ("slow", uid), 100, 10_000, &turns));
    }
    for uid in 0..16 {
        tenants.spawn(sends(&slots, ("fast", uid), 1_000_000, 10, &turns));
    }
    sleep(Duration::from_mins(1)).await;
    let slow_in_hand = slots.state().namespaces.members["slow"].held;
    assert!(slow_in_hand <= 9, "{slow_in_hand} of 16 slots");
    let of_fast = turns.lock().unwrap().iter().filter(|who| **who == "fast").count();
    assert!(of_fast > 10_000, "{of_fast} turns in a minute");
}

#[tokio::test(start_paused = true)]
async fn many_namespaces_have_their_turns_in_rounds() {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    let (slots, turns) = (Slots::new(1), Arc::default());
    let mut tenants = JoinSet::new();
    for (at, name) in NAMES.into_iter().enumerate() {
        for uid in 0..10usize.pow(u32::try_from(at).unwrap().min(3)) {
            tenants.spawn(sends(&slots, (name, uid), 200, 1, &turns));
        }
    }
    sleep(Duration::from_millis(500)).await;
    let turns = turns.lock().unwrap();
    // The first turns go to those that arrive first.
    for round in turns[5..].chunks_exact(NAMES.len()) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, NAMES);
    }
}

/// With a single request at a time it is not in line when the answer arrives, and asks again right after that.
#[tokio::test(start_paused = true)]
async fn one_that_asks_again_after_each_answer_has_one_turn_a_round() {
    let (slots, turns) = (Slots::new(1), Arc::default());
    let mut tenants = JoinSet::new();
    for (name, count) in [("crowd", 5), ("one", 1), ("another", 1)] {
        for uid in 0..count {
            tenants.spawn(sends(&slots, (name, uid), 1000, 1, &turns));
        }
    }
    sleep(Duration::from_millis(301)).await;
    let turns = turns.lock().unwrap();
    for name in ["crowd", "one", "another"] {
        let count = turns.iter().filter(|who| **who == name).count();
        assert!((99..=102).contains(&count), "{count} turns of {name} of {}", turns.len());
    }
}

#[tokio::test]
async fn a_place_is_kept_for_one_that_leaves_the_line_and_comes_back() {
    let slots = Slots::new(1);
    let join = |uid: &str| {
        let mut place = slots.acquire("team-a", uid).boxed();
        assert!((&mut place).now_or_never().is_none());
        place
    };
    let held = slots.acquire("team-a", "holder").await;
    let (first, mut second) = (join("first"), join("second"));
    drop(first);
    let mut first = join("first");
    drop(held);
    let slot = (&mut first).now_or_never().expect("it was before the other one");
    // Nor does anybody gain a turn like that: the second one is next, and then those that have had one, in their order.
    drop(join("holder"));
    let (mut holder, mut first) = (join("holder"), join("first"));
    drop(slot);
    let slot = (&mut second).now_or_never().expect("it had no turn yet");
    let second = join("second");
    drop(second);
    let mut second = join("second");
    drop(slot);
    let slot = (&mut holder).now_or_never().expect("its last turn is the longest ago");
    drop(slot);
    let slot = (&mut first).now_or_never().expect("the other one has had a turn since");
    drop(slot);
    assert!((&mut second).now_or_never().is_some());
    assert_eq!(slots.state().namespaces.members.len(), 0);
}

#[tokio::test]
async fn who_goes_away_takes_nothing_along() {
    let slots = Slots::new(1);
    let held = slots.acquire("a", "1").await;
    // One that waits, and goes.
    let mut waiting = slots.acquire("a", "2").boxed();
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(slots.state().audit(), (1, 1));
    drop(waiting);
    assert_eq!(slots.state().audit(), (0, 1));
    // One whose turn has come, and that goes before it sees it: the next one has it.
    let [mut first, mut second] = [("a", "2"), ("b", "3")].map(|(a, b)| slots.acquire(a, b).boxed());
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    drop(held);
    drop(first);
    let slot = second.now_or_never().unwrap();
    // One that was never polled was never in the line.
    drop(slots.acquire("a", "4"));
    assert_eq!(slots.state().audit(), (0, 1));
    drop(slot);
    let state = slots.state();
    assert_eq!((state.free, state.namespaces.members.len()), (1, 0));
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Somebody of this namespace and BulkUpdate joins.
    Join(u8, u8),
    /// The n-th of those that are about looks whether its turn has come.
    Look(usize),
    /// The n-th goes away, with a slot or without.
    Go(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0..4u8, 0..4u8).prop_map(|(namespace, uid)| Act::Join(namespace, uid)),
        (0..64usize).prop_map(Act::Look),
        (0..64usize).prop_map(Act::Go),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    /// However requests arrive, wait and leave: never more slots are held than there are, none is lost, and none is free
    /// while a request waits; each that stays gets its turn in the end.
    #[test]
    fn no_slot_is_lost_or_idle_while_somebody_waits(count in 1..5usize, acts in acts()) {
        let slots = Slots::new(count);
        let mut about: Vec<(BoxFuture<'static, Slot>, Option<Slot>)> = Vec::new();
        let look = |(place, slot): &mut (BoxFuture<'static, Slot>, Option<Slot>)| {
            if slot.is_none() {
                *slot = place.now_or_never();
            }
        };
        for act in acts {
            match act {
                Act::Join(namespace, uid) => {
                    about.push((slots.acquire(&namespace.to_string(), &uid.to_string()).boxed(), None));
                    look(about.last_mut().unwrap());
                }
                Act::Look(at) if !about.is_empty() => {
                    let at = at % about.len();
                    look(&mut about[at]);
                }
                Act::Go(at) if !about.is_empty() => drop(about.swap_remove(at % about.len())),
                Act::Look(_) | Act::Go(_) => {}
            }
            let state = slots.state();
            let (waiting, held) = state.audit();
            prop_assert_eq!(held + state.free, count);
            prop_assert!(state.free == 0 || waiting == 0, "{} wait while {} are free", waiting, state.free);
            drop(state);
            prop_assert!(about.iter().filter(|(_, slot)| slot.is_some()).count() <= held);
        }
        let mut rounds = 0;
        while !about.is_empty() {
            about.iter_mut().for_each(look);
            let before = about.len();
            about.retain(|(_, slot)| slot.is_none());
            prop_assert!(about.len() < before, "nobody had a turn");
            rounds += 1;
        }
        prop_assert!(rounds <= 201);
        let state = slots.state();
        prop_assert_eq!((state.free, state.namespaces.members.len()), (count, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_on_several_threads_never_have_more_than_there_are() {
    const SLOTS: usize = 3;
    let (slots, in_hand) = (Slots::new(SLOTS), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let (slots, in_hand) = (slots.clone(), Arc::clone(&in_hand));
        tasks.spawn(async move {
            for turn in 0..200 {
                let acquire = slots.acquire(&(task % 7).to_string(), &task.to_string());
                // Some do not wait for it.
                let slot = if (task + turn) % 3 == 0 {
                    tokio::select! { slot = acquire => Some(slot), () = tokio::task::yield_now() => None }
                } else {
                    Some(acquire.await)
                };
                if let Some(slot) = slot {
                    assert!(in_hand.fetch_add(1, Ordering::SeqCst) < SLOTS);
                    tokio::task::yield_now().await;
                    in_hand.fetch_sub(1, Ordering::SeqCst);
                    drop(slot);
                }
            }
        });
    }
    tokio::time::timeout(Duration::from_mins(1), async { while tasks.join_next().await.is_some() {} })
        .await
        .unwrap();
    let state = slots.state();
    assert_eq!((state.free, state.audit()), (SLOTS, (0, 0)));
}
