//! What the operator counts, for Prometheus. No label holds the name of an object, a namespace or a user.

mod labels;
#[cfg(test)]
mod tests;
mod unplanned;

use std::{
    sync::{Arc, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use labels::{
    ASIDE, Election, Item, OUTCOMES, OfKind, Outcome, RESOURCES, RESULTS, RETRIES, Reason, Resource, VERBS,
    Verb, Write,
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    api::{
        BulkUpdateStatus, ConditionReason, FIELD_MANAGER, ItemStatus, Kind, READY, Reason as ItemReason,
        TargetStatus,
    },
    client::{Failure, Next, clock::Clock, leadership::Leadership},
    observed::index::Index,
    telemetry::health::Health,
};

pub use labels::verb;
pub use unplanned::Unplanned;

/// The upper bounds of the histograms, in seconds. A creationTimestamp has whole seconds, so that nothing finer can be said.
const SECONDS: [f64; 11] = [1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

/// All of them; one for the whole operator. A clone counts into the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    finished: Family<Outcome, Counter>,
    expired: Counter,
    policy_in_force: Gauge,
    items: Family<Item, Counter>,
    outcome_unknown: Family<Verb, Counter>,
    unplanned: unplanned::Waiting,
    oldest_unplanned: Gauge,
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
            outcome_unknown: Family::default(),
            unplanned: unplanned::Waiting::default(),
            oldest_unplanned: Gauge::default(),
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
        self.register_bulk_updates(registry);
        self.register_requests(registry);
        registry.register(
            "aiapi_admission_policy_in_force",
            "Whether this replica accepts BulkUpdates that are created now, as far as the admission policy goes",
            self.policy_in_force.clone(),
        );
        registry.register("aiapi_index_targets", "Targets that are known", self.targets.clone());
        registry.register("leader_election_master_status", "Whether this replica leads", self.leads.clone());
        self.begin_at_zero();
    }

    fn register_bulk_updates(&self, registry: &mut Registry) {
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
            "aiapi_bulkupdate_items",
            "Items at the end of their BulkUpdate",
            self.items.clone(),
        );
        registry.register(
            "aiapi_bulkupdate_items_outcome_unknown",
            "Items that failed as OutcomeUnknown",
            self.outcome_unknown.clone(),
        );
        registry.register_with_unit(
            "aiapi_bulkupdates_oldest_unplanned_timestamp",
            "When the oldest BulkUpdate was created that waits to be planned; 0 if none does",
            Unit::Seconds,
            self.oldest_unplanned.clone(),
        );
        registry.register("aiapi_bulkupdates_underway", "BulkUpdates under way", self.underway.clone());
    }

    fn register_requests(&self, registry: &mut Registry) {
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
    }

    /// A counter that comes into being with its first event hides that one from `increase()` and `rate()`: it has to have
    /// been seen at 0.
    fn begin_at_zero(&self) {
        for outcome in ConditionReason::FINAL {
            drop(self.finished.get_or_create(&Outcome { outcome: outcome.to_string() }));
        }
        for (kind, target) in Kind::ALL.into_iter().flat_map(|kind| VERBS.map(|target| (kind, target))) {
            let (kind, verb) = (kind.name(), verb(target));
            for result in RESULTS {
                drop(self.items.get_or_create(&Item { kind, verb, result: result.into() }));
            }
            drop(self.outcome_unknown.get_or_create(&Verb { kind, verb }));
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
        self.oldest_unplanned.set(self.unplanned.oldest().map_or(0, Timestamp::as_second));
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

    /// A BulkUpdate is taken up. It waits to be planned until [`Self::recorded`] says otherwise, or what this gives back is
    /// dropped.
    #[must_use]
    pub fn taken_up(&self, uid: &str, created: Timestamp, status: Option<&BulkUpdateStatus>) -> Unplanned {
        let waits = status.is_none_or(|s| s.start_time.is_none() && s.completion_time.is_none());
        self.unplanned.begin(uid, waits.then_some(created))
    }

    /// A status was written.
    pub fn recorded(&self, written: &StatusWritten<'_>) {
        let StatusWritten { before, after, now, .. } = written;
        let seconds = |time: Timestamp| {
            Duration::try_from(time.duration_since(written.created)).unwrap_or_default().as_secs_f64()
        };
        let planned = |status: &BulkUpdateStatus| status.summary.map_or(0, |summary| summary.planned);
        if let Some(time) = written.last_write.filter(|_| planned(before) > 0 && planned(after) == 0) {
            let since = SignedDuration::try_from(time.elapsed()).unwrap_or_default();
            self.written_after.observe(seconds(now.saturating_sub(since).unwrap_or(*now)));
        }
        if let (None, Some(start)) = (&before.start_time, &after.start_time) {
            self.planned_after.observe(seconds(start.0));
        }
        if after.start_time.is_some() || after.completion_time.is_some() {
            self.unplanned.end(written.uid);
        }
        let (None, Some(end)) = (&before.completion_time, &after.completion_time) else { return };
        self.ended_after.observe(seconds(end.0));
        let outcome = after.condition(READY).map(|c| c.reason.clone()).unwrap_or_default();
        if outcome == <&str>::from(ConditionReason::DeadlineExceeded) && written.expired {
            self.expired.inc();
        }
        self.finished.get_or_create(&Outcome { outcome }).inc();
        for kind in Kind::ALL {
            for ItemStatus { target_status, result, reason, .. } in after.items(kind) {
                let (kind, verb) = (kind.name(), verb(*target_status));
                self.items.get_or_create(&Item { kind, verb, result: (*result).into() }).inc();
                if *reason == Some(ItemReason::OutcomeUnknown) {
                    self.outcome_unknown.get_or_create(&Verb { kind, verb }).inc();
                }
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

/// What the metrics have to know of a status that was written.
#[derive(Clone, Copy, Debug)]
pub struct StatusWritten<'a> {
    /// The uid of the BulkUpdate.
    pub uid: &'a str,
    /// When it was created.
    pub created: Timestamp,
    /// When this process saw a write for it accepted last.
    pub last_write: Option<tokio::time::Instant>,
    /// What stood there before.
    pub before: &'a BulkUpdateStatus,
    /// What was written.
    pub after: &'a BulkUpdateStatus,
    /// Whether it has ended because `startingDeadlineSeconds` had passed.
    pub expired: bool,
    /// When, by the API server's clock.
    pub now: Timestamp,
}

/// A write in flight.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
