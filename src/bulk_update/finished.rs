//! What is kept of a BulkUpdate that has finished.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use crate::{
    api::{BulkUpdate, BulkUpdateStatus},
    bulk_update::identity::Identity,
};

#[derive(Clone, Debug)]
pub struct Finished {
    pub identity: Identity,
    pub generation: Option<i64>,
    /// The conditions its status still has to show for that generation; otherwise kstatus would report it as in
    /// progress.
    pub unacknowledged: Option<Vec<Condition>>,
    pub end: Timestamp,
    pub time_to_live: Option<i32>,
    pub terminating: bool,
}

impl Finished {
    pub fn of(
        identity: Identity,
        generation: Option<i64>,
        status: &BulkUpdateStatus,
        time_to_live: Option<i32>,
    ) -> Option<Self> {
        let end = status.completion_time.as_ref()?.0;
        let current = generation.map(|generation| with_generation(status, generation));
        let unacknowledged = current.filter(|current| current != status).map(|current| current.conditions);
        Some(Self { identity, generation, unacknowledged, end, time_to_live, terminating: false })
    }

    /// `None` if it has not finished.
    pub fn read(bulk: &BulkUpdate) -> Option<Self> {
        let (metadata, ttl) = (&bulk.metadata, bulk.spec.ttl_seconds_after_finished);
        let over = Self::of(Identity::from(metadata), metadata.generation, bulk.status.as_ref()?, ttl)?;
        Some(Self { terminating: metadata.deletion_timestamp.is_some(), ..over })
    }

    /// Whether this generation was seen and its status reports it.
    pub fn speaks_of(&self, generation: Option<i64>) -> bool {
        self.generation == generation && self.unacknowledged.is_none()
    }
}

/// The finished status `before`, acknowledging a newer generation of the spec.
pub fn with_generation(before: &BulkUpdateStatus, generation: i64) -> BulkUpdateStatus {
    let mut status = before.clone();
    status.observed_generation = generation;
    for condition in &mut status.conditions {
        condition.observed_generation = Some(generation);
    }
    status
}
