//! Draws scenes: a BulkUpdate of its own with all that it takes to meet one rare situation. They are drawn last, so that they
//! change nothing in the other lives.

use ai_api_operator::api::Kind;
use serde_json::json;
use support::call::{Call, Resource};

use super::{Draw, together};
use crate::{
    cluster::NAMESPACES,
    story::{Act, Admin, BulkAct, Calls, Event, Fault, GuardAct, Made, Moment, Setup, View, What, When, Who},
};

/// The flag that switches bulk updates off.
const OFF: &str = r#"{"executions": false, "deployments": false}"#;

/// In so many of a hundred lives.
const SHARE: u8 = 40;

/// In so many of those in which the CRDs take anything.
const SHARE_OF_LOOSE: u8 = 30;

impl Draw {
    pub fn scenes(&mut self, setup: &mut Setup) {
        if self.percent(SHARE) {
            self.gateway_ends_during_a_call();
        }
        if self.loose && self.percent(SHARE_OF_LOOSE) {
            return match self.random.u8(..5) {
                0 | 1 => self.unreadable_in_its_second(setup),
                2 => self.spoilt_and_shown_again(),
                _ => self.report_is_refused(),
            };
        }
        if !self.percent(SHARE) {
            return;
        }
        match self.random.u8(..30) {
            16 => self.retried_for_long(),
            17 | 18 => self.forbidden_while_it_reports(),
            19 | 20 => self.its_time_ends_close_to_a_second(setup),
            21 | 22 => self.plan_is_sent_twice_and_nobody_can_look(),
            23 | 24 => self.policy_of_before_after_a_restart(),
            25 | 26 => self.read_twice_in_its_second(setup),
            27 | 28 => self.several_share_a_slot(setup),
            1 => self.policy_of_a_later_hour(),
            14 | 15 => self.policy_is_shown_again(),
            2 | 7 => self.target_made_by_a_clock_that_is_behind(setup),
            3 => self.plan_is_stored_and_the_next_is_not_sent(),
            4 => self.old_news_long_after_it(BulkAct::Keep),
            5 | 13 => self.old_news_long_after_it(BulkAct::Recreate),
            6 => self.seen_late_in_its_second(),
            0 | 8 | 9 => self.write_waits_for_a_connection(setup),
            10 => self.renewed_late_and_then_no_more(setup),
            11 => self.its_time_ends_after_a_restart(),
            _ => self.its_record_waits_for_its_writes(setup),
        }
    }

    /// A gateway is killed, or suspended, while somebody waits for its answer.
    fn gateway_ends_during_a_call(&mut self) {
        let call = |event: &Event| match (&event.when, &event.what) {
            (When::At(at), What::Call(called)) => Some((*at, called.gateway)),
            _ => None,
        };
        let calls: Vec<_> = self.events.iter().filter_map(call).collect();
        if calls.is_empty() {
            return;
        }
        let (at, gateway) = calls[self.random.usize(..calls.len())];
        let (slot, after) = (self.replicas + gateway, self.one(&[2, 30, 200, 2000]));
        let what = match self.random.u8(..3) {
            0 => What::Suspend { slot, lasts: self.one(&[3000, 15_000, 60_000]) },
            _ => What::Kill { slot, back_after: self.one(&[50, 2000]) },
        };
        self.at(at + after, what);
    }

    fn when(&mut self, call: Call, nth: usize, what: What) {
        self.events.push(Event { when: When::On { slot: None, call, nth }, what });
    }

    fn weather_at(&mut self, at: u64, calls: Calls, fault: Fault, lasts: u64) {
        self.at(at, weather(calls, fault, lasts));
    }

    fn moment_of_a_scene(&mut self) -> u64 {
        self.random.u64(5000..12_000)
    }

    /// The policy is made again while no operator is running, and then the API server's clock is set back.
    fn policy_of_a_later_hour(&mut self) {
        if self.clock_steps() {
            return;
        }
        let (of, at) = (self.guard(), self.moment_of_a_scene());
        self.all_killed(at, 1000);
        self.change(at + 100, of, GuardAct::Recreate);
        self.at(at + 200, What::StepClock { by: -10_000 });
        let after = self.random.u64(14_500..18_500);
        self.another(at + after);
    }

