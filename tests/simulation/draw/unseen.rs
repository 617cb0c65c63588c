//! Draws what has an effect only together: by itself, each of these events would hardly ever happen at the right moment.

use ai_api_operator::api::Kind;
use serde_json::json;
use support::call::{Call, Resource};

use super::{Draw, Theme};
use crate::{
    admin::BYSTANDER,
    cluster::NAMESPACES,
    story::{BulkAct, Calls, Event, Fault, GuardAct, Guarded, Made, View, What, When},
};

impl Draw {
    pub fn unseen(&mut self) {
        if self.has(Theme::Policy) && self.percent(20) {
            self.changes_unseen();
        }
        if self.has(Theme::SameMoment) && self.percent(30) {
            self.created_unseen();
        }
        if self.expires && self.percent(25) {
            self.changes_at_its_end();
        }
        if self.has(Theme::Answers) && self.percent(15) {
            self.place_is_gone();
        }
        if self.has(Theme::Weather) && self.percent(30) {
            self.targets_fail();
        }
        if self.has(Theme::Forgery) {
            self.bystanders();
        }
        if self.loose && self.percent(40) {
            self.spoils();
        }
        if self.loose && self.percent(30) {
            self.on_write(What::Fault(Fault::BulkRace(BulkAct::Blot)));
        }
    }

    /// All replicas are away from this moment on, for a second or more.
    fn nobody_from(&mut self, moment: u64) {
        let back_after = self.one(&[1000, 1000, 4000]);
        self.kill_all(moment, back_after);
    }

    /// The policy or its binding is weakened for a moment, just before a BulkUpdate is created, while no operator is running.
    fn changes_unseen(&mut self) {
        let (_, _, at) = self.one(&self.submitted.clone());
        let of = self.one(&[Guarded::Policy, Guarded::Binding]);
        let weakness = self.weakness();
        let act = self.one(&[GuardAct::Weaken(weakness), GuardAct::Weaken(weakness), GuardAct::Recreate]);
        let begin = at.saturating_sub(self.one(&[300, 300, 900]));
        self.nobody_from(begin);
        self.change(begin + 100, of, act);
        self.change(begin + 200, of, GuardAct::Restore);
    }

    /// A BulkUpdate is created and relabelled in the same second, while no operator is running.
    fn created_unseen(&mut self) {
        let (namespace, name, at) = self.one(&self.submitted.clone());
        self.nobody_from(at.saturating_sub(100));
        let end_of_second = at / 1000 * 1000 + 999;
        let act = BulkAct::Relabel;
        self.at(end_of_second, What::ActOnBulk { namespace, name, act });
    }

    /// A BulkUpdate is changed when it is to be deleted, which a watch shows late.
    fn changes_at_its_end(&mut self) {
        let (_, _, at) = self.one(&self.submitted.clone());
        let (call, act) = (Call::Expire, BulkAct::Relabel);
        self.events.push(Event {
            when: When::On { slot: None, call, nth: 1 },
            what: What::Fault(Fault::BulkRace(act)),
        });
        let (resource, view) = (Resource::BulkUpdates, View::Slow(2000));
        self.at(at + 500, What::View { slot: None, resource, view, lasts: 20_000 });
    }

    /// A watch is refused as too old by the status of its answer.
    fn place_is_gone(&mut self) {
        let resource = self.one(&[Resource::Executions, Resource::BulkUpdates, Resource::Policies]);
        let (call, nth) = (Call::Watch(resource), self.one(&[1, 1, 2, 3]));
        let fault = Fault::Answer { code: 410, retry_after: None, passed_on: false };
        self.events.push(Event { when: When::On { slot: None, call, nth }, what: What::Fault(fault) });
    }

    /// Requests about targets fail for longer than it takes to report that.
    fn targets_fail(&mut self) {
        let (_, _, at) = self.one(&self.submitted.clone());
        let code = self.one(&[429, 500, 503]);
        let fault = Fault::Answer { code, retry_after: None, passed_on: false };
        let begin = at + self.one(&[50, 150, 400]);
        self.at(begin, What::Weather { slot: None, calls: Calls::Targets, fault, lasts: 20_000 });
    }

    /// Somebody makes a BulkUpdate unreadable, and readable again, several times.
    fn spoils(&mut self) {
        let (namespace, name, at) = self.one(&self.submitted.clone());
        let begin = at + self.one(&[30, 100, 500]);
        for n in 0..8 {
            let (name, act) = (name.clone(), BulkAct::Spoil);
            self.at(begin + n * 600, What::ActOnBulk { namespace, name, act });
        }
    }

    /// What no BulkUpdate names, in each namespace.
    fn bystanders(&mut self) {
        for namespace in NAMESPACES {
            let status = json!({"state": "STOPPED"});
            let (kind, name) = (Kind::Execution, BYSTANDER.into());
            let made = Made { namespace, kind, name, status, controller: None, kept: false, odd: None };
            self.at(1000, What::Create(made));
        }
    }
}
