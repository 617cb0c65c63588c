//! A cluster without a network or a clock, and the operator on it, one step at a time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::{
    anything_happens::{Action, Change, Fate, delete, shown},
    may,
};
use crate::{
    api::{BulkUpdate, BulkUpdateStatus, ItemResult, Reason, State, TargetStatus},
    bulk_update::{
        apply::Outgoing,
        decide::{Decision, decide, eligible::is_older},
        facts::{Deadline, Gate, Gates, Observation, Rules},
        fixtures::{OWN, at, bulk, work_on},
        request::Request,
        resource::Written,
        status::status,
        work::{Accepted, Answer, Entry, Phase, Work},
    },
    client::{Failure, clock::Now},
    observed::{admission::Admission, target::Target},
};

pub(super) const ITEMS: usize = 3;

/// The version at which the BulkUpdate was created; the first objects are older.
const MADE_AT: u64 = 200;

#[derive(Clone, Debug)]
enum Event {
    Applied(Target),
    Deleted(Box<str>),
}

#[derive(Clone, Debug)]
struct Write {
    at: usize,
    guard: Arc<Target>,
}

pub(super) struct Cluster {
    bulk: BulkUpdate,
    rules: Rules,
    now: i64,
    flag: Gate,
    version: u64,
    objects: Vec<Option<Target>>,
    events: Vec<VecDeque<Event>>,
    index: Vec<Option<Arc<Target>>>,
    work: Work,
    in_flight: Vec<Outgoing>,
    lost: Vec<Write>,
    /// The writes of this BulkUpdate that were applied.
    landed: Vec<Box<str>>,
}

/// The item's index in the spec.
fn slot(work: &Work, at: usize) -> usize {
    work.entries()[at].item.id.trim_start_matches("item-").parse().unwrap()
}

impl Cluster {
    pub(super) fn new(spec: &Value, rules: Rules, objects: Vec<(Option<Target>, Option<State>)>) -> Self {
        let bulk = bulk(spec);
        let mut cluster = Self {
            work: work_on(&bulk, Some(MADE_AT)),
            bulk,
            rules,
            now: 0,
            flag: Gate::Open,
            version: 100,
            objects: vec![None; ITEMS],
            events: vec![VecDeque::new(); ITEMS],
            index: vec![None; ITEMS],
            in_flight: Vec::new(),
            lost: Vec::new(),
            landed: Vec::new(),
        };
        for (slot, (object, stale)) in objects.into_iter().enumerate() {
            if let Some(state) = stale {
                let old =
                    |t| Target { state: Ok(state), created: at(-9).as_second(), terminating: false, ..t };
                let old = object.clone().map(old);
                cluster.put(slot, old.map(|t| Target { uid: format!("old-{slot}").into(), ..t }));
                cluster.see(slot);
                cluster.put(slot, None);
            }
            let object = object.map(|t| Target { uid: format!("object-{slot}").into(), ..t });
            cluster.put(slot, object);
            if stale.is_none() {
                while cluster.see(slot) {}
            }
        }
        cluster.version = MADE_AT;
        cluster
    }

    fn time(&self) -> Now {
        Now { instant: Duration::from_secs(self.now.unsigned_abs()), ..at(self.now).into() }
    }

    /// Replaces the object. One that stays here was first seen when it was created.
    fn put(&mut self, slot: usize, object: Option<Target>) {
        self.version += 1;
        let before = self.objects[slot].as_ref();
        let object = object.map(|t| {
            let same = before.filter(|before| before.uid == t.uid);
            let first_seen = same.map_or(self.version, |before| before.first_seen);
            Target { resource_version: self.version.to_string().into(), first_seen, ..t }
        });
        if let Some(before) = &self.objects[slot]
            && object.as_ref().is_none_or(|t| t.uid != before.uid)
        {
            self.events[slot].push_back(Event::Deleted(before.uid.clone()));
        }
        self.events[slot].extend(shown(object.as_ref()).map(Event::Applied));
        self.objects[slot] = object;
    }

    fn change(&mut self, slot: usize, change: Change) {
        let now = at(self.now).as_second();
        let object = self.objects[slot].clone();
        let changed = match (change, object) {
            (Change::CreatedAgain, _) => Some(Target {
                uid: format!("again-{}", self.version).into(),
                created: now,
                ..crate::bulk_update::fixtures::target(State::Running)
            }),
            (_, None) => return,
            (Change::State(state), Some(t)) => Some(Target { state: Ok(state), ..t }),
            (Change::Garble, Some(t)) => Some(Target { state: Err("?".into()), ..t }),
            (Change::AskToStop, Some(t)) if t.stop_asked => Some(t),
            (Change::AskToStop, Some(t)) => {
                Some(Target { stop_asked: true, stop_request: Some("another".into()), ..t })
            }
            (Change::Delete, Some(t)) => delete(t),
        };
        self.put(slot, changed);
    }

