//! Draws what has to come together: events that mean little unless they meet, some of them before a BulkUpdate of their own.
//! They are drawn last, so that they change nothing in the other lives.

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::call::{Call, Resource};

use super::{Draw, Theme, work::end_of};
use crate::{
    cluster::NAMESPACES,
    story::{
        Act, Admin, BulkAct, Calls, Controller, Event, Fault, GuardAct, Guarded, Made, View, Weakness, What,
        When, Who,
    },
};

/// In so many of a hundred lives.
const SHARE: u8 = 20;

impl Draw {
    pub fn together(&mut self) {
        if !self.percent(SHARE) {
            return;
        }
        match self.random.u8(..14) {
            0 => self.policy_of_the_past(),
            1 => self.policy_gone_unseen(),
            2 => self.policy_unwatched(),
            3 => self.policy_just_made(),
            4 => self.record_of_an_earlier_leader(),
            5 => self.policy_changed_while_nobody_looks(),
            6 => self.its_time_ends_among_its_writes(),
            7 => self.its_time_ends_after_a_restart(),
            8 => self.an_earlier_end_is_shown_again(),
            9 => self.made_again_unseen(),
            10 => self.deleted_while_writes_wait_for_the_flag(),
            11 | 12 => self.policy_weak_for_long(),
            _ => self.old_news_of_one_that_goes(),
        }
    }

    pub fn guard(&mut self) -> Guarded {
        self.one(&[Guarded::Policy, Guarded::Policy, Guarded::Binding])
    }

    /// One more BulkUpdate.
    pub fn another(&mut self, at: u64) {
        let namespace = self.one(&NAMESPACES);
        self.bulk_update(self.submitted.len(), namespace, at);
    }

    pub fn change(&mut self, at: u64, of: Guarded, act: GuardAct) {
        self.at(at, What::Admin(Admin::Policy(of, act)));
    }

    pub fn kill_all(&mut self, at: u64, back_after: u64) {
        for slot in 0..self.replicas {
            self.at(at, What::Kill { slot, back_after });
        }
    }

    pub fn all_killed(&mut self, at: u64, back_after: u64) {
        self.kill_all(at, back_after);
        // Or the next one has to wait for the Lease.
        self.at(at + 1, What::Admin(Admin::FreeLease));
    }

    /// It is deleted, and then another API server answers that has not heard of it.
    fn policy_of_the_past(&mut self) {
        let (of, at) = (self.guard(), self.random.u64(4000..12_000));
        let resource = resource_of(of);
        self.change(at, of, GuardAct::Delete);
        let lasts = self.one(&[2000, 6000, 20_000]);
        self.at(at + 500, What::View { slot: None, resource, view: View::Forget, lasts });
        let after = self.one(&[300, 900, 1500]);
        self.another(at + after);
    }

    /// It is deleted while its watch loses events.
    fn policy_gone_unseen(&mut self) {
        let (of, at) = (self.guard(), self.random.u64(4000..12_000));
        let (resource, view) = (resource_of(of), self.one(&[View::Lose, View::Expire]));
        self.at(at, What::View { slot: None, resource, view, lasts: 600 });
        self.change(at + 300, of, GuardAct::Delete);
        let after = self.one(&[500, 1500, 4000]);
        self.another(at + after);
    }

    /// It cannot be listed or watched any more, for longer than what is known of it counts.
    fn policy_unwatched(&mut self) {
        let at = self.random.u64(4000..8000);
        self.at(at, What::Restart { lasts: 200 });
        let fault =
            self.one(&[Fault::Refuse, Fault::Answer { code: 403, retry_after: None, passed_on: false }]);
        self.at(at, What::Weather { slot: None, calls: Calls::Guards, fault, lasts: 60_000 });
        let after = self.one(&[20_000, 35_000, 45_000]);
        self.another(at + after);
    }

    /// It has not been in force for long enough.
    fn policy_just_made(&mut self) {
        let (of, at) = (self.guard(), self.random.u64(4000..12_000));
        self.change(at, of, GuardAct::Recreate);
        let after = self.random.u64(200..14_000);
        self.another(at + after);
    }

    /// It has been weak for so long that a BulkUpdate would be accepted, if that did not matter.
    fn policy_weak_for_long(&mut self) {
        let (of, at) = (self.guard(), self.random.u64(3000..8000));
        let weakness = self.weakness();
        self.change(at, of, GuardAct::Weaken(weakness));
        let after = self.random.u64(11_200..14_000);
        self.another(at + after);
    }

    /// It was changed, and has been in force for long enough when another process takes over.
    fn record_of_an_earlier_leader(&mut self) {
        let (of, at) = (self.guard(), self.random.u64(4000..6000));
        self.change(at, of, GuardAct::Weaken(Weakness::Refusal));
        self.change(at + 200, of, GuardAct::Restore);
        let killed = at + self.random.u64(12_500..16_000);
        self.all_killed(killed, 2000);
        let after = self.random.u64(0..1500);
        self.another(killed + after);
    }

    /// It is weakened for a while in which no operator runs.
    fn policy_changed_while_nobody_looks(&mut self) {
        let (of, at) = (self.guard(), self.random.u64(4000..12_000));
        self.all_killed(at, 4000);
        let weakness = self.weakness();
        self.change(at + 500, of, GuardAct::Weaken(weakness));
        self.change(at + 2500, of, GuardAct::Restore);
        let after = self.random.u64(0..6000);
        self.another(at + after);
    }

