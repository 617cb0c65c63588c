//! What the operator counts, for Prometheus. No label holds the name of an object, a namespace or a user.

mod labels;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicU64},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use labels::{
    Labels, OUTCOMES, RESOURCES, RESULTS, RETRIES, VERBS, WATCHED_BESIDES, of_item, of_resource, of_verb,
    of_write,
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
    tasks::lock,
    telemetry::{health::Health, load::Load},
};

pub use labels::verb;

/// The upper bounds of the histograms, in seconds. A creationTimestamp has whole seconds, so nothing finer is known.
const SECONDS: [f64; 11] = [1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

/// Seconds since the creation of a BulkUpdate.
#[derive(Clone)]
struct SinceCreation(Histogram);

impl Default for SinceCreation {
    fn default() -> Self {
        Self(Histogram::new(SECONDS))
    }
}

/// When each BulkUpdate that waits to be planned was created, by uid.
type Waiting = Arc<Mutex<HashMap<Box<str>, Timestamp>>>;

/// Registers metrics, each by its name, its help, and its unit if it has one.
macro_rules! register {
    ($registry:ident, $($name:literal: $help:literal, $metric:expr $(, $unit:expr)?;)+) => {
        $(register!(@$registry, $name, $help, $metric $(, $unit)?);)+
    };
    (@$registry:ident, $name:literal, $help:literal, $metric:expr) => {
        $registry.register($name, $help, $metric.clone());
    };
    (@$registry:ident, $name:literal, $help:literal, $metric:expr, $unit:expr) => {
        $registry.register_with_unit($name, $help, $unit, $metric.clone());
    };
}

/// All metrics of the operator. A clone counts into the same.
#[derive(Clone, Default)]
pub struct Metrics {
    finished: Family<Labels<1>, Counter>,
    expired: Counter,
    policy_in_force: Gauge,
    items: Family<Labels<3>, Counter>,
    outcome_unknown: Family<Labels<2>, Counter>,
    unplanned: Waiting,
    oldest_unplanned: Gauge,
    planned_after: SinceCreation,
    written_after: SinceCreation,
    ended_after: SinceCreation,
    underway: Gauge,
    in_flight: Gauge,
    writes: Family<Labels<3>, Counter>,
    retries: Family<Labels<1>, Counter>,
    conflicts: Family<Labels<1>, Counter>,
    unreadable: Family<Labels<1>, Counter>,
    watch_restarts: Family<Labels<1>, Counter>,
    last_watch_event: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    targets: Family<Labels<1>, Gauge>,
    leads: Family<Labels<1>, Gauge>,
    index: Arc<OnceLock<Arc<Index>>>,
    /// What is published with the Lease.
    pub load: Load,
}

impl Metrics {
    /// Registers all of them, each with its name and help.
    pub fn register(&self, registry: &mut Registry) {
        register!(registry,
            "aiapi_bulkupdate_plan_duration": "From creation to plan; whole seconds", self.planned_after.0, Unit::Seconds;
            "aiapi_bulkupdate_apply_duration": "From creation to the last accepted write", self.written_after.0, Unit::Seconds;
            "aiapi_bulkupdate_duration": "From creation to the end, rejections included", self.ended_after.0, Unit::Seconds;
            "aiapi_bulkupdates_finished": "Finished BulkUpdates, by their outcome", self.finished;
            "aiapi_retries": "Requests that are retried, or looked up, by the reason", self.retries;
            "aiapi_conflicts": "Writes refused because the object had changed", self.conflicts;
            "aiapi_unreadable": "Objects seen that cannot be understood", self.unreadable;
            "aiapi_watch_restarts": "Watches that failed and were restarted", self.watch_restarts;
            "aiapi_bulkupdates_expired":
                "BulkUpdates that were rejected because startingDeadlineSeconds had passed", self.expired;
            "aiapi_bulkupdate_items": "Items of finished BulkUpdates", self.items;
            "aiapi_bulkupdate_items_outcome_unknown": "Items that failed as OutcomeUnknown", self.outcome_unknown;
            "aiapi_writes": "Writes to targets", self.writes;
            "aiapi_admission_policy_in_force":
                "Whether BulkUpdates created now are accepted, as far as the admission policy goes", self.policy_in_force;
            "aiapi_bulkupdates_underway": "BulkUpdates that have not finished", self.underway;
            "aiapi_writes_in_flight": "Writes to targets without an answer yet", self.in_flight;
            "aiapi_index_targets": "Targets in the cache", self.targets;
            "leader_election_master_status": "Whether this replica leads", self.leads;
            "aiapi_bulkupdates_oldest_unplanned_timestamp":
                "When the oldest BulkUpdate that waits to be planned was created; 0 if none waits",
                self.oldest_unplanned, Unit::Seconds;
            "aiapi_watch_last_event_timestamp":
                "When a watch made progress last, bookmarks included", self.last_watch_event, Unit::Seconds;
        );
        self.start_at_zero();
    }

    /// `increase()` and `rate()` miss the first event of a counter that starts with it: it has to be seen at 0 before.
    fn start_at_zero(&self) {
        for outcome in ConditionReason::FINAL {
            drop(self.finished.get_or_create(&[("outcome", outcome.to_string().into())]));
        }
        for (kind, target) in Kind::ALL.into_iter().flat_map(|kind| VERBS.map(|target| (kind, target))) {
            for result in RESULTS {
                drop(self.items.get_or_create(&of_item(kind, target, result)));
            }
            drop(self.outcome_unknown.get_or_create(&of_verb(kind, target)));
            for outcome in OUTCOMES {
                drop(self.writes.get_or_create(&of_write(kind, target, outcome)));
            }
        }
        for reason in RETRIES {
            drop(self.retries.get_or_create(&[("reason", reason.into())]));
        }
        for resource in RESOURCES {
            for counted in [&self.conflicts, &self.unreadable, &self.watch_restarts] {
                drop(counted.get_or_create(&of_resource(resource)));
            }
        }
        for resource in WATCHED_BESIDES {
            drop(self.watch_restarts.get_or_create(&of_resource(resource)));
        }
    }

    /// Takes over what is kept elsewhere; called before the metrics are read.
    pub fn refresh(&self, health: &Health, leadership: &Leadership, clock: &Clock) {
        self.underway.set(health.underway().try_into().unwrap_or(i64::MAX));
        let oldest = lock(&self.unplanned).values().min().copied();
        self.oldest_unplanned.set(oldest.map_or(0, Timestamp::as_second));
        for (resource, time) in health.last_events(clock.now().earliest) {
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of this era fit")]
            let seconds = time.as_millisecond() as f64 / 1000.0;
            self.last_watch_event.get_or_create(&of_resource(resource)).set(seconds);
        }
        for kind in Kind::ALL {
            let known = self.index.get().map_or(0, |index| index.len(kind));
            self.targets
                .get_or_create(&[("kind", kind.name().into())])
                .set(known.try_into().unwrap_or(i64::MAX));
        }
        self.leads.get_or_create(&[("name", FIELD_MANAGER.into())]).set(leadership.holds().into());
    }

    /// From now on the targets in this index are counted; there is one index for each process.
    pub fn count_targets_of(&self, index: &Arc<Index>) {
        let _ = self.index.set(Arc::clone(index));
    }

    /// The operator starts to work on a BulkUpdate, which waits until it is planned, or the return value is dropped.
    pub(crate) fn taken_up(
        &self,
        uid: &str,
        created: Timestamp,
        status: Option<&BulkUpdateStatus>,
    ) -> Unplanned {
        let waits = status.is_none_or(|s| s.start_time.is_none() && s.completion_time.is_none());
        if waits {
            lock(&self.unplanned).insert(uid.into(), created);
        }
        Unplanned { waiting: Arc::clone(&self.unplanned), uid: uid.into() }
    }

    pub(crate) fn recorded(&self, written: &StatusWritten<'_>) {
        let StatusWritten { before, after, now, .. } = written;
        let seconds = |time: Timestamp| {
            Duration::try_from(time.duration_since(written.created)).unwrap_or_default().as_secs_f64()
        };
        let planned = |status: &BulkUpdateStatus| status.planned().unwrap_or_default();
        if let Some(time) = written.last_write.filter(|_| planned(before) > 0 && planned(after) == 0) {
            let since = SignedDuration::try_from(time.elapsed()).unwrap_or_default();
            self.written_after.0.observe(seconds(now.saturating_sub(since).unwrap_or(*now)));
        }
        if let (None, Some(start)) = (&before.start_time, &after.start_time) {
            self.planned_after.0.observe(seconds(start.0));
        }
        if after.start_time.is_some() || after.completion_time.is_some() {
            self.load.recorded(written.uid, planned(after));
            lock(&self.unplanned).remove(written.uid);
        }
        let (None, Some(end)) = (&before.completion_time, &after.completion_time) else { return };
        self.ended_after.0.observe(seconds(end.0));
        let outcome = after.condition(READY).map(|c| c.reason.clone()).unwrap_or_default();
        if outcome == <&str>::from(ConditionReason::DeadlineExceeded) && written.expired {
            self.expired.inc();
        }
        self.finished.get_or_create(&[("outcome", outcome.into())]).inc();
        for kind in Kind::ALL {
            for ItemStatus { target_status, result, reason, .. } in after.items(kind) {
                self.items.get_or_create(&of_item(kind, *target_status, *result)).inc();
                if *reason == Some(ItemReason::OutcomeUnknown) {
                    self.outcome_unknown.get_or_create(&of_verb(kind, *target_status)).inc();
                }
            }
        }
    }

    /// Whether BulkUpdates that are created now are accepted, as far as the admission policy goes.
    pub fn admission(&self, accepts: bool) {
        self.policy_in_force.set(accepts.into());
    }

    /// A write to a target is sent; it is in flight until the return value is dropped.
    pub fn write_begins(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A write to a target was answered, or not, for the BulkUpdate of this uid.
    pub(crate) fn written<T>(&self, item: (Kind, TargetStatus), of: &str, outcome: &Result<T, Failure>) {
        let (kind, target) = item;
        self.writes.get_or_create(&of_write(kind, target, labels::outcome(outcome))).inc();
        if outcome.is_ok() {
            self.load.done(of);
        }
    }

    /// A request about this resource has failed.
    pub(crate) fn failed(&self, resource: &'static str, failure: &Failure) {
        if failure.is_conflict() {
            self.conflicts.get_or_create(&of_resource(resource)).inc();
        }
        if failure.next() != Next::GiveUp {
            self.retries.get_or_create(&[("reason", failure.reason().into())]).inc();
        }
    }

    /// An object of this resource cannot be understood.
    pub fn unreadable(&self, resource: &'static str) {
        self.unreadable.get_or_create(&of_resource(resource)).inc();
    }

    pub(crate) fn watch_failed(&self, resource: &'static str) {
        self.watch_restarts.get_or_create(&of_resource(resource)).inc();
    }
}

/// A status that was written, as far as the metrics need it.
pub struct StatusWritten<'a> {
    pub uid: &'a str,
    pub created: Timestamp,
    /// When the last write to a target was accepted, if by this process.
    pub last_write: Option<tokio::time::Instant>,
    pub before: &'a BulkUpdateStatus,
    pub after: &'a BulkUpdateStatus,
    /// Whether it has finished because `startingDeadlineSeconds` had passed.
    pub expired: bool,
    /// When, by the API server's clock.
    pub now: Timestamp,
}

/// A write in flight.
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A BulkUpdate that the operator works on; once this is dropped it does not count as waiting.
pub struct Unplanned {
    waiting: Waiting,
    uid: Box<str>,
}

impl Drop for Unplanned {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.uid);
    }
}
