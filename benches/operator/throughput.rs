//! Many BulkUpdates at once: items a second, and what they cost the operator.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    bare::{self, Made},
    figures::{Figures, Of, at_least},
    lab::{IN_FLIGHT, Lab, crowd, millis},
    machine::server_seconds,
    process::{Process, cpu_seconds},
    scale,
};

const GROUP: &str = "throughput";

/// Items in each BulkUpdate.
const EACH: usize = 100;

/// What one round came to: items a second, and CPU seconds for each 1,000 items.
#[derive(Default)]
struct Rates {
    to_last_write: Vec<f64>,
    to_completion: Vec<f64>,
    with_creating: Vec<f64>,
    bare: Vec<f64>,
    creating: Vec<f64>,
    cpu: Vec<f64>,
    bare_cpu: Vec<f64>,
    server_cpu: Vec<f64>,
    bare_server_cpu: Vec<f64>,
    requests: Vec<f64>,
    resident: Vec<f64>,
}

/// What a part of the bare client's writes took: milliseconds, and CPU seconds of its own and of the servers.
struct Part {
    took: f64,
    cpu: f64,
    server_cpu: f64,
}

/// How many writes a part of the bare client's has, beside so many BulkUpdates.
fn share(bulks: usize) -> usize {
    bulks * EACH * 3 / 20
}

/// Makes all that the rounds take, before the first one: the API server has something to do with it for a while.
async fn stock_up(lab: &Lab, variants: &[&[String]], bulks: usize) {
    let bares = share(bulks) * (variants.len() + 1);
    let mut needed = BTreeMap::from([(variants[0][0].as_str(), bares)]);
    for namespaces in variants {
        for namespace in *namespaces {
            *needed.entry(namespace).or_default() += bulks * EACH / namespaces.len();
        }
    }
    for (namespace, number) in needed {
        lab.stock_up(namespace, number * lab.rounds).await;
    }
}

/// Rounds in which each of the variants (the namespaces that share the items) is carried out, all of them with so many
/// BulkUpdates. The bare client writes a part before and after each, so that what the machine does besides hits both.
async fn rounds(
    lab: &Lab,
    operator: &Process<'_>,
    variants: &[&[String]],
    bulks: usize,
    in_flight: usize,
) -> Vec<Rates> {
    let mut all: Vec<_> = variants.iter().map(|_| Rates::default()).collect();
    let (first, share) = (&variants[0][0], share(bulks));
    for round in 0..lab.rounds {
        let bares = lab.take(first, share * (variants.len() + 1));
        let mut turns: Vec<_> = all.iter_mut().zip(variants).collect();
        if !round.is_multiple_of(2) {
            turns.reverse();
        }
        lab.spread().await;
        let mut parts = bares.chunks(share);
        let mut before = part(lab, parts.next().unwrap(), in_flight).await;
        for (rates, namespaces) in turns {
            let each = bulks * EACH / namespaces.len();
            let targets: Vec<_> = namespaces.iter().flat_map(|of| lab.take(of, each)).collect();
            let (items, mut spent) = (targets.len() as f64, (0.0, 0.0));
            let groups: Vec<_> = targets.chunks(EACH).collect();
            // It looks up when all of them are there: to create them is somebody else's work, which the bare client does not have.
            operator.signal("STOP");
            let run = lab
                .carry_out_while(&groups, async || {
                    spent = (operator.cpu(), server_seconds(lab));
                    operator.signal("CONT");
                })
                .await;
            let all_there = *run.created.iter().max().unwrap();
            // Else it has lost its Lease.
            assert!(millis(run.began, all_there) < 8000.0, "to create them took too long");
            rates.cpu.push((operator.cpu() - spent.0) / items * 1000.0);
            rates.server_cpu.push((server_seconds(lab) - spent.1) / items * 1000.0);
            rates.creating.push(millis(run.began, all_there));
            rates.to_last_write.push(items / millis(all_there, run.last_write()) * 1000.0);
            rates.to_completion.push(items / millis(all_there, run.last_end()) * 1000.0);
            rates.with_creating.push(items / millis(run.began, run.last_write()) * 1000.0);
            let others = run.requests.iter().filter(|r| r.is_overhead()).count();
            rates.requests.push(others as f64 / bulks as f64);
            rates.resident.push(operator.resident());
            // Its last events are still to come.
            lab.spread().await;
            let after = part(lab, parts.next().unwrap(), in_flight).await;
            let of_bare = |seconds: f64| seconds / (2 * share) as f64 * 1000.0;
            rates.bare.push((2 * share) as f64 / (before.took + after.took) * 1000.0);
            rates.bare_cpu.push(of_bare(before.cpu + after.cpu));
            rates.bare_server_cpu.push(of_bare(before.server_cpu + after.server_cpu));
            before = after;
        }
    }
    all
}

async fn part(lab: &Lab, targets: &[Made], in_flight: usize) -> Part {
    let (cpu, server_cpu) = (cpu_seconds("self"), server_seconds(lab));
    let took = bare::write(&lab.bare, targets, in_flight).await;
    Part { took, cpu: cpu_seconds("self") - cpu, server_cpu: server_seconds(lab) - server_cpu }
}

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let namespaces = crowd(lab).await;
    let variants = [&namespaces[..1], &namespaces];
    stock_up(lab, &variants, 100).await;
    let targets = scale::number(&lab.admin).await;
    let operator = Process::start(lab).await;
    let all = rounds(lab, &operator, &variants, 100, IN_FLIGHT).await;
    for (rates, word) in all.iter().zip(["one namespace", "twenty namespaces"]) {
        let mut add = |what: &str, unit, values: &[f64], bare: &[f64], goal| {
            figures.beside(
                GROUP,
                format!("10,000 deletes in 100 at once, {word}: {what}"),
                unit,
                (values, bare),
                goal,
            );
        };
        let goal = Some(at_least(Of::Ratio, 0.85));
        add("to the last write", "items/s", &rates.to_last_write, &rates.bare, goal);
        add("to the last completion", "items/s", &rates.to_completion, &rates.bare, goal);
        let with_creating = &rates.with_creating;
        add("to the last write, creating the 100 included", "items/s", with_creating, &rates.bare, None);
        add("creating the 100", "ms", &rates.creating, &[], None);
        let beside = (&rates.server_cpu, &rates.bare_server_cpu);
        add("CPU of API server and etcd", "s/1,000 items", beside.0, beside.1, None);
        add("CPU", "s/1,000 items", &rates.cpu, &rates.bare_cpu, None);
        add("other requests", "each", &rates.requests, &[], None);
        add("RSS after it", "MiB", &rates.resident, &[], None);
    }
    let name = format!("{targets} targets at first: RSS at the most, all along");
    figures.alone(GROUP, name, "MiB", &[operator.peak()], None);
    operator.stop();
    figures.took(GROUP, began);
}

/// The same with another number in flight, of the bare client's too: what --max-in-flight is about.
pub async fn measure_in_flight(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let namespace = [lab.namespace("in-flight").await];
    for in_flight in [4, 16, 64] {
        let of = in_flight.to_string();
        stock_up(lab, &[&namespace], 8).await;
        let kubeconfig = lab.world.operator.kubeconfig();
        let operator = Process::start_with(lab, &kubeconfig, &["--max-in-flight", &of]).await;
        let all = rounds(lab, &operator, &[&namespace], 8, in_flight).await;
        let name = format!("800 deletes in 8 at once, {in_flight} in flight: to the last completion");
        figures.beside("in flight", name, "items/s", (&all[0].to_completion, &all[0].bare), None);
        operator.stop();
    }
    figures.took("in flight", began);
}
