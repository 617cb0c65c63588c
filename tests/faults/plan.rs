//! Which plans there are: every fault at every place that a run without faults has shown.

mod views;

use std::collections::HashMap;

use support::audit::Request;

use crate::{
    fault::{Call, Change, Fault, Guard, Injection, Lasts, Late, Moment, Place, Resource, View},
    scenario::{Reaction, Scenario},
    shipped,
};

/// A run of a scenario with its faults.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "they are independent")]
pub struct Plan {
    pub name: String,
    pub scenario: &'static Scenario,
    pub injections: Vec<Injection>,
    pub view: Option<(View, Resource)>,
    /// What somebody does to every target while the view is wrong, before the BulkUpdate is created.
    pub unseen: Option<Change>,
    /// Whether the second crash of a pair is sure to find a request to hit.
    pub hits_twice: bool,
    /// Whether it runs the shipped setup: two replicas with leader election, which serve all namespaces and plan
    /// nothing that the admission policy does not cover. Otherwise one process, without Lease, fence and policy, serves
    /// one namespace.
    pub shipped: bool,
    /// What somebody does to the admission policy or its binding before the BulkUpdate is created; if it is not
    /// restored by then, it is restored afterwards.
    pub guard: Option<Guard>,
    /// Whether no operator runs while that is done and the BulkUpdate is created.
    pub away: bool,
    /// The name of its own policy and binding.
    pub own_policy: Option<String>,
}

/// What a run without faults has sent.
pub struct Baseline {
    pub counts: HashMap<Call, usize>,
    pub writes: usize,
}

impl Baseline {
    /// The requests that both runs have sent.
    pub fn in_common(&self, other: &Self) -> Self {
        let both = |(call, count): (&Call, &usize)| Some((*call, *count.min(other.counts.get(call)?)));
        Self { counts: self.counts.iter().filter_map(both).collect(), writes: self.writes.min(other.writes) }
    }
}

impl Plan {
    pub fn without_faults(scenario: &'static Scenario) -> Self {
        let name = format!("peace/{}", scenario.name);
        Self {
            name,
            scenario,
            injections: Vec::new(),
            view: None,
            unseen: None,
            hits_twice: false,
            shipped: false,
            guard: None,
            away: false,
            own_policy: None,
        }
    }

    pub fn changes(&self) -> impl Iterator<Item = Change> {
        let races = self.injections.iter().filter_map(|injection| match injection.fault {
            Fault::Race(change) => Some(change),
            _ => None,
        });
        races.chain(self.unseen)
    }

    /// Whether the admission policy or its binding is deleted while the BulkUpdate is planned.
    pub fn loses_its_policy_midway(&self) -> bool {
        self.changes().any(|change| matches!(change, Change::RelabelUnguarded(_)))
    }

    /// Whether its TTL is raised just before it ends, and the watch does not show the end.
    pub fn hides_its_end(&self) -> bool {
        self.view.is_some() && self.changes().any(|change| change == Change::RaiseTtl)
    }

    pub fn is_undisturbed(&self) -> bool {
        self.injections.is_empty() && self.view.is_none() && self.guard.is_none()
    }

    pub fn crashes(&self) -> bool {
        self.injections.iter().any(|injection| matches!(injection.fault, Fault::Crash(_)))
    }

    /// Whether somebody else makes a change first.
    pub fn is_a_race(&self) -> bool {
        self.injections.iter().any(|injection| matches!(injection.fault, Fault::Race(_)))
    }

    /// Whether the operator crashes in two lives.
    pub fn is_a_pair(&self) -> bool {
        self.injections.len() == 2 && self.injections.iter().any(|injection| injection.life > 0)
    }

    /// Whether this view, when it ends, shows the operator something new: then what is created later is based on it.
    pub fn view_ends_before_the_bulk_update(&self) -> bool {
        let on_guards = |(_, resource): &(View, Resource)| Resource::GUARDS.contains(resource);
        let hides = |(view, _): &(View, Resource)| matches!(view, View::Hold | View::Lose | View::Back);
        self.view.filter(on_guards).is_some_and(|view| hides(&view))
    }

    /// How many requests have to be hit (or, in a view, events affected) for the plan to show anything. The second
    /// crash of a pair may have no request to hit.
    pub fn bound(&self) -> usize {
        let bound = self.injections.iter().filter(|injection| injection.life == 0 || self.hits_twice);
        bound.map(|injection| injection.lasts.at_least()).sum::<usize>() + usize::from(self.view.is_some())
    }

    /// Whether the set of requests, and not only their order, depends on timing: then so does whether there is anything
    /// to hit.
    pub fn depends_on_timing(&self) -> bool {
        self.scenario.outcomes.is_empty() && self.scenario.max_in_flight > 1
    }

