//! Executions and Deployments that run on engines with controllers of their own, against these controllers: what the controllers
//! really do when something is stopped or deleted, and what people do to it. The variable `ENGINES` chooses them, by their folders
//! in dev/engines; `make test-engines` runs all, and `make test-engines ENGINES='jobset kueue'` these. What is not chosen is ignored.
//! At its end the program prints how long the stops took.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod argo_workflows;
mod engine;
mod history;
mod jobset;
mod kserve;
mod kuberay;
mod kueue;
mod life;
mod ray;
mod table;
mod traps;

use std::{pin::Pin, process::ExitCode, sync::LazyLock};

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

/// A test.
pub type Test = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// Tests with their names.
pub type Tests = &'static [(&'static str, Test)];

/// The tests of these names.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), || Box::pin($name()))),*] };
}

/// Where the tests run, and what they start.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Most tests wait for most of the time.
const AT_ONCE: usize = 4;

/// The engines that a group of tests needs, and the group.
const GROUPS: &[(&[&str], Tests)] = &[
    (&["jobset"], jobset::TESTS),
    (&["argo-workflows"], argo_workflows::TESTS),
    (&["kserve"], kserve::TESTS),
    (&["kuberay"], kuberay::TESTS),
    (&["kueue"], kueue::TESTS),
    (&["kueue", "jobset"], kueue::JOB_SET_TESTS),
    (&["kueue", "kuberay"], kueue::RAY_JOB_TESTS),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let mut trials = Vec::new();
    for (engines, tests) in GROUPS {
        let chosen = engines.iter().all(|engine| engine::is_chosen(engine));
        for &(name, test) in *tests {
            let run = move || {
                RUNTIME.block_on(test());
                Ok(())
            };
            let name = format!("{}::{name}", engines[0]);
            trials.push(Trial::test(name, run).with_ignored_flag(!chosen));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    table::print();
    conclusion.exit_code()
}
