//! What a BulkUpdate says about the request that it was made for.

use crate::api::{BulkUpdate, BulkUpdateSpec, ItemResult, Kind};

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was done, and nothing will be if it is deleted now.
    Unplanned,
    /// There are items to be written to.
    Planned,
    /// The outcome of each item is known, or it was rejected.
    Known,
}

pub fn progress(bulk: &BulkUpdate) -> Progress {
    let Some(status) = &bulk.status else { return Progress::Unplanned };
    let mut items = Kind::ALL.into_iter().flat_map(|kind| status.items(kind));
    match (&status.start_time, &status.completion_time) {
        (None, None) => Progress::Unplanned,
        (Some(_), None) if items.any(|item| item.result == ItemResult::Planned) => Progress::Planned,
        _ => Progress::Known,
    }
}

/// Whether two requests are the same, whenever they were made.
pub fn asks_the_same(one: &BulkUpdateSpec, other: &BulkUpdateSpec) -> bool {
    one.executions == other.executions && one.deployments == other.deployments && one.dry_run == other.dry_run
}