    /// Whether nothing is answered for longer than one request may take, or something fails for half a minute.
    pub fn takes_long(&self) -> bool {
        let silent = |s: &Injection| matches!(s.fault, Fault::Silence { .. }) && s.lasts != Lasts::Once;
        self.injections.iter().any(|s| silent(s) || s.lasts == HALF_A_MINUTE)
    }

    /// Whether the harness may have sent this request on behalf of its operator.
    pub fn is_sent_late(&self, request: &Request) -> bool {
        self.injections
            .iter()
            .filter(|s| matches!(s.fault, Fault::Late(_) | Fault::Crash(Moment::Overtaken)))
            .any(|injection| match injection.place {
                Place::Nth(Call::Record, _) => request.is_record(),
                Place::Nth(Call::Expire, _) => request.resource == "bulkupdates" && request.verb == "delete",
                Place::Nth(Call::Stop, _) => request.is_target() && request.verb == "patch",
                Place::Nth(Call::Delete, _) => request.is_target() && request.verb == "delete",
                _ => false,
            })
    }

    /// Whether only the operator acts, apart from the scenario itself, and the faults leave it as much time as it has
    /// without them.
    pub fn is_calm(&self) -> bool {
        let counts = |change| {
            !matches!(
                change,
                Change::Relabel
                    | Change::RelabelBulkUpdate
                    | Change::RaiseTtl
                    | Change::TakeLease
                    | Change::FreeLease
                    | Change::DeleteLease
            )
        };
        self.guard.is_none()
            && !self.changes().any(counts)
            && (self.is_undisturbed() || !self.scenario.has_a_deadline())
    }

    /// Whether it is shown the BulkUpdate as it was before it was planned.
    pub fn shows_an_old_bulk_update(&self) -> bool {
        matches!(self.view, Some((View::Before | View::Again, Resource::BulkUpdates)))
    }

    /// Whether its watches are wrong only from its first record on; before that it would not see its BulkUpdate.
    pub fn view_begins_at_the_record(&self) -> bool {
        self.hides_what_happens_in_the_middle() && self.view == Some((View::Hold, Resource::BulkUpdates))
    }

    /// Whether the operator's watch hides the change in the middle.
    pub fn hides_what_happens_in_the_middle(&self) -> bool {
        match (self.scenario.reaction, self.view) {
            (Reaction::InTheMiddle(_, seen_in), Some((View::Hold | View::Before, resource))) => {
                seen_in == resource
            }
            _ => false,
        }
    }

    pub fn with_faults(family: &str, scenario: &'static Scenario, injections: Vec<Injection>) -> Self {
        let parts: Vec<_> = injections.iter().map(Injection::to_string).collect();
        let name = format!("{family}/{}/{}", scenario.name, parts.join("-then-"));
        Self { name, injections, ..Self::without_faults(scenario) }
    }
}

const HALF_A_MINUTE: Lasts = Lasts::Seconds(30);

pub const MOMENTS: [Moment; 3] = [Moment::Before, Moment::Committed, Moment::Answered];

pub fn answers() -> Vec<Fault> {
    let mut faults = Vec::new();
    for passed_on in [false, true] {
        for code in [401, 403, 409, 410, 429, 500, 503, 504] {
            faults.push(Fault::Answer { code, retry_after: None, passed_on });
        }
        faults.push(Fault::Answer { code: 429, retry_after: Some(1), passed_on });
        faults.push(Fault::Silence { passed_on });
    }
    faults.extend([Late::OneRequest, Late::TwoRequests, Late::Recorded].map(Fault::Late));
    faults.push(Fault::CutShort);
    faults
}

pub const RACES: [Change; 16] = [
    Change::Relabel,
    Change::Complete,
    Change::Run,
    Change::Stop,
    Change::AskToStop,
    Change::Delete,
    Change::Recreate,
    Change::Finalize,
    Change::Terminate,
    Change::DeleteBulkUpdate,
    Change::RecreateBulkUpdate,
    Change::KeepBulkUpdate,
    Change::RelabelBulkUpdate,
    Change::SecondBulkUpdate,
    Change::WidenStatus,
    Change::FlagOff,
];

/// Whether the fault makes sense there.
pub fn fits(fault: Fault, call: Call) -> bool {
    match fault {
        // Reads may be lost; delaying them makes no difference.
        Fault::Late(_) => call.is_write(),
        Fault::Silence { passed_on } | Fault::Answer { passed_on, .. } if !call.is_write() => !passed_on,
        _ => true,
    }
}

