//! One BulkUpdate by itself: how long until the last write, and until its end can be seen.

use std::time::Instant;

use kube::Client;

use crate::{
    bare::{self, Made},
    figures::{Figures, Of, at_most},
    lab::{IN_FLIGHT, Lab, Work, millis},
    process::Process,
};

const GROUP: &str = "latency";

/// What one BulkUpdate took, and what the bare client took for the same, in milliseconds.
#[derive(Default)]
pub struct Latencies {
    pub last_write: Vec<f64>,
    pub completion: Vec<f64>,
    pub bare: Vec<f64>,
}

impl Latencies {
    pub fn add(&mut self, [last_write, completion, bare]: [f64; 3]) {
        self.last_write.push(last_write);
        self.completion.push(completion);
        self.bare.push(bare);
    }
}

/// Carries out half of the targets as one BulkUpdate and the others by a bare client, which begins in every other round. Gives
/// back what the operator took to the last write and to completion, and the bare client.
pub async fn one_round(lab: &Lab, client: &Client, targets: &[Made], round: usize) -> [f64; 3] {
    // Each has as many of each sort.
    let (operators, bares) = targets.split_at(targets.len() / 2);
    let mut bare = 0.0;
    if round.is_multiple_of(2) {
        bare = bare::write(client, bares, IN_FLIGHT).await;
    }
    let run = lab.carry_out(&[operators]).await;
    if !round.is_multiple_of(2) {
        bare = bare::write(client, bares, IN_FLIGHT).await;
    }
    let created = run.created[0];
    [millis(created, run.last_write()), millis(created, run.last_end()), bare]
}

/// Carries out `number` items as one BulkUpdate and by the bare client, in turn, in so many rounds.
pub async fn rounds(lab: &Lab, namespace: &str, number: usize, work: Work, rounds: usize) -> Latencies {
    let mut all = Latencies::default();
    // What a first round has to make ready, such as connections, is not counted.
    for round in 0..=rounds {
        let targets = lab.make(namespace, 2 * number, work).await;
        lab.spread().await;
        let took = one_round(lab, &lab.bare, &targets, round).await;
        if round > 0 {
            all.add(took);
        }
    }
    lab.clear(namespace).await;
    all
}

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let namespace = lab.namespace("latency").await;
    let operator = Process::start(lab).await;
    for (number, times) in [(1, 1), (10, 1), (100, 2)] {
        for work in [Work::Stops, Work::Deletes, Work::Mixed] {
            let rounds = times * lab.rounds;
            let all = self::rounds(lab, &namespace, number, work, rounds).await;
            let what =
                format!("{number} item{}, {work:?}", if number == 1 { "" } else { "s" }).to_lowercase();
            let goal = |limit| (number == 100).then_some(at_most(Of::Ratio, limit));
            let name = format!("{what}: to the last write");
            figures.beside(GROUP, name, "ms", (&all.last_write, &all.bare), goal(1.2));
            let name = format!("{what}: to completion");
            figures.beside(GROUP, name, "ms", (&all.completion, &all.bare), goal(1.35));
        }
    }
    operator.stop();
    figures.took(GROUP, began);
}
