//! Who may be stopped or deleted: the rules of the AI API.

use std::{borrow::Borrow, sync::Arc};

use crate::{
    api::{ItemResult, ItemStatus, Kind, Reason, State, TargetStatus, is_dns_subdomain},
    bulk_update::{
        facts::{Hindrance, Lookup, Rules},
        request::{Item, Request, blank},
        work::{ItemPlan, about},
    },
    observed::target::Target,
};

const IN_DOUBT: &str = "created in the same second, and not known to be older; an item with its uid means it";

/// Plans one item: its entry and the object that it rests on, or `None` if the object must be read first.
///
/// # Errors
/// Why the object can't be read, or not judged yet.
pub fn plan_item(
    request: &Request,
    item: &Item,
    look: &Lookup,
    rules: Rules,
) -> Result<Option<ItemPlan>, (Hindrance, String)> {
    if !is_dns_subdomain(&item.id) {
        let message = "it can't be the name of a Kubernetes object".to_owned();
        return Ok(Some((refused(item, None, Reason::NotFound, Some(message)), None)));
    }
    if let Lookup::Failed(why) = look {
        return Err((Hindrance::Waiting, why.clone()));
    }
    let (target, live) = look.object();
    // Which object is meant is decided here once: from then on it is known by its uid.
    let in_doubt = item.uid.is_none() && target.is_some_and(|target| is_in_doubt(request, target));
    if in_doubt && matches!(look, Lookup::Ahead(_)) && request.made_at.is_some() {
        let why = format!(
            "{} {} was created in the same second: the watch of {} has yet to tell which was first",
            item.kind.name(),
            item.id,
            item.kind.plural()
        );
        return Err((Hindrance::Behind, why));
    }
    let verdict = if in_doubt {
        Err((Reason::CreatedLater, Some(IN_DOUBT.to_owned())))
    } else {
        verdict(request, item, target, rules)
    };
    match verdict {
        Ok(target) => {
            let result = if request.dry_run { ItemResult::Eligible } else { ItemResult::Planned };
            Ok(Some((about(blank(item, result), target), Some(Arc::clone(target)))))
        }
        Err((reason, message)) if live => Ok(Some((refused(item, target, reason, message), target.cloned()))),
        // A cache may be behind: what it says refuses nothing.
        Err(_) => Ok(None),
    }
}

/// Whether an object is known to have existed when the request was made.
pub(super) fn is_older(request: &Request, target: &Target) -> bool {
    target.created < request.created.as_second()
        || (target.created == request.created.as_second()
            && request.made_at.is_some_and(|made_at| target.first_seen < made_at))
}

/// Whether it may have existed then, and may not have.
fn is_in_doubt(request: &Request, target: &Target) -> bool {
    target.created == request.created.as_second() && !is_older(request, target)
}

fn refused(item: &Item, target: Option<&Arc<Target>>, reason: Reason, message: Option<String>) -> ItemStatus {
    let entry = blank(item, ItemResult::Refused);
    let entry = target.map_or_else(|| entry.clone(), |target| about(entry.clone(), target));
    ItemStatus { reason: Some(reason), message: message.map(Into::into), ..entry }
}

/// Whether the item's target may be stopped or deleted, as it asks. Of what was created in the same second as the request it is
/// known already that it is meant.
///
/// # Errors
/// The first reason against it that fits, and a sentence where that says more than the reason.
pub fn verdict<'a, T: Borrow<Target>>(
    request: &Request,
    item: &Item,
    found: Option<&'a T>,
    rules: Rules,
) -> Result<&'a T, (Reason, Option<String>)> {
    let Some(found) = found else {
        return Err((Reason::NotFound, None));
    };
    let target: &Target = found.borrow();
    match &item.uid {
        Some(uid) if **uid != *target.uid => return Err((Reason::Replaced, None)),
        None if target.created > request.created.as_second() => {
            return Err((Reason::CreatedLater, None));
        }
        _ => {}
    }
    if target.terminating {
        return Err((Reason::Terminating, None));
    }
    let state = match &target.state {
        Ok(state) => *state,
        Err(why) => return Err((Reason::Unreadable, Some(why.to_string()))),
    };
    match item.target {
        TargetStatus::Stopped => match state {
            State::Pending | State::Running if target.stop_asked => Err((Reason::StopPending, None)),
            State::Pending | State::Running => Ok(found),
            _ => Err(wrong_state(state, "stopped", "PENDING or RUNNING")),
        },
        TargetStatus::Deleted => match state {
            State::Unknown | State::Stopped | State::Dead => Ok(found),
            State::Completed if rules.delete_completed && item.kind == Kind::Execution => Ok(found),
            _ if rules.delete_completed && item.kind == Kind::Execution => {
                Err(wrong_state(state, "deleted", "STOPPED, DEAD, UNKNOWN or COMPLETED"))
            }
            _ => Err(wrong_state(state, "deleted", "STOPPED, DEAD or UNKNOWN")),
        },
    }
}

fn wrong_state(state: State, verb: &str, takes: &str) -> (Reason, Option<String>) {
    (Reason::WrongState, Some(format!("it is {}; only {takes} can be {verb}", state.word())))
}
