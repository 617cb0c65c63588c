//! What to do about a BulkUpdate: a pure function of what was observed. No client, no clock.

mod carry_on;
mod eligible;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use carry_on::{Step, accepted_delete, accepted_stop, carry_on};
pub use eligible::{plan_item, verdict};

use std::sync::Arc;

use eligible::about;

use crate::{
    api::{ConditionReason, ItemStatus, Kind},
    bulk_update::{
        Rules,
        facts::{Deadline, Gate, Gates, Hindrance, Look},
        request::Request,
        work::Entry,
    },
    client::clock::Now,
    observed::{admission::Admission, target::Target},
};

#[cfg(test)]
use eligible::is_older;

const UNCHECKED: &str = "it was made before the admission policy had stood for 10 s, so that nobody has checked whether its \
    author may do this: nothing was done; make a new BulkUpdate if it is still wanted";

/// What is to be done about a BulkUpdate that has not been planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is over before it began.
    Reject(ConditionReason, String),
    /// It can't be planned yet.
    Wait(Hindrance, String),
    /// These items have to be read first.
    Read(Vec<usize>),
    /// This is the plan: one for each item, in order.
    Planned(Vec<ItemPlan>),
}

/// The entry of an item, and the object that it rests on.
pub type ItemPlan = (ItemStatus, Option<Arc<Target>>);

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
        return Plan::Reject(ConditionReason::DeadlineExceeded, message);
    }
    if let Admission::Missing(why) = admission {
        return Plan::Wait(Hindrance::Waiting, why.clone());
    }
    if !admission.covers(request.created) {
        return Plan::Reject(ConditionReason::NotAuthorized, UNCHECKED.into());
    }
    for kind in Kind::ALL.into_iter().filter(|kind| request.names(*kind)) {
        match gates.of(kind) {
            Gate::Open => {}
            Gate::Unknown(why) => return Plan::Wait(Hindrance::FlagUnreadable, why.clone()),
            Gate::Closed(why) => {
                let reason = if gates.invalid {
                    ConditionReason::MetaInvalid
                } else {
                    ConditionReason::BulkUpdatesDisabled
                };
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
