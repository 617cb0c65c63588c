//! Draws lives in which something runs for Executions and Deployments: who creates them, how their work goes, who stops and
//! deletes them, and what people do to that meanwhile. All from random numbers of its own: the other lives stay as they are.

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::call::{Call, Resource};

use super::{Draw, THEMES, Theme};
use crate::{
    admin::ON,
    cluster::NAMESPACES,
    story::{
        Act, Admin, By, Calls, Course, End, Event, Fault, GuardAct, Guarded, Propagation, Run, Story, View,
        What, When, Who, WorkAct,
    },
};

/// In one of so many lives something runs.
const WORKS: u64 = 8;

/// Of these, the number of the lives in which nothing goes wrong is another one.
const OF: u64 = 3;

/// Whether something runs in the life of this seed.
pub const fn are_in(seed: u64) -> bool {
    seed % WORKS == OF
}

impl Story {
    /// The story of a seed in whose life something runs.
    pub fn with_works(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let share = random.f64();
        let themes = THEMES.into_iter().filter(|_| random.f64() < 0.1 + share * 0.5).collect::<Vec<_>>();
        let mut draw = Draw::new(random, themes);
        draw.works = true;
        let setup = draw.setup();
        draw.runs();
        draw.faults();
        draw.faults_of_works();
        if draw.has(Theme::Gateway) {
            draw.callers(setup.gateways.len());
        }
        Self { seed, setup, events: draw.events }
    }
}

impl Draw {
    /// What runs, and the BulkUpdates that name it.
    fn runs(&mut self) {
        let begin = if self.percent(15) { self.random.u64(0..2500) } else { self.random.u64(3000..12_000) };
        let namespace = if self.percent(80) { NAMESPACES[0] } else { NAMESPACES[1] };
        let mut all = Vec::new();
        for number in 0..self.one(&[1, 1, 2, 3, 5]) {
            let kind = if self.percent(65) { Kind::Execution } else { Kind::Deployment };
            let at = begin + self.one(&[0, 10, 500, 3000]);
            let name = self.name(number);
            self.run(namespace, kind, &name, at);
            all.push((kind, name));
        }
        let mut at = begin;
        let bulk_updates = self.one(&[1, 1, 2, 2, 3]);
        for number in 0..bulk_updates {
            at += self.one(&[20, 300, 1500, 4000, 9000]) + self.random.u64(0..300);
            self.bulk_update_of_works(number, namespace, &all, at);
        }
        for _ in 0..self.one(&[0, 1, 2, 2, 3, 5]) {
            let (kind, name) = self.one(&all);
            let moment = begin + self.one(&[300, 1000, 4000, 14_000]) + self.random.u64(0..2000);
            let act = self.work_act();
            let what = What::Work { namespace, kind, name, act };
            if self.percent(40) {
                let call = self.call_of_works();
                let nth = self.one(&[1, 1, 2, 3, 5]);
                self.events.push(Event { when: When::On { slot: None, call, nth }, what });
            } else {
                self.at(moment, what);
            }
        }
    }

    fn name(&mut self, number: u32) -> String {
        let name = format!("run-{number}");
        // Longer than that of a Job may be.
        if self.percent(4) { format!("{name}-{}", "x".repeat(63 - name.len())) } else { name }
    }

    fn course(&mut self) -> Course {
        let after = self.one(&[0, 500, 3000, 9000, 20_000]);
        let end = match self.random.u8(..10) {
            0..6 => End::Never,
            6 => End::Unstarted,
            7 | 8 => End::Completes(after),
            _ => End::Fails(after),
        };
        Course { replicas: self.one(&[1, 1, 2]), end, grace: self.one(&[0, 100, 2000, 4000, 15_000]) }
    }

