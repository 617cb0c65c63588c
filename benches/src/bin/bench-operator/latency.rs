//! One BulkUpdate by itself: how long until the last write, and until its end is visible.

use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use crate::{
    bare::{self, Made},
    figures::{Figures, Of, at_most},
    lab::{IN_FLIGHT, Lab, Work, millis},
    process::Process,
};

const GROUP: &str = "latency";

/// The durations of one BulkUpdate, and of the bare client for the same, in milliseconds.
#[derive(Default)]
pub struct Latencies {
    pub last_write: Vec<f64>,
    pub completion: Vec<f64>,
    pub bare: Vec<f64>,
}

/// Carries out half of the targets as one BulkUpdate and the others by a bare client, which goes first in every other
/// round. Returns the operator's time to the last write and to completion, and the bare client's to the last write. The
/// times of both are those of the audit log: they do not include the way of an answer back.
async fn one_round(lab: &Lab, client: &Client, targets: &[Made], round: usize) -> [f64; 3] {
    let (mut operators, mut bares) = targets.split_at(targets.len() / 2);
    // If the halves differ, such as a stop and a delete, each has both.
    if round / 2 % 2 == 1 {
        std::mem::swap(&mut operators, &mut bares);
    }
    let bare_first = round.is_multiple_of(2);
    let mut bare = if bare_first { bare_round(lab, client, bares).await } else { 0.0 };
    let run = lab.carry_out(&[operators]).await;
    if !bare_first {
        bare = bare_round(lab, client, bares).await;
    }
    let created = run.created[0];
    [millis(created, run.last_write()), millis(created, run.last_end()), bare]
}

async fn bare_round(lab: &Lab, client: &Client, targets: &[Made]) -> f64 {
    let (from, began) = (lab.audited(), Timestamp::now());
    bare::write(client, targets, IN_FLIGHT).await;
    millis(began, lab.last_write_of_bare(from, targets.len()).await)
}

/// Carries out `number` items as one BulkUpdate and by a bare client, in turn, in so many rounds.
pub async fn rounds(
    lab: &Lab,
    client: &Client,
    namespace: &str,
    number: usize,
    work: Work,
    rounds: usize,
) -> Latencies {
    let mut all = Latencies::default();
    // The first round, with its set-up such as connections, does not count.
    for round in 0..=rounds {
        let targets = lab.make(namespace, 2 * number, work).await;
        lab.spread().await;
        let [last_write, completion, bare] = one_round(lab, client, &targets, round).await;
        if round > 0 {
            all.last_write.push(last_write);
            all.completion.push(completion);
            all.bare.push(bare);
        }
    }
    lab.clear_all(namespace).await;
    all
}

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let namespace = lab.namespace("latency").await;
    let operator = Process::start(lab).await;
    for (number, times) in [(1, 2), (10, 1), (100, 2)] {
        for work in [Work::Stops, Work::Deletes, Work::Mixed] {
            let rounds = times * lab.rounds;
            let all = self::rounds(lab, &lab.bare, &namespace, number, work, rounds).await;
            let what =
                format!("{number} item{}, {work:?}", if number == 1 { "" } else { "s" }).to_lowercase();
            let goal = |limit| (number == 100).then_some(at_most(Of::Ratio, limit));
            let name = format!("{what}: to the last write");
            figures.in_turns(GROUP, name, (&all.last_write, &all.bare), goal(1.2));
            let name = format!("{what}: to completion");
            figures.in_turns(GROUP, name, (&all.completion, &all.bare), goal(1.35));
        }
    }
    operator.stop();
    figures.took(GROUP, began);
}