    fn entry(&mut self, slot_: usize) -> &mut Entry {
        let at = (0..ITEMS).find(|at| slot(&self.work, *at) == slot_).expect("each item has an entry");
        self.work.entry_mut(at)
    }

    /// The cache and the followers process one event, as the watches deliver it.
    fn see(&mut self, slot: usize) -> bool {
        let Some(event) = self.events[slot].pop_front() else { return false };
        match event {
            Event::Applied(target) => {
                let known = self.index[slot].take();
                self.index[slot] = Some(Arc::new(target).seen_before(known.as_deref()));
            }
            Event::Deleted(uid) => {
                self.index[slot].take_if(|known| known.uid == uid);
                self.entry(slot).deleted(&uid);
            }
        }
        true
    }

    fn relist(&mut self) {
        for slot in 0..ITEMS {
            self.events[slot].clear();
            let known = self.index[slot].take();
            self.index[slot] =
                shown(self.objects[slot].as_ref()).map(|t| Arc::new(t).seen_before(known.as_deref()));
            if self.index[slot].is_none() {
                if known.is_some() {
                    self.entry(slot).vanished();
                } else {
                    self.entry(slot).may_be_gone(None);
                }
            }
        }
    }

    fn pass(&mut self, can_record: bool) {
        if self.work.is_finished() {
            return;
        }
        for at in 0..ITEMS {
            self.work.entry_mut(at).progress.not_before = None;
        }
        let places: Vec<_> = (0..ITEMS).map(|at| slot(&self.work, at)).collect();
        let indexed: Vec<_> = places.into_iter().map(|slot| self.index[slot].clone()).collect();
        let lookups =
            self.work.entries().iter().zip(indexed).map(|(entry, indexed)| entry.lookup(indexed)).collect();
        let gates = Gates { executions: self.flag.clone(), deployments: self.flag.clone() };
        let admission = Admission::NotRequired;
        let now = self.time();
        let seen = Observation { at: Instant::now(), admission, gates, lookups, not_listed: None };
        let Decision { phase, became, reads, writes, .. } = decide(&self.work, &seen, self.rules, now);
        self.work.decided(phase.as_ref(), became);
        match phase {
            Some(phase) if can_record => {
                let written = status(&self.work, &phase, self.time());
                self.work.recorded(phase, written.clone(), Written::at("8"));
                self.bulk.status = Some(written);
            }
            Some(Phase::Proposed(_)) => self.work.not_planned(),
            _ => {}
        }
        for wanted in Outgoing::of(&self.work, reads, writes) {
            self.send(wanted);
        }
    }

    fn send(&mut self, wanted: Outgoing) {
        let place = match &wanted {
            Outgoing::Read(place) => *place,
            Outgoing::Write(intent) => intent.at(),
        };
        let entry = &self.work.entries()[place];
        assert!(!entry.progress.in_flight, "two requests about one item");
        if let Outgoing::Write(intent) = &wanted {
            assert_eq!(Deadline::at(self.work.request(), intent.start(), self.time()), Deadline::Ahead);
            assert_eq!(self.flag, Gate::Open);
            let item = &entry.item;
            let stored = self.bulk.status.as_ref().expect("intent before effect");
            let record = stored.items(item.kind).iter().find(|r| r.id == item.id).expect("it is on record");
            let uid = &*intent.target().uid;
            assert_eq!((record.result, record.uid.as_deref()), (ItemResult::Planned, Some(uid)));
            self.work.sent_write(intent);
        } else {
            self.work.sent_read(place);
        }
        self.in_flight.push(wanted);
    }

    fn answer(&mut self, which: usize, fate: Fate) {
        if self.in_flight.is_empty() {
            return;
        }
        let failure = match fate {
            Fate::Refused(code) => Failure::Refused { code, message: "no".into(), retry_after: None },
            _ => Failure::NoAnswer("reset".into()),
        };
        let wanted = self.in_flight.remove(which % self.in_flight.len());
        let (place, answer) = match wanted {
            Outgoing::Read(place) => {
                let object = shown(self.objects[slot(&self.work, place)].as_ref());
                (place, Answer::Read(if matches!(fate, Fate::Answered) { Ok(object) } else { Err(failure) }))
            }
            Outgoing::Write(intent) => {
                let place = intent.at();
                let write = Write { at: place, guard: Arc::new(intent.target().clone()) };
                let version = write.guard.resource_version.clone();
                let outcome = match fate {
                    Fate::NotSent => None,
                    Fate::Answered => Some(self.land(&write)),
                    Fate::LostAfter => Some(self.land(&write).and(Err(failure))),
                    Fate::Lost => {
                        self.lost.push(write);
                        Some(Err(failure))
                    }
                    Fate::Refused(_) => Some(Err(failure)),
                };
                let answer = |outcome| Answer::Written(version, Instant::now(), outcome);
                (place, outcome.map_or(Answer::NotSent, answer))
            }
        };
        self.work.answered(place, answer);
    }

