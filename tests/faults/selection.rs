//! Which plans `.ci/run` runs in addition to the quick ones: a fixed selection. Together they contain each scenario of each
//! family, and in each family each fault at each place.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
};

use libtest_mimic::{Failed, Trial};

use crate::{
    fault::{Call, Resource},
    plan::{self, Baseline, Plan},
    scenario::SCENARIOS,
};

/// With `FAULTS_SELECTION=pairs` only the selection runs; if it is not set, all plans do.
pub fn is_asked_for() -> bool {
    match std::env::var("FAULTS_SELECTION").as_deref() {
        Ok("pairs") => true,
        Ok("") | Err(_) => false,
        Ok(other) => panic!("FAULTS_SELECTION={other}: only pairs can be selected"),
    }
}

/// The names of the selected plans; quick ones are never among them.
pub fn pairs<'a>(plans: impl Iterator<Item = &'a Plan> + Clone) -> HashSet<String> {
    let (quick, others): (Vec<_>, Vec<_>) = plans.partition(|plan| plan.quick);
    cover(quick.iter().map(|plan| &*plan.name), others.iter().map(|plan| &*plan.name))
}

/// A greedy cover: enough of `others` that together with `anyway` they show everything. The next one is always the one
/// that adds the most; on a tie, one whose scenario was chosen the fewest times so far, and then the first.
fn cover<'a>(
    anyway: impl Iterator<Item = &'a str>,
    others: impl Iterator<Item = &'a str>,
) -> HashSet<String> {
    let mut shown: HashSet<String> = anyway.flat_map(shows).collect();
    let mut left: Vec<(&str, Vec<String>)> = others.map(|name| (name, shows(name))).collect();
    let mut of_scenario = HashMap::<&str, usize>::new();
    let mut chosen = HashSet::new();
    loop {
        for (_, new) in &mut left {
            new.retain(|what| !shown.contains(what));
        }
        left.retain(|(_, new)| !new.is_empty());
        let value = |(name, new): &&(&str, Vec<String>)| {
            (Reverse(new.len()), of_scenario.get(scenario(name)).copied().unwrap_or_default())
        };
        let Some((name, new)) = left.iter().min_by_key(value) else { return chosen };
        shown.extend(new.iter().cloned());
        *of_scenario.entry(scenario(name)).or_default() += 1;
        chosen.insert((*name).to_owned());
    }
}

fn scenario(name: &str) -> &str {
    name.split('/').nth(1).unwrap_or_default()
}

/// What a plan shows, from its name: family and scenario, and family, fault and place, in the first life or a later
/// one.
fn shows(name: &str) -> Vec<String> {
    let mut parts = name.splitn(3, '/');
    let family = parts.next().unwrap_or_default();
    let of_scenario = format!("{family} in {}", parts.next().unwrap_or_default());
    let injections = parts.next().unwrap_or_default().split("-then-").enumerate();
    let injections = injections
        .map(|(n, injection)| format!("{family}: {injection}{}", if n == 0 { "" } else { " later" }));
    [of_scenario].into_iter().chain(injections).collect()
}

/// Tests of the selection, with the plans that follow from a made-up run without faults.
pub fn trials() -> impl Iterator<Item = Trial> {
    [
        ("selection/each-fault-at-each-place-is-selected", complete as fn() -> Result<(), Failed>),
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
        parts.insert(format!("fault {}", injection.fault));
        parts.insert(format!("place {}", injection.place));
        parts.insert(format!("{family} {} {lasts} at {}", injection.fault, injection.place));
    }
    if plan.view.is_some() || plan.unseen.is_some() || plan.guard.is_some() {
        parts.insert(format!("{family} {:?} {:?} {:?} {}", plan.view, plan.unseen, plan.guard, plan.away));
    }
    parts
}

fn complete() -> Result<(), Failed> {
    let plans = likely();
    let chosen = pairs(plans.iter());
    let run: BTreeSet<_> =
        plans.iter().filter(|p| p.quick || chosen.contains(&p.name)).flat_map(made_of).collect();
    let all: BTreeSet<_> = plans.iter().flat_map(made_of).collect();
    let missing: Vec<_> = all.difference(&run).collect();
    if missing.is_empty() && all.len() > 1000 {
        Ok(())
    } else {
        Err(format!("of {} it lacks {missing:#?}", all.len()).into())
    }
}

fn fixed_and_small() -> Result<(), Failed> {
    let plans = likely();
    let quick = plans.iter().filter(|plan| plan.quick).count();
    let chosen = pairs(plans.iter());
    println!("{} plans: {quick} quick ones, and {} of the others are chosen", plans.len(), chosen.len());
    if chosen != pairs(plans.iter()) {
        return Err("two selections of the same plans differ".into());
    }
    // Each adds something.
    let most: HashSet<_> = plans.iter().flat_map(|plan| shows(&plan.name)).collect();
    if chosen.len() >= most.len() || chosen.len() * 3 > plans.len() - quick {
        return Err(format!("{} of {} are chosen", chosen.len(), plans.len()).into());
    }
    Ok(())
}
