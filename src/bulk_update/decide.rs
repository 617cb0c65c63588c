//! What to do about a BulkUpdate: a pure function of what was observed. No client, no clock.

mod carry_on;
mod eligible;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use carry_on::{Step, accepted_delete, accepted_stop, carry_on, without_record};
pub use eligible::{Rules, plan_item, verdict};

use eligible::about;
#[cfg(test)]
use eligible::is_older;

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::{
    request::{Item, Request},
    work::Entry,
};
use crate::{
    admission::Admission,
    api::{ItemStatus, Kind},
    clock::Now,
    target::Target,
};

const UNCHECKED: &str = "it was made before the admission policy had stood for 10 s, so that nobody has checked whether its \
    author may do this: nothing was done; make a new BulkUpdate if it is still wanted";

/// What is known of an item's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// From the index: it may be behind, so it can start a write (which is guarded), but refuse nothing.
    Cached(Option<Arc<Target>>),
    /// Read from the API server.
    Live(Option<Arc<Target>>),
    /// The same, and the watch of targets has not come that far: whether it has seen this object before is not known yet.
    Ahead(Arc<Target>),
    /// It could not be read; why.
    Failed(String),
}

impl Look {
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

/// Why a BulkUpdate is rejected as a whole: the reason of its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The flag is off for a kind that it names.
    BulkUpdatesDisabled,
    /// The flag's text can't be understood.
    MetaInvalid,
    /// `startingDeadlineSeconds` or `notAfter` has passed.
    DeadlineExceeded,
    /// Nobody has checked whether its author may.
    NotAuthorized,
}

impl Rejection {
    /// The word that stands in the conditions.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::BulkUpdatesDisabled => "BulkUpdatesDisabled",
            Self::MetaInvalid => "MetaInvalid",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::NotAuthorized => "NotAuthorized",
        }
    }
}

/// What is to be done about a BulkUpdate that has not been planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is over before it began.
    Reject(Rejection, String),
    /// It can't be planned yet.
    Wait(Hindrance, String),
    /// These items have to be read first.
    Read(Vec<usize>),
    /// This is the plan: one for each item, in order.
    Planned(Vec<ItemPlan>),
}

/// The entry of an item, and the object that it rests on.
pub type ItemPlan = (ItemStatus, Option<Arc<Target>>);

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

/// Plans a BulkUpdate. `looks` has an entry for each item.
#[must_use]
pub fn plan(
    request: &Request,
    looks: &[Look],
    admission: &Admission,
    gates: &Gates,
    now: Now,
    rules: Rules,
) -> Plan {
    if let Some(message) = too_late(request, now) {
        return Plan::Reject(Rejection::DeadlineExceeded, message);
    }
    if let Admission::Missing(why) = admission {
        return Plan::Wait(Hindrance::Waiting, why.clone());
    }
    if !admission.covers(request.created) {
        return Plan::Reject(Rejection::NotAuthorized, UNCHECKED.into());
    }
    for kind in Kind::ALL.into_iter().filter(|kind| request.names(*kind)) {
        match gates.of(kind) {
            Gate::Open => {}
            Gate::Unknown(why) => return Plan::Wait(Hindrance::FlagUnreadable, why.clone()),
            Gate::Closed(why) => {
                let reason =
                    if gates.invalid { Rejection::MetaInvalid } else { Rejection::BulkUpdatesDisabled };
                return Plan::Reject(reason, why.clone());
            }
        }
    }
    let mut unsure = Vec::new();
    let mut planned = Vec::new();
    let mut hindrance = None;
    for (at, (item, look)) in request.items.iter().zip(looks).enumerate() {
        match plan_item(request, item, look, rules) {
            Ok(Some(entry)) => planned.push(entry),
            Ok(None) => unsure.push(at),
            Err(hinders) => hindrance = hindrance.or(Some(hinders)),
        }
    }
    match hindrance {
        _ if !unsure.is_empty() => Plan::Read(unsure),
        Some((hindrance, why)) => Plan::Wait(hindrance, why),
        None => Plan::Planned(planned),
    }
}

fn too_late(request: &Request, now: Now) -> Option<String> {
    let (what, deadline) = if request.not_after_has_passed(now) {
        ("notAfter has passed", request.not_after.unwrap_or_default())
    } else if now.earliest >= request.starting_deadline {
        let what = "startingDeadlineSeconds after its creation it had not been planned";
        (what, request.starting_deadline)
    } else {
        return None;
    };
    let remark = now.remark(deadline).map(|remark| format!(" ({remark})")).unwrap_or_default();
    Some(format!("{what}{remark}: nothing was done; make a new BulkUpdate if it is still wanted"))
}

/// When a BulkUpdate was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// As it is on record, in whole seconds; it was not before that.
    pub time: Timestamp,
    /// The same by [`crate::leadership::now`], in the process that has planned it.
    pub instant: Option<Duration>,
}

impl From<Timestamp> for Start {
    fn from(time: Timestamp) -> Self {
        Self { time, instant: None }
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

/// The steps of one that was planned, an entry for each item.
#[must_use]
pub fn steps(
    request: &Request,
    entries: &[Entry],
    looks: &[Look],
    gates: &Gates,
    deadline: Deadline,
    rules: Rules,
) -> Vec<Step> {
    let each = entries.iter().zip(looks);
    each.map(|(entry, look)| carry_on(request, entry, look, gates.of(entry.item.kind), deadline, rules))
        .collect()
}

/// The entry of an item about which nothing is known yet.
pub(super) fn blank(item: &Item, result: crate::api::ItemResult) -> ItemStatus {
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
