//! Memory, start-up and latency, by the number of targets and finished BulkUpdates in the cluster.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ai_api_operator::{
    api::{BulkUpdate, Kind},
    client::send,
    observed::Observed,
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::{ObjectList, PartialObjectMeta, Request},
};
use serde_json::{Value, json};

use crate::{
    bare::side_by_side,
    figures::{Figures, Goal, Of, at_most},
    lab::{CROWD, Lab, Work, crowd, is_an_end, spec},
    latency,
    process::Process,
};

const GROUP: &str = "scale";

/// How many finished BulkUpdates there should be.
const FINISHED: usize = 1000;

/// How many targets are named.
const NAMED: usize = 100;

/// The operator's pages of targets, and of BulkUpdates.
const PAGE: u32 = 100;
const BULK_UPDATES_PAGE: u32 = 20;

/// Each namespace of the crowd except the first gets this fraction of the objects, because measurements in one
/// namespace need most of them.
const PARTS: usize = 60;

/// The results of starts of the operator.
#[derive(Default)]
struct Starts {
    ready: Vec<f64>,
    list: Vec<f64>,
    synced: Vec<f64>,
    steady: Vec<f64>,
    peak: Vec<f64>,
}

impl Starts {
    /// Starts the operator this many times, and each time has the bare client list the same objects.
    async fn of(lab: &Lab, times: usize) -> Self {
        let mut all = Self::default();
        for _ in 0..times {
            all.list.push(list(&lab.bare).await);
            let operator = Process::start(lab).await;
            all.ready.push(operator.ready_after);
            all.synced.push(operator.resident());
            tokio::time::sleep(Duration::from_millis(300)).await;
            all.steady.push(operator.resident());
            all.peak.push(operator.peak());
            operator.stop();
        }
        all
    }

    fn add(&self, figures: &mut Figures, with: &str, goals: (Option<Goal>, Option<Goal>)) {
        let name = format!("{with}: start to ready; bare: the list in pages");
        figures.compared(GROUP, name, "ms", (&self.ready, &self.list), None);
        figures.alone(GROUP, format!("{with}: RSS when ready"), "MiB", &self.synced, None);
        figures.alone(GROUP, format!("{with}: RSS soon after"), "MiB", &self.steady, goals.0);
        figures.alone(GROUP, format!("{with}: RSS at the most"), "MiB", &self.peak, goals.1);
    }
}

/// Lists what the operator lists, page by page, and decodes only the continue token; in milliseconds.
async fn list(client: &Client) -> f64 {
    let began = Instant::now();
    let urls = [
        (Observed::url_path(&Kind::Execution.api_resource(), None), PAGE),
        (Observed::url_path(&Kind::Deployment.api_resource(), None), PAGE),
        (BulkUpdate::url_path(&(), None), BULK_UPDATES_PAGE),
    ];
    let lists = urls.map(|(url, page)| async move {
        let mut params = ListParams::default().limit(page);
        loop {
            let page = Request::new(&url).list(&params);
            let page: ObjectList<PartialObjectMeta<BulkUpdate>> = send(client, page).await.unwrap();
            match page.metadata.continue_ {
                Some(next) if !next.is_empty() => params = params.continue_token(&next),
                _ => break,
            }
        }
    });
    futures::future::join_all(lists).await;
    began.elapsed().as_secs_f64() * 1000.0
}

/// How many targets there are.
pub async fn number(client: &Client) -> usize {
    let mut number = 0;
    for kind in Kind::ALL {
        let url = Observed::url_path(&kind.api_resource(), None);
        let page = Request::new(url).list(&ListParams::default().limit(1));
        let page: ObjectList<PartialObjectMeta<BulkUpdate>> = send(client, page).await.unwrap();
        let left = page.metadata.remaining_item_count.unwrap_or_default();
        number += page.items.len() + usize::try_from(left).unwrap();
    }
    number
}

/// The latency of 100 named targets, as a ratio to the bare client's.
async fn named(lab: &Lab, figures: &mut Figures, with: &str, rounds: usize) -> (f64, f64) {
    let operator = Process::start(lab).await;
    let all = latency::rounds(lab, &lab.bare, "many", NAMED, Work::Mixed, rounds).await;
    let name = format!("{with} besides, {NAMED} items: to the last write");
    let last_write = figures.in_turns(GROUP, name, (&all.last_write, &all.bare), None);
    let name = format!("{with} besides, {NAMED} items: to completion");
    let completion = figures.in_turns(GROUP, name, (&all.completion, &all.bare), None);
    figures.alone(GROUP, format!("{with}: RSS after these"), "MiB", &[operator.resident()], None);
    figures.alone(GROUP, format!("{with}: RSS at the most, with these"), "MiB", &[operator.peak()], None);
    operator.stop();
    (last_write, completion)
}