    /// It is deleted, or made again, and then old events of it are shown again.
    fn old_news_of_one_that_goes(&mut self) {
        let act = self.one(&[BulkAct::Keep, BulkAct::Recreate]);
        let begins = self.happens_to_the_first(act);
        self.view_of_bulk_updates(begins + 200, View::Again);
    }

    /// It is made again while the watch loses events.
    fn made_again_unseen(&mut self) {
        let begins = self.happens_to_the_first(BulkAct::Recreate);
        let view = self.one(&[View::Lose, View::Expire]);
        self.view_of_bulk_updates(begins.saturating_sub(100), view);
    }

    /// It is deleted, no watch shows that, and writes wait for the flag when its record meets that.
    fn deleted_while_writes_wait_for_the_flag(&mut self) {
        let at = self.random.u64(4000..12_000);
        self.another(at);
        for (calls, takes) in [(Calls::Reads, 2500), (Calls::Targets, 600)] {
            let fault = Fault::Slow(takes);
            self.at(at, What::Weather { slot: None, calls, fault, lasts: 20_000 });
        }
        let (namespace, name, _) = self.submitted[self.submitted.len() - 1].clone();
        let (call, nth) = (self.one(&[Call::Stop, Call::Delete]), self.one(&[2, 3, 5]));
        let when = When::On { slot: None, call, nth };
        let view =
            What::View { slot: None, resource: Resource::BulkUpdates, view: View::Hold, lasts: 12_000 };
        for what in [view, What::ActOnBulk { namespace, name, act: BulkAct::Delete }] {
            self.events.push(Event { when, what });
        }
    }

    /// Something happens to the first BulkUpdate after another one was created, and then more. Returns when it begins.
    fn happens_to_the_first(&mut self, act: BulkAct) -> u64 {
        let at = self.random.u64(4000..12_000);
        self.another(at);
        let (namespace, name, first) = self.submitted[0].clone();
        let begins = first.max(at) + self.one(&[50, 300, 1000]);
        for (later, act) in [(0, act), (400, BulkAct::Relabel), (1200, BulkAct::Relabel)] {
            self.at(begins + later, What::ActOnBulk { namespace, name: name.clone(), act });
        }
        begins
    }

    fn view_of_bulk_updates(&mut self, at: u64, view: View) {
        self.at(at, What::View { slot: None, resource: Resource::BulkUpdates, view, lasts: 2000 });
    }

    /// It has written a part when `notAfter` passes.
    fn its_time_ends_among_its_writes(&mut self) {
        let at = self.random.u64(4000..12_000);
        let (fault, calls) = (Fault::Slow(self.one(&[100, 300, 700])), Calls::Targets);
        self.at(at, What::Weather { slot: None, calls, fault, lasts: 12_000 });
        self.another(at);
        let seconds = self.random.i64(1..4);
        self.asks_for("notAfter", end_of(at, seconds));
    }

    /// `activeDeadlineSeconds` passes in the next process, while others still stop what they run.
    pub fn its_time_ends_after_a_restart(&mut self) {
        let at = self.random.u64(4000..12_000);
        self.themes.push(Theme::Controllers);
        self.another(at);
        let seconds = self.one(&[4, 6, 10]);
        self.asks_for("activeDeadlineSeconds", seconds.into());
        let killed = at + self.random.u64(800..3000);
        self.all_killed(killed, 50);
    }

    /// It was stopped, runs again, and is to be stopped once more. Then another process is shown how it was stopped before.
    fn an_earlier_end_is_shown_again(&mut self) {
        let at = self.random.u64(5000..12_000);
        let (namespace, kind) = (NAMESPACES[0], self.one(&Kind::ALL));
        let name = format!("again-{}", self.submitted.len());
        let status = json!({"state": "STOPPED", "targetStatus": "STOPPED"});
        let controller = Some(Controller::Stops(15_000));
        let made = Made { namespace, kind, name: name.clone(), status, controller, kept: false, odd: None };
        self.at(at - 1500, What::Create(made));
        let resource = if kind == Kind::Execution { Resource::Executions } else { Resource::Deployments };
        self.at(at - 500, What::View { slot: None, resource, view: View::Back, lasts: 12_000 });
        self.at(at - 300, What::Act { namespace, kind, name: name.clone(), act: Act::TakeBack });
        let spec = json!({kind.plural(): [{"id": name, "targetStatus": "STOPPED"}]});
        let name = format!("bulk-{}", self.submitted.len());
        self.submitted.push((namespace, name.clone(), at));
        self.at(at, What::Submit { namespace, name, spec, user: Who::Editor, uids: true });
        let killed = at + self.random.u64(500..2000);
        self.all_killed(killed, 50);
    }

    /// The last BulkUpdate says this as well.
    pub fn asks_for(&mut self, field: &str, value: Value) {
        for event in self.events.iter_mut().rev() {
            if let What::Submit { spec, .. } = &mut event.what {
                spec[field] = value;
                return;
            }
        }
    }

    pub fn weakness(&mut self) -> Weakness {
        self.one(&[
            Weakness::Refusal,
            Weakness::Operations,
            Weakness::Scope,
            Weakness::Validation,
            Weakness::Variable,
        ])
    }
}

pub const fn resource_of(of: Guarded) -> Resource {
    match of {
        Guarded::Policy | Guarded::WorkPolicy => Resource::Policies,
        Guarded::Binding | Guarded::WorkBinding => Resource::Bindings,
    }
}
