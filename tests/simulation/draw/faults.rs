//! Draws what goes wrong.

use support::call::{Call, Resource};

use super::{Draw, THEMES, Theme};
use crate::story::{
    Act, Admin, BulkAct, Calls, Event, Fault, GuardAct, Guarded, Moment, View, What, When, Who,
};

/// The codes of made up answers.
pub const CODES: [u16; 14] = [400, 401, 403, 404, 408, 409, 410, 413, 422, 429, 500, 502, 503, 504];

/// When the last fault begins, in milliseconds.
const FAULTS_BEGIN_BEFORE: u64 = 40_000;

impl Draw {
    /// Draws at least three faults that are sure to occur, and a crash in every second life.
    pub fn faults(&mut self) {
        let kinds: Vec<Theme> = self.themes.clone();
        for theme in kinds {
            for _ in 0..self.one(&[1, 1, 2, 3]) {
                self.fault(theme);
            }
        }
        if self.percent(60) {
            self.crash();
        }
        if self.percent(3) {
            self.crash_loop();
        }
        self.unseen();
        // Races may be lost, views have nothing to show, and weather hit nobody.
        let is_sure = |event: &&Event| match event.what {
            What::Fault(fault) => !matches!(fault, Fault::Race(_) | Fault::BulkRace(_)),
            What::Kill { .. } | What::Terminate { .. } | What::Suspend { .. } | What::SetClock { .. } => true,
            _ => false,
        };
        while self.events.iter().filter(is_sure).count() < 3 {
            let theme = self.one(&THEMES);
            self.fault(theme);
        }
    }

    /// A moment in the work.
    pub fn moment(&mut self) -> u64 {
        let (_, _, at) = self.one(&self.submitted.clone());
        let after = self.one(&[50, 300, 2000, 15_000]);
        (at + self.random.u64(0..after)).min(FAULTS_BEGIN_BEFORE)
    }

    fn back_after(&mut self) -> u64 {
        self.one(&[0, 50, 1000, 4000])
    }

    /// A process is killed at a request.
    fn crash(&mut self) {
        let moment =
            self.one(&[Moment::Before, Moment::Sent, Moment::Committed, Moment::Answered, Moment::Overtaken]);
        let back_after = self.back_after();
        let crash = What::Fault(Fault::Crash { moment, back_after });
        if self.percent(20) { self.on_any(crash) } else { self.on_write(crash) }
    }

    /// Each process is killed at its first write.
    fn crash_loop(&mut self) {
        let moment = self.one(&[Moment::Before, Moment::Committed, Moment::Answered]);
        for nth in 1..=5 {
            let crash = Fault::Crash { moment, back_after: 50 };
            self.on(Call::Record, nth, What::Fault(crash));
        }
    }

    fn fault(&mut self, theme: Theme) {
        let slot = self.random.usize(..self.replicas);
        let back_after = self.back_after();
        let lasts = self.one(&[200, 1000, 3000, 12_000, 20_000]);
        match theme {
            Theme::Crashes => match self.random.u8(..10) {
                0 => self.at_moment(What::Kill { slot, back_after }),
                1 => self.at_moment(What::Terminate { slot, back_after }),
                2 => self.on_write(What::Fault(Fault::Terminate { back_after })),
                _ => self.crash(),
            },
            Theme::Suspensions => {
                let moment = self.one(&[Moment::Before, Moment::Sent, Moment::Committed]);
                if self.percent(30) {
                    self.at_moment(What::Suspend { slot, lasts });
                } else {
                    self.on_write(What::Fault(Fault::Suspend { moment, lasts }));
                }
            }
            Theme::Answers => {
                let fault = self.answer();
                if self.percent(60) {
                    self.on_write(What::Fault(fault));
                } else {
                    self.on_any(What::Fault(fault));
                }
            }
            Theme::Lost => {
                let fault = self.lost();
                if self.percent(60) {
                    self.on_write(What::Fault(fault));
                } else {
                    self.on_any(What::Fault(fault));
                }
            }
            Theme::Late => {
                let late = self.one(&[50, 500, 2000, 9000, 20_000]);
                let fault = self.one(&[
                    Fault::Late(late),
                    Fault::Late(late),
                    Fault::Delay(late),
                    Fault::Slow(late),
                    Fault::Repeat(late),
                ]);
                self.on_write(What::Fault(fault));
            }
            Theme::Races => {
                let act = self.act();
                if self.percent(65) {
                    self.on_write(What::Fault(Fault::Race(act)));
                } else if !self.made.is_empty() {
                    let (namespace, kind, name) = self.one(&self.made.clone());
                    let act = if self.percent(40) { Act::Delete } else { act };
                    let what = What::Act { namespace, kind, name, act };
                    // While another target is written to, or at any time.
                    if self.random.bool() { self.on_write(what) } else { self.at_moment(what) }
                }
            }
            Theme::BulkRaces | Theme::Forgery => self.bulk_race(theme),
            Theme::Views => self.view(slot, lasts),
            Theme::Weather => self.weather(slot, lasts),
            // For longer than a refused write is tried again.
            Theme::Rights if self.percent(25) => {
                let fault = Fault::Answer { code: 403, retry_after: None, passed_on: false };
                self.at_moment(What::Weather { slot: None, calls: Calls::Targets, fault, lasts: 20_000 });
            }
            Theme::Flag | Theme::Policy | Theme::Rights | Theme::Leases => self.admin(theme),
            Theme::Clocks => self.clock(slot),
            Theme::Server => self.server(lasts),
            Theme::Fencing => {
                let late = self.one(&[20, 500, 3000, 12_000]);
                self.on_write(What::Fault(Fault::LoseLease(late)));
            }
            Theme::Controllers | Theme::SameMoment | Theme::Deadlines | Theme::Odd | Theme::Gateway => {}
        }
    }

