//! Which targets may be stopped or deleted: the rules of the AI API.

use std::{borrow::Borrow, sync::Arc};

use crate::{
    api::{ItemResult, ItemStatus, Kind, Reason, State, TargetStatus, is_dns_subdomain},
    bulk_update::{
        facts::{Lookup, Obstacle, Rules},
        request::{Item, Request, item_status},
        work::{ItemPlan, about},
    },
    observed::target::{Target, Unreadable},
};

/// What to do about one item that is not planned yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemPlanning {
    /// The item's plan.
    Planned(ItemPlan),
    /// Read the target first.
    Read,
    /// The target cannot be read, or it is not known yet whether it is the one that was meant.
    Wait(Obstacle),
}

/// Plans one item.
pub fn plan_item(request: &Request, item: &Item, lookup: &Lookup, rules: Rules) -> ItemPlanning {
    if !is_dns_subdomain(&item.id) {
        return ItemPlanning::Planned(refused(item, None, &Ineligible::NotAName));
    }
    if let Lookup::Failed(why) = lookup {
        return ItemPlanning::Wait(why.clone());
    }
    let (target, live) = lookup.object();
    // Which object is meant is decided here, once; from then on it is identified by its uid.
    let in_doubt = item.uid.is_none() && target.is_some_and(|target| is_in_doubt(request, target));
    if in_doubt && matches!(lookup, Lookup::Ahead(_)) && request.creation_version.is_some() {
        return ItemPlanning::Wait(Obstacle::StaleCache(item.kind, Arc::clone(&item.id)));
    }
    let verdict = if in_doubt { Err(Ineligible::InDoubt) } else { verdict(request, item, target, rules) };
    match verdict {
        Ok(target) => {
            let result = if request.dry_run { ItemResult::Eligible } else { ItemResult::Planned };
            let record = about(item_status(item, result), target);
            ItemPlanning::Planned(ItemPlan { record, based_on: Some(Arc::clone(target)) })
        }
        Err(why) if live => ItemPlanning::Planned(refused(item, target, &why)),
        // The cache may be stale: no item is refused because of it.
        Err(_) => ItemPlanning::Read,
    }
}

/// Whether the object certainly existed when the request was made.
pub(super) fn is_older(request: &Request, target: &Target) -> bool {
    target.created < request.created.as_second()
        || (target.created == request.created.as_second()
            && request.creation_version.is_some_and(|creation_version| target.first_seen < creation_version))
}

/// Whether it may have existed then, or not.
fn is_in_doubt(request: &Request, target: &Target) -> bool {
    target.created == request.created.as_second() && !is_older(request, target)
}

fn refused(item: &Item, target: Option<&Arc<Target>>, why: &Ineligible) -> ItemPlan {
    let record = item_status(item, ItemResult::Refused);
    let record = ItemStatus { reason: Some(why.reason()), message: why.message().map(Into::into), ..record };
    match target {
        None => ItemPlan { record, based_on: None },
        Some(target) => ItemPlan { record: about(record, target), based_on: Some(Arc::clone(target)) },
    }
}

/// Why an item's target may not be stopped or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ineligible {
    /// The id is not a valid object name.
    NotAName,
    /// No object has that name.
    NotFound,
    /// Another object has the name.
    Replaced,
    /// The object that was planned does not exist any more.
    Gone,
    /// It was created after the BulkUpdate.
    CreatedLater,
    /// It was created in the same second as the BulkUpdate, and is not known to be older.
    InDoubt,
    /// It is terminating.
    Terminating,
    /// Its state is not one that the operator knows.
    Unreadable(Unreadable),
    /// A stop was requested already.
    StopPending,
    /// The operation does not apply to its state.
    WrongState(State, Takes),
}

/// The states that an operation applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Takes {
    /// STOP.
    #[strum(to_string = "only PENDING or RUNNING can be stopped")]
    Stop,
    /// DELETE.
    #[strum(to_string = "only STOPPED, DEAD or UNKNOWN can be deleted")]
    Delete,
    /// DELETE of an Execution, with `--delete-completed`.
    #[strum(to_string = "only STOPPED, DEAD, UNKNOWN or COMPLETED can be deleted")]
    DeleteCompleted,
}

impl Ineligible {
    /// The reason in the item's status.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NotAName | Self::NotFound => Reason::NotFound,
            Self::Replaced => Reason::Replaced,
            Self::Gone => Reason::Gone,
            Self::CreatedLater | Self::InDoubt => Reason::CreatedLater,
            Self::Terminating => Reason::Terminating,
            Self::Unreadable(_) => Reason::Unreadable,
            Self::StopPending => Reason::StopPending,
            Self::WrongState(..) => Reason::WrongState,
        }
    }

    /// The message in the item's status, where there is more to say than the reason.
    pub fn message(&self) -> Option<String> {
        match self {
            Self::NotAName => Some("the id is not a valid Kubernetes object name".into()),
            Self::InDoubt => Some(
                "created in the same second as the BulkUpdate, not known to be older; give its uid if it is meant".into(),
            ),
            Self::Unreadable(why) => Some(why.to_string()),
            Self::WrongState(state, takes) => Some(format!("it is {}; {takes}", state.word())),
            _ => None,
        }
    }
}

/// Whether the item's operation applies to its target. A target created in the same second as the request counts as
/// meant here.
///
/// # Errors
///
/// The first reason against it.
pub fn verdict<'a, T: Borrow<Target>>(
    request: &Request,
    item: &Item,
    found: Option<&'a T>,
    rules: Rules,
) -> Result<&'a T, Ineligible> {
    let Some(found) = found else {
        return Err(Ineligible::NotFound);
    };
    let target: &Target = found.borrow();
    match &item.uid {
        Some(uid) if **uid != *target.uid => return Err(Ineligible::Replaced),
        None if target.created > request.created.as_second() => {
            return Err(Ineligible::CreatedLater);
        }
        _ => {}
    }
    if target.terminating {
        return Err(Ineligible::Terminating);
    }
    let state = match &target.state {
        Ok(state) => *state,
        Err(why) => return Err(Ineligible::Unreadable(why.clone())),
    };
    match item.target {
        TargetStatus::Stopped => match state {
            State::Pending | State::Running if target.stop_asked => Err(Ineligible::StopPending),
            State::Pending | State::Running => Ok(found),
            _ => Err(Ineligible::WrongState(state, Takes::Stop)),
        },
        TargetStatus::Deleted => match state {
            State::Unknown | State::Stopped | State::Dead => Ok(found),
            State::Completed if rules.delete_completed && item.kind == Kind::Execution => Ok(found),
            _ if rules.delete_completed && item.kind == Kind::Execution => {
                Err(Ineligible::WrongState(state, Takes::DeleteCompleted))
            }
            _ => Err(Ineligible::WrongState(state, Takes::Delete)),
        },
    }
}
