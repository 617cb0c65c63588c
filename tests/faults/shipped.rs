//! The plans that run the shipped setup: two replicas with Lease and fence, all namespaces, the admission policy in
//! force. Their faults are about the Lease and the policy; besides, the leader crashes, is held or asked to end, and
//! the other replica takes over.

use crate::{
    fault::{Call, Change, Fault, Guard, Injection, Lasts, Moment, Place, Resource, View},
    plan::{Baseline, MOMENTS, Plan, RACES, answers, fits},
    scenario::Scenario,
};

/// What somebody does to the Lease.
const ABOUT_THE_LEASE: [Change; 3] = [Change::TakeLease, Change::FreeLease, Change::DeleteLease];

/// The scenarios in which only the leader crashes, is held or asked to end.
const IN_SHORT: [&str; 7] =
    ["both-kinds", "dry-run", "ttl", "flag-off", "deleted-midway", "two-bulk-updates", "one-kind-off"];

/// All plans of a scenario.
pub fn of(scenario: &'static Scenario, baseline: &Baseline) -> Vec<Plan> {
    if scenario.name == "three-items" {
        let without_faults =
            Plan { name: format!("shipped/{}/in-peace", scenario.name), ..shipped(scenario) };
        let work =
            [crashes(scenario, baseline, true), pairs(scenario, baseline), common_faults(scenario, baseline)];
        let lease = [renewals(scenario), leases(scenario, baseline), takeovers(scenario)];
        let policy = [lists(scenario), guards(scenario)];
        let all = work.into_iter().chain(lease).chain(policy).flatten();
        [without_faults].into_iter().chain(all).collect()
    } else if IN_SHORT.contains(&scenario.name) {
        crashes(scenario, baseline, false)
    } else {
        Vec::new()
    }
}

fn shipped(scenario: &'static Scenario) -> Plan {
    Plan { shipped: true, ..Plan::without_faults(scenario) }
}

fn plan_with(scenario: &'static Scenario, injections: Vec<Injection>) -> Plan {
    Plan { shipped: true, ..Plan::with_faults("shipped", scenario, injections) }
}

fn writes(baseline: &Baseline) -> Vec<(Call, Place)> {
    let mut calls: Vec<_> = baseline.counts.iter().filter(|(call, _)| call.is_write()).collect();
    calls.sort_unstable();
    calls.into_iter().flat_map(|(call, n)| (1..=*n).map(|nth| (*call, Place::Nth(*call, nth)))).collect()
}

/// The leader dies, is held or asked to end.
fn crashes(scenario: &'static Scenario, baseline: &Baseline, in_full: bool) -> Vec<Plan> {
    let mut plans = Vec::new();
    let once = |place, fault| plan_with(scenario, vec![Injection::once(place, fault)]);
    for (call, place) in writes(baseline) {
        let overtaken = Some(Moment::Overtaken).filter(|_| call.is_target_write());
        for moment in MOMENTS.into_iter().chain(overtaken) {
            plans.push(once(place, Fault::Crash(moment)));
        }
        plans.push(once(place, Fault::Sigterm));
        for moment in [Moment::Before, Moment::Answered] {
            plans.push(once(place, Fault::Pause(moment)));
        }
    }
    if in_full {
        // Before there is anything to do, and while the targets are read.
        let others = [
            Call::ReadLease,
            Call::CreateLease,
            Call::RenewLease,
            Call::List(Resource::Policies),
            Call::Watch(Resource::Bindings),
            Call::ReadFlag,
            Call::ReadTarget,
        ];
        for call in others {
            for moment in MOMENTS {
                plans.push(once(Place::Nth(call, 1), Fault::Crash(moment)));
            }
        }
        plans.push(once(Place::Nth(Call::ReadFlag, 1), Fault::Pause(Moment::Answered)));
    }
    plans
}

/// The leader crashes, and then its successor.
fn pairs(scenario: &'static Scenario, baseline: &Baseline) -> Vec<Plan> {
    let mut plans = Vec::new();
    for first in 1..baseline.writes {
        for (a, b) in MOMENTS.into_iter().flat_map(|a| MOMENTS.map(|b| (a, b))) {
            let crash = |life, n, moment| Injection {
                life,
                ..Injection::once(Place::Write(n), Fault::Crash(moment))
            };
            let plan = plan_with(scenario, vec![crash(0, first, a), crash(1, 1, b)]);
            plans.push(Plan { hits_twice: true, ..plan });
        }
    }
    plans
}

/// Faults of writes that the other families have, and what others do in the meantime.
fn common_faults(scenario: &'static Scenario, baseline: &Baseline) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (call, place) in writes(baseline) {
        let answers = answers().into_iter().filter(|fault| fits(*fault, call));
        for fault in answers.chain(RACES.map(Fault::Race)) {
            plans.push(plan_with(scenario, vec![Injection::once(place, fault)]));
        }
    }
    for view in [View::Hold, View::Lose, View::Back] {
        for change in [Change::Complete, Change::Recreate] {
            let name =
                format!("shipped/{}/{}-executions-{}", scenario.name, view.word(), Fault::Race(change));
            let view = Some((view, Resource::Executions));
            plans.push(Plan { name, view, unseen: Some(change), ..shipped(scenario) });
        }
    }
    plans
}

