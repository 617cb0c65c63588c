//! Draws what goes wrong.

use support::call::{Call, Resource};

use super::{Draw, THEMES, Theme};
use crate::story::{Act, Admin, BulkAct, Calls, Event, Fault, GuardAct, Guarded, Moment, View, What, When};

/// When the last fault begins, in milliseconds.
const FAULTS_BEGIN_BEFORE: u64 = 40_000;

impl Draw {
    /// Draws at least three faults, and a crash in every second life.
    pub fn faults(&mut self) {
        if self.percent(50) && !self.has(Theme::Crashes) {
            self.themes.push(Theme::Crashes);
        }
        let kinds: Vec<Theme> = self.themes.clone();
        for theme in kinds {
            for _ in 0..self.one(&[1, 1, 2, 3]) {
                self.fault(theme);
            }
        }
        while self.events.iter().filter(|event| event.what.is_fault()).count() < 3 {
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

    fn fault(&mut self, theme: Theme) {
        let slot = self.random.usize(..self.replicas);
        let back_after = self.back_after();
        let lasts = self.one(&[200, 1000, 3000, 12_000, 20_000]);
        match theme {
            Theme::Crashes => {
                let moment = self.one(&[Moment::Before, Moment::Sent, Moment::Committed, Moment::Answered]);
                match self.random.u8(..10) {
                    0 => self.at_moment(What::Kill { slot, back_after }),
                    1 => self.at_moment(What::Terminate { slot, back_after }),
                    2 => self.on_write(What::Fault(Fault::Terminate { back_after })),
                    3 => self.on_any(What::Fault(Fault::Crash { moment, back_after })),
                    _ => self.on_write(What::Fault(Fault::Crash { moment, back_after })),
                }
            }
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
                let fault =
                    self.one(&[Fault::Late(late), Fault::Late(late), Fault::Delay(late), Fault::Slow(late)]);
                self.on_write(What::Fault(fault));
            }
            Theme::Races => {
                let act = self.act();
                if self.percent(80) {
                    self.on_write(What::Fault(Fault::Race(act)));
                } else if !self.made.is_empty() {
                    let (namespace, kind, name) = self.one(&self.made.clone());
                    self.at_moment(What::Act { namespace, kind, name, act });
                }
            }
            Theme::BulkRaces | Theme::Forgery => self.bulk_race(theme),
            Theme::Views => self.view(slot, lasts),
            Theme::Weather => self.weather(slot, lasts),
            Theme::Flag | Theme::Policy | Theme::Rights | Theme::Leases => self.admin(theme),
            Theme::Clocks => {
                let by = self.one(&[-3_600_000, -20_000, -1500, 1500, 20_000, 3_600_000]);
                self.at_moment(What::SetClock { slot, by });
            }
            Theme::Compaction => self.at_moment(What::Compact),
            Theme::Controllers | Theme::SameMoment | Theme::Deadlines | Theme::Odd | Theme::Gateway => {}
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
    fn on_write(&mut self, what: What) {
        let calls = [
            Call::Stop,
            Call::Delete,
            Call::Record,
            Call::Stop,
            Call::Delete,
            Call::Record,
            Call::Expire,
            Call::ReadTarget,
        ];
        let (call, nth) = (self.one(&calls), self.one(&[1, 1, 1, 2, 2, 3, 4, 6, 10]));
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
        let code =
            self.one(&[400, 401, 403, 404, 408, 409, 410, 413, 422, 429, 429, 500, 500, 502, 503, 504, 504]);
        let retry_after =
            (matches!(code, 429 | 503) && self.percent(50)).then(|| self.one(&[1, 2, 30, 3600]));
        // A refusal of the server means that nothing was done.
        let passed_on = code >= 500 && self.percent(60);
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
            self.one(&[BulkAct::Widen, BulkAct::Forget, BulkAct::Finish, BulkAct::Pretend])
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
        let view =
            self.one(&[View::Hold, View::Slow(late), View::Close, View::Cut, View::Expire, View::Back]);
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
            Theme::Flag => Admin::Flag(self.one(&flags)),
            Theme::Policy => {
                let act = self.one(&[GuardAct::Delete, GuardAct::Weaken, GuardAct::Recreate]);
                Admin::Policy(of, act)
            }
            Theme::Rights => self.one(&[Admin::Rights(false), Admin::OwnRights(false)]),
            // A quarter of a megabyte in each request.
            _ if self.percent(4) => Admin::FillLease,
            _ => self.one(&[Admin::TakeLease, Admin::FreeLease, Admin::DeleteLease, Admin::SpoilLease]),
        };
        let undo = match &admin {
            Admin::Flag(_) => Some(Admin::Flag(flags[3])),
            Admin::Policy(of, _) => Some(Admin::Policy(*of, GuardAct::Restore)),
            Admin::Rights(_) => Some(Admin::Rights(true)),
            Admin::OwnRights(_) => Some(Admin::OwnRights(true)),
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
