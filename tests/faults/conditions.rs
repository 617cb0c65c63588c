//! Whether the conditions of a status say what its items say, and whether what it waits for or was rejected for was so.

use std::collections::HashMap;

use ai_api_operator::api::{BulkUpdate, BulkUpdateStatus, ItemResult, Kind, Summary};

use crate::{
    fault::{Call, Place, Resource},
    judge::{Bulk, Case},
};

/// What any conditions of this BulkUpdate said that was not so.
pub fn of(case: &Case<'_>, bulk: &Bulk) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut since = HashMap::new();
    for (revision, _, version) in &bulk.versions {
        let status = version.status.clone().unwrap_or_default();
        if status.conditions.is_empty() || case.is_forged(bulk, &status) {
            continue;
        }
        let found = words(&status);
        if let Some(expected) = expected(case, version, &status) {
            if found != expected {
                wrong.push(format!("at {revision} it says {found:?}, which should be {expected:?}"));
            }
        } else {
            wrong.push(format!("at {revision} it says {found:?}, and it is not so"));
        }
        for condition in &status.conditions {
            let (is, when) = (condition.status.clone(), condition.last_transition_time.clone());
            let before = since.insert(condition.type_.clone(), (is.clone(), when.clone()));
            if before.is_some_and(|(was, then)| was == is && then != when) {
                wrong.push(format!("at {revision} {} has changed its time alone", condition.type_));
            }
        }
        since.retain(|type_, _| status.condition(type_).is_some());
    }
    wrong
}

/// `Ready=False Applying`, and so on.
fn words(status: &BulkUpdateStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}

/// What the conditions have to be; nothing if what they are can't be.
fn expected(case: &Case<'_>, bulk: &BulkUpdate, status: &BulkUpdateStatus) -> Option<Vec<String>> {
    let over = status.completion_time.is_some();
    let ready = &status.condition("Ready")?.reason;
    let words = |accepted: &str, is_ready: &str, reason: &str, last: Option<&str>| {
        let mut words = vec![format!("Accepted={accepted}"), format!("Ready={is_ready} {reason}")];
        words.extend(last.map(|type_| format!("{type_}=True {reason}")));
        Some(words)
    };
    let Some(summary) = status.summary else {
        if over {
            return may_be_rejected(case, ready)
                .then(|| words(&format!("False {ready}"), "False", ready, Some("Stalled")))?;
        }
        return may_wait(case, ready)
            .then(|| words(&format!("Unknown {ready}"), "False", ready, Some("Reconciling")))?;
    };
    if summary != counted(status) {
        return None;
    }
    let accepted = "True Planned";
    match (over, summary) {
        (false, Summary { planned: 1.., .. }) => words(accepted, "False", "Applying", Some("Reconciling")),
        (false, _) => words(accepted, "False", "Settling", Some("Reconciling")),
        (true, Summary { failed: 1.., .. }) => words(accepted, "False", "ItemsFailed", Some("Stalled")),
        (true, Summary { refused: 1.., .. }) => words(accepted, "False", "ItemsRefused", Some("Stalled")),
        (true, _) if bulk.spec.dry_run == Some(true) => words(accepted, "True", "DryRun", None),
        (true, _) => words(accepted, "True", "Settled", None),
    }
}

fn counted(status: &BulkUpdateStatus) -> Summary {
    let mut summary = Summary::default();
    for item in Kind::ALL.into_iter().flat_map(|kind| status.items(kind)) {
        summary.total += 1;
        *match item.result {
            ItemResult::Planned => &mut summary.planned,
            ItemResult::Eligible => &mut summary.eligible,
            ItemResult::Scheduled => &mut summary.scheduled,
            ItemResult::Settled => &mut summary.settled,
            ItemResult::Refused => &mut summary.refused,
            ItemResult::Failed => &mut summary.failed,
        } += 1;
    }
    summary
}

/// The flag is always well-formed here, and there is always time to begin, unless the operator can't see anything until
/// `notAfter` has passed.
fn may_be_rejected(case: &Case<'_>, reason: &str) -> bool {
    match reason {
        "BulkUpdatesDisabled" => case.plan.switches_off(),
        "DeadlineExceeded" => case.plan.scenario.name == "not-after" && !case.plan.is_in_peace(),
        _ => false,
    }
}

fn may_wait(case: &Case<'_>, reason: &str) -> bool {
    let struck = |place: &Place, calls: &[Call]| match place {
        Place::Nth(call, _) => calls.contains(call),
        Place::Write(_) => false,
    };
    let of = |resource| [Call::List(resource), Call::Watch(resource)];
    let mut calls = match reason {
        "FlagUnreadable" => vec![Call::ReadFlag],
        "Waiting" => vec![Call::ReadTarget],
        _ => return false,
    };
    let watched: &[Resource] = match reason {
        "FlagUnreadable" => &[Resource::ConfigMaps],
        _ => &Resource::ALL,
    };
    calls.extend(watched.iter().copied().flat_map(of));
    case.plan.strikes.iter().any(|strike| struck(&strike.place, &calls))
        || case.plan.view.is_some_and(|(_, resource)| watched.contains(&resource))
}
