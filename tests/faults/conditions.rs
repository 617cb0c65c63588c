//! Checks that the conditions of a status match its items, and that what it waits for or was rejected for was true.

use std::collections::HashMap;

use ai_api_operator::api::{BulkUpdate, BulkUpdateStatus, ItemResult, Kind, Summary};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    fault::{Call, Fault, Lasts, Place, Resource},
    history::Bulk,
    judge::Case,
};

/// The time between the plan and the first report.
const REPORT_DELAY: SignedDuration = SignedDuration::from_millis(1500);

/// The delay between the API server and the observer.
const OBSERVER_DELAY: SignedDuration = SignedDuration::from_millis(500);

/// All conditions of this BulkUpdate that were not true.
pub fn of(case: &Case<'_>, bulk: &Bulk) -> Vec<String> {
    let mut violations = Vec::new();
    let mut since = HashMap::new();
    for (revision, _, version) in &bulk.versions {
        let status = version.status.clone().unwrap_or_default();
        if status.conditions.is_empty() || case.is_forged(bulk, &status) {
            continue;
        }
        let found = words(&status);
        if let Some(expected) = expected(case, version, &status) {
            if found != expected {
                violations.push(format!("at {revision} it says {found:?}, which should be {expected:?}"));
            }
        } else {
            violations.push(format!("at {revision} it says {found:?}, which is not true"));
        }
        for condition in &status.conditions {
            let (is, when) = (condition.status.clone(), condition.last_transition_time.clone());
            let before = since.insert(condition.type_.clone(), (is.clone(), when.clone()));
            if before.is_some_and(|(was, then)| was == is && then != when) {
                violations.push(format!("at {revision} {} has changed only its time", condition.type_));
            }
        }
        since.retain(|type_, _| status.condition(type_).is_some());
    }
    violations.extend(unexplained(case, bulk));
    violations
}

/// While something is blocked for longer than the interval between reports, the message names the cause, and not before
/// it occurs.
fn unexplained(case: &Case<'_>, bulk: &Bulk) -> Option<String> {
    let aside = |place: &Place| matches!(place, Place::Nth(call, _) | Place::InTheMiddle(call) if call.is_in_the_background());
    let mut lasting = case.plan.injections.iter().filter(|injection| injection.lasts != Lasts::Once);
    let injection = lasting.find(|injection| !aside(&injection.place));
    if injection.is_none() && !case.plan.is_undisturbed() {
        return None;
    }
    let seen = |revision| case.versions.iter().find(|v| v.revision == revision).map(|v| v.seen);
    let reports: Vec<_> = bulk
        .versions
        .iter()
        .filter_map(|(revision, _, version)| {
            let status = version.status.as_ref()?;
            let message = status.condition("Ready")?.message.clone();
            Some((seen(*revision)?, message, status.summary.is_some()))
        })
        .collect();
    let before = |time: Timestamp| case.lasted.is_none_or(|[began, _]| time < began);
    if let Some((_, message, _)) = reports.iter().find(|(time, m, _)| before(*time) && m.contains("waiting:"))
    {
        return Some(format!("nothing was blocked, and it says: {message}"));
    }
    let ([began, ended], injection) = case.lasted.zip(injection)?;
    // A status that cannot be written cannot report anything.
    let can_report = !matches!(injection.place, Place::Nth(Call::Record, _));
    let why = match injection.fault {
        Fault::Answer { code, .. } if code != 409 => format!("made up: {code}"),
        _ => String::new(),
    };
    let says = |(time, message, planned): &(Timestamp, String, bool)| {
        began <= *time
            && *time <= ended + OBSERVER_DELAY
            && (!planned || message.contains("waiting:"))
            && message.contains(&why)
    };
    (can_report && ended.duration_since(began) > REPORT_DELAY && !reports.iter().any(says))
        .then(|| format!("from {began} to {ended} the status did not say what it waits for: {reports:?}"))
}

/// `Ready=False Applying`, and so on.
fn words(status: &BulkUpdateStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}

/// The expected conditions; none if the present ones are impossible.
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

/// The flag is always well-formed here, and there is always time to begin, unless the operator sees nothing until
/// `notAfter` has passed.
fn may_be_rejected(case: &Case<'_>, reason: &str) -> bool {
    match reason {
        "BulkUpdatesDisabled" => case.plan.switches_off(),
        // `authors` checks whether that is true.
        "NotAuthorized" => case.plan.guard.is_some(),
        "DeadlineExceeded" => case.plan.scenario.name == "not-after" && !case.plan.is_undisturbed(),
        _ => false,
    }
}

fn may_wait(case: &Case<'_>, reason: &str) -> bool {
    let affects = |place: &Place, calls: &[Call]| match place {
        Place::Nth(call, _) => calls.contains(call),
        Place::Write(_) | Place::InTheMiddle(_) => false,
    };
    let of = |resource| [Call::List(resource), Call::Watch(resource)];
    let mut calls = match reason {
        "FlagUnreadable" => vec![Call::ReadFlag],
        "Waiting" => vec![Call::ReadTarget],
        _ => return false,
    };
    let watched: &[Resource] = match reason {
        "FlagUnreadable" => &[Resource::ConfigMaps],
        _ => &[Resource::WORK.as_slice(), &Resource::GUARDS].concat(),
    };
    calls.extend(watched.iter().copied().flat_map(of));
    case.plan.guard.is_some_and(|_| reason == "Waiting")
        || case.plan.injections.iter().any(|injection| affects(&injection.place, &calls))
        || case.plan.view.is_some_and(|(_, resource)| watched.contains(&resource))
}