    fn clock(&mut self, slot: usize) {
        let is_dated = |event: &Event| matches!(event.what, What::Fault(Fault::Dated { .. }));
        // Two such answers in a row would set the clock.
        if !self.events.iter().any(is_dated) && self.random.bool() {
            let (code, by) = (self.one(&[403, 429]), self.one(&[-7_200_000, 20_000, 7_200_000]));
            return self.on_write(What::Fault(Fault::Dated { code, by }));
        }
        let by = self.one(&[-3_600_000, -20_000, -1500, 1500, 20_000, 3_600_000]);
        self.at_moment(What::SetClock { slot, by });
    }

    fn server(&mut self, lasts: u64) {
        let has_stepped = self.events.iter().any(|event| matches!(event.what, What::StepClock { .. }));
        match self.random.u8(..3) {
            0 => self.at_moment(What::Restart { lasts }),
            1 if !has_stepped => {
                let by = self.one(&[-5000, -2000, -900, 900, 2000, 5000]);
                self.at_moment(What::StepClock { by });
            }
            _ => self.at_moment(What::Compact),
        }
    }

    fn at_moment(&mut self, what: What) {
        let moment = self.moment();
        self.at(moment, what);
    }

    fn on(&mut self, call: Call, nth: usize, what: What) {
        let slot = (self.replicas > 1 && self.percent(20)).then(|| self.random.usize(..self.replicas));
        self.events.push(Event { when: When::On { slot, call, nth }, what });
    }

    /// At a request about the work.
    pub fn on_write(&mut self, what: What) {
        if self.works && self.percent(60) {
            return self.on_work(what);
        }
        let mut calls = vec![Call::Record, Call::Record, Call::ReadTarget];
        calls.extend([Call::Stop; 2].into_iter().filter(|_| self.stops > 0));
        calls.extend([Call::Delete; 2].into_iter().filter(|_| self.deletions > 0));
        calls.extend(Some(Call::Expire).filter(|_| self.expires));
        let call = self.one(&calls);
        let most = match call {
            Call::Stop => self.stops,
            Call::Delete => self.deletions,
            Call::Record => 4,
            Call::Expire => 1,
            _ => 3,
        };
        let nth = self.one(&[1, 1, 1, 2, 2, 3, 4, 6, 10]).min(most);
        self.on(call, nth, what);
    }

    /// At any request.
    fn on_any(&mut self, what: What) {
        let resource = self.one(&[
            Resource::Executions,
            Resource::Deployments,
            Resource::BulkUpdates,
            Resource::ConfigMaps,
            Resource::Policies,
            Resource::Bindings,
            Resource::Leases,
        ]);
        let calls = [
            Call::List(resource),
            Call::Watch(resource),
            Call::ReadFlag,
            Call::ReadBulkUpdate,
            Call::ReadTarget,
            Call::Event,
            Call::ReadLease,
            Call::CreateLease,
            Call::RenewLease,
            Call::Preflight,
        ];
        let (call, nth) = (self.one(&calls), self.one(&[1, 1, 2, 3, 5, 9]));
        self.on(call, nth, what);
    }

    fn answer(&mut self) -> Fault {
        let code = self.one(&CODES);
        let retry_after =
            (matches!(code, 429 | 503) && self.percent(50)).then(|| self.one(&[1, 2, 30, 3600]));
        // A refusal means that nothing was done, unless a proxy has asked twice.
        let passed_on = (code >= 500 && self.percent(60)) || (code == 429 && self.percent(30));
        if self.percent(8) {
            Fault::Nonsense { passed_on: self.percent(50) }
        } else {
            Fault::Answer { code, retry_after, passed_on }
        }
    }

    fn lost(&mut self) -> Fault {
        let passed_on = self.percent(60);
        self.one(&[Fault::Refuse, Fault::Reset { passed_on }, Fault::Silence { passed_on }, Fault::Cut])
    }

    fn act(&mut self) -> Act {
        if self.works {
            return self.act_on_run();
        }
        let state = self.one(&["UNKNOWN", "PENDING", "RUNNING", "COMPLETED", "DEAD", "STOPPING", "STOPPED"]);
        self.one(&[
            Act::Relabel,
            Act::State(state),
            Act::State(state),
            Act::AskToStop,
            Act::AskToStopForAnother,
            Act::TakeBack,
            Act::Garbage,
            Act::Delete,
            Act::Delete,
            Act::Recreate(state),
            Act::Recreate(state),
            Act::Finalize,
            Act::Terminate,
            Act::Free,
        ])
    }

