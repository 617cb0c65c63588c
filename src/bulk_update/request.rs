//! A BulkUpdate's request, as decisions see it: taken from the spec alone, for the status is only a record.

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

/// `startingDeadlineSeconds` where the request doesn't say.
pub const DEFAULT_STARTING_DEADLINE_SECONDS: i64 = 3600;

/// By how many seconds the start may have been later than it is on record: it has whole seconds, and is the earliest that it may
/// have been by a clock that is read in whole seconds.
const START_IN_DOUBT: i64 = 2;

/// The longest name of a requester that is kept, in bytes: names of users have no bound.
const LONGEST_REQUESTER: usize = 256;

/// The longest uid of an item that is kept, in bytes: no object has one as long.
const LONGEST_UID: usize = 64;

/// What was asked for, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The BulkUpdate's namespace, where its targets are too.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which all work for it is keyed by.
    pub uid: Box<str>,
    /// When it was created; whole seconds, as the API server keeps them.
    pub created: Timestamp,
    /// The resource version at which it was created; absent where the running watch has not seen that.
    pub made_at: Option<u64>,
    /// Who asked for it, by its annotation; at most 256 bytes.
    pub requester: Option<String>,
    /// Only decide and report.
    pub dry_run: bool,
    /// Nothing is planned or written later.
    pub not_after: Option<Timestamp>,
    /// It is rejected if it is not planned by then. Its creation may have been as late as the end of the second that it is dated.
    pub starting_deadline: Timestamp,
    /// What has not settled so many seconds after the start fails.
    pub active_deadline_seconds: Option<i64>,
    /// The items: Executions, then Deployments, each in the order of the request.
    pub items: Vec<Item>,
}

/// One item of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which list it stands in.
    pub kind: Kind,
    /// The id, which is the target's name.
    pub id: Arc<str>,
    /// What is asked for.
    pub target: TargetStatus,
    /// The very object that is meant, if the request says.
    pub uid: Option<Arc<str>>,
}

impl From<&BulkUpdate> for Request {
    fn from(bulk: &BulkUpdate) -> Self {
        let (meta, spec) = (&bulk.metadata, &bulk.spec);
        // The API server sets it on every object; one without can't be planned any more.
        let created = meta.creation_timestamp.as_ref().map_or(Timestamp::MIN, |t| t.0);
        let deadline = spec.starting_deadline_seconds.map_or(DEFAULT_STARTING_DEADLINE_SECONDS, i64::from);
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default().into(),
            created,
            made_at: None,
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

/// When a BulkUpdate was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// As it is on record, in whole seconds; it was not before that.
    pub time: Timestamp,
    /// The same by [`crate::client::leadership::now`], in the process that has planned it.
    pub instant: Option<Duration>,
}

impl From<Timestamp> for Start {
    fn from(time: Timestamp) -> Self {
        Self { time, instant: None }
    }
}

/// Why a spec can't be carried out although it can be read. The API server refuses these, unless the CRD was looser
/// when the object was created: its status would never be taken, and could not tell two items of one id apart.
#[must_use]
pub fn unfit(spec: &BulkUpdateSpec) -> Option<&'static str> {
    let total: usize = Kind::ALL.iter().map(|kind| spec.items(*kind).len()).sum();
    if !(1..=MAX_ITEMS).contains(&total) {
        return Some("it needs 1 to 100 items, executions and deployments together");
    }
    for kind in Kind::ALL {
        let mut ids = HashSet::new();
        for item in spec.items(kind) {
            if !is_an_id(&item.id) {
                return Some("an id needs 4 to 64 letters, digits, dots, dashes and underscores");
            }
            if !ids.insert(&item.id) {
                return Some("an id stands in a list twice");
            }
        }
    }
    None
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
    /// Namespace and name, for logs.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether it asks for the same as `other`, the items in any order.
    #[must_use]
    pub fn same_items(&self, other: &Self) -> bool {
        self.items.len() == other.items.len() && self.items.iter().all(|item| other.items.contains(item))
    }

    /// The kinds and names of its targets.
    pub fn targets(&self) -> impl Iterator<Item = (Kind, Arc<str>)> {
        self.items.iter().map(|item| (item.kind, Arc::clone(&item.id)))
    }

    /// Whether an item of this kind is among them.
    #[must_use]
    pub fn names(&self, kind: Kind) -> bool {
        self.items.iter().any(|item| item.kind == kind)
    }

    /// When items fail that have not settled, where only the start on record is known.
    #[must_use]
    pub fn active_deadline(&self, start: Timestamp) -> Option<Timestamp> {
        self.active_deadline_seconds.map(|seconds| later(start, seconds.saturating_add(START_IN_DOUBT)))
    }

    /// How long it is until then; zero when it has passed. The process that has planned it counts from that very moment.
    #[must_use]
    pub fn active_deadline_in(&self, start: Start, now: Now) -> Option<Duration> {
        let Some(instant) = start.instant else {
            return self.active_deadline(start.time).map(|end| until(end, now.earliest));
        };
        let seconds = u64::try_from(self.active_deadline_seconds?).unwrap_or_default();
        Some(Duration::from_secs(seconds).saturating_sub(now.instant.saturating_sub(instant)))
    }

    /// Whether it may be later than `notAfter`.
    #[must_use]
    pub fn not_after_has_passed(&self, now: Now) -> bool {
        self.not_after.is_some_and(|end| now.latest > end)
    }
}

/// The entry of an item about which nothing is known yet.
#[must_use]
pub fn blank(item: &Item, result: ItemResult) -> ItemStatus {
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

/// The entry of an item whose record is missing or does not fit the request: whoever took it away, nothing is written
/// without a plan on record.
#[must_use]
pub fn without_record(item: &Item) -> ItemStatus {
    ItemStatus {
        reason: Some(Reason::OutcomeUnknown),
        message: Some("the status had no record of this item; look at the object".into()),
        ..blank(item, ItemResult::Failed)
    }
}

#[cfg(test)]
mod tests;
