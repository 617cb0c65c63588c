//! What the operator counts, for Prometheus. No label holds the name of an object, a namespace or a user.

mod labels;

use std::{
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    FIELD_MANAGER,
    api::{BulkUpdateStatus, ItemStatus, Kind, TargetStatus},
    bulk_update::{decide::Rejection, status::READY, work::Work},
    client::{Failure, Next},
    clock::Clock,
    health::Health,
    index::Index,
    leadership::Leadership,
};
use labels::{
    ASIDE, ENDS, Election, Item, OUTCOMES, OfKind, Outcome, RESOURCES, RESULTS, RETRIES, Reason, Resource,
    VERBS, Word, Write,
};

pub use labels::verb;

/// The upper bounds of the histograms, in seconds. A creationTimestamp has whole seconds, so that nothing finer can be said.
const SECONDS: [f64; 11] = [1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

/// All of them; one for the whole operator. A clone counts into the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    finished: Family<Outcome, Counter>,
    expired: Counter,
    policy_in_force: Gauge,
    items: Family<Item, Counter>,
    planned_after: Histogram,
    written_after: Histogram,
    ended_after: Histogram,
    underway: Gauge,
    in_flight: Gauge,
    writes: Family<Write, Counter>,
    retries: Family<Reason, Counter>,
    conflicts: Family<Resource, Counter>,
    unreadable: Family<Resource, Counter>,
    watch_restarts: Family<Resource, Counter>,
    heard_last: Family<Resource, Gauge<f64, AtomicU64>>,
    targets: Family<OfKind, Gauge>,
    leads: Family<Election, Gauge>,
    index: Arc<OnceLock<Arc<Index>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(SECONDS);
        Self {
            finished: Family::default(),
            expired: Counter::default(),
            policy_in_force: Gauge::default(),
            items: Family::default(),
            planned_after: histogram(),
            written_after: histogram(),
            ended_after: histogram(),
            underway: Gauge::default(),
            in_flight: Gauge::default(),
            writes: Family::default(),
            retries: Family::default(),
            conflicts: Family::default(),
            unreadable: Family::default(),
            watch_restarts: Family::default(),
            heard_last: Family::default(),
            targets: Family::default(),
            leads: Family::default(),
            index: Arc::default(),
        }
    }
}

