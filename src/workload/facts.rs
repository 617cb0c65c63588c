//! What a decision about something that runs rests on.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::Kind,
    client::Failure,
    workload::{
        attempts::Attempts,
        engine::{PodSelector, StopPatch},
        kueue::Queued,
        owner::Owner,
        status::Status,
        work::Work,
    },
};

/// What was observed.
#[derive(Debug)]
pub struct Facts<'a> {
    pub kind: Kind,
    pub owner: &'a Owner,
    pub found: Found,
    pub attempts: &'a Attempts,
    /// Whether it was checked that its author may run this.
    pub authorized: Authorized,
    pub gate: Gate,
    /// Kueue's Workload of what is to stop, if there is one; `None` if nobody has looked.
    pub queue: Option<Result<Option<Arc<InQueue>>, Failure>>,
    /// Whether a Pod is left; `None` if nobody has looked.
    pub pods: Option<Result<bool, Failure>>,
    pub now: Timestamp,
}

/// What is known of the object that runs, or that has its name.
#[derive(Clone, Debug)]
pub enum Found {
    /// The cache has none.
    NotCached,
    Cached(Arc<Work>),
    /// A live read has found none.
    Absent,
    Live(Arc<Work>),
    /// It cannot be read.
    Failed(Failure),
}

impl Found {
    /// The object, if there is one.
    pub fn work(&self) -> Option<&Arc<Work>> {
        match self {
            Self::Cached(work) | Self::Live(work) => Some(work),
            Self::NotCached | Self::Absent | Self::Failed(_) => None,
        }
    }
}

/// A Workload of Kueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InQueue {
    /// The version of the API that it was read in.
    pub api: &'static str,
    pub name: Box<str>,
    pub uid: Box<str>,
    pub version: Box<str>,
    /// What it says, or why it cannot be understood.
    pub says: Result<Queued, Box<str>>,
}

/// Whether its author's permissions were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorized {
    Yes,
    /// They were not, and never will be.
    No,
    /// That is not known yet, and why.
    Unknown(String),
}

/// Whether stops may be sent to engines: the capability flag of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// Bulk updates of the kind are off; where.
    Closed(String),
    Unreadable(String),
}

/// What to do next: one request at most.
#[derive(Debug)]
pub enum Step {
    /// Write this status.
    Record(Box<Status>),
    /// Read the work live.
    Read,
    /// Read Kueue's Workload of this work.
    ReadQueue(Arc<Work>),
    /// Request Kueue to stop the work.
    StopQueue(Arc<InQueue>),
    /// Look for Pods of any of these.
    ListPods(Vec<PodSelector>),
    /// Create the work.
    Create,
    /// Make its spec that of the template.
    Apply(Arc<Work>),
    /// Make the owner its controller.
    Adopt(Arc<Work>),
    /// Put its label back.
    Label(Arc<Work>),
    /// Request a stop of it.
    Stop(Arc<Work>, &'static StopPatch),
    /// Nothing until something changes, or until then.
    Rest(Option<Duration>),
}
