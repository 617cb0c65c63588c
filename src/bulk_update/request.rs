//! What a BulkUpdate asks for, taken from the spec alone: the status is only a record.

use std::{collections::HashSet, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{
        BulkUpdate, BulkUpdateSpec, ItemResult, ItemStatus, Kind, MAX_ITEMS, REQUESTER, Reason, TargetStatus,
        time::{later, until},
    },
    client::clock::Now,
    decode::text::cut,
};

pub const DEFAULT_STARTING_DEADLINE_SECONDS: i64 = 3600;

/// How much later than recorded the start may have been, in seconds: it is truncated to a second, and it is the
/// earliest time that a clock read in whole seconds allows.
const START_IN_DOUBT: i64 = 2;

/// The longest user name that is kept, in bytes: Kubernetes sets no bound.
const LONGEST_REQUESTER: usize = 256;

/// The longest uid of an item that is kept, in bytes: no object has a longer one.
const LONGEST_UID: usize = 64;

/// What was asked for, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The key of all work for it.
    pub(super) uid: Box<str>,
    /// When it was created, in whole seconds.
    pub(super) created: Timestamp,
    /// The resource version at which it was created; absent if the running watch did not see that.
    pub(super) creation_version: Option<u64>,
    /// The author, from the annotation that the admission policy protects; at most 256 bytes.
    pub(super) requester: Option<String>,
    pub(super) dry_run: bool,
    /// After this, nothing is planned or written.
    pub(super) not_after: Option<Timestamp>,
    /// It is rejected unless it is planned before this. Counted from the end of the second in which it was created.
    pub(super) starting_deadline: Timestamp,
    /// Items that have not settled this many seconds after the start fail.
    pub(super) active_deadline_seconds: Option<i64>,
    /// Executions, then Deployments, each in the order of the request.
    pub items: Vec<Item>,
}

/// One item of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub kind: Kind,
    /// The name of the target.
    pub id: Arc<str>,
    pub target: TargetStatus,
    /// The uid the target must have, if the request gives one.
    pub uid: Option<Arc<str>>,
}

impl From<&BulkUpdate> for Request {
    fn from(bulk: &BulkUpdate) -> Self {
        let (meta, spec) = (&bulk.metadata, &bulk.spec);
        // The API server always sets it; an object without one counts as too old to plan.
        let created = meta.creation_timestamp.as_ref().map_or(Timestamp::MIN, |t| t.0);
        let deadline = spec.starting_deadline_seconds.map_or(DEFAULT_STARTING_DEADLINE_SECONDS, i64::from);
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default().into(),
            created,
            creation_version: None,
            requester: meta
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(REQUESTER))
                .map(|name| cut(name, LONGEST_REQUESTER)),
            dry_run: spec.dry_run.unwrap_or_default(),
            not_after: spec.not_after.as_ref().map(|t| t.0),
            starting_deadline: later(created, deadline.saturating_add(1)),
            active_deadline_seconds: spec.active_deadline_seconds.map(i64::from),
            items: items(spec),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// As recorded, truncated to a second: not later than the actual time.
    pub time: Timestamp,
    /// The same by [`crate::client::Machine::uptime`], in the process that made the plan.
    pub instant: Option<Duration>,
}

impl From<Timestamp> for Start {
    fn from(time: Timestamp) -> Self {
        Self { time, instant: None }
    }
}

/// Why a spec that can be read cannot be carried out. The API server refuses such specs unless the CRD's schema was
/// looser when the object was created; its status would never validate, and two items with one id could not be
/// distinguished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    #[error("it must have 1 to {MAX_ITEMS} items, executions and deployments together")]
    Items,
    #[error("an id must have 4 to 64 letters, digits, dots, dashes and underscores")]
    Id,
    #[error("an id occurs twice in a list")]
    Twice,
}

pub fn validate(spec: &BulkUpdateSpec) -> Result<(), InvalidSpec> {
    let total = spec.total();
    if !(1..=MAX_ITEMS).contains(&total) {
        return Err(InvalidSpec::Items);
    }
    for kind in Kind::ALL {
        let mut ids = HashSet::new();
        for item in spec.items(kind) {
            if !is_an_id(&item.id) {
                return Err(InvalidSpec::Id);
            }
            if !ids.insert(&item.id) {
                return Err(InvalidSpec::Twice);
            }
        }
    }
    Ok(())
}

fn is_an_id(id: &str) -> bool {
    (4..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn items(spec: &BulkUpdateSpec) -> Vec<Item> {
    let of = |kind| {
        spec.items(kind).iter().map(move |item| Item {
            kind,
            id: item.id.as_str().into(),
            target: item.target_status,
            uid: item.uid.as_deref().map(|uid| cut(uid, LONGEST_UID).into()),
        })
    };
    Kind::ALL.into_iter().flat_map(of).collect()
}

impl Request {
    /// For logs.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The items may be in any order.
    pub(super) fn same_items(&self, other: &Self) -> bool {
        self.items.len() == other.items.len() && self.items.iter().all(|item| other.items.contains(item))
    }

    pub(super) fn targets(&self) -> Vec<(Kind, Arc<str>)> {
        self.items.iter().map(|item| (item.kind, Arc::clone(&item.id))).collect()
    }

    pub(super) fn names(&self, kind: Kind) -> bool {
        self.items.iter().any(|item| item.kind == kind)
    }

    /// When items that have not settled fail, by the recorded start.
    pub(super) fn active_deadline(&self, start: Timestamp) -> Option<Timestamp> {
        self.active_deadline_seconds.map(|seconds| later(start, seconds.saturating_add(START_IN_DOUBT)))
    }

    /// How long until then; zero when it has passed. The process that made the plan counts by its monotonic clock.
    pub(super) fn active_deadline_in(&self, start: Start, now: Now) -> Option<Duration> {
        let Some(instant) = start.instant else {
            return self.active_deadline(start.time).map(|end| until(end, now.earliest));
        };
        let seconds = u64::try_from(self.active_deadline_seconds?).unwrap_or_default();
        Some(Duration::from_secs(seconds).saturating_sub(now.instant.saturating_sub(instant)))
    }

    /// Whether `notAfter` may have passed, by the latest time that it can be.
    pub(super) fn not_after_has_passed(&self, now: Now) -> bool {
        self.not_after.is_some_and(|end| now.latest > end)
    }
}

/// An item's entry with nothing known of its target yet.
pub fn item_status(item: &Item, result: ItemResult) -> ItemStatus {
    ItemStatus {
        id: Arc::clone(&item.id),
        target_status: item.target,
        result,
        reason: None,
        message: None,
        uid: None,
        observed_state: None,
    }
}

/// The entry of an item whose record is missing or does not match the request: without a plan on record nothing is
/// written, no matter who removed it.
pub fn without_record(item: &Item) -> ItemStatus {
    ItemStatus {
        reason: Some(Reason::OutcomeUnknown),
        message: Some("the status has no record of this item; check the object".into()),
        ..item_status(item, ItemResult::Failed)
    }
}

#[cfg(test)]
mod tests;