    fn run(&mut self, namespace: &'static str, kind: Kind, name: &str, at: u64) {
        let mut course = self.course();
        if kind == Kind::Deployment && !matches!(course.end, End::Unstarted) {
            course.end = End::Never;
        }
        let by = match self.random.u8(..100) {
            // The schema would refuse it.
            0..25 if self.loose => By::Nameless,
            0..62 => By::Template,
            62..67 => By::Refused,
            67..72 if kind == Kind::Execution => By::NotServed,
            67..75 => By::Stranger,
            75..78 => By::Nameless,
            _ => By::Reference,
        };
        let work = |act| What::Work { namespace, kind, name: name.to_owned(), act };
        // What it refers to, or what has its name.
        if matches!(by, By::Reference | By::Stranger) || self.percent(8) {
            let act = if self.percent(12) { WorkAct::CreateOwned(course) } else { WorkAct::Create(course) };
            let before = self.one(&[5, 200, 2000]);
            let made = at.saturating_sub(before);
            self.at(made, work(act));
        }
        let user = if self.percent(92) { Who::Trainer } else { Who::Editor };
        let run = Run { namespace, kind, name: name.to_owned(), user, by, course };
        self.at(at, What::Run(run.clone()));
        self.made.push((namespace, kind, name.to_owned()));
        if self.percent(12) {
            // It is deleted, and created again: what ran for the first one may still be there.
            let (deleted, after) = (at + self.random.u64(100..12_000), self.one(&[5, 500, 3000, 9000]));
            let propagation = self.one(&[
                Propagation::Background,
                Propagation::Foreground,
                Propagation::Orphan,
                Propagation::Default,
            ]);
            self.at(deleted, work(WorkAct::DeleteOwner(propagation)));
            self.at(deleted + after, What::Run(run));
        }
    }

    fn bulk_update_of_works(
        &mut self,
        number: usize,
        namespace: &'static str,
        all: &[(Kind, String)],
        at: u64,
    ) {
        let mut lists = [Vec::new(), Vec::new()];
        for (kind, name) in all {
            if self.percent(20) {
                continue;
            }
            // First it is stopped, as a rule.
            let verb = if self.percent(if number == 0 { 85 } else { 45 }) { "STOPPED" } else { "DELETED" };
            *(if verb == "STOPPED" { &mut self.stops } else { &mut self.deletions }) += 1;
            let item = json!({"id": name, "targetStatus": verb});
            lists[usize::from(*kind == Kind::Deployment)].push(item);
        }
        for item in 0..self.one(&[1, 3, 6, 9]) {
            let kind = if self.percent(60) { Kind::Execution } else { Kind::Deployment };
            let verb = if self.percent(50) { "STOPPED" } else { "DELETED" };
            let entry = self.item((namespace, kind, format!("item-{number}-{item}")), verb, at);
            lists[usize::from(kind == Kind::Deployment)].push(entry);
        }
        let [executions, deployments] = lists.map(Value::from);
        let mut spec = json!({"executions": executions, "deployments": deployments});
        spec.as_object_mut().unwrap().retain(|_, list| list.as_array().is_some_and(|list| !list.is_empty()));
        self.options(&mut spec, at);
        let user =
            if self.percent(92) { Who::Trainer } else { self.one(&[Who::Editor, Who::Admin, Who::Viewer]) };
        let name = format!("bulk-{number}");
        self.submitted.push((namespace, name.clone(), at));
        self.at(at, What::Submit { namespace, name, spec, user, uids: true });
    }

    fn work_act(&mut self) -> WorkAct {
        let course = self.course();
        let propagation = self.one(&[
            Propagation::Background,
            Propagation::Foreground,
            Propagation::Orphan,
            Propagation::Default,
        ]);
        let who = self.one(&[Who::Trainer, Who::Trainer, Who::Editor]);
        self.one(&[
            WorkAct::Create(course),
            WorkAct::Delete(propagation),
            WorkAct::Delete(propagation),
            WorkAct::Recreate(course),
            WorkAct::Resume,
            WorkAct::Resume,
            WorkAct::Resume,
            WorkAct::Stop,
            WorkAct::Stop,
            WorkAct::Orphan,
            WorkAct::Orphan,
            WorkAct::Own,
            WorkAct::Own,
            WorkAct::Unlabel,
            WorkAct::Unlabel,
            WorkAct::Touch,
            WorkAct::Touch,
            WorkAct::Change(who),
            WorkAct::Change(who),
            WorkAct::Change(who),
            WorkAct::DeleteOwner(propagation),
        ])
    }

    fn call_of_works(&mut self) -> Call {
        self.one(&[
            Call::CreateWork,
            Call::CreateWork,
            Call::StopWork,
            Call::StopWork,
            Call::RecordWork,
            Call::RecordWork,
            Call::ReadWork,
            Call::AdoptWork,
            Call::ApplyWork,
            Call::ListPods,
        ])
    }