    /// It is deleted, or changed so that it checks less, and then another API server answers that has not heard of it, for longer
    /// than it takes until a policy counts.
    fn policy_is_shown_again(&mut self) {
        let (of, at, weakness) = (self.guard(), self.moment_of_a_scene(), self.weakness());
        let act = self.one(&[GuardAct::Delete, GuardAct::Weaken(weakness)]);
        self.change(at, of, act);
        let resource = together::resource_of(of);
        self.at(at + 500, What::View { slot: None, resource, view: View::Forget, lasts: 25_000 });
        let after = self.random.u64(13_000..20_000);
        self.another(at + after);
    }

    /// A write finds that its target is gone. Before the name is looked at, the API server's clock is set back, and another
    /// object gets the name, which seems to be older than the BulkUpdate.
    fn target_made_by_a_clock_that_is_behind(&mut self, setup: &mut Setup) {
        // Set back that far, it says nothing of when a policy came into force: that is not promised.
        let changes_the_policy = |event: &Event| matches!(event.what, What::Admin(Admin::Policy(..)));
        if self.clock_steps() || self.events.iter().any(changes_the_policy) {
            return;
        }
        setup.latency = (1, 5);
        let at = self.moment_of_a_scene();
        let (kind, name) = self.target(at - 3000, "again");
        let view = View::Hold;
        self.at(at - 200, What::View { slot: None, resource: resource_of(kind), view, lasts: 10_000 });
        self.at(at - 100, What::Act { namespace: NAMESPACES[0], kind, name: name.clone(), act: Act::Delete });
        self.stop(at, kind, &name);
        // Of the flag four times, and then of the target.
        self.weather_at(at - 50, Calls::Reads, Fault::Delay(1500), 9000);
        self.at(at + 6500, What::StepClock { by: -20_000 });
        self.create(at + 6900, kind, name);
    }

    /// A plan gets no answer, and is stored. The next one, which is another second's, is certainly not.
    fn plan_is_stored_and_the_next_is_not_sent(&mut self) {
        let at = self.moment_of_a_scene();
        self.another(at);
        let nth = self.one(&[1, 1, 2, 3]);
        let lost = Fault::Answer { code: 503, retry_after: Some(2), passed_on: true };
        self.when(Call::Record, nth, What::Fault(lost));
        self.when(Call::Record, nth + 1, What::Fault(Fault::Refuse));
    }

    /// What reports that it cannot be read is refused for a while, and then shown once more.
    fn report_is_refused(&mut self) {
        let at = self.moment_of_a_scene();
        self.another(at);
        // Until then it cannot be read.
        for spoilt in [at + 1, at + 20_000] {
            self.act_on_the_last(spoilt, BulkAct::Spoil);
        }
        let fault = self.one(&[refusal(409, None), refusal(429, Some(30)), refusal(503, Some(30))]);
        self.weather_at(at, Calls::Writes, fault, 1500);
        self.at(at + 3000, What::Compact);
        self.at(at + 3100, What::Restart { lasts: 200 });
    }

    /// It is deleted while a finalizer keeps it, or made again, and long after that its creation is shown once more.
    fn old_news_long_after_it(&mut self, goes: BulkAct) {
        let at = self.random.u64(2600..3000);
        self.another(at);
        // A watch shows the first one again.
        let Some((namespace, name, first)) = self.first() else { return };
        let begins = first.max(at) + self.one(&[30, 300, 1000]);
        self.at(begins, What::ActOnBulk { namespace, name: name.clone(), act: goes });
        let later = begins + 35_000;
        let view = What::View { slot: None, resource: Resource::BulkUpdates, view: View::Again, lasts: 2000 };
        self.at(later, view);
        self.at(later + 300, What::ActOnBulk { namespace, name, act: BulkAct::Relabel });
    }

    /// The first BulkUpdate that a watch shows.
    fn first(&self) -> Option<(&'static str, String, u64)> {
        self.submitted.iter().min_by_key(|(_, _, at)| *at).cloned()
    }

    /// It names a target of the same second, which a watch shows later than a read.
    fn seen_late_in_its_second(&mut self) {
        let (second, at, kind, name) = self.target_of_its_second();
        let resource = resource_of(kind);
        self.at(second, What::View { slot: None, resource, view: View::Slow(3000), lasts: 6000 });
        self.stop(at, kind, &name);
        self.at(at + 1, What::Act { namespace: NAMESPACES[0], kind, name, act: Act::Relabel });
    }

