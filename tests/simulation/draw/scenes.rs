//! Draws scenes: a BulkUpdate of its own with all that it takes to meet one rare situation. They are drawn last, so that they
//! change nothing in the other lives.

use ai_api_operator::api::Kind;
use serde_json::json;
use support::call::{Call, Resource};

use super::{Draw, together};
use crate::{
    cluster::NAMESPACES,
    story::{Act, BulkAct, Calls, Event, Fault, GuardAct, Made, Moment, Setup, View, What, When, Who},
};

/// In so many of a hundred lives.
const SHARE: u8 = 25;

/// In so many of those in which the CRDs take anything.
const SHARE_OF_LOOSE: u8 = 30;

impl Draw {
    pub fn scenes(&mut self, setup: &mut Setup) {
        if self.loose && self.percent(SHARE_OF_LOOSE) {
            return self.report_is_refused();
        }
        if !self.percent(SHARE) {
            return;
        }
        match self.random.u8(..16) {
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

    fn when(&mut self, call: Call, nth: usize, what: What) {
        self.events.push(Event { when: When::On { slot: None, call, nth }, what });
    }

    fn weather_at(&mut self, at: u64, calls: Calls, fault: Fault, lasts: u64) {
        self.at(at, What::Weather { slot: None, calls, fault, lasts });
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
        if self.clock_steps() {
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
        let (namespace, name, _) = self.submitted[self.submitted.len() - 1].clone();
        // Until then it cannot be read.
        for spoilt in [at + 1, at + 20_000] {
            let (name, act) = (name.clone(), BulkAct::Spoil);
            self.at(spoilt, What::ActOnBulk { namespace, name, act });
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
        let second = self.moment_of_a_scene() / 1000 * 1000;
        let at = second + self.random.u64(300..800);
        let (kind, name) = self.target(at - 200, "young");
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

    /// The Lease is renewed, which takes long, and then not any more, while there is much to be written.
    fn renewed_late_and_then_no_more(&mut self, setup: &mut Setup) {
        setup.max_in_flight = 1;
        let at = self.moment_of_a_scene();
        self.weather_at(at, Calls::Leases, Fault::Slow(4500), 4600);
        self.weather_at(at + 4600, Calls::Leases, Fault::Refuse, 20_000);
        self.weather_at(at, Calls::Targets, Fault::Slow(800), 30_000);
        self.another(at + 4000);
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

const fn refusal(code: u16, retry_after: Option<u32>) -> Fault {
    Fault::Answer { code, retry_after, passed_on: false }
}

const fn resource_of(kind: Kind) -> Resource {
    match kind {
        Kind::Execution => Resource::Executions,
        Kind::Deployment => Resource::Deployments,
    }
}
