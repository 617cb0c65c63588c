//! What the status says: conditions and counts, made from what is known of the items. Pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::{
    api::{
        ACCEPTED, BulkUpdateStatus, ConditionReason, ItemResult, ItemStatus, Kind, READY, RECONCILING,
        Reason, STALLED, Summary,
    },
    bulk_update::{
        facts::Hindrance,
        work::{Entry, Work},
    },
    client::clock::Now,
    decode::text::cut,
};

/// The longest message of a condition, in bytes.
pub(super) const LONGEST_MESSAGE: usize = 1024;

/// Where a BulkUpdate is, as the conditions tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It can't be planned yet; why.
    Waiting(Hindrance, String),
    /// It is over before it began; why.
    Rejected(ConditionReason, String),
    /// It is planned; why it does not go on, if it does not.
    Planned(Option<String>),
}

/// The status of `work` in `phase`.
#[must_use]
pub fn status(work: &Work, phase: &Phase, now: Now) -> BulkUpdateStatus {
    // The API server keeps whole seconds, and what it gives back is compared with this. What is known of the present narrows
    // down with time, but nothing ends before it begins.
    let now = work.start.map_or(now.to_record(), |start| start.time.max(now.to_record()));
    let mut status = BulkUpdateStatus {
        observed_generation: work.generation,
        start_time: work.start.map(|start| Time(start.time)),
        completion_time: work.recorded.completion_time.clone(),
        ..BulkUpdateStatus::default()
    };
    let words = match phase {
        Phase::Waiting(why, message) => waiting(*why, message),
        Phase::Rejected(why, message) => {
            status.completion_time.get_or_insert(Time(now));
            rejected(*why, message)
        }
        Phase::Planned(hindrance) => {
            let summary = summary(&work.entries);
            status.summary = Some(summary);
            status.executions = items(&work.entries, Kind::Execution);
            status.deployments = items(&work.entries, Kind::Deployment);
            if summary.planned == 0 && summary.scheduled == 0 {
                status.completion_time.get_or_insert(Time(now));
                finished(summary, &work.entries, work.request.dry_run)
            } else {
                underway(summary, hindrance.as_deref())
            }
        }
    };
    status.conditions = conditions(&words, &work.recorded, work.generation, now);
    status
}

