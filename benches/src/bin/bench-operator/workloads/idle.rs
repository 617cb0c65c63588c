//! Executions and Deployments that nothing runs for, where the operator may run others, and where it may not.

use std::time::Duration;

use ai_api_operator::api::Kind;
use serde_json::json;

use super::{GROUP, jobs::spec, requests};
use crate::{
    bare,
    figures::Figures,
    lab::Lab,
    process::Process,
    sizes::{settled, targets_in_stock},
};

/// How long it is watched.
const IDLE: Duration = Duration::from_secs(10);

/// What it costs to follow them.
struct Cost {
    ready: f64,
    steady: f64,
    peak: f64,
    cpu: f64,
    requests: f64,
}

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let stock = targets_in_stock(lab).await;
    let without = cost(lab).await;
    // One that runs makes the operator follow the engine's objects.
    lab.world.may_run_everywhere("engine-job", "bench").await;
    let namespace = lab.namespace("idle").await;
    let runs = json!({"template": {"apiVersion": "batch/v1", "kind": "Job", "spec": spec(false)}});
    bare::create(&lab.admin, (Kind::Execution, &namespace, "runs"), &runs, None).await;
    let with = cost(lab).await;
    let title = format!("{} idle targets", stock.count);
    let beside = format!("{title} and one that runs, beside the same where no engine is permitted");
    for (what, unit, with, without) in [
        ("ready after", "ms", with.ready, without.ready),
        ("RSS after the start", "MiB", with.steady, without.steady),
        ("RSS at the most", "MiB", with.peak, without.peak),
    ] {
        figures.compared(GROUP, format!("{beside}: {what}"), unit, (&[with], &[without]), None);
    }
    for (title, cost) in [(format!("{title} and one that runs"), with), (title, without)] {
        figures.alone(GROUP, format!("{title}: CPU in ten seconds"), "s", &[cost.cpu], None);
        let name = format!("{title}: requests in ten seconds, watches and Leases aside");
        figures.alone(GROUP, name, "each", &[cost.requests], None);
    }
    lab.clear_all(&namespace).await;
    stock.delete_all(lab).await;
}

async fn cost(lab: &Lab) -> Cost {
    let operator = Process::start(lab).await;
    let taken = settled(&operator).await;
    let (from, before) = (lab.audited(), operator.cpu());
    tokio::time::sleep(IDLE).await;
    let cpu = operator.cpu() - before;
    let requests = requests(lab, from, &lab.world.operator.user).await.len() as f64;
    Cost { ready: operator.ready_after, steady: taken.steady, peak: taken.peak, cpu, requests }
}