impl Metrics {
    /// Gives each its name and its words.
    pub fn register(&self, registry: &mut Registry) {
        let mut bulk = |name, help, metric: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        };
        bulk("aiapi_bulkupdate_plan_duration", "From creation to plan; whole seconds", &self.planned_after);
        bulk(
            "aiapi_bulkupdate_apply_duration",
            "From creation to the last accepted write",
            &self.written_after,
        );
        bulk("aiapi_bulkupdate_duration", "From creation to the end, rejections included", &self.ended_after);
        registry.register(
            "aiapi_bulkupdates_finished",
            "BulkUpdates that came to their end, by the reason of their condition Ready",
            self.finished.clone(),
        );
        registry.register(
            "aiapi_bulkupdates_expired",
            "BulkUpdates that were rejected because startingDeadlineSeconds had passed before they were planned",
            self.expired.clone(),
        );
        registry.register(
            "aiapi_admission_policy_in_force",
            "Whether this replica accepts BulkUpdates that are created now, as far as the admission policy goes",
            self.policy_in_force.clone(),
        );
        registry.register(
            "aiapi_bulkupdate_items",
            "Items at the end of their BulkUpdate",
            self.items.clone(),
        );
        registry.register("aiapi_bulkupdates_underway", "BulkUpdates under way", self.underway.clone());
        registry.register(
            "aiapi_writes_in_flight",
            "Writes to targets without an answer yet",
            self.in_flight.clone(),
        );
        registry.register("aiapi_writes", "Writes to targets", self.writes.clone());
        registry.register(
            "aiapi_retries",
            "Requests that are tried again, or looked up, by what came of them",
            self.retries.clone(),
        );
        registry.register(
            "aiapi_conflicts",
            "Writes that were refused because the object had changed",
            self.conflicts.clone(),
        );
        registry.register(
            "aiapi_unreadable",
            "Objects seen that can't be understood",
            self.unreadable.clone(),
        );
        registry.register(
            "aiapi_watch_restarts",
            "Watches that failed and were begun anew",
            self.watch_restarts.clone(),
        );
        registry.register_with_unit(
            "aiapi_watch_last_event_timestamp",
            "When a watch was heard of last, bookmarks included",
            Unit::Seconds,
            self.heard_last.clone(),
        );
        registry.register("aiapi_index_targets", "Targets that are known", self.targets.clone());
        registry.register("leader_election_master_status", "Whether this replica leads", self.leads.clone());
        self.begin_at_zero();
    }

    /// A counter that comes into being with its first event hides that one from `increase()` and `rate()`: it has to have
    /// been seen at 0.
    fn begin_at_zero(&self) {
        for outcome in ENDS {
            drop(self.finished.get_or_create(&Outcome { outcome: outcome.to_owned() }));
        }
        for (kind, target) in Kind::ALL.into_iter().flat_map(|kind| VERBS.map(|target| (kind, target))) {
            let (kind, verb) = (kind.name(), verb(target));
            for result in RESULTS {
                drop(self.items.get_or_create(&Item { kind, verb, result: Word(result) }));
            }
            for outcome in OUTCOMES {
                drop(self.writes.get_or_create(&Write { kind, verb, outcome }));
            }
        }
        for reason in RETRIES {
            drop(self.retries.get_or_create(&Reason { reason }));
        }
        for resource in RESOURCES {
            for counted in [&self.conflicts, &self.unreadable, &self.watch_restarts] {
                drop(counted.get_or_create(&Resource { resource: resource.to_owned() }));
            }
        }
        for resource in ASIDE {
            drop(self.watch_restarts.get_or_create(&Resource { resource: resource.to_owned() }));
        }
    }

    /// Takes over what is known elsewhere and needed only when somebody looks.
    pub fn refresh(&self, health: &Health, leadership: &Leadership, clock: &Clock) {
        self.underway.set(health.underway().try_into().unwrap_or(i64::MAX));
        for (resource, time) in health.last_events(clock.now().earliest) {
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of this era fit")]
            let seconds = time.as_millisecond() as f64 / 1000.0;
            self.heard_last.get_or_create(&Resource { resource }).set(seconds);
        }
        for kind in Kind::ALL {
            let known = self.index.get().map_or(0, |index| index.len(kind));
            self.targets
                .get_or_create(&OfKind { kind: kind.name() })
                .set(known.try_into().unwrap_or(i64::MAX));
        }
        self.leads.get_or_create(&Election { name: FIELD_MANAGER }).set(leadership.holds().into());
    }

    /// From now on it is told how many targets this index has. There is one for each process.
    pub fn counts_targets_of(&self, index: &Arc<Index>) {
        let _ = self.index.set(Arc::clone(index));
    }

    /// A status was written, `now` by the API server's clock; `before` is what stood there.
    pub fn recorded(&self, work: &Work, before: &BulkUpdateStatus, now: Timestamp) {
        let after = &work.recorded;
        let seconds = |time: Timestamp| {
            Duration::try_from(time.duration_since(work.request.created)).unwrap_or_default().as_secs_f64()
        };
        let planned = |status: &BulkUpdateStatus| status.summary.map_or(0, |summary| summary.planned);
        if let Some(time) = work.last_write.filter(|_| planned(before) > 0 && planned(after) == 0) {
            let since = SignedDuration::try_from(time.elapsed()).unwrap_or_default();
            self.written_after.observe(seconds(now.saturating_sub(since).unwrap_or(now)));
        }
        if let (None, Some(start)) = (&before.start_time, &after.start_time) {
            self.planned_after.observe(seconds(start.0));
        }
        let (None, Some(end)) = (&before.completion_time, &after.completion_time) else { return };
        self.ended_after.observe(seconds(end.0));
        let outcome = after.condition(READY).map(|c| c.reason.clone()).unwrap_or_default();
        // A notAfter that has passed is as it was meant to be.
        let after_not_after = work.request.not_after.is_some_and(|not_after| end.0 > not_after);
        if outcome == Rejection::DeadlineExceeded.reason() && !after_not_after {
            self.expired.inc();
        }
        self.finished.get_or_create(&Outcome { outcome }).inc();
        for kind in Kind::ALL {
            for ItemStatus { target_status, result, .. } in after.items(kind) {
                let item = Item { kind: kind.name(), verb: verb(*target_status), result: Word(*result) };
                self.items.get_or_create(&item).inc();
            }
        }
    }

    /// Whether BulkUpdates that are created now are accepted, as far as the admission policy goes.
    pub fn admission(&self, accepts: bool) {
        self.policy_in_force.set(accepts.into());
    }

    /// A write to a target goes out; it is in flight until what this gives back is dropped.
    #[must_use]
    pub fn write_begins(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A write to a target was answered, or not.
    pub fn written<T>(&self, kind: Kind, target: TargetStatus, outcome: &Result<T, Failure>) {
        let outcome = match outcome {
            Ok(_) => "accepted",
            Err(failure) if failure.is_conflict() => "conflict",
            Err(Failure::NotSent(_)) => "not_sent",
            Err(failure) if failure.outcome_unknown() => "unanswered",
            Err(_) => "refused",
        };
        self.writes.get_or_create(&Write { kind: kind.name(), verb: verb(target), outcome }).inc();
    }

    /// A request about this resource did not succeed.
    pub fn failed(&self, resource: &str, failure: &Failure) {
        if failure.is_conflict() {
            self.conflicts.get_or_create(&Resource { resource: resource.to_owned() }).inc();
        }
        if failure.next() != Next::GiveUp {
            self.retries.get_or_create(&Reason { reason: failure.reason() }).inc();
        }
    }

    /// An object of this resource can't be understood.
    pub fn unreadable(&self, resource: &str) {
        self.unreadable.get_or_create(&Resource { resource: resource.to_owned() }).inc();
    }

    /// A watch of this resource has failed.
    pub fn watch_failed(&self, resource: &str) {
        self.watch_restarts.get_or_create(&Resource { resource: resource.to_owned() }).inc();
    }
}

