//! The facts that decisions are based on: targets, flag, deadlines, settings.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    api::{ConditionReason, Kind},
    bulk_update::request::{Request, Start},
    client::{Failure, clock::Now},
    observed::{
        admission::{Admission, NotInForce},
        flag::InvalidFlag,
        target::Target,
    },
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// From the cache, which may be stale: enough to start a write, which is guarded, but never to refuse an item.
    Cached(Option<Arc<Target>>),
    Live(Option<Arc<Target>>),
    /// Read live, while the cache is stale: whether the watch saw this object before is not known yet.
    Ahead(Arc<Target>),
    Failed(Obstacle),
}

impl Lookup {
    /// The object, and whether it was read live.
    pub const fn object(&self) -> (Option<&Arc<Target>>, bool) {
        match self {
            Self::Cached(target) => (target.as_ref(), false),
            Self::Live(target) => (target.as_ref(), true),
            Self::Ahead(target) => (Some(target), true),
            Self::Failed(_) => (None, false),
        }
    }
}

/// The capability flag for one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// On, and read recently enough.
    Open,
    /// Off, or invalid.
    Closed(Rejection),
    /// It cannot be read.
    Unknown(Obstacle),
}

/// The capability flag for both kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    pub executions: Gate,
    pub deployments: Gate,
}

impl Gates {
    pub(super) const fn of(&self, kind: Kind) -> &Gate {
        match kind {
            Kind::Execution => &self.executions,
            Kind::Deployment => &self.deployments,
        }
    }
}

/// Why a BulkUpdate has to wait. The text is the message of its conditions meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The capability flag cannot be read; the place is a key of a ConfigMap.
    #[error("cannot read {place}: {failure}")]
    Flag { place: String, failure: Failure },
    /// The admission policy is not in force, or that is not known.
    #[error(transparent)]
    Admission(NotInForce),
    /// The first list of a kind has not succeeded yet.
    #[error("cannot list {} yet; the operator's log says why", .0.plural())]
    NotListed(Kind),
    /// A target cannot be read.
    #[error("cannot read {} {id}: {why}", .kind.name())]
    Read { kind: Kind, id: Arc<str>, why: Box<str> },
    /// A target cannot be written to.
    #[error("cannot write to {} {id}: {why}", .kind.name())]
    Write { kind: Kind, id: Arc<str>, why: Box<str> },
    /// A target was read without a uid, so it may or may not be the object that was planned.
    #[error("{} {id} has no uid", .kind.name())]
    NoUid { kind: Kind, id: Arc<str> },
    /// The cache is stale: whether the target is older than the BulkUpdate is known once the watch has caught up.
    #[error(
        "{} {id} was created in the same second as the BulkUpdate; waiting for the watch of {} to show which was first",
        .kind.name(), .kind.plural()
    )]
    StaleCache { kind: Kind, id: Arc<str> },
}

impl Obstacle {
    pub(super) const fn reason(&self) -> ConditionReason {
        match self {
            Self::Flag { .. } => ConditionReason::FlagUnreadable,
            _ => ConditionReason::Waiting,
        }
    }
}

/// Why a BulkUpdate is rejected as a whole. The text is the message of its conditions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The flag in this ConfigMap (`namespace/name`) is off for a kind that it names.
    #[error("bulk updates of {} are disabled in ConfigMap {config_map}", .kind.plural())]
    Disabled { kind: Kind, config_map: String },
    /// The flag is invalid, which counts as off for both kinds; the place is a key of a ConfigMap.
    #[error("invalid {place}: {why}")]
    InvalidFlag { place: String, why: InvalidFlag },
    /// A deadline passed before it was planned; with a note where this machine's clock disagrees with the API server's.
    #[error("{deadline}{}: nothing was done; create a new BulkUpdate if it is still wanted",
        .remark.as_ref().map(|remark| format!(" ({remark})")).unwrap_or_default())]
    TooLate { deadline: MissedDeadline, remark: Option<String> },
    /// The admission policy was not in force, or not long enough, when it was created.
    #[error(
        "it was created before the admission policy had been in force for 10 s, so its author's permissions were never checked: \
        nothing was done; create a new BulkUpdate if it is still wanted"
    )]
    NotAuthorized,
}

/// A deadline that passed before a BulkUpdate was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum MissedDeadline {
    #[strum(to_string = "notAfter has passed")]
    NotAfter,
    /// `startingDeadlineSeconds` after its creation.
    #[strum(to_string = "it was not planned within startingDeadlineSeconds of its creation")]
    Starting,
}

impl Rejection {
    pub(super) const fn reason(&self) -> ConditionReason {
        match self {
            Self::Disabled { .. } => ConditionReason::BulkUpdatesDisabled,
            Self::InvalidFlag { .. } => ConditionReason::MetaInvalid,
            Self::TooLate { .. } => ConditionReason::DeadlineExceeded,
            Self::NotAuthorized => ConditionReason::NotAuthorized,
        }
    }
}

/// The deadline that has passed, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    Ahead,
    /// `activeDeadlineSeconds`: no more writes, and items that have not settled fail.
    Active,
    /// `notAfter`: no more writes.
    NotAfter,
}

impl Deadline {
    pub fn at(request: &Request, start: Start, now: Now) -> Self {
        if request.active_deadline_in(start, now).is_some_and(|left| left.is_zero()) {
            Self::Active
        } else if request.not_after_has_passed(now) {
            Self::NotAfter
        } else {
            Self::Ahead
        }
    }

    /// A note where this machine's clock disagrees with the API server's about this deadline.
    pub fn remark(self, request: &Request, start: Start, now: Now) -> Option<String> {
        let deadline = match self {
            Self::Ahead => None,
            // Measured by the monotonic clock: no wall clock is involved.
            Self::Active if start.instant.is_some() => None,
            Self::Active => request.active_deadline(start.time),
            Self::NotAfter => request.not_after,
        };
        now.remark(deadline?)
    }
}

/// The operator's settings about eligibility.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether COMPLETED Executions may be deleted (`--delete-completed`), which the AI API does not allow.
    pub delete_completed: bool,
}

/// What one pass decides on.
#[derive(Clone, Debug)]
pub struct Observation {
    /// When it was made, in this process.
    pub at: Instant,
    /// Whether authors' permissions are checked.
    pub admission: Admission,
    pub gates: Gates,
    /// What is known of each item's target, in the order of the items.
    pub lookups: Vec<Lookup>,
    /// A kind that has not been listed yet: nothing is planned, and planned items are read one by one.
    pub not_listed: Option<Kind>,
}
