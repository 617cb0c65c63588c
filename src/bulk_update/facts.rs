//! What decisions rest on: what was seen of the targets, the flag, the deadlines and the settings.

use std::sync::Arc;

use crate::{
    api::{ConditionReason, Kind},
    bulk_update::request::{Request, Start},
    client::{Failure, clock::Now},
    observed::{admission::Admission, target::Target},
};

/// What is known of an item's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// From the index: it may be behind, so it can start a write (which is guarded), but refuse nothing.
    Cached(Option<Arc<Target>>),
    /// Read from the API server.
    Live(Option<Arc<Target>>),
    /// The same, and the watch of targets has not come that far: whether it has seen this object before is not known yet.
    Ahead(Arc<Target>),
    /// It could not be read.
    Failed(Obstacle),
}

impl Lookup {
    /// The object that was seen, and whether that was live.
    #[must_use]
    pub const fn object(&self) -> (Option<&Arc<Target>>, bool) {
        match self {
            Self::Cached(target) => (target.as_ref(), false),
            Self::Live(target) => (target.as_ref(), true),
            Self::Ahead(target) => (Some(target), true),
            Self::Failed(_) => (None, false),
        }
    }
}

/// The flag, as far as one kind goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// On, read no longer ago than the guarantee says.
    Open,
    /// Off, or invalid.
    Closed(Rejection),
    /// It can't be read.
    Unknown(Obstacle),
}

/// The flag for both kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    /// For executions.
    pub executions: Gate,
    /// For deployments.
    pub deployments: Gate,
}

impl Gates {
    /// That of one kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> &Gate {
        match kind {
            Kind::Execution => &self.executions,
            Kind::Deployment => &self.deployments,
        }
    }
}

/// Why a BulkUpdate waits. The text is the message of its conditions for that long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The capability flag can't be read.
    #[error("cannot read {flag}: {failure}")]
    Flag {
        /// Where the flag is.
        flag: String,
        /// Why it can't be read.
        failure: Failure,
    },
    /// The admission policy is not in force, or it is not known whether it is.
    #[error("{0}")]
    Admission(String),
    /// The first list of a kind has not succeeded yet.
    #[error("cannot list {} yet; the operator's log says why", .0.plural())]
    NotListed(Kind),
    /// A target can't be read.
    #[error("cannot read {} {id}: {why}", .kind.name())]
    Read {
        /// Its kind.
        kind: Kind,
        /// Its id.
        id: Arc<str>,
        /// Why it can't be read.
        why: Box<str>,
    },
    /// A target can't be written to.
    #[error("cannot write to {} {id}: {why}", .kind.name())]
    Write {
        /// Its kind.
        kind: Kind,
        /// Its id.
        id: Arc<str>,
        /// Why it can't be written to.
        why: Box<str>,
    },
    /// What was read of a target has no uid, so that it may be the object of the plan or another one.
    #[error("{} {id} has no uid", .0.name(), id = .1)]
    NoUid(Kind, Arc<str>),
    /// The cache of targets is stale: whether this one is older than the BulkUpdate is known once the watch has caught up.
    #[error(
        "{} {id} was created in the same second as the BulkUpdate; waiting for the watch of {} to show which was first",
        .0.name(), .0.plural(), id = .1
    )]
    StaleCache(Kind, Arc<str>),
}

impl Obstacle {
    /// The reason of the conditions.
    #[must_use]
    pub const fn reason(&self) -> ConditionReason {
        match self {
            Self::Flag { .. } => ConditionReason::FlagUnreadable,
            _ => ConditionReason::Waiting,
        }
    }
}

/// Why a BulkUpdate is rejected as a whole. The text is the message of its conditions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The flag is off for a kind that it names.
    #[error("bulk updates of {} are disabled in ConfigMap {config_map}", .kind.plural())]
    Disabled {
        /// The kind.
        kind: Kind,
        /// Namespace and name of the flag's ConfigMap.
        config_map: String,
    },
    /// The flag's text is invalid, which switches off both kinds.
    #[error("invalid {flag}: {why}")]
    InvalidFlag {
        /// Where the flag is.
        flag: String,
        /// What is wrong with it.
        why: String,
    },
    /// A deadline passed before it was planned.
    #[error("{deadline}{}: nothing was done; create a new BulkUpdate if it is still wanted",
        remark.as_ref().map(|remark| format!(" ({remark})")).unwrap_or_default())]
    TooLate {
        /// Which deadline.
        deadline: MissedDeadline,
        /// That this machine's clock would have said otherwise, where that is so.
        remark: Option<String>,
    },
    /// The admission policy was not in force, or not for long enough, when it was created.
    #[error(
        "it was created before the admission policy had been in force for 10 s, so its author's permissions were never checked: \
        nothing was done; create a new BulkUpdate if it is still wanted"
    )]
    NotAuthorized,
}

/// A deadline that passed before a BulkUpdate was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum MissedDeadline {
    /// `notAfter`.
    #[strum(to_string = "notAfter has passed")]
    NotAfter,
    /// `startingDeadlineSeconds` after its creation.
    #[strum(to_string = "it was not planned within startingDeadlineSeconds of its creation")]
    Starting,
}

impl Rejection {
    /// The reason of the conditions.
    #[must_use]
    pub const fn reason(&self) -> ConditionReason {
        match self {
            Self::Disabled { .. } => ConditionReason::BulkUpdatesDisabled,
            Self::InvalidFlag { .. } => ConditionReason::MetaInvalid,
            Self::TooLate { .. } => ConditionReason::DeadlineExceeded,
            Self::NotAuthorized => ConditionReason::NotAuthorized,
        }
    }
}

/// The deadlines that end the writing, as they stand now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// None has passed.
    Ahead,
    /// `activeDeadlineSeconds` has passed: nothing is written, and nothing is waited for.
    Active,
    /// `notAfter` has passed: nothing is written.
    NotAfter,
}

impl Deadline {
    /// Which one has passed at `now`, for what was planned at `start`.
    #[must_use]
    pub fn at(request: &Request, start: Start, now: Now) -> Self {
        if request.active_deadline_in(start, now).is_some_and(|left| left.is_zero()) {
            Self::Active
        } else if request.not_after_has_passed(now) {
            Self::NotAfter
        } else {
            Self::Ahead
        }
    }

    /// That this machine's clock would have said otherwise, where that is so.
    #[must_use]
    pub fn remark(self, request: &Request, start: Start, now: Now) -> Option<String> {
        let deadline = match self {
            Self::Ahead => None,
            // Within this process no clock was asked.
            Self::Active if start.instant.is_some() => None,
            Self::Active => request.active_deadline(start.time),
            Self::NotAfter => request.not_after,
        };
        now.remark(deadline?)
    }
}

/// What the operator's settings say about who is eligible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether COMPLETED Executions may be deleted (`--delete-completed`), which the AI API does not allow.
    pub delete_completed: bool,
}

/// What one pass decides on.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Whether authors are checked.
    pub admission: Admission,
    /// The flag.
    pub gates: Gates,
    /// What is known of each item's target.
    pub lookups: Vec<Lookup>,
    /// That a kind which the request names has not been listed yet: nothing is planned, and what was planned is read item by
    /// item.
    pub not_listed: Option<Kind>,
}
