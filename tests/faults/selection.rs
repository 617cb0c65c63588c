//! Which plans `make test` runs: a fixed selection. Together they have each fault at each kind of request, in some scenario,
//! each scenario in each family, and what each mutation of `tests/mutations` breaks. What the simulation has many times, such
//! as pairs of crashes, it has a few of.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use libtest_mimic::{Failed, Trial};

use crate::{
    fault::{Call, Injection, Place, Resource},
    plan::{self, Baseline, Plan},
    scenario::SCENARIOS,
};

/// The names of the selected plans.
pub fn of<'a>(plans: impl Iterator<Item = &'a Plan> + Clone) -> HashSet<String> {
    cover(plans, &named_by_mutations())
}

/// The plans that find a mutation.
fn named_by_mutations() -> HashSet<String> {
    let patches = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mutations")).unwrap();
    let named = |patch: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(patch.unwrap().path()).unwrap();
        text.lines().find_map(|line| line.strip_prefix("red: faults ").map(str::to_owned))
    };
    patches.filter_map(named).collect()
}

/// A greedy cover: enough of these that together with those `anyway` they show everything. The next one is always the one
/// that adds the most; on a tie, one that is sure to show it, then one with an early request, and then by a hash of the name,
/// so that another plan more or less changes little.
fn cover<'a>(plans: impl Iterator<Item = &'a Plan> + Clone, anyway: &HashSet<String>) -> HashSet<String> {
    let named = plans.clone().map(|plan| &plan.name).filter(|name| anyway.contains(*name));
    let mut chosen: HashSet<_> = named.cloned().collect();
    let mut shown: Vec<String> = chosen.iter().flat_map(|name| shows(name)).collect();
    let mut left: Vec<(Rank, &str, Vec<String>)> =
        plans.map(|plan| (rank(plan), &*plan.name, shows(&plan.name))).collect();
    loop {
        for (_, _, new) in &mut left {
            new.retain(|what| !shown.contains(what));
        }
        left.retain(|(_, _, new)| !new.is_empty());
        let next = left.iter().min_by_key(|(rank, _, new)| (Reverse(new.len()), *rank));
        let Some((_, name, new)) = next else { return chosen };
        shown.clone_from(new);
        chosen.insert((*name).to_owned());
    }
}

/// Whether it may show nothing, how late it shows it, and a hash.
type Rank = (bool, usize, u64);

fn rank(plan: &Plan) -> Rank {
    let mut hasher = DefaultHasher::new();
    plan.name.hash(&mut hasher);
    let unsure = plan.depends_on_timing() || plan.is_a_pair() && !plan.hits_twice;
    let nth = |injection: &Injection| match injection.place {
        Place::Nth(_, n) | Place::Write(n) => n,
        Place::InTheMiddle(_) => 1,
    };
    (unsure, plan.injections.iter().map(nth).sum(), hasher.finish())
}

/// What a plan shows, from its name: family and scenario, and each fault and the kind of request that it hits, in the first
/// life or a later one.
fn shows(name: &str) -> Vec<String> {
    let mut parts = name.splitn(3, '/');
    let family = parts.next().unwrap_or_default();
    let of_scenario = format!("{family} in {}", parts.next().unwrap_or_default());
    let injections = parts.next().unwrap_or_default().split("-then-").enumerate();
    let injections = injections
        .map(|(n, injection)| format!("{}{}", at_any(injection), if n == 0 { "" } else { " later" }));
    [of_scenario].into_iter().chain(injections).collect()
}

/// The same fault at the same kind of request, whichever of these it is: `500-at-record` of `500-at-record-2`, and `500-at-list`
/// of `500-at-list-executions-1`.
fn at_any(injection: &str) -> &str {
    let Some((fault, request)) = injection.rsplit_once("-at-") else { return injection };
    let kind = ["list-", "watch-"].into_iter().find(|kind| request.starts_with(kind));
    let number = request.rsplit_once('-').filter(|(_, n)| n.parse::<usize>().is_ok());
    let kind = kind.map(|kind| &kind[..kind.len() - 1]).or(number.map(|(kind, _)| kind));
    kind.map_or(injection, |kind| &injection[..fault.len() + "-at-".len() + kind.len()])
}

