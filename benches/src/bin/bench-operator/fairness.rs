//! Whether a small one waits for large ones, and fast ones for slow ones.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::{
    bare,
    figures::{Figures, Of, at_most},
    lab::{IN_FLIGHT, Lab, Work, millis, moment},
    latency,
    process::Process,
};

const GROUP: &str = "fairness";

/// How many items the crowd has, in BulkUpdates of 100.
const CROWD: usize = 5000;

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let operator = Process::start(lab).await;
    a_single_one_in_a_crowd(lab, figures, &operator).await;
    fast_ones_beside_slow_ones(lab, figures, &operator).await;
    operator.stop();
    figures.took(GROUP, began);
}

/// One item arrives while 50 BulkUpdates of 100 are active in the same namespace.
async fn a_single_one_in_a_crowd(lab: &Lab, figures: &mut Figures, operator: &Process<'_>) {
    let namespace = lab.namespace("fairness").await;
    let (mut waited, mut bare, mut begun, mut done) = (vec![], vec![], vec![], vec![]);
    let mut crowd = Vec::new();
    for _ in 0..lab.rounds {
        crowd.extend(lab.make(&namespace, CROWD - crowd.len(), Work::Deletes).await);
        let few = lab.make(&namespace, 21, Work::Deletes).await;
        lab.spread().await;
        let (single, bares) = few.split_at(1);
        let mut alone = 0.0;
        for target in bares {
            alone += bare::write(&lab.bare, std::slice::from_ref(target), 1).await;
        }
        bare.push(alone / bares.len() as f64);
        let groups: Vec<_> = crowd.chunks(100).collect();
        // The operator resumes when all of the crowd exist, and the single one is created when each of them has its
        // plan and writes.
        operator.signal("STOP");
        lab.submit_all(&groups).await;
        let from = lab.audited();
        operator.signal("CONT");
        lab.audit(from, 500, 0).await;
        let name = lab.new_name("single");
        let created = lab.submit(&name, single).await;
        let ended = lab.end_of(&namespace, &name).await;
        // The crowd has served its purpose; the rest of it is for the next round.
        lab.clear(&namespace).await;
        lab.spread().await;
        let requests = lab.audit(from, 0, 0).await;
        let writes: Vec<_> =
            requests.iter().filter(|r| r.is_target_write() && r.name != single[0].name).collect();
        let share_by = |time: Timestamp| {
            let done = writes.iter().filter(|r| r.succeeded() && moment(&r.answered) <= time);
            done.count() as f64 / CROWD as f64
        };
        begun.push(share_by(created));
        done.push(share_by(ended));
        waited.push(millis(created, ended));
        let written: HashSet<_> = writes.iter().map(|r| r.name.as_str()).collect();
        crowd.retain(|made| !written.contains(made.name.as_str()));
    }
    let name =
        "1 item arriving while 50 times 100 are under way: to completion; bare: one write, nothing else";
    figures.compared(GROUP, name, "ms", (&waited, &bare), None);
    let goal = Some(at_most(Of::Highest, 0.5));
    figures.alone(GROUP, "share of the crowd that was done when it came", "of 1", &begun, None);
    figures.alone(GROUP, "share of the crowd that was done at its end", "of 1", &done, goal);
}

/// 1,000 targets of another controller that never stop, and fast ones in another namespace.
async fn fast_ones_beside_slow_ones(lab: &Lab, figures: &mut Figures, operator: &Process<'_>) {
    let (slow, fast) = (lab.namespace("slow").await, lab.namespace("fast").await);
    let targets = lab.make_with(&slow, 1000, Work::Stops, json!({"managedBy": "example.com/slow"})).await;
    lab.spread().await;
    let from = lab.audited();
    for (at, group) in targets.chunks(100).enumerate() {
        lab.submit(&format!("slow-{at}"), group).await;
    }
    lab.audit(from, targets.len(), 0).await;
    let all = latency::rounds(lab, &lab.bare, &fast, 100, Work::Mixed, lab.rounds).await;
    let name = "100 items beside 1,000 of another namespace that do not settle: to the last write";
    figures.in_turns(GROUP, name, (&all.last_write, &all.bare), None);
    figures.in_turns(GROUP, "the same: to completion", (&all.completion, &all.bare), None);

    // Nothing happens: the cost of waiting.
    let (from, cpu) = (lab.audited(), operator.cpu());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let requests = lab.audit(from, 0, 0).await;
    let of_bulk_updates = requests.iter().filter(|r| r.resource != "leases" && r.verb != "watch").count();
    let name = "requests in 5 s while 1,000 items wait and nothing happens";
    figures.alone(GROUP, name, "each", &[of_bulk_updates as f64], None);
    figures.alone(GROUP, "CPU in these 5 s", "s", &[operator.cpu() - cpu], None);

    // The other controller stops them, one after the other.
    let began = Timestamp::now();
    let admin = lab.admin.clone();
    bare::side_by_side(targets, IN_FLIGHT, |_, made| {
        let admin = admin.clone();
        async move { bare::set_state(&admin, (made.kind, &made.namespace, &made.name), "STOPPED").await }
    })
    .await;
    let settled = Timestamp::now();
    let mut ended = settled;
    for at in 0..10 {
        ended = ended.max(lab.end_of(&slow, &format!("slow-{at}")).await);
    }
    let took = [millis(began, ended)];
    let name = "the 1,000 stopped by their controller: to completion; bare: its writes";
    figures.compared(GROUP, name, "ms", (&took, &[millis(began, settled)]), None);
    lab.clear(&slow).await;
}
