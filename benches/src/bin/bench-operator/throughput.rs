//! Many BulkUpdates at once: items a second, and what they cost the operator.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    bare,
    figures::{Figures, Of, at_least},
    lab::{IN_FLIGHT, Lab, crowd, millis},
    machine::server_seconds,
    process::{Process, cpu_seconds},
    scale,
};

const GROUP: &str = "throughput";

/// Items in each BulkUpdate.
const EACH: usize = 100;

/// The result of one round: items per second, and CPU seconds per 1,000 items.
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

/// How many writes the bare client makes beside so many BulkUpdates. Fewer would not do: for some seconds at a time,
/// the API server collects garbage and accepts half as many writes, and that would affect the operator alone.
fn share(bulks: usize) -> usize {
    bulks * EACH * 3 / 4
}

/// Creates the objects of all rounds before the first one: the API server is busy with them for a while.
async fn stock_up(lab: &Lab, variants: &[&[String]], bulks: usize) {
    let mut needed = BTreeMap::from([(variants[0][0].as_str(), share(bulks))]);
    for namespaces in variants {
        for namespace in *namespaces {
            *needed.entry(namespace).or_default() += bulks * EACH / namespaces.len();
        }
    }
    for (namespace, number) in needed {
        lab.stock_up(namespace, (number * lab.rounds).saturating_sub(lab.in_stock(namespace))).await;
    }
}

/// Rounds in which each of the variants (the namespaces that share the items) is carried out, with this many
/// BulkUpdates, and nearly as many writes by the bare client in one go. The order alternates.
async fn rounds(
    lab: &Lab,
    operator: &Process<'_>,
    variants: &[&[String]],
    bulks: usize,
    in_flight: usize,
) -> Vec<Rates> {
    let mut all: Vec<_> = variants.iter().map(|_| Rates::default()).collect();
    for round in 0..lab.rounds {
        // The last turn is the bare client's.
        let turns = variants.len() + 1;
        for turn in (0..turns).map(|turn| (turn + round) % turns) {
            // The last events of the previous one are still to come.
            lab.spread().await;
            match variants.get(turn) {
                Some(namespaces) => all[turn].of_operator(lab, operator, namespaces, bulks).await,
                None => of_bare(lab, &variants[0][0], share(bulks), in_flight, &mut all).await,
            }
        }
    }
    all
}

impl Rates {
    async fn of_operator(&mut self, lab: &Lab, operator: &Process<'_>, namespaces: &[String], bulks: usize) {
        let each = bulks * EACH / namespaces.len();
        let targets: Vec<_> = namespaces.iter().flat_map(|of| lab.take(of, each)).collect();
        let (items, mut spent) = (targets.len() as f64, (0.0, 0.0));
        let groups: Vec<_> = targets.chunks(EACH).collect();
        // It resumes when all of them exist: creating them is work that the bare client does not have.
        operator.signal("STOP");
        let run = lab
            .carry_out_while(&groups, async || {
                spent = (operator.cpu(), server_seconds(lab));
                operator.signal("CONT");
            })
            .await;
        let all_there = *run.created.iter().max().unwrap();
        // Otherwise it has lost its Lease.
        assert!(millis(run.began, all_there) < 8000.0, "to create them took too long");
        self.cpu.push((operator.cpu() - spent.0) / items * 1000.0);
        self.server_cpu.push((server_seconds(lab) - spent.1) / items * 1000.0);
        self.creating.push(millis(run.began, all_there));
        self.to_last_write.push(items / millis(all_there, run.last_write()) * 1000.0);
        self.to_completion.push(items / millis(all_there, run.last_end()) * 1000.0);
        self.with_creating.push(items / millis(run.began, run.last_write()) * 1000.0);
        let others = run.requests.iter().filter(|r| r.is_overhead()).count();
        self.requests.push(others as f64 / bulks as f64);
        self.resident.push(operator.resident());
    }
}

async fn of_bare(lab: &Lab, namespace: &str, number: usize, in_flight: usize, all: &mut [Rates]) {
    let targets = lab.take(namespace, number);
    let (cpu, server_cpu) = (cpu_seconds("self"), server_seconds(lab));
    let took = bare::write(&lab.bare, &targets, in_flight).await;
    let (cpu, server_cpu) = (cpu_seconds("self") - cpu, server_seconds(lab) - server_cpu);
    for rates in all {
        let thousands = number as f64 / 1000.0;
        rates.bare.push(number as f64 / took * 1000.0);
        rates.bare_cpu.push(cpu / thousands);
        rates.bare_server_cpu.push(server_cpu / thousands);
    }
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
            figures.compared(
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
        let servers = (&rates.server_cpu, &rates.bare_server_cpu);
        add("CPU of API server and etcd", "s/1,000 items", servers.0, servers.1, None);
        add("CPU", "s/1,000 items", &rates.cpu, &rates.bare_cpu, None);
        add("other requests", "each", &rates.requests, &[], None);
        add("RSS after it", "MiB", &rates.resident, &[], None);
    }
    let name = format!("{targets} targets at first: RSS at the most, all along");
    figures.alone(GROUP, name, "MiB", &[operator.peak()], None);
    operator.stop();
    figures.took(GROUP, began);
}

/// The same with another number in flight, for the bare client too: the effect of --max-in-flight.
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
        figures.compared("in flight", name, "items/s", (&all[0].to_completion, &all[0].bare), None);
        operator.stop();
    }
    lab.clear(&namespace[0]).await;
    figures.took("in flight", began);
}
