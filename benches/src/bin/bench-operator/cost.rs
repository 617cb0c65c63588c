//! The cost of one BulkUpdate: requests, by the operator's lines in the audit log and by the API server's own counters;
//! bytes of status; CPU.

use std::{collections::BTreeMap, time::Instant};

use kube::Client;

use crate::{
    figures::{Figures, Of, at_most},
    lab::{Lab, Run, Work, millis, moment},
    process::Process,
};

const GROUP: &str = "cost";

const ITEMS: usize = 100;

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let namespace = lab.namespace("cost").await;
    let operator = Process::start(lab).await;
    let (mut requests, mut largest, mut written, mut statuses) = (vec![], vec![], vec![], vec![]);
    let mut by_verb: BTreeMap<String, f64> = BTreeMap::new();
    let (mut counted, cpu) = (vec![], operator.cpu());
    let runs = 2 * lab.rounds;
    let mut phases = vec![vec![]; PHASES.len()];
    for _ in 0..runs {
        let targets = lab.make(&namespace, ITEMS, Work::Mixed).await;
        lab.spread().await;
        let before = counters(&lab.admin).await;
        let run = lab.carry_out(&[&targets]).await;
        let mut of_server = 0.0;
        for (request, number) in counters(&lab.admin).await {
            let delta = number - before.get(&request).copied().unwrap_or_default();
            // The bench itself sends the create.
            if delta == 0.0 || request == "POST bulkupdates" {
                continue;
            }
            if is_counted(&request) {
                of_server += delta;
            }
            *by_verb.entry(request).or_default() += delta / ITEMS as f64 / runs as f64;
        }
        counted.push(of_server - ITEMS as f64);
        let ours = run.requests.iter().filter(|r| r.is_overhead() || r.is_target_write());
        requests.push((ours.count() - ITEMS) as f64);
        for (phase, took) in phases.iter_mut().zip(timeline(&run)) {
            phase.push(took);
        }
        let bytes = run.requests.iter().filter(|r| r.is_record());
        let bytes: Vec<_> = bytes.map(|r| r.body["status"].to_string().len() as f64).collect();
        largest.push(bytes.iter().copied().fold(0.0, f64::max));
        written.push(bytes.iter().sum());
        statuses.push(bytes.len() as f64);
    }
    // A single one takes no more than a tick or two.
    let cpu = [(operator.cpu() - cpu) / (runs * ITEMS) as f64 * 1000.0];
    let goal = Some(at_most(Of::Highest, 5.0));
    for (name, took) in PHASES.iter().zip(&phases) {
        figures.alone(GROUP, format!("100 items, mixed: {name}"), "ms", took, None);
    }
    let name =
        "100 items, mixed: requests beyond the 100 writes, by the audit log; events, watches, Lease aside";
    figures.alone(GROUP, name, "each", &requests, goal);
    let name = "the same, by apiserver_request_total, of all clients";
    figures.alone(GROUP, name, "each", &counted, None);
    for (request, number) in &by_verb {
        let name = format!("by apiserver_request_total, of all clients: {request}");
        figures.alone(GROUP, name, "for each item", &[*number], None);
    }
    let goal = Some(at_most(Of::Highest, 40_000.0));
    figures.alone(GROUP, "100 items of 36 characters: the largest status", "bytes", &largest, goal);
    figures.alone(GROUP, "100 items: all statuses written", "bytes", &written, None);
    figures.alone(GROUP, "100 items: statuses written", "each", &statuses, None);
    figures.alone(GROUP, "one at a time, mixed, all together: CPU", "s/1,000 items", &cpu, None);
    lab.clear(&namespace).await;
    operator.stop();
    let bytes = std::fs::metadata(&lab.binary).unwrap().len() as f64 / 1e6;
    figures.alone(GROUP, "the binary, stripped", "MB", &[bytes], Some(at_most(Of::Highest, 12.0)));
    figures.took(GROUP, began);
}

/// Where the time of one BulkUpdate goes after its creation, by the audit log.
const PHASES: [&str; 7] = [
    "the create's answer to the plan's arrival",
    "the API server writes the plan",
    "the plan's answer to the first write's arrival",
    "the first write's arrival to the last one's answer",
    "the last write's answer to the end's arrival",
    "the API server writes the end",
    "the end's answer to when it is seen",
];

fn timeline(run: &Run) -> Vec<f64> {
    let records: Vec<_> = run.requests.iter().filter(|r| r.is_record()).collect();
    let (plan, end) = (records.first().unwrap(), records.last().unwrap());
    let first = run.writes().map(|r| moment(&r.received)).min().unwrap();
    let moments = [
        run.created[0],
        moment(&plan.received),
        moment(&plan.answered),
        first,
        run.last_write(),
        moment(&end.received),
        moment(&end.answered),
        run.last_end(),
    ];
    moments.windows(2).map(|pair| millis(pair[0], pair[1])).collect()
}

/// The objects of the operator's requests.
const OF_THE_OPERATOR: [&str; 6] =
    ["bulkupdates", "configmaps", "deployments", "events", "executions", "leases"];

/// Whether promise 11 of docs/guarantees.md counts it; a watch is counted when it ends.
fn is_counted(request: &str) -> bool {
    let (verb, resource) = request.split_once(' ').unwrap();
    let resource = resource.split('/').next().unwrap();
    matches!(resource, "configmaps" | "bulkupdates" | "executions" | "deployments")
        && !matches!(verb, "WATCH" | "LIST")
}

/// How many requests the API server has answered, by verb and resource. Its own and those of the bench are included,
/// except for kinds of requests that the operator does not send.
async fn counters(admin: &Client) -> BTreeMap<String, f64> {
    let request = http::Request::get("/metrics").body(vec![]).unwrap();
    let text = admin.request_text(request).await.unwrap();
    let mut counters = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| {
            let value = line.split_once(&format!("{name}=\"")).unwrap().1;
            value.split('"').next().unwrap()
        };
        let number: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
        let of = if label("subresource").is_empty() { "" } else { "/" };
        let resource = label(",resource");
        if !OF_THE_OPERATOR.contains(&resource) {
            continue;
        }
        let name = format!("{} {resource}{of}{}", label("verb"), label("subresource"));
        *counters.entry(name).or_default() += number;
    }
    counters
}