/// What stands in the conditions: those that are there, each with status, reason and message.
struct Words {
    accepted: (&'static str, ConditionReason, String),
    ready: (bool, ConditionReason, String),
    reconciling: bool,
    stalled: bool,
}

fn waiting(why: Hindrance, message: &str) -> Words {
    let reason = match why {
        Hindrance::FlagUnreadable => ConditionReason::FlagUnreadable,
        Hindrance::Waiting | Hindrance::Behind => ConditionReason::Waiting,
    };
    Words {
        accepted: ("Unknown", reason, message.to_owned()),
        ready: (false, reason, message.to_owned()),
        reconciling: true,
        stalled: false,
    }
}

fn rejected(why: ConditionReason, message: &str) -> Words {
    Words {
        accepted: ("False", why, message.to_owned()),
        ready: (false, why, message.to_owned()),
        reconciling: false,
        stalled: true,
    }
}

fn accepted() -> (&'static str, ConditionReason, String) {
    ("True", ConditionReason::Planned, "every item was decided on, and the plan is on record".to_owned())
}

fn underway(summary: Summary, hindrance: Option<&str>) -> Words {
    let done = summary.total - summary.planned - summary.scheduled;
    let (reason, message) = if summary.planned > 0 {
        (
            ConditionReason::Applying,
            format!("{} of {} items are still to be written", summary.planned, summary.total),
        )
    } else {
        (
            ConditionReason::Settling,
            format!(
                "{done} of {} items are done; the others were accepted and have yet to take hold",
                summary.total
            ),
        )
    };
    let message = hindrance.map_or(message.clone(), |why| format!("{message}; waiting: {why}"));
    Words { accepted: accepted(), ready: (false, reason, message), reconciling: true, stalled: false }
}

fn finished(summary: Summary, entries: &[Entry], dry_run: bool) -> Words {
    let total = summary.total;
    let plural = if total == 1 { "" } else { "s" };
    let bad = summary.refused + summary.failed > 0;
    let reason = match (summary.failed > 0, summary.refused > 0, dry_run) {
        (true, ..) => ConditionReason::ItemsFailed,
        (_, true, _) => ConditionReason::ItemsRefused,
        (.., true) => ConditionReason::DryRun,
        (.., false) => ConditionReason::Settled,
    };
    let mut parts = Vec::new();
    for (result, count, verb) in
        [(ItemResult::Failed, summary.failed, "failed"), (ItemResult::Refused, summary.refused, "refused")]
    {
        if count > 0 {
            parts.push(format!("{count} {verb} ({})", reasons(entries, result)));
        }
    }
    let message = match (bad, dry_run) {
        (false, true) => format!("dry run: {total} item{plural} would be carried out"),
        (false, false) => format!("{total} item{plural} settled"),
        (true, true) => {
            format!("dry run of {total} item{plural}: {} eligible, {}", summary.eligible, parts.join(", "))
        }
        (true, false) => {
            format!("of {total} item{plural}: {} settled, {}", summary.settled, parts.join(", "))
        }
    };
    Words { accepted: accepted(), ready: (!bad, reason, message), reconciling: false, stalled: bad }
}

/// How often each reason stands at items of this result: `NotFound 2, WrongState`.
fn reasons(entries: &[Entry], result: ItemResult) -> String {
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    for record in entries.iter().filter_map(|e| e.record.as_ref()) {
        if record.result == result
            && let Some(reason) = record.reason
        {
            *counts.entry(reason).or_default() += 1;
        }
    }
    let words = counts.into_iter().map(|(reason, count)| {
        if count == 1 { format!("{reason:?}") } else { format!("{reason:?} {count}") }
    });
    words.collect::<Vec<_>>().join(", ")
}

fn items(entries: &[Entry], kind: Kind) -> Option<Vec<ItemStatus>> {
    let of_kind = entries.iter().filter(|e| e.item.kind == kind);
    let list: Vec<_> = of_kind.filter_map(|e| e.record.clone()).collect();
    (!list.is_empty()).then_some(list)
}

fn summary(entries: &[Entry]) -> Summary {
    let mut summary = Summary::default();
    for entry in entries {
        summary.total += 1;
        *match entry.result() {
            Some(ItemResult::Planned) | None => &mut summary.planned,
            Some(ItemResult::Eligible) => &mut summary.eligible,
            Some(ItemResult::Scheduled) => &mut summary.scheduled,
            Some(ItemResult::Settled) => &mut summary.settled,
            Some(ItemResult::Refused) => &mut summary.refused,
            Some(ItemResult::Failed) => &mut summary.failed,
        } += 1;
    }
    summary
}

/// A condition; it has been so since it was first said in `before`.
#[must_use]
pub(super) fn condition(
    type_: &str,
    status: &str,
    reason: ConditionReason,
    message: &str,
    before: &BulkUpdateStatus,
    generation: i64,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_string(),
        message: cut(message, LONGEST_MESSAGE),
        observed_generation: Some(generation),
        last_transition_time: before
            .condition(type_)
            .filter(|c| c.status == status)
            .map_or(Time(now), |c| c.last_transition_time.clone()),
    }
}

fn conditions(words: &Words, before: &BulkUpdateStatus, generation: i64, now: Timestamp) -> Vec<Condition> {
    let condition = |type_: &str, status: &str, reason, message: &str| {
        condition(type_, status, reason, message, before, generation, now)
    };
    let (status, reason, message) = &words.accepted;
    let mut list = vec![condition(ACCEPTED, status, *reason, message)];
    let (ready, reason, message) = &words.ready;
    list.push(condition(READY, if *ready { "True" } else { "False" }, *reason, message));
    if words.reconciling {
        list.push(condition(RECONCILING, "True", *reason, message));
    }
    if words.stalled {
        list.push(condition(STALLED, "True", *reason, message));
    }
    list
}

/// The finished status `before`, for a spec of which only what may change after the end has changed.
#[must_use]
pub fn with_generation(before: &BulkUpdateStatus, generation: i64) -> BulkUpdateStatus {
    let mut status = before.clone();
    status.observed_generation = generation;
    for condition in &mut status.conditions {
        condition.observed_generation = Some(generation);
    }
    status
}

#[cfg(test)]
mod tests;
