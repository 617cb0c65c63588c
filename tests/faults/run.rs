//! Runs one plan: a namespace of its own, the operator in as many lives as it takes, and the judge.

mod course;
mod guard;
mod replicas;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ai_api_operator::api::{ItemResult, Kind, TargetStatus};
use judge::{Record, Version};
use tokio::time::timeout;

use crate::{
    cluster::Cluster,
    expected, facts,
    fault::{Change, Fault, Injection, Lasts, View},
    life::{InTheMiddle, Life, Shared},
    operator::{Log, Running, has_panicked},
    plan::{Baseline, Plan},
    scenario::Reaction,
    unlogged,
    view::Views,
};

/// How long a plan may take: less than the minute after which the operator rechecks everything that it waits for, so
/// that a lost wake-up is noticed.
const DEADLINE: Duration = Duration::from_secs(45);

/// The same where requests get no answer, which takes the operator ten seconds each, or where something fails for half
/// a minute.
const LONG_DEADLINE: Duration = Duration::from_secs(75);

/// How long to wait for the operator's watches, which a fault may delay.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The same where another replica may have to become the leader first.
const TIMEOUT_TO_LEAD: Duration = Duration::from_secs(12);

/// How long a BulkUpdate waits for the admission policy before it is restored.
const WAITS: Duration = Duration::from_millis(1500);

/// How many lives an operator may have in one plan. If it needs more, it makes no progress by itself.
const MAX_LIVES: usize = 12;

/// How long an operator without pending work sends nothing.
const QUIET: Duration = Duration::from_millis(300);

/// The same where it may be in a back-off.
const QUIET_AFTER_A_FAILURE: Duration = Duration::from_millis(1500);

/// How long a wrong view lasts, if the BulkUpdate does not finish before.
const VIEW_DURATION: Duration = Duration::from_millis(1500);

/// The same where it shows an old BulkUpdate, which may not finish as long as nothing newer is seen.
const OLD_VIEW_DURATION: Duration = Duration::from_secs(5);

/// The maximum of requests in one life, including watches and events; without faults there are 14 to 22. More indicates
/// a hot loop.
const REQUESTS_PER_LIFE: usize = 35;

/// How many more for each additional BulkUpdate.
const REQUESTS_PER_BULK_UPDATE: usize = 20;

/// The same for a lasting fault: in 3 seconds of back-off, each of six retries reads the object; in 20 seconds without
/// answers, the flag is read each second.
const REQUESTS_WITH_LASTING_FAULT: usize = 45;

/// The outcome of a plan.
pub struct Course {
    /// What was sent in the first life.
    pub baseline: Baseline,
    /// What went wrong, and the operator's log.
    pub violations: Option<String>,
    /// A one-line summary.
    pub account: String,
    /// How many requests were hit by faults, or whether any event was affected by the view.
    pub hits: usize,
    /// How many of the faults have changed nothing.
    pub without_effect: usize,
    /// The maximum number of requests in one life.
    pub most_requests: usize,
}

struct Runner<'a> {
    plan: &'a Plan,
    cluster: Arc<Cluster>,
    views: Arc<Views>,
    shared: Shared,
    lives: Vec<Arc<Life>>,
    log: Log,
    running: Vec<Running>,
    /// How many replicas have ended and have not been restarted yet.
    ended: usize,
    /// Whether a replica has lost the Lease.
    lost: bool,
    reacted: bool,
}