/// With few targets.
pub async fn measure_few(lab: &Lab, figures: &mut Figures) -> (f64, f64) {
    let began = Instant::now();
    lab.namespace("many").await;
    fill(lab, 100).await;
    Starts::of(lab, lab.rounds).await.add(figures, "100 targets", (None, None));
    let latency = named(lab, figures, "100 targets", 2 * lab.rounds).await;
    figures.took("scale, few", began);
    latency
}

/// With finished BulkUpdates: those that throughput has left, and as many more as are missing.
pub async fn measure_finished(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    lab.namespace("many").await;
    let there = lab.finished().await;
    finish(lab, FINISHED.checked_sub(there).unwrap_or_else(|| panic!("{there} BulkUpdates"))).await;
    named(lab, figures, "1,000 finished BulkUpdates", lab.rounds).await;
    let targets = number(&lab.admin).await;
    let with = Starts::of(lab, lab.rounds).await;
    with.add(figures, &format!("1,000 finished BulkUpdates, {targets} targets"), (None, None));
    for namespace in crowd(lab).await.iter().map(String::as_str).chain(["archive"]) {
        lab.clear(namespace).await;
    }
    let without = Starts::of(lab, lab.rounds).await;
    without.add(figures, &format!("none of them, {targets} targets"), (None, None));
    let added = with.steady.iter().zip(&without.steady).map(|(with, without)| with - without);
    let (added, goal) = (added.collect::<Vec<_>>(), Some(at_most(Of::Median, 4.0)));
    figures.alone(GROUP, "RSS added by 1,000 finished BulkUpdates of 100 items", "MiB", &added, goal);
    figures.took("scale, finished", began);
}

/// With many targets. Their latency is compared with that of few.
pub async fn measure_many(lab: &Lab, figures: &mut Figures, few: (f64, f64)) {
    let began = Instant::now();
    lab.namespace("many").await;
    let limits = |steady, peak| (Some(at_most(Of::Highest, steady)), Some(at_most(Of::Highest, peak)));
    let sizes = [
        (10_000, "10,000 targets", lab.rounds, lab.rounds, limits(25.0, 40.0)),
        // A start takes ten seconds then, and so does the bare client's list of the same objects.
        (100_000, "100,000 targets", 1, 2 * lab.rounds, limits(64.0, 96.0)),
    ];
    for (targets, with, starts, rounds, goals) in sizes {
        if targets > most() {
            continue;
        }
        let filling = Instant::now();
        fill(lab, targets).await;
        figures.alone(GROUP, format!("{with}: making them"), "s", &[filling.elapsed().as_secs_f64()], None);
        Starts::of(lab, starts).await.add(figures, with, goals);
        let many = named(lab, figures, with, rounds).await;
        let goal = (targets == 100_000).then_some(at_most(Of::Median, 1.1));
        let name = format!("{with}: latency to the last write, to that with 100 (both to the bare client's)");
        figures.alone(GROUP, name, "times", &[many.0 / few.0], goal);
        let name = format!("{with}: latency to completion, to that with 100 (both to the bare client's)");
        figures.alone(GROUP, name, "times", &[many.1 / few.1], goal);
    }
    figures.took("scale, many", began);
}

/// The largest number of targets to measure with.
fn most() -> usize {
    std::env::var("AI_API_BENCH_TARGETS").map_or(100_000, |text| text.parse().unwrap())
}

/// Creates as many targets as are missing.
async fn fill(lab: &Lab, targets: usize) {
    let there = number(&lab.admin).await;
    let missing = targets.checked_sub(there).unwrap_or_else(|| panic!("{there} targets, not {targets}"));
    for (at, namespace) in crowd(lab).await.iter().enumerate() {
        let part = missing / PARTS;
        lab.stock_up(namespace, if at == 0 { missing - part * (CROWD - 1) } else { part }).await;
    }
}

/// Creates finished BulkUpdates of 100 items, as the operator leaves them.
async fn finish(lab: &Lab, number: usize) {
    if number == 0 {
        return;
    }
    lab.namespace("archive").await;
    let operator = Process::start(lab).await;
    let targets = lab.make("archive", 100, Work::Mixed).await;
    lab.spread().await;
    let run = lab.carry_out(&[&targets]).await;
    operator.stop();
    let record = run.requests.iter().find(|r| is_an_end(r)).unwrap();
    let status = record.body["status"].clone();
    let spec = spec(&targets);
    let shared = Arc::new((spec, status));
    side_by_side(0..number, 16, |_, at| {
        let (client, shared) = (lab.admin.clone(), Arc::clone(&shared));
        async move {
            let name = format!("finished-{at}");
            let bulks: Api<BulkUpdate> = Api::namespaced(client, "archive");
            let bulk = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
                "metadata": {"name": name}, "spec": shared.0});
            let bulk: BulkUpdate = serde_json::from_value(bulk).unwrap();
            bulks.create(&PostParams::default(), &bulk).await.unwrap();
            let patch: Value = json!({"status": shared.1});
            bulks.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
    })
    .await;
}
