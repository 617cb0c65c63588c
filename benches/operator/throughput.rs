//! Many BulkUpdates at once: items a second, and what they cost the operator.

use std::time::Instant;

use crate::{
    bare::{self, Made},
    figures::{Figures, Of, at_least},
    lab::{CROWD, IN_FLIGHT, Lab, crowd, millis},
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

impl Rates {
    /// The bare client writes half of its share before and half after, so that what the machine does besides hits both.
    async fn round(
        &mut self,
        lab: &Lab,
        operator: &Process<'_>,
        namespaces: &[String],
        bulks: usize,
        in_flight: usize,
    ) {
        let share = bulks * EACH / 5;
        let bares = lab.take(&namespaces[0], share).await;
        let mut targets: Vec<Vec<Made>> = Vec::new();
        for namespace in namespaces {
            let made = lab.take(namespace, bulks * EACH / namespaces.len()).await;
            targets.extend(made.chunks(EACH).map(<[Made]>::to_vec));
        }
        lab.spread().await;
        let (first, second) = bares.split_at(share / 2);
        let items = (bulks * EACH) as f64;
        let spent = || (cpu_seconds("self"), operator.cpu(), server_seconds(lab));
        let begin = spent();
        let mut bare = bare::write(&lab.bare, first, in_flight).await;
        let bare_done = spent();
        let groups: Vec<_> = targets.iter().map(Vec::as_slice).collect();
        // It looks up when all of them are there: to create them is somebody else's work, which the bare client does not have.
        operator.signal("STOP");
        let mut before = bare_done;
        let run = lab
            .carry_out_while(&groups, async || {
                before = spent();
                operator.signal("CONT");
            })
            .await;
        let all_there = *run.created.iter().max().unwrap();
        // Else it has lost its Lease.
        assert!(millis(run.began, all_there) < 8000.0, "to create them took too long");
        let after = spent();
        bare += bare::write(&lab.bare, second, in_flight).await;
        let end = spent();
        let of_bare = |seconds: f64| seconds / share as f64 * 1000.0;
        self.cpu.push((after.1 - before.1) / items * 1000.0);
        self.server_cpu.push((after.2 - before.2) / items * 1000.0);
        self.bare_cpu.push(of_bare(end.0 - after.0 + bare_done.0 - begin.0));
        self.bare_server_cpu.push(of_bare(end.2 - after.2 + bare_done.2 - begin.2));
        self.creating.push(millis(run.began, all_there));
        self.bare.push(share as f64 / bare * 1000.0);
        self.to_last_write.push(items / millis(all_there, run.last_write()) * 1000.0);
        self.to_completion.push(items / millis(all_there, run.last_end()) * 1000.0);
        self.with_creating.push(items / millis(run.began, run.last_write()) * 1000.0);
        let others = run.requests.iter().filter(|r| r.is_overhead()).count();
        self.requests.push(others as f64 / bulks as f64);
        self.resident.push(operator.resident());
    }
}

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let operator = Process::start(lab).await;
    let namespaces = crowd(lab).await;
    let targets = [scale::number(&lab.admin).await as f64];
    figures.alone(GROUP, "targets in the cluster at the start of it", "each", &targets, None);
    for (number, word) in [(1, "one namespace"), (CROWD, "twenty namespaces")] {
        let mut rates = Rates::default();
        for _ in 0..lab.rounds {
            rates.round(lab, &operator, &namespaces[..number], 100, IN_FLIGHT).await;
        }
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
    figures.alone(GROUP, "RSS at the most, all along", "MiB", &[operator.peak()], None);
    operator.stop();
    figures.took(GROUP, began);
}

/// The same with another number in flight, of the bare client's too: what --max-in-flight is about.
pub async fn measure_in_flight(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let namespace = [lab.namespace("in-flight").await];
    for in_flight in [4, 16, 64] {
        let of = in_flight.to_string();
        let kubeconfig = lab.world.operator.kubeconfig();
        let operator = Process::start_with(lab, &kubeconfig, &["--max-in-flight", &of]).await;
        let mut rates = Rates::default();
        for _ in 0..lab.rounds {
            rates.round(lab, &operator, &namespace, 8, in_flight).await;
        }
        let name = format!("800 deletes in 8 at once, {in_flight} in flight: to the last completion");
        figures.beside("in flight", name, "items/s", (&rates.to_completion, &rates.bare), None);
        operator.stop();
    }
    figures.took("in flight", began);
}
