//! The simulated API server against the real one: random requests go to both, and each answer and each event of a watch
//! has to be the same. `DIFFERENTIAL_COUNT` sequences of requests are sent, from the seed `DIFFERENTIAL_SEED` on: the same
//! ones each time in `make test`, others weekly. What differs on purpose is in `differences.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod compare;
mod differences;
mod edits;
mod generate;
mod place;
mod sequence;
mod sides;
mod values;
mod watches;

use std::{collections::BTreeMap, env};

use futures::{StreamExt, stream};

use sides::Sides;

/// How many sequences are sent at a time.
const AT_ONCE: u64 = 8;

/// How many `make test` sends.
const FEW: u64 = 20;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_server_answers_as_the_real_one() {
    let count = number("DIFFERENTIAL_COUNT").unwrap_or(FEW);
    let seed = number("DIFFERENTIAL_SEED").unwrap_or_default();
    println!("DIFFERENTIAL_SEED={seed} DIFFERENTIAL_COUNT={count}");
    let sides = &Sides::start().await;
    let run = async |seed: u64| (seed, sequence::run(sides, seed).await);
    let mut found: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    let mut steps = 0;
    let mut sequences = stream::iter((0..count).map(|at| run(seed.wrapping_add(at))))
        .buffer_unordered(usize::try_from(AT_ONCE).unwrap());
    while let Some((seed, outcome)) = sequences.next().await {
        steps += outcome.steps;
        if let Some(difference) = outcome.difference {
            // A run of hours that is stopped has said what it has found.
            println!("DIFFERENTIAL_SEED={seed}: {}", difference.kind);
            found.entry(difference.kind).or_default().push((seed, difference.account));
        }
    }
    println!("{steps} requests");
    for (kind, cases) in &found {
        let (seed, account) = &cases[0];
        println!(
            "--- {} times: {kind}\nDIFFERENTIAL_SEED={seed} DIFFERENTIAL_COUNT=1\n{account}",
            cases.len()
        );
    }
    assert!(found.is_empty(), "{} kinds of differences", found.len());
}