/// The first stop has to wait for so many seconds, so that something can happen in the middle.
const fn busy(seconds: u32) -> Injection {
    let fault = Fault::Answer { code: 429, retry_after: Some(seconds), passed_on: false };
    Injection::once(Place::Nth(Call::Stop, 1), fault)
}

/// The Lease cannot be renewed in the middle of the work, once or until it is lost.
fn renewals(scenario: &'static Scenario) -> Vec<Plan> {
    let middle = Place::InTheMiddle(Call::RenewLease);
    let mut plans = Vec::new();
    for fault in answers() {
        plans.push(plan_with(scenario, vec![Injection::once(middle, fault), busy(1)]));
        if !matches!(fault, Fault::Late(_) | Fault::CutShort) {
            let lasting = Injection { lasts: Lasts::Seconds(7), ..Injection::once(middle, fault) };
            plans.push(plan_with(scenario, vec![lasting, busy(5)]));
        }
    }
    for change in ABOUT_THE_LEASE {
        plans.push(plan_with(scenario, vec![Injection::once(middle, Fault::Race(change)), busy(5)]));
    }
    for moment in [Moment::Before, Moment::Answered] {
        plans.push(plan_with(scenario, vec![Injection::once(middle, Fault::Pause(moment)), busy(5)]));
    }
    plans
}

/// Somebody takes the Lease, and it cannot be read or created.
fn leases(scenario: &'static Scenario, baseline: &Baseline) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (_, place) in writes(baseline) {
        for change in ABOUT_THE_LEASE {
            plans.push(plan_with(scenario, vec![Injection::once(place, Fault::Race(change))]));
        }
    }
    for call in [Call::ReadLease, Call::CreateLease] {
        let faults = answers().into_iter();
        for fault in faults.filter(|fault| call == Call::CreateLease || !is_about_writes(*fault)) {
            plans.push(plan_with(scenario, vec![Injection::once(Place::Nth(call, 1), fault)]));
        }
    }
    for view in [View::Hold, View::Slow, View::Close, View::Expire, View::Lose, View::Twice] {
        let end = Injection::once(Place::Nth(Call::Stop, 1), Fault::Sigterm);
        let name = format!("shipped/{}/{}-leases-then-{end}", scenario.name, view.word());
        let view = Some((view, Resource::Leases));
        plans.push(Plan { name, view, injections: vec![end], ..shipped(scenario) });
    }
    plans
}

const fn is_about_writes(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Late(_) | Fault::Silence { passed_on: true } | Fault::Answer { passed_on: true, .. }
    )
}

/// Faults of the replica that takes over.
fn takeovers(scenario: &'static Scenario) -> Vec<Plan> {
    let crash = Injection::once(Place::Nth(Call::Stop, 1), Fault::Crash(Moment::Committed));
    let take = Place::Nth(Call::RenewLease, 1);
    let mut faults = answers();
    faults.extend(MOMENTS.map(Fault::Crash));
    faults.extend(ABOUT_THE_LEASE.map(Fault::Race));
    let plan = |fault: Fault| {
        let injections = vec![crash, Injection { life: 1, ..Injection::once(take, fault) }];
        Plan { hits_twice: true, ..plan_with(scenario, injections) }
    };
    faults.into_iter().map(plan).collect()
}

/// The policy and its binding cannot be listed or watched at first.
fn lists(scenario: &'static Scenario) -> Vec<Plan> {
    let mut plans = Vec::new();
    for resource in Resource::GUARDS {
        for call in [Call::List(resource), Call::Watch(resource)] {
            for fault in answers().into_iter().filter(|fault| !is_about_writes(*fault)) {
                plans.push(plan_with(scenario, vec![Injection::once(Place::Nth(call, 1), fault)]));
            }
        }
    }
    plans
}

/// The policy or its binding is weakened, deleted or created again: while it is watched, while that watch shows
/// something else, while no operator runs, and with another leader when it is restored.
fn guards(scenario: &'static Scenario) -> Vec<Plan> {
    let mut plans = Vec::new();
    for resource in Resource::GUARDS {
        for guard in [Guard::Gone, Guard::Renewed, Guard::Weak, Guard::WeakForAMoment].map(|g| g(resource)) {
            let what = Fault::Race(Change::Guard(guard));
            let mut plan = |how: &str, view: Option<View>, away, injections: Vec<Injection>| {
                let name = format!("shipped/{}/{what}{how}", scenario.name);
                let view = view.map(|view| (view, resource));
                let plan = Plan { name, injections, view, away, ..shipped(scenario) };
                plans.push(Plan { guard: Some(guard), ..plan });
            };
            plan("", None, false, Vec::new());
            plan("-while-nobody-runs", None, true, Vec::new());
            for view in
                [View::Hold, View::Slow, View::Close, View::Expire, View::Back, View::Lose, View::Twice]
            {
                plan(&format!("-{}", view.word()), Some(view), false, Vec::new());
            }
            if !guard.is_restored() {
                let crash = Injection::once(Place::Nth(Call::Record, 1), Fault::Crash(Moment::Answered));
                plan(&format!("-then-{crash}"), None, false, vec![crash]);
            }
            if let Guard::Gone(resource) = guard {
                let change = Fault::Race(Change::RelabelUnguarded(resource));
                let race = Injection::once(Place::Nth(Call::Record, 1), change);
                plans.push(Plan { guard: Some(guard), ..plan_with(scenario, vec![race]) });
            }
        }
    }
    plans
}