    /// A write reaches the API server.
    fn land(&mut self, write: &Write) -> Result<Accepted, Failure> {
        let slot = slot(&self.work, write.at);
        let refused = |code| Err(Failure::Refused { code, message: "no".into(), retry_after: None });
        let Some(object) = self.objects[slot].clone() else { return refused(404) };
        if object.resource_version != write.guard.resource_version {
            return refused(409);
        }
        let item = &self.work.entries()[write.at].item;
        let request = Request { creation_version: Some(MADE_AT), ..Request::clone(self.work.request()) };
        let meant = item.uid.is_some() || is_older(&request, &object);
        assert!(meant && may(item, request.created, &object, self.rules), "not to be written to: {object:?}");
        assert!(!self.landed.contains(&object.uid), "written to twice: {object:?}");
        assert!(!self.work.request().dry_run);
        self.landed.push(object.uid.clone());
        let left = match item.target {
            TargetStatus::Stopped => {
                let state = match (object.managed_by_other, object.work.is_some()) {
                    (true, _) => object.state,
                    (_, true) => Ok(State::Stopping),
                    _ => Ok(State::Stopped),
                };
                Some(Target { state, stop_asked: true, stop_request: Some(OWN.into()), ..object })
            }
            TargetStatus::Deleted => delete(object),
        };
        self.put(slot, left);
        Ok(self.objects[slot].clone().map_or(Accepted::Gone, Accepted::Left))
    }

    fn crash(&mut self) {
        for wanted in std::mem::take(&mut self.in_flight) {
            if let Outgoing::Write(intent) = wanted {
                self.lost.push(Write { at: intent.at(), guard: Arc::new(intent.target().clone()) });
            }
        }
        self.relist();
        self.work = work_on(&self.bulk, None);
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Change(slot, change) => self.change(slot, change),
            Action::See(slot) => {
                self.see(slot);
            }
            Action::Relist => self.relist(),
            Action::Pass(can_record) => self.pass(can_record),
            Action::Answer(which, fate) => self.answer(which, fate),
            Action::Land(which) if !self.lost.is_empty() => {
                let write = self.lost.remove(which % self.lost.len());
                let _ = self.land(&write);
            }
            Action::Land(_) => {}
            Action::Crash => self.crash(),
            Action::Flag(gate) => self.flag = gate,
            Action::Tick(seconds) => self.now += seconds,
        }
    }

    /// Nothing prevents progress any more.
    pub(super) fn finish(&mut self, flag: Gate) {
        self.flag = flag;
        for turn in 0..40 {
            self.pass(true);
            if self.work.is_finished() {
                break;
            }
            while !self.in_flight.is_empty() {
                self.answer(0, Fate::Answered);
            }
            for slot in 0..ITEMS {
                // The controllers of the objects do as requested; in the end everything is deleted.
                match &self.objects[slot] {
                    Some(t) if t.terminating || turn > 20 => self.put(slot, None),
                    Some(t) if t.state == Ok(State::Stopping) && turn > 5 => {
                        self.change(slot, Change::State(State::Stopped));
                    }
                    _ => {}
                }
                while self.see(slot) {}
            }
        }
        assert!(self.work.is_finished(), "no end: {:#?}", self.work);
        while let Some(write) = self.lost.pop() {
            let _ = self.land(&write);
        }
        self.tells_the_truth(self.work.on_api_server());
    }

    fn tells_the_truth(&self, status: &BulkUpdateStatus) {
        if status.summary.is_none() {
            assert!(self.landed.is_empty() && status.start_time.is_none(), "rejected, and yet written to");
            return;
        }
        let mut accounted = 0;
        for (at, entry) in self.work.entries().iter().enumerate() {
            let record = self.work.on_record(&entry.item).expect("an entry for each item");
            let uid = record.uid.as_deref();
            let landed = self.landed.iter().any(|t| Some(&**t) == uid);
            accounted += usize::from(landed);
            let stop = record.target_status == TargetStatus::Stopped;
            let gone = self.objects.iter().flatten().all(|t| Some(&*t.uid) != uid);
            // An object that existed when the request was made and was not affected.
            let meant = |t: &Target| {
                let request = self.work.request();
                entry.item.uid.is_none() && t.created < request.created.as_second() && Some(&*t.uid) != uid
            };
            let missed = self.objects[slot(&self.work, at)].as_ref().is_some_and(meant);
            // The object does not always show whether an unanswered stop was applied.
            let hidden =
                stop && matches!(record.reason, Some(Reason::Gone | Reason::Replaced | Reason::Unreadable));
            let true_to_it = match (record.result, record.reason) {
                (ItemResult::Settled, _) => {
                    if stop {
                        landed
                    } else {
                        gone && !missed
                    }
                }
                (ItemResult::Failed, Some(Reason::NotSettledInTime)) => landed || !stop,
                (ItemResult::Failed, reason) => !landed || hidden || reason == Some(Reason::OutcomeUnknown),
                _ => !landed,
            };
            assert!(true_to_it, "landed: {landed}, and yet: {record:?}");
        }
        assert_eq!(accounted, self.landed.len(), "more was done than is on record");
    }
}
