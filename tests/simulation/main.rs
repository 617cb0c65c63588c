//! Whole lives of the operator and the gateway in a simulated world: the API server, the network, the clocks, users, admins and
//! other controllers are simulated, and all that happens is drawn from a seed. The judge reads what the simulated server has
//! stored and answered.
//!
//! `make simulate` runs as many as there is time for; `SEED=7 make simulate` runs one and prints its log;
//! `UNTIL=violation make simulate` ends with the first life that breaks a promise.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod admin;
mod cluster;
mod controllers;
mod coverage;
mod draw;
mod engines;
mod facts;
mod found;
mod line;
mod lives;
mod log;
mod network;
mod occurred;
mod people;
mod process;
mod record;
mod run;
mod shrink;
mod story;
mod watches;
mod works;
mod world;

use std::time::Duration;

use run::{Range, live};
use story::Story;

/// Faster than the one of most systems, where so much is made and dropped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The seeds that every run has.
const SEEDS: std::ops::Range<u64> = 0..50;

#[test]
fn the_promises_hold_in_every_life() {
    let range = Range {
        first: SEEDS.start,
        count: SEEDS.end - SEEDS.start,
        time: None,
        progress: false,
        until_violation: false,
    };
    let sum = range.run();
    println!("{}", sum.report());
    assert!(sum.violated.is_empty(), "run SEED={} make simulate", sum.violated[0].0);
}

#[test]
#[cfg_attr(
    not(tokio_unstable),
    ignore = "without the cfg tokio_unstable, tokio wakes several tasks in random order"
)]
fn a_seed_has_one_story() {
    have_one_story(0..50);
}

/// Runs each seed twice, and compares the logs byte for byte.
fn have_one_story(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let [first, second] = [(); 2].map(|()| live(&Story::of(seed), true).log);
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        if let Some(at) = differs {
            panic!("seed {seed} differs at line {at}:\n{}\n{}", first[at], second[at]);
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
        assert!(first.len() > 20, "seed {seed}: {first:?}");
    }
}

/// What `make simulate` runs.
#[test]
#[ignore = "runs for as long as it is asked to"]
fn simulate() {
    let number = |name: &str| {
        std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| text.parse::<f64>().unwrap())
    };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "they are small")]
    let whole = |name: &str| number(name).map(|number| number as u64);
    if let Some(seed) = whole("SEED") {
        return show(seed);
    }
    let time = number("HOURS").map(|hours| Duration::from_secs_f64(hours * 3600.0));
    let count = whole("COUNT").unwrap_or(if time.is_some() { u64::MAX } else { 10_000 });
    let first = whole("FIRST").unwrap_or_default();
    let until_violation = std::env::var("UNTIL").is_ok_and(|until| until == "violation");
    if until_violation {
        return lives_until_violation(&Range { first, count, time, progress: false, until_violation });
    }
    if cfg!(tokio_unstable) {
        have_one_story(first..first + 20);
    }
    let sum = Range { first, count, time, progress: true, until_violation }.run();
    println!("{}", sum.report());
    let missing = sum.coverage.missing(sum.lives);
    println!("never seen: {missing:?}");
    for (seed, _) in sum.violated.iter().take(3) {
        explain(*seed, false);
    }
    assert!(sum.violated.is_empty());
    assert_eq!(sum.shortfalls(), [""; 0], "the lives lack this");
    assert!(missing.is_empty(), "the stories do not reach all that the operator can do");
}

/// Prints how many lives it takes until one breaks a promise, and which promise that is.
fn lives_until_violation(range: &Range) {
    let sum = range.run();
    match sum.violated.first() {
        Some((seed, violations)) => {
            println!("life {}, seed {seed}, breaks a promise: {}", seed - range.first + 1, violations[0]);
        }
        None => println!("none of {} lives breaks a promise", sum.lives),
    }
    assert!(sum.violated.is_empty());
}

/// Prints the log of one life; if it breaks a promise, also that of the shortest story that breaks it.
fn show(seed: u64) {
    let story = Story::of(seed);
    println!("{story}");
    let outcome = live(&story, true);
    for line in &outcome.log {
        println!("{line}");
    }
    if !outcome.violations.is_empty() {
        println!("{}", outcome.violations.join("\n"));
        explain(seed, true);
        panic!("seed {seed} breaks a promise");
    }
}

/// Prints the shortest story that breaks the same promise as this seed.
fn explain(seed: u64, log: bool) {
    let shortest = shrink::shrink(&Story::of(seed));
    let outcome = live(&shortest, log);
    println!("seed {seed}, shrunk: {shortest}{}\n", outcome.violations.join("\n"));
    if log {
        println!("{}", outcome.log.join("\n"));
    }
}
