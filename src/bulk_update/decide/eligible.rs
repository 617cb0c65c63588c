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
    Planned(ItemPlan),
    Read,
    /// The target cannot be read, or it is not known yet whether it is the one that was meant.
    Wait(Obstacle),
}

pub fn plan_item(request: &Request, item: &Item, lookup: &Lookup, rules: Rules) -> ItemPlanning {
    if !is_dns_subdomain(&item.id) {
        return ItemPlanning::Planned(refused(item, None, &Ineligible::NotAName));
    }
    if let Lookup::Failed(why) = lookup {
        return ItemPlanning::Wait(why.clone());
    }
    let (target, live) = lookup.object();
    // Which object is meant is decided here, once; from then on it is identified by its uid.
    let in_doubt = item.uid.is_none()
        && target.is_some_and(|t| t.created == request.created.as_second() && !is_older(request, t));
    if in_doubt && matches!(lookup, Lookup::Ahead(_)) && request.creation_version.is_some() {
        return ItemPlanning::Wait(Obstacle::StaleCache { kind: item.kind, id: Arc::clone(&item.id) });
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

fn refused(item: &Item, target: Option<&Arc<Target>>, why: &Ineligible) -> ItemPlan {
    let record = item_status(item, ItemResult::Refused);
    let record = ItemStatus { reason: Some(why.reason()), message: why.message().map(Into::into), ..record };
    match target {
        None => ItemPlan { record, based_on: None },
        Some(target) => ItemPlan { record: about(record, target), based_on: Some(Arc::clone(target)) },
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ineligible {
    /// The id is not a valid object name.
    NotAName,
    NotFound,
    Replaced,
    Gone,
    CreatedLater,
    /// It was created in the same second as the BulkUpdate, and is not known to be older.
    InDoubt,
    Terminating,
    Unreadable(Unreadable),
    StopPending,
    WrongState {
        state: State,
        /// What the operation applies to.
        takes: &'static str,
    },
}

impl Ineligible {
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NotAName | Self::NotFound => Reason::NotFound,
            Self::Replaced => Reason::Replaced,
            Self::Gone => Reason::Gone,
            Self::CreatedLater | Self::InDoubt => Reason::CreatedLater,
            Self::Terminating => Reason::Terminating,
            Self::Unreadable(_) => Reason::Unreadable,
            Self::StopPending => Reason::StopPending,
            Self::WrongState { .. } => Reason::WrongState,
        }
    }

    pub fn message(&self) -> Option<String> {
        match self {
            Self::NotAName => Some("the id is not a valid Kubernetes object name".into()),
            Self::InDoubt => Some(
                "created in the same second as the BulkUpdate, not known to be older; give its uid if it is meant".into(),
            ),
            Self::Unreadable(why) => Some(why.to_string()),
            Self::WrongState { state, takes } => Some(format!("it is {}; {takes}", state.word())),
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
    let found = found.ok_or(Ineligible::NotFound)?;
    let target: &Target = found.borrow();
    match &item.uid {
        Some(uid) if **uid != *target.uid => return Err(Ineligible::Replaced),
        None if target.created > request.created.as_second() => return Err(Ineligible::CreatedLater),
        _ => {}
    }
    applies(target, item.kind, item.target, rules)?;
    Ok(found)
}

/// Whether an operation applies to this object in its state.
///
/// # Errors
/// The first reason against it.
pub fn applies(target: &Target, kind: Kind, operation: TargetStatus, rules: Rules) -> Result<(), Ineligible> {
    if target.terminating {
        return Err(Ineligible::Terminating);
    }
    let state = target.state.clone().map_err(Ineligible::Unreadable)?;
    let (states, takes): (&[State], _) = match operation {
        TargetStatus::Stopped => {
            (&[State::Pending, State::Running], "only PENDING or RUNNING can be stopped")
        }
        TargetStatus::Deleted if rules.delete_completed && kind == Kind::Execution => (
            &[State::Stopped, State::Dead, State::Unknown, State::Completed],
            "only STOPPED, DEAD, UNKNOWN or COMPLETED can be deleted",
        ),
        TargetStatus::Deleted => {
            (&[State::Stopped, State::Dead, State::Unknown], "only STOPPED, DEAD or UNKNOWN can be deleted")
        }
    };
    if !states.contains(&state) {
        return Err(Ineligible::WrongState { state, takes });
    }
    if operation == TargetStatus::Stopped && target.stop_asked {
        return Err(Ineligible::StopPending);
    }
    Ok(())
}