/// Tests of the selection, with the plans that follow from a made-up run without faults.
pub fn trials() -> impl Iterator<Item = Trial> {
    [
        ("selection/each-fault-at-each-kind-of-request-is-selected", complete as fn() -> Result<(), Failed>),
        ("selection/it-is-fixed-and-small", fixed_and_small),
    ]
    .map(|(name, test)| Trial::test(name, test).with_kind("selection"))
    .into_iter()
}

fn likely() -> Vec<Plan> {
    let lists = Resource::WORK.into_iter().flat_map(|resource| [Call::List(resource), Call::Watch(resource)]);
    let single = [Call::ReadBulkUpdate, Call::ReadFlag, Call::Stop, Call::Delete, Call::Expire, Call::Event];
    let counts = lists.chain(single).map(|call| (call, 1)).chain([(Call::ReadTarget, 2), (Call::Record, 3)]);
    let counts: HashMap<_, _> = counts.collect();
    SCENARIOS
        .iter()
        .flat_map(|scenario| plan::of(scenario, &Baseline { counts: counts.clone(), writes: 6 }))
        .collect()
}

/// The parts of a plan, without using its name.
fn made_of(plan: &Plan) -> BTreeSet<String> {
    let family = plan.name.split('/').next().unwrap_or_default();
    let mut parts = BTreeSet::from([format!("{family} {}", plan.scenario.name)]);
    for injection in &plan.injections {
        let lasts = format!("{:?}", injection.lasts);
        let request = match injection.place {
            Place::Nth(Call::List(_), _) => "any list".into(),
            Place::Nth(Call::Watch(_), _) => "any watch".into(),
            Place::Nth(call, _) => call.to_string(),
            Place::Write(_) => "any write".into(),
            Place::InTheMiddle(call) => format!("{call} in the middle"),
        };
        parts.insert(format!("{} {lasts} at {request}", injection.fault));
    }
    if plan.view.is_some() || plan.unseen.is_some() || plan.guard.is_some() {
        parts.insert(format!("{:?} {:?} {:?} {}", plan.view, plan.unseen, plan.guard, plan.away));
    }
    parts
}

fn complete() -> Result<(), Failed> {
    let plans = likely();
    let chosen = of(plans.iter());
    let run: BTreeSet<_> =
        plans.iter().filter(|plan| chosen.contains(&plan.name)).flat_map(made_of).collect();
    let all: BTreeSet<_> = plans.iter().flat_map(made_of).collect();
    let missing: Vec<_> = all.difference(&run).collect();
    if missing.is_empty() && all.len() > 500 {
        Ok(())
    } else {
        Err(format!("of {} it lacks {missing:#?}", all.len()).into())
    }
}

fn fixed_and_small() -> Result<(), Failed> {
    let plans = likely();
    let chosen = of(plans.iter());
    println!("{} of {} plans are chosen", chosen.len(), plans.len());
    if chosen != of(plans.iter()) {
        return Err("two selections of the same plans differ".into());
    }
    // Each adds something, or is named by a mutation.
    let most: HashSet<_> = plans.iter().flat_map(|plan| shows(&plan.name)).collect();
    let pairs = plans.iter().filter(|plan| plan.is_a_pair() && plan.changes().next().is_none());
    let pairs = pairs.filter(|plan| plan.crashes() && !plan.shipped && chosen.contains(&plan.name)).count();
    if chosen.len() >= most.len() || chosen.len() * 8 > plans.len() || !(3..20).contains(&pairs) {
        return Err(
            format!("{} of {} are chosen, {pairs} pairs among them", chosen.len(), plans.len()).into()
        );
    }
    Ok(())
}