    /// A write waits for a connection while its process is suspended.
    fn write_waits_for_a_connection(&mut self, setup: &mut Setup) {
        setup.max_in_flight = 1;
        let at = self.moment_of_a_scene();
        self.another(at);
        let (call, nth) = (self.one(&[Call::Stop, Call::Delete]), self.one(&[1, 2, 2, 3]));
        // For longer than it leads without a renewal.
        let suspended = Fault::Suspend { moment: Moment::Unconnected, lasts: 16_000 };
        self.when(call, nth, What::Fault(suspended));
    }

    /// Several BulkUpdates of one namespace have so much to do that each waits for a slot again and again.
    fn several_share_a_slot(&mut self, setup: &mut Setup) {
        setup.max_in_flight = 1;
        let at = self.moment_of_a_scene();
        self.weather_at(at, Calls::Targets, Fault::Slow(100), 20_000);
        for after in [0, 200, 400] {
            self.bulk_update(self.submitted.len(), NAMESPACES[0], at + after);
        }
    }

    /// The Lease is renewed, which takes long, and then not any more, while there is much to be written.
    fn renewed_late_and_then_no_more(&mut self, setup: &mut Setup) {
        setup.max_in_flight = 1;
        let at = self.moment_of_a_scene();
        self.weather_at(at, Calls::Leases, Fault::Slow(4500), 4600);
        self.weather_at(at + 4600, Calls::Leases, Fault::Refuse, 20_000);
        self.weather_at(at, Calls::Targets, Fault::Slow(800), 30_000);
        self.another(at + 4000);
    }

    /// All writes to targets fail for long, once it is planned.
    fn retried_for_long(&mut self) {
        let at = self.moment_of_a_scene();
        self.another(at);
        let (nth, lasts) = (self.one(&[1, 1, 2, 3]), self.random.u64(15_000..30_000));
        self.when(Call::Record, nth, weather(Calls::Targets, refusal(503, None), lasts));
    }

    /// A right is missing for less than ten seconds, and the report of it takes longer than that.
    fn forbidden_while_it_reports(&mut self) {
        let at = self.moment_of_a_scene();
        self.another(at);
        let (nth, slow) = (self.one(&[1, 1, 2, 3]), self.random.u64(9_500..13_000));
        self.when(Call::Record, nth, weather(Calls::Targets, refusal(403, None), 9_500));
        self.when(Call::Record, nth + 1, What::Fault(Fault::Slow(slow)));
    }

    /// It is planned at the end of a second, nothing can be written, and another process takes over.
    fn its_time_ends_close_to_a_second(&mut self, setup: &mut Setup) {
        setup.latency = (1, 5);
        let second = self.moment_of_a_scene() / 1000 * 1000;
        let at = second + self.random.u64(850..960);
        let (kind, name) = self.target(at - 500, "late");
        self.stop(at, kind, &name);
        self.asks_for("activeDeadlineSeconds", 6.into());
        self.weather_at(at + 60, Calls::Targets, refusal(503, None), 10_000);
        self.all_killed(at + 2000, 50);
    }

    /// The plan is stored, and answered with a conflict, after which it cannot be read; then bulk updates are switched off.
    fn plan_is_sent_twice_and_nobody_can_look(&mut self) {
        let at = self.moment_of_a_scene();
        self.another(at);
        let (nth, read) = (self.one(&[1, 1, 2, 3]), self.one(&[1, 1, 2]));
        self.when(Call::Record, nth, What::Fault(Fault::Repeat(2000)));
        self.when(Call::ReadBulkUpdate, read, What::Fault(refusal(503, None)));
        self.when(Call::Record, nth + 1, What::Admin(Admin::Flag(Some(OFF))));
    }

    /// It is made again and deleted, which the operator sees; then all are shown the first one, also a process that has not seen
    /// anything else.
    fn policy_of_before_after_a_restart(&mut self) {
        let (of, early, at) = (self.guard(), self.random.u64(500..3500), self.moment_of_a_scene());
        self.change(early, of, GuardAct::Recreate);
        self.change(at, of, GuardAct::Delete);
        let resource = together::resource_of(of);
        self.at(at + 500, What::View { slot: None, resource, view: View::Forget, lasts: 30_000 });
        self.all_killed(at + 5000, 500);
        let after = self.random.u64(7_000..20_000);
        self.another(at + after);
    }

