//! The lives of the processes: when each runs, starts, is suspended and ends.

use std::{collections::BTreeSet, time::Duration};

use ai_api_operator::controller::{self, Timing, replica};

use crate::{
    cluster::{HOME, META, time_at},
    log::Log,
    process::{Process, Program},
    record::Life,
    world::{Due, World},
};

impl World {
    /// Lets each process run up to this moment, unless it is hardly behind and nothing has reached it.
    pub fn catch_up(&mut self, time: u64) {
        for slot in 0..self.slots.len() {
            let place = &self.slots[slot];
            let behind = time.saturating_sub(place.until);
            if place.process.is_none() || place.suspended || behind == 0 {
                continue;
            }
            if place.reached || behind > self.story.setup.slack {
                self.run_process(slot, time);
            }
        }
    }

    /// Lets it run up to the present: something is about to reach it.
    pub fn bring_up(&mut self, slot: usize) {
        let mut until = None;
        // It stops whenever something that it has sent arrives, and has to be here nevertheless.
        while let place = &self.slots[slot]
            && place.process.is_some()
            && !place.suspended
            && place.until < self.now
            && until != Some(place.until)
        {
            until = Some(place.until);
            self.run_process(slot, self.now);
        }
    }

    fn run_process(&mut self, slot: usize, time: u64) {
        let Some(mut process) = self.slots[slot].process.take() else { return };
        let mut until = time;
        process.run_until(time, |process| {
            let stops = self.take_sent(slot, process);
            until = stops.map_or(until, |stops| until.min(stops));
            stops
        });
        let place = &mut self.slots[slot];
        place.until = until;
        place.reached = false;
        let life = place.life;
        self.take_sent(slot, &process);
        for (number, answer) in process.called() {
            self.recorded.called(number, until, time_at(until), &answer);
        }
        self.recorded.log_of(life, process.log());
        if let Some(end) = process.ended() {
            self.recorded.ended(life, until, time_at(until), Some(&end));
            drop(process);
            self.vacate(slot);
            let back_after = self.slots[slot].back_after;
            self.due(until + back_after, Due::Start(slot));
        } else {
            self.slots[slot].process = Some(process);
        }
    }

    /// There is no process any more: nothing reaches it.
    fn vacate(&mut self, slot: usize) {
        let life = self.slots[slot].life;
        self.slots[slot].suspended = false;
        self.slots[slot].parked.clear();
        for watch in self.watches.iter_mut().filter(|watch| watch.slot == slot && watch.life == life) {
            watch.listens = false;
        }
        self.watches_are_closed();
    }

    pub fn start(&mut self, slot: usize) {
        if self.slots[slot].process.is_some() {
            return;
        }
        let (life, now) = (self.recorded.lives.len(), self.now);
        let place = &mut self.slots[slot];
        place.starts += 1;
        (place.life, place.until, place.reached, place.back_after) = (life, now, true, 1000);
        let name = format!("life-{life}");
        let setup = &self.story.setup;
        let program = if place.is_gateway {
            Program::Gateway { namespace: HOME.into(), meta_configmap: META.into() }
        } else {
            let settings = replica::Settings {
                controller: controller::Settings {
                    namespace: HOME.into(),
                    meta_configmap: META.into(),
                    watch_namespaces: setup.watch_namespaces.clone(),
                    max_in_flight: setup.max_in_flight,
                    delete_completed: setup.delete_completed,
                    require_admission_policy: setup.require_admission_policy,
                },
                metrics_bind_address: ":0".parse().unwrap(),
                timing: Timing {
                    lease_duration: Duration::from_secs(15),
                    renew_deadline: Duration::from_secs(10),
                    retry_period: Duration::from_secs(2),
                },
                identity: name.clone(),
            };
            Program::Operator(settings, setup.preflight)
        };
        let ids = self.story.seed.wrapping_mul(31).wrapping_add(life as u64);
        let (log, is_gateway) = (Log::new(self.log || self.story.setup.logs), place.is_gateway);
        place.process = Some(Process::start(program, &place.host, now, ids, log));
        self.recorded.started(Life::new(name, slot, is_gateway), now, self.time());
    }

    pub fn lives(&self, slot: usize, life: usize) -> bool {
        self.slots[slot].life == life && self.slots[slot].process.is_some()
    }

    pub fn kill(&mut self, slot: usize, life: usize, back_after: u64) {
        self.bring_up(slot);
        if !self.lives(slot, life) {
            return;
        }
        drop(self.slots[slot].process.take());
        self.recorded.ended(life, self.now, self.time(), None);
        self.vacate(slot);
        self.due(self.now + back_after, Due::Start(slot));
    }

    pub fn terminate(&mut self, slot: usize, life: usize, back_after: u64) {
        self.bring_up(slot);
        if !self.lives(slot, life) {
            return;
        }
        self.slots[slot].back_after = back_after;
        self.slots[slot].reached = true;
        self.recorded.terminated(life, self.now, self.time());
        if let Some(process) = &self.slots[slot].process {
            process.terminate();
        }
        // Kubernetes kills it after its grace period.
        self.due(self.now + 30_000, Due::Kill { slot, life, back_after });
    }

    /// What it sends gets no connection until then.
    pub fn keep_from_connecting(&self, slot: usize, until: u64) {
        if let Some(process) = &self.slots[slot].process {
            process.keep_from_connecting(until);
        }
    }

    pub fn suspend(&mut self, slot: usize, life: usize, lasts: u64) {
        self.bring_up(slot);
        if !self.lives(slot, life) || self.slots[slot].suspended {
            return;
        }
        self.slots[slot].suspended = true;
        self.recorded.suspended(life, self.now, self.time());
        self.due(self.now + lasts, Due::Resume { slot, life });
    }

    pub fn resume(&mut self, slot: usize, life: usize) {
        if !self.lives(slot, life) || !self.slots[slot].suspended {
            return;
        }
        let now = self.now;
        let place = &mut self.slots[slot];
        (place.suspended, place.reached, place.until) = (false, true, now);
        let parked = std::mem::take(&mut place.parked);
        self.recorded.resumed(life, now, self.time());
        // Its timers have all expired, and all this has arrived: either may come first.
        let timers_first = self.random.bool();
        if timers_first && let Some(process) = &mut self.slots[slot].process {
            process.resume(now);
        }
        for due in parked {
            self.perform(due);
        }
        if !timers_first && let Some(process) = &mut self.slots[slot].process {
            process.resume(now);
        }
    }

    fn watches_are_closed(&mut self) {
        let closed: BTreeSet<_> = (0..self.watches.len()).filter(|n| !self.watches[*n].listens).collect();
        for number in closed {
            self.watches[number].pieces.close_channel();
        }
    }
}