/// Runs a plan in a namespace of its own.
pub async fn run(plan: &Plan) -> Course {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let namespace = format!("plan-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let begun = Instant::now();
    let cluster = Cluster::new(&namespace, plan).await;
    let views = Views::of(plan);
    let shared = Shared {
        cluster: Arc::clone(&cluster),
        views: Arc::clone(&views),
        wires: Arc::default(),
        looked_at: Arc::default(),
        in_the_middle: match plan.scenario.reaction {
            Reaction::InTheMiddle(change, resource) => Some(InTheMiddle::new(change, resource)),
            _ => None,
        },
    };
    let mut runner = Runner {
        plan,
        cluster: Arc::clone(&cluster),
        views,
        shared,
        lives: Vec::new(),
        log: Log::default(),
        running: Vec::new(),
        ended: 0,
        lost: false,
        reacted: false,
    };
    let deadline = if plan.takes_long() { LONG_DEADLINE } else { DEADLINE };
    let ended = match timeout(deadline, runner.course()).await {
        Ok(ended) => ended,
        Err(_) => Err(format!("not finished within {deadline:?}")),
    };
    runner.views.end();
    for running in runner.running.drain(..) {
        running.life.dead.cancel();
    }
    cluster.observed().await;
    let lasted = runner.lives.iter().find_map(|life| life.lasted());
    let facts = facts::of(plan, &cluster, &runner.lives, &runner.shared.wires);
    let outcomes: Vec<_> = judge::Case::of(&facts).bulks.iter().map(|bulk| summary_of(bulk.last())).collect();
    let requests = facts.requests.len();
    let written = facts.requests.iter().filter(|r| r.is_target_write() && r.succeeded()).count();
    let mut violations = expected::violations(plan, &facts, lasted);
    violations.extend(ended.err());
    violations.extend(runner.lives.iter().flat_map(|life| life.violations()));
    violations.extend(runner.nothing_came_of_it());
    // A replica that loses the Lease ends at once, before it has logged everything that it has sent.
    violations.extend(unlogged::of(plan, &runner.lives, &runner.log).filter(|_| !runner.lost));
    if has_panicked(&namespace) {
        violations.push("a panic".into());
    }
    let busiest = runner.lives.iter().max_by_key(|life| life.sent()).unwrap();
    let most_requests = busiest.sent();
    let takes_long = |fault| matches!(fault, Fault::Silence { .. });
    // Objects created at the same moment are read repeatedly until the watch has caught up.
    let lasts =
        plan.injections.iter().any(|injection| injection.lasts != Lasts::Once || takes_long(injection.fault))
            || !plan.scenario.at_the_same_moment.is_empty();
    // A watch that was closed is restarted.
    let closed = if matches!(plan.view, Some((View::Close, _))) { runner.views.affected() } else { 0 };
    let others = REQUESTS_PER_BULK_UPDATE * outcomes.len().saturating_sub(1);
    let allowed = if lasts { REQUESTS_WITH_LASTING_FAULT } else { REQUESTS_PER_LIFE };
    if most_requests > allowed + others + closed {
        violations.push(format!("{most_requests} requests in one life: {:?}", busiest.counts()));
    }
    let hits: Vec<_> = runner.lives.iter().flat_map(|life| life.hits()).collect();
    let affected = runner.views.affected();
    let account = format!(
        "{}: {}; {} lives, {requests} requests, {written} writes to targets, {:.1} s",
        match (&plan.view, hits.is_empty()) {
            (Some(_), true) => format!("{affected} events were affected"),
            (Some(_), false) => format!("{affected} events were affected, {}", hits.join(", ")),
            (None, true) => "no fault".into(),
            (None, false) => hits.join(", "),
        },
        outcomes.join("; "),
        runner.lives.len(),
        begun.elapsed().as_secs_f32(),
    );
    cluster.leave().await;
    let first = &runner.lives[0];
    let baseline = Baseline { counts: first.counts(), writes: first.writes() };
    let hits = hits.len() + affected.min(1);
    let report = || format!("{account}\n  {}\n{}", violations.join("\n  "), runner.log.text());
    let without_effect = runner.lives.iter().map(|life| life.without_effect()).sum();
    Course {
        baseline,
        violations: (!violations.is_empty()).then(report),
        account,
        hits,
        without_effect,
        most_requests,
    }
}

fn summary_of(record: &Record<'_>) -> String {
    let reason = record.status.condition("Ready").map_or("not seen", |c| &c.reason);
    format!("{} {reason}", record.version.name)
}

impl Runner<'_> {
    /// Events that the plan needs, besides its faults, and that did not happen: then the plan shows less than its name
    /// says.
    fn nothing_came_of_it(&self) -> Option<String> {
        let stopped = self.cluster.history.versions().iter().any(|v| !v.stopped_by().is_empty());
        let middle = self.shared.in_the_middle.as_ref();
        if middle.is_some_and(|middle| !middle.is_done()) && stopped {
            return Some("something was stopped, and the reaction to it did not happen".into());
        }
        let gone = |v: &Version| v.deleted && v.plural == "executions" && v.name != "observer-end";
        let recreates = self.plan.scenario.reaction == Reaction::Recreate;
        (recreates && !self.reacted && self.cluster.history.versions().iter().any(gone))
            .then(|| "a target is gone, and was not created again".into())
    }

    /// Waits until the operator sends nothing any more.
    async fn until_quiet(&mut self) -> Result<(), String> {
        // Failed requests may be retried a moment later.
        let retries = |injection: &Injection| {
            !(injection.fault.ends_a_life() || matches!(injection.fault, Fault::Race(_)))
        };
        let deleted = self.cluster.history.bulk_updates().iter().any(|bulk| bulk.deleted);
        let calm =
            if deleted && self.plan.injections.iter().any(retries) { QUIET_AFTER_A_FAILURE } else { QUIET };
        let end = Instant::now() + TIMEOUT;
        let mut last = (0, 0, Instant::now());
        while Instant::now() < end {
            let sent = self.lives.iter().map(|life| life.sent()).sum();
            let idle = self.running.iter().all(|running| running.life.is_idle());
            if (self.lives.len(), sent) != (last.0, last.1) || !idle {
                last = (self.lives.len(), sent, Instant::now());
            } else if last.2.elapsed() > calm {
                break;
            }
            self.wait_a_while().await?;
        }
        Ok(())
    }

    /// Whether every BulkUpdate has finished, and everything that it has deleted is known to be gone: the observer
    /// watches each resource separately, and may see the end first.
    fn is_finished(&self) -> bool {
        self.has_ended() && self.all_deletions_are_seen()
    }

    fn all_deletions_are_seen(&self) -> bool {
        let versions = self.cluster.history.versions();
        let bulks = self.cluster.history.bulk_updates();
        let statuses = bulks.iter().filter_map(|bulk| bulk.bulk()?.status);
        let deleted: Vec<_> = statuses
            .flat_map(|status| Kind::ALL.map(|kind| status.items(kind).to_vec()).concat())
            .filter(|i| i.target_status == TargetStatus::Deleted && i.result == ItemResult::Settled)
            .filter_map(|item| item.uid)
            .collect();
        deleted.iter().all(|uid| versions.iter().any(|v| v.deleted && *v.uid == **uid))
    }

    fn has_ended(&self) -> bool {
        let bulks = self.cluster.history.bulk_updates();
        let scenario = self.plan.scenario;
        let wanted = (scenario.bulk_updates)();
        let recreated = self.cluster.recreated.load(Ordering::Relaxed);
        let deletes = scenario.has_a_ttl();
        bulks.len() >= wanted.len() + recreated
            && bulks.iter().all(|bulk| {
                let ended = !bulk.text("/status/completionTime").is_empty();
                bulk.deleted || bulk.terminating() || (ended && !deletes)
            })
    }

    /// The actions of others, triggered by what happens.
    async fn react(&mut self) {
        let versions = self.cluster.history.versions();
        let scenario = self.plan.scenario;
        match scenario.reaction {
            Reaction::Recreate if !self.reacted => {
                if let Some(gone) = versions.iter().find(|v| v.deleted && v.plural == "executions") {
                    self.reacted = true;
                    self.cluster.world.own_unless_there(Kind::Execution, &gone.name, "STOPPED").await;
                }
            }
            _ => {}
        }
        let settling = |text: &str| text == "Settling";
        let bulks = self.cluster.history.bulk_updates();
        if bulks.iter().any(|b| {
            b.bulk()
                .and_then(|b| b.status)
                .is_some_and(|s| s.condition("Ready").is_some_and(|c| settling(&c.reason)))
        }) && (scenario.targets.iter().any(|target| target.kept)
            || self.plan.changes().any(|c| matches!(c, Change::Terminate | Change::Finalize)))
        {
            self.cluster.remove_finalizers().await;
        }
    }
}
