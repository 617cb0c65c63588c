//! Every fault at every place. The operator runs in this process, with the shipped rights and against a real API
//! server, except for the faults; an observer of its own records what really happened. A plan's name says what goes
//! wrong where: `cargo test --test faults -- --include-ignored --exact NAME` runs one alone. `make test` runs a selection of
//! them; the others are marked as ignored, and `make test-faults` runs them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod answer;
mod cluster;
mod expected;
mod facts;
mod fault;
mod guards;
mod history;
mod life;
mod make;
mod operator;
mod plan;
mod run;
mod scenario;
mod selection;
mod shipped;
mod tally;
mod unlogged;
mod view;
mod wires;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    process::ExitCode,
    sync::LazyLock,
};

use futures::future::join_all;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;

use plan::{Baseline, Plan};
use scenario::{SCENARIOS, Scenario};
use tally::{Shown, TALLY};

/// Where everything except the operator runs.
static OUTSIDE: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Most plans spend most of their time waiting.
const AT_ONCE: usize = 12;

/// How often a plan is run whose fault does not occur, where that depends on timing.
const ATTEMPTS: usize = 3;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    // Naming a plan runs only its scenario.
    let named = arguments.filter.as_ref().and_then(|filter| filter.split('/').nth(1));
    let of_no_plan = |filter: &String| filter.starts_with("selection/");
    let of_no_plan = arguments.filter.as_ref().is_some_and(of_no_plan);
    let scenarios: Vec<_> = match SCENARIOS.iter().find(|scenario| Some(scenario.name) == named) {
        Some(one) => vec![one],
        None => SCENARIOS.iter().filter(|_| !of_no_plan).collect(),
    };
    let baseline = OUTSIDE.block_on(join_all(scenarios.iter().map(|scenario| run_baseline(scenario))));
    let share = Share::asked_for();
    let mut plans = Vec::new();
    for (scenario, (baseline, violations)) in scenarios.iter().zip(baseline) {
        let of_scenario = plan::of(scenario, &baseline).into_iter();
        // If the run without faults fails, there may be more places than it shows.
        plans.extend(
            of_scenario
                .map(|plan| (violations.clone().filter(|_| plan.is_undisturbed() && !plan.shipped), plan)),
        );
    }
    let selection = selection::of(plans.iter().map(|(_, plan)| plan));
    println!("{} of {} plans are selected for make test", selection.len(), plans.len());
    plans.retain(|(_, plan)| share.has(&plan.name));
    // First those that take long, and last those that have to wait before they can begin.
    plans.sort_by_key(|(_, plan)| (plan.guard.is_some(), !plan.takes_long()));
    for (number, (_, plan)) in plans.iter_mut().enumerate().filter(|(_, (_, plan))| plan.guard.is_some()) {
        plan.own_policy = Some(format!("own-{number}.{}", guards::POLICY));
    }
    let selected = |plan: &&Plan| {
        let named = |filter: &String| {
            if arguments.exact { plan.name == *filter } else { plan.name.contains(filter) }
        };
        let runs = arguments.include_ignored || arguments.ignored != selection.contains(&plan.name);
        runs && arguments.filter.as_ref().is_none_or(named) && !arguments.skip.iter().any(named)
    };
    let chosen: Vec<_> = plans.iter().map(|(_, plan)| plan).filter(selected).collect();
    if chosen.is_empty() && arguments.filter.is_some() && !of_no_plan {
        eprintln!("there is no plan of the name {:?} to run", arguments.filter);
        return ExitCode::FAILURE;
    }
    let own: Vec<_> = chosen.iter().filter_map(|plan| plan.own_policy.clone()).collect();
    if !(arguments.list || own.is_empty()) {
        OUTSIDE.block_on(guards::make(&own));
    }
    let trial = |(violations, plan): (Option<String>, Plan)| {
        let (name, selected) = (plan.name.clone(), selection.contains(&plan.name));
        let family = name.split('/').next().unwrap_or_default().to_owned();
        let test = move || violations.map_or_else(|| attempt(&plan), |violations| Err(violations.into()));
        Trial::ignorable_test(name, test).with_kind(family).with_ignored_flag(!selected)
    };
    let trials = selection::trials().chain(plans.into_iter().map(trial)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let enough = TALLY.lock().unwrap().conclude();
    if enough { conclusion.exit_code() } else { ExitCode::FAILURE }
}

/// A share of the plans, by their names: `FAULTS_SHARE=1/2` is one half, and `2/2` the other.
struct Share {
    part: u64,
    of: u64,
}

impl Share {
    fn asked_for() -> Self {
        let text = std::env::var("FAULTS_SHARE").unwrap_or_else(|_| "1/1".into());
        let number = |text: &str| text.parse().ok();
        let parts = text.split_once('/').and_then(|(part, of)| Some((number(part)?, number(of)?)));
        let (part, of) = parts.filter(|(part, of)| (1..=*of).contains(part)).expect("FAULTS_SHARE is as 1/2");
        Self { part, of }
    }

    fn has(&self, name: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish() % self.of == self.part - 1
    }
}

/// What a run without faults sends, and what went wrong in it. There are two runs, because a slow one may read the flag
/// once more.
async fn run_baseline(scenario: &'static Scenario) -> (Baseline, Option<String>) {
    let [one, other] =
        [run::run(&Plan::without_faults(scenario)).await, run::run(&Plan::without_faults(scenario)).await];
    (one.baseline.in_common(&other.baseline), one.violations.or(other.violations))
}

fn attempt(plan: &Plan) -> Result<Completion, Failed> {
    // Where the requests are deterministic, a fault that does not occur indicates a bug.
    let attempts = if plan.depends_on_timing() { ATTEMPTS } else { 1 };
    let mut account = String::new();
    for _ in 0..attempts {
        let course = OUTSIDE.block_on(run::run(plan));
        let mut tally = TALLY.lock().unwrap();
        tally.requests(&plan.name, course.most_requests);
        if let Some(violations) = course.violations {
            return Err(violations.into());
        }
        if course.hits >= plan.bound() {
            println!("{}: {}", plan.name, course.account);
            return Ok(match tally.effective(plan, course.hits, course.without_effect) {
                Shown::All => Completion::Completed,
                Shown::Less(why) => Completion::ignored_with(why),
            });
        }
        account = course.account;
    }
    let never = "the fault did not occur: the situation for it did not arise";
    if !plan.depends_on_timing() {
        return Err(format!("{never}: {account}").into());
    }
    TALLY.lock().unwrap().ineffective(plan);
    Ok(Completion::ignored_with(never))
}