    /// At a request about what runs.
    pub fn on_work(&mut self, what: What) {
        let call = self.call_of_works();
        let nth = self.one(&[1, 1, 1, 2, 2, 3, 4, 6]);
        self.events.push(Event { when: When::On { slot: None, call, nth }, what });
    }

    /// What somebody does to a target whose state nobody but the operator tells.
    pub fn act_on_run(&mut self) -> Act {
        self.one(&[
            Act::Relabel,
            Act::Relabel,
            Act::Delete,
            Act::Recreate("UNKNOWN"),
            Act::Finalize,
            Act::Terminate,
            Act::Free,
        ])
    }

    /// What the other lives have no place for.
    fn faults_of_works(&mut self) {
        let policy = if self.has(Theme::Policy) { 40 } else { 4 };
        if self.percent(policy) {
            self.policy_of_works();
        }
        if self.has(Theme::Rights) && self.percent(60) {
            let (at, after) = (self.moment(), self.one(&[500, 4000, 12_000]));
            self.at(at, What::Admin(Admin::EngineRights(false)));
            self.at(at + after, What::Admin(Admin::EngineRights(true)));
        }
        if self.has(Theme::Views) && self.percent(60) {
            let resource = self.one(&[Resource::Jobs, Resource::Apps]);
            let view = self.one(&[
                View::Hold,
                View::Slow(2000),
                View::Close,
                View::Expire,
                View::Back,
                View::Lose,
                View::Twice,
            ]);
            let (at, lasts) = (self.moment(), self.one(&[1000, 6000, 15_000]));
            self.at(at, What::View { slot: None, resource, view, lasts });
        }
        if self.has(Theme::Weather) && self.percent(60) {
            let fault = self.one(&[
                Fault::Answer { code: 503, retry_after: None, passed_on: true },
                Fault::Answer { code: 504, retry_after: None, passed_on: true },
                Fault::Answer { code: 403, retry_after: None, passed_on: false },
                Fault::Reset { passed_on: true },
                Fault::Slow(700),
                Fault::Delay(700),
            ]);
            let (at, lasts) = (self.moment(), self.one(&[1000, 6000, 15_000]));
            self.at(at, What::Weather { slot: None, calls: Calls::Works, fault, lasts });
        }
        if self.percent(15) {
            // Between the request to stop and the stop.
            let call = self.one(&[Call::Stop, Call::StopWork]);
            self.events.push(Event {
                when: When::On { slot: None, call, nth: 1 },
                what: What::Admin(Admin::Flag(None)),
            });
            if self.percent(50) {
                let back = self.moment() + 5000;
                self.at(back, What::Admin(Admin::Flag(Some(ON))));
            }
        }
        if self.percent(40) {
            let fault = self.one(&[
                Fault::Reset { passed_on: true },
                Fault::Silence { passed_on: true },
                Fault::Late(500),
                Fault::Late(20_000),
                Fault::Answer { code: 504, retry_after: None, passed_on: true },
                Fault::Repeat(2000),
            ]);
            let call = self.one(&[
                Call::CreateWork,
                Call::CreateWork,
                Call::StopWork,
                Call::RecordWork,
                Call::AdoptWork,
            ]);
            self.events.push(Event { when: When::On { slot: None, call, nth: 1 }, what: What::Fault(fault) });
        }
    }

    /// The policy for what runs is not in force when something is created.
    fn policy_of_works(&mut self) {
        let created = self.events.iter().filter_map(|event| match (event.when, &event.what) {
            (When::At(at), What::Run(_)) => Some(at),
            _ => None,
        });
        let at = created.min().unwrap_or(5000);
        let of = self.one(&[Guarded::WorkPolicy, Guarded::WorkPolicy, Guarded::WorkBinding]);
        let weakness = self.weakness();
        let act = self.one(&[
            GuardAct::Delete,
            GuardAct::Weaken(weakness),
            GuardAct::Weaken(weakness),
            GuardAct::Recreate,
        ]);
        let begin = at.saturating_sub(self.one(&[20, 300, 3000]));
        self.change(begin, of, act);
        if self.percent(60) {
            let after = self.one(&[100, 1000, 5000]);
            self.change(begin + after, of, GuardAct::Restore);
        }
    }
}
