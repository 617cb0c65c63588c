//! What decisions rest on: what was seen of the targets, the flag, the deadlines and the settings.

use std::sync::Arc;

use crate::{
    api::Kind,
    bulk_update::request::{Request, Start},
    client::clock::Now,
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
    /// It could not be read; why.
    Failed(String),
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
    /// Off, and why.
    Closed(String),
    /// It can't be read; why.
    Unknown(String),
}

/// The flag for both kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates {
    /// For executions.
    pub executions: Gate,
    /// For deployments.
    pub deployments: Gate,
    /// Whether the flag's text is invalid, which closes both.
    pub invalid: bool,
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

/// Why something waits: the reason of its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The flag can't be read.
    FlagUnreadable,
    /// Something else can't be read.
    Waiting,
    /// The watch of targets is behind.
    Behind,
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
    pub looks: Vec<Lookup>,
    /// That a kind which the request names has not been listed yet: nothing is planned, and what was planned is read item by
    /// item.
    pub unlisted: Option<String>,
}