    fn bulk_race(&mut self, theme: Theme) {
        let act = if theme == Theme::Forgery {
            let acts =
                [BulkAct::Widen, BulkAct::Forget, BulkAct::Finish, BulkAct::Pretend, BulkAct::Backdate];
            let more = [BulkAct::Blot, BulkAct::Spoil].into_iter().filter(|_| self.loose);
            let all: Vec<_> = acts.into_iter().chain(more).collect();
            self.one(&all)
        } else {
            let seconds = self.one(&[0, 1, 100]);
            self.one(&[
                BulkAct::Delete,
                BulkAct::Recreate,
                BulkAct::Keep,
                BulkAct::Finalize,
                BulkAct::Relabel,
                BulkAct::TimeToLive(seconds),
                BulkAct::Reorder,
            ])
        };
        if self.percent(70) {
            self.on_write(What::Fault(Fault::BulkRace(act)));
        } else {
            let (namespace, name, _) = self.one(&self.submitted.clone());
            self.at_moment(What::ActOnBulk { namespace, name, act });
        }
    }

    fn view(&mut self, slot: usize, lasts: u64) {
        let resource = self.one(&[
            Resource::Executions,
            Resource::Deployments,
            Resource::BulkUpdates,
            Resource::BulkUpdates,
            Resource::ConfigMaps,
            Resource::Policies,
            Resource::Bindings,
        ]);
        let late = self.one(&[100, 333, 2000]);
        let mut view = self.one(&View::ALL);
        if let View::Slow(by) = &mut view {
            *by = late;
        }
        // An old version of a target has an old resourceVersion.
        let resource = match view {
            View::Before | View::Again => Resource::BulkUpdates,
            // What is forgotten is as good as deleted: a BulkUpdate would be begun with again.
            View::Forget => self.one(&[Resource::Executions, Resource::Deployments]),
            _ => resource,
        };
        let slot = self.percent(30).then_some(slot);
        self.at_moment(What::View { slot, resource, view, lasts });
    }

    fn weather(&mut self, slot: usize, lasts: u64) {
        let calls = self.one(&[
            Calls::All,
            Calls::Leases,
            Calls::Targets,
            Calls::Writes,
            Calls::Reads,
            Calls::Watches,
        ]);
        let answer = self.answer();
        let lost = self.lost();
        let fault = self.one(&[answer, lost, Fault::Delay(300), Fault::Slow(300)]);
        let slot = self.percent(60).then_some(slot);
        self.at_moment(What::Weather { slot, calls, fault, lasts });
    }

    fn admin(&mut self, theme: Theme) {
        let flags = [
            Some(r#"{"executions": false, "deployments": false}"#),
            Some(r#"{"executions": true, "deployments": false}"#),
            Some(r#"{"executions": false, "deployments": true}"#),
            Some(r#"{"executions": true, "deployments": true}"#),
            Some("executions: true\ndeployments: true\n"),
            Some("{\"execution\": true}"),
            Some("{{{"),
            Some(""),
            None,
        ];
        let of = self.one(&[Guarded::Policy, Guarded::Binding]);
        let admin = match theme {
            Theme::Flag if self.percent(15) => Admin::KeepFlag(true),
            Theme::Flag => Admin::Flag(self.one(&flags)),
            Theme::Policy => {
                let weakness = self.weakness();
                let acts = [GuardAct::Delete, GuardAct::Weaken(weakness), GuardAct::Recreate];
                let exempts = of == Guarded::Policy && self.percent(25);
                Admin::Policy(of, if exempts { GuardAct::Exempt } else { self.one(&acts) })
            }
            Theme::Rights => self.one(&[
                Admin::Rights(false),
                Admin::Rights(false),
                Admin::OwnRights(false),
                Admin::UserRights(Who::Editor, false),
                Admin::UserRights(Who::Stopper, false),
            ]),
            // A quarter of a megabyte in each request.
            _ if self.percent(4) => Admin::FillLease,
            _ => self.one(&[Admin::TakeLease, Admin::FreeLease, Admin::DeleteLease, Admin::SpoilLease]),
        };
        let undo = match &admin {
            Admin::Flag(_) => Some(Admin::Flag(flags[3])),
            Admin::KeepFlag(_) => Some(Admin::KeepFlag(false)),
            Admin::Policy(of, _) => Some(Admin::Policy(*of, GuardAct::Restore)),
            Admin::Rights(_) => Some(Admin::Rights(true)),
            Admin::OwnRights(_) => Some(Admin::OwnRights(true)),
            Admin::UserRights(who, _) => Some(Admin::UserRights(*who, true)),
            _ => None,
        };
        if self.percent(30) {
            self.on_write(What::Admin(admin));
        } else {
            self.at_moment(What::Admin(admin));
        }
        if let Some(undo) = undo.filter(|_| self.random.bool()) {
            let after = self.one(&[20, 500, 5000, 15_000]);
            let moment = self.moment() + after;
            self.at(moment, What::Admin(undo));
        }
    }
}