/// All plans of a scenario.
pub fn of(scenario: &'static Scenario, baseline: &Baseline) -> Vec<Plan> {
    let mut plans = vec![Plan::without_faults(scenario)];
    let mut calls: Vec<_> = baseline.counts.iter().map(|(call, n)| (*call, *n)).collect();
    calls.sort_unstable();
    let places = || calls.iter().flat_map(|(call, n)| (1..=*n).map(|nth| (*call, Place::Nth(*call, nth))));

    for (_, place) in places().filter(|(call, _)| *call != Call::Event) {
        for moment in MOMENTS {
            let injection = Injection::once(place, Fault::Crash(moment));
            plans.push(Plan::with_faults("crash", scenario, vec![injection]));
        }
    }
    for (call, place) in places().filter(|(call, _)| call.is_write()) {
        let overtaken = Some(Fault::Crash(Moment::Overtaken)).filter(|_| call.is_target_write());
        for fault in overtaken.into_iter().chain([Fault::Sigterm]) {
            plans.push(Plan::with_faults("crash", scenario, vec![Injection::once(place, fault)]));
        }
    }
    for first in 1..=if scenario.in_short { 0 } else { baseline.writes } {
        for (a, b) in MOMENTS.into_iter().flat_map(|a| MOMENTS.map(|b| (a, b))) {
            // What was carried out is not sent again: beyond this, the second life sends nothing to hit.
            let left = baseline.writes - first + usize::from(a == Moment::Before);
            for second in 1..=left {
                let crash = |life, n, moment| Injection {
                    life,
                    ..Injection::once(Place::Write(n), Fault::Crash(moment))
                };
                let injections = vec![crash(0, first, a), crash(1, second, b)];
                // At least the end remains to be reported, unless the BulkUpdate was deleted. There may be fewer
                // reports.
                let hits_twice = second == 1 && !scenario.deletes_its_bulk_update();
                plans.push(Plan { hits_twice, ..Plan::with_faults("crash", scenario, injections) });
            }
        }
    }
    for (call, place) in places().filter(|_| !scenario.in_short) {
        for fault in answers().into_iter().filter(|fault| fits(*fault, call)) {
            plans.push(Plan::with_faults("answers", scenario, vec![Injection::once(place, fault)]));
        }
    }
    for (_, place) in
        places().filter(|(call, _)| call.is_write() || matches!(call, Call::ReadTarget | Call::ReadFlag))
    {
        // Where one kind is switched off, the other is not.
        let off = matches!(scenario.reaction, Reaction::InTheMiddle(Change::DeploymentsOff, _));
        // A forged status needs an object that it could affect.
        let bystander = scenario.targets.iter().any(|target| target.name == "bystander");
        let fits = |change: &Change| match change {
            Change::FlagOff => !off,
            Change::WidenStatus => bystander,
            _ => true,
        };
        let raise = Some(Change::RaiseTtl).filter(|_| scenario.has_a_ttl());
        for change in RACES.into_iter().filter(fits).chain(raise) {
            let injection = Injection::once(place, Fault::Race(change));
            plans.push(Plan::with_faults("races", scenario, vec![injection]));
        }
    }
    if scenario.name == "three-items" {
        plans.extend(lasting(scenario, baseline));
        plans.extend(crash_loops(scenario));
    }
    if !scenario.in_short {
        plans.extend(views::of(scenario));
    }
    plans.extend(shipped::of(scenario, baseline));
    plans
}

/// What fails for a while: four requests in a row, or for three seconds. Silence is for two requests, which takes 20
/// seconds.
fn lasting(scenario: &'static Scenario, baseline: &Baseline) -> Vec<Plan> {
    let mut plans = Vec::new();
    for call in [Call::Record, Call::Stop, Call::Delete, Call::ReadTarget, Call::ReadFlag] {
        for nth in 1..=baseline.counts.get(&call).copied().unwrap_or_default() {
            let place = Place::Nth(call, nth);
            let answer = |code| Fault::Answer { code, retry_after: None, passed_on: false };
            // A read cannot conflict.
            let codes = [409, 429, 503].into_iter().filter(|code| *code != 409 || call.is_write());
            let answers =
                codes.flat_map(|code| [Lasts::Requests(4), Lasts::Seconds(3)].map(|l| (answer(code), l)));
            let slow = [
                (Fault::Silence { passed_on: false }, Lasts::Requests(2)),
                (answer(429), HALF_A_MINUTE),
                (Fault::Late(Late::TwentySeconds), Lasts::Once),
            ];
            let fits =
                |(fault, _): &(Fault, Lasts)| call.is_target_write() || !matches!(fault, Fault::Late(_));
            let slow = slow.into_iter().filter(|slow| nth == 1 && fits(slow));
            for (fault, lasts) in answers.chain(slow) {
                let injection = Injection { lasts, ..Injection::once(place, fault) };
                plans.push(Plan::with_faults("answers", scenario, vec![injection]));
            }
        }
    }
    plans
}

/// It dies at the first write of each life, five times.
fn crash_loops(scenario: &'static Scenario) -> impl Iterator<Item = Plan> {
    MOMENTS.into_iter().map(move |moment| {
        let crash = |life| Injection { life, ..Injection::once(Place::Write(1), Fault::Crash(moment)) };
        let name = format!("crash/{}/{}-five-times", scenario.name, crash(0));
        Plan { name, ..Plan::with_faults("crash", scenario, (0..5).map(crash).collect()) }
    })
}
