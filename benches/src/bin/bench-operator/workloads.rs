//! Executions that run as Jobs, on nodes where KWOK plays the kubelet: what it takes to stop a hundred and to run a thousand,
//! beside kubectl and a bare client; and what those cost that nothing runs for.

mod idle;
mod jobs;
mod run;
mod stop;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use support::{audit::Request, control_plane::ControlPlane};

use crate::{figures::Figures, lab::Lab};

const GROUP: &str = "workloads";

/// Measures all three.
pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    idle::measure(lab, figures).await;
    ControlPlane::with_nodes();
    stop::measure(lab, figures).await;
    run::measure(lab, figures).await;
    figures.took(GROUP, began);
}

/// Some requests of a user since then. A line of the audit log is written after its answer.
async fn requests(lab: &Lab, from: u64, user: &str) -> Vec<Request> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all = lab.world.plane.requests_since(from, user);
    all.into_iter().filter(|r| r.verb != "watch" && r.resource != "leases").collect()
}

/// Adds how many requests there were of each sort for each of so many, the most frequent first.
fn add_by_sort(figures: &mut Figures, of: &str, number: usize, rounds: &[Vec<Request>]) {
    let mut sorts = BTreeMap::<String, Vec<f64>>::new();
    for (round, requests) in rounds.iter().enumerate() {
        for request in requests {
            let slash = if request.subresource.is_empty() { "" } else { "/" };
            let sort = format!("{} {}{slash}{}", request.verb, request.resource, request.subresource);
            let counts = sorts.entry(sort).or_insert_with(|| vec![0.0; rounds.len()]);
            counts[round] += 1.0 / number as f64;
        }
    }
    let all: Vec<_> = rounds.iter().map(|requests| requests.len() as f64 / number as f64).collect();
    figures.alone(GROUP, format!("{of}: requests, watches and Leases aside"), "for each", &all, None);
    let mut sorts: Vec<_> = sorts.into_iter().collect();
    sorts.sort_by(|(_, a), (_, b)| b.iter().sum::<f64>().total_cmp(&a.iter().sum()));
    for (sort, counts) in sorts {
        figures.alone(GROUP, format!("{of}: {sort}"), "for each", &counts, None);
    }
}