    /// A target of its own second is read, which no watch shows; the plan is refused, and the target is changed before it is
    /// read again.
    fn read_twice_in_its_second(&mut self, setup: &mut Setup) {
        setup.latency = (1, 5);
        let (second, at, kind, name) = self.target_of_its_second();
        let resource = resource_of(kind);
        self.at(second, What::View { slot: None, resource, view: View::Lose, lasts: 9000 });
        self.stop(at, kind, &name);
        self.weather_at(at, Calls::Writes, refusal(503, None), 1500);
        self.at(at + 700, What::Act { namespace: NAMESPACES[0], kind, name, act: Act::Relabel });
    }

    /// It names a target of the same second, and cannot be read for a while, from its creation on or soon after.
    fn unreadable_in_its_second(&mut self, setup: &mut Setup) {
        setup.latency = (1, 5);
        let (_, at, kind, name) = self.target_of_its_second();
        self.stop(at, kind, &name);
        let meanwhile = self.one(&[BulkAct::Recreate, BulkAct::Relabel]);
        for (after, act) in [(1, BulkAct::Spoil), (60, meanwhile), (2500, BulkAct::Spoil)] {
            self.act_on_the_last(at + after, act);
        }
        // With an end on record it would be over.
        self.weather_at(at, Calls::Writes, Fault::Refuse, 2450);
    }

    /// What cannot be read is to be reported later, and is shown as it was before.
    fn spoilt_and_shown_again(&mut self) {
        let at = self.moment_of_a_scene();
        self.another(at);
        self.act_on_the_last(at + 1, BulkAct::Spoil);
        self.weather_at(at, Calls::Writes, refusal(503, Some(30)), 1500);
        let resource = Resource::BulkUpdates;
        self.at(at + 5000, What::View { slot: None, resource, view: View::Again, lasts: 2000 });
        self.another(at + 5300);
        self.act_on_the_last(at + 5600, BulkAct::Relabel);
    }

    fn act_on_the_last(&mut self, at: u64, act: BulkAct) {
        let (namespace, name, _) = self.submitted[self.submitted.len() - 1].clone();
        self.at(at, What::ActOnBulk { namespace, name, act });
    }

    /// It reports while as much is in flight as may be.
    fn its_record_waits_for_its_writes(&mut self, setup: &mut Setup) {
        setup.max_in_flight = self.one(&[2, 4]);
        let at = self.moment_of_a_scene();
        self.weather_at(at, Calls::Targets, Fault::Slow(700), 20_000);
        self.another(at);
    }

    /// Whether the API server's clock is set already: that happens once.
    fn clock_steps(&self) -> bool {
        self.events.iter().any(|event| matches!(event.what, What::StepClock { .. }))
    }

    /// Makes a target that can be stopped.
    fn target(&mut self, at: u64, name: &str) -> (Kind, String) {
        let (kind, name) = (self.one(&Kind::ALL), format!("{name}-{}", self.submitted.len()));
        self.create(at, kind, name.clone());
        (kind, name)
    }

    /// The same for a BulkUpdate of the same second: that second, and when it is submitted.
    fn target_of_its_second(&mut self) -> (u64, u64, Kind, String) {
        let second = self.moment_of_a_scene() / 1000 * 1000;
        let at = second + self.random.u64(300..800);
        let (kind, name) = self.target(at - 200, "young");
        (second, at, kind, name)
    }

    fn create(&mut self, at: u64, kind: Kind, name: String) {
        let (namespace, status) = (NAMESPACES[0], json!({"state": "RUNNING"}));
        let made = Made { namespace, kind, name, status, controller: None, kept: false, odd: None };
        self.at(at, What::Create(made));
    }

    /// A BulkUpdate that stops one target.
    fn stop(&mut self, at: u64, kind: Kind, target: &str) {
        let spec = json!({kind.plural(): [{"id": target, "targetStatus": "STOPPED"}]});
        let (namespace, name) = (NAMESPACES[0], format!("bulk-{}", self.submitted.len()));
        self.submitted.push((namespace, name.clone(), at));
        self.at(at, What::Submit { namespace, name, spec, user: Who::Editor, uids: true });
    }
}

const fn weather(calls: Calls, fault: Fault, lasts: u64) -> What {
    What::Weather { slot: None, calls, fault, lasts }
}

const fn refusal(code: u16, retry_after: Option<u32>) -> Fault {
    Fault::Answer { code, retry_after, passed_on: false }
}

const fn resource_of(kind: Kind) -> Resource {
    match kind {
        Kind::Execution => Resource::Executions,
        Kind::Deployment => Resource::Deployments,
    }
}