/// A write in flight.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn registered(metrics: &Metrics) -> String {
        let mut registry = crate::telemetry::registry();
        metrics.register(&mut registry);
        metrics.refresh(&Health::default(), &Leadership::default(), &Clock::default());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    /// The lines that have a value, without it.
    fn series(text: &str) -> BTreeSet<&str> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap().0).collect()
    }

    fn refused(code: u16) -> Failure {
        Failure::Refused { code, message: String::new(), retry_after: None }
    }

    #[test]
    fn what_can_be_counted_stands_at_zero_before_the_first_event() {
        let text = registered(&Metrics::default());
        for line in [
            r#"aiapi_bulkupdates_finished_total{outcome="NotAuthorized"} 0"#,
            r#"aiapi_bulkupdates_finished_total{outcome="Settled"} 0"#,
            r#"aiapi_bulkupdate_items_total{kind="Deployment",verb="stop",result="Failed"} 0"#,
            r#"aiapi_bulkupdate_items_total{kind="Execution",verb="delete",result="Eligible"} 0"#,
            r#"aiapi_writes_total{kind="Execution",verb="stop",outcome="unanswered"} 0"#,
            r#"aiapi_retries_total{reason="forbidden"} 0"#,
            r#"aiapi_conflicts_total{resource="bulkupdates"} 0"#,
            r#"aiapi_unreadable_total{resource="executions"} 0"#,
            r#"aiapi_watch_restarts_total{resource="deployments"} 0"#,
            r#"aiapi_watch_restarts_total{resource="validatingadmissionpolicybindings"} 0"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn no_event_makes_a_series_that_was_not_there() {
        let metrics = Metrics::default();
        let before = registered(&metrics);
        let mut failures: Vec<_> = (400..600).map(refused).collect();
        failures.extend([Failure::NotServed, Failure::NotSent, Failure::NoAnswer].map(|f| f(String::new())));
        for resource in RESOURCES {
            metrics.unreadable(resource);
            for failure in &failures {
                metrics.failed(resource, failure);
            }
        }
        for resource in RESOURCES.into_iter().chain(ASIDE) {
            metrics.watch_failed(resource);
        }
        for (kind, target) in Kind::ALL.into_iter().flat_map(|kind| VERBS.map(|target| (kind, target))) {
            metrics.written(kind, target, &Ok(()));
            for failure in &failures {
                metrics.written::<()>(kind, target, &Err(failure.clone()));
            }
        }
        let after = registered(&metrics);
        assert_eq!(series(&before), series(&after));
        // Nor is one there in which nothing is ever counted.
        for name in ["writes", "retries", "conflicts", "unreadable", "watch_restarts"] {
            let name = format!("aiapi_{name}_total{{");
            let idle = after.lines().filter(|line| line.starts_with(&name) && line.ends_with(" 0"));
            assert_eq!(idle.collect::<Vec<_>>(), Vec::<&str>::new());
        }
    }

    #[test]
    fn no_metric_lacks_its_help_and_none_was_forgotten() {
        let metrics = Metrics::default();
        metrics.heard_last.get_or_create(&Resource { resource: RESOURCES[0].to_owned() }).set(1.0);
        let text = registered(&metrics);
        let told = |mark: &str| -> BTreeSet<_> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(mark)?.trim_start().split_once(' '));
            lines
                .filter(|(_, words)| !words.trim_matches(['.', ' ']).is_empty())
                .map(|(name, _)| name)
                .collect()
        };
        let (helps, types) = (told("# HELP"), told("# TYPE"));
        assert_eq!(helps, types);
        // One for each field that is registered, and the version.
        assert_eq!(types.len(), 18, "{types:?}");
        for line in series(&text).into_iter().filter(|line| *line != "# EOF") {
            assert!(types.iter().any(|name| line.starts_with(name)), "{line}");
        }
    }
}
