//! What the status says: conditions and counts, derived from the items. Pure.

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
        facts::Obstacle,
        stored::LONGEST_CONDITION_MESSAGE,
        work::{Phase, Work},
    },
    client::clock::Now,
    decode::text::cut,
};

/// The status of `work` in `phase`.
pub fn status(work: &Work, phase: &Phase, now: Now) -> BulkUpdateStatus {
    let start = match phase {
        Phase::Proposed(plan) => Some(plan.start),
        _ => work.start(),
    };
    // Whole seconds, as the API server stores them, because what it returns is compared with this. The estimate of the
    // present gets narrower with time; an end is never before the start.
    let now = start.map_or(now.to_record(), |start| start.time.max(now.to_record()));
    let before = work.on_api_server();
    let mut status = BulkUpdateStatus {
        observed_generation: work.generation(),
        start_time: start.map(|start| Time(start.time)),
        completion_time: before.completion_time.clone(),
        ..BulkUpdateStatus::default()
    };
    let words = match phase {
        Phase::Waiting(why) => not_planned("Unknown", why.reason(), why.to_string()),
        Phase::Rejected(why) => {
            status.completion_time.get_or_insert(Time(now));
            not_planned("False", why.reason(), why.to_string())
        }
        Phase::Proposed(plan) => {
            let kinds = work.entries().iter().map(|entry| entry.item.kind);
            carried_out(&mut status, &kinds.zip(plan.records()).collect(), None, work, now)
        }
        Phase::Planned(_) | Phase::Final => {
            let obstacle = match phase {
                Phase::Planned(why) => why.clone().or_else(|| work.waits_for()),
                _ => None,
            };
            let known =
                work.entries().iter().filter_map(|entry| Some((entry.item.kind, entry.record.as_ref()?)));
            carried_out(&mut status, &known.collect(), obstacle.as_ref(), work, now)
        }
    };
    status.conditions = ConditionBuilder { before, generation: work.generation(), now }.conditions(&words);
    status
}

type Records<'a> = Vec<(Kind, &'a ItemStatus)>;

/// The part about the items; completed once none is planned or scheduled any more.
fn carried_out(
    status: &mut BulkUpdateStatus,
    records: &Records<'_>,
    obstacle: Option<&Obstacle>,
    work: &Work,
    now: Timestamp,
) -> Conditions {
    let summary = summary(records);
    status.summary = Some(summary);
    status.executions = items(records, Kind::Execution);
    status.deployments = items(records, Kind::Deployment);
    if summary.planned == 0 && summary.scheduled == 0 {
        status.completion_time.get_or_insert(Time(now));
        finished(summary, records, work.request().dry_run)
    } else {
        underway(summary, obstacle)
    }
}

struct Conditions {
    accepted: (&'static str, ConditionReason, String),
    ready: (bool, ConditionReason, String),
    reconciling: bool,
    stalled: bool,
}

fn not_planned(accepted: &'static str, reason: ConditionReason, message: String) -> Conditions {
    let stalled = accepted == "False";
    let accepted = (accepted, reason, message.clone());
    Conditions { accepted, ready: (false, reason, message), reconciling: !stalled, stalled }
}

fn accepted() -> (&'static str, ConditionReason, String) {
    ("True", ConditionReason::Planned, "every item was decided, and the plan is recorded".to_owned())
}

fn underway(summary: Summary, obstacle: Option<&Obstacle>) -> Conditions {
    let Summary { total, planned, scheduled, .. } = summary;
    let (reason, mut message) = if planned > 0 {
        (ConditionReason::Applying, format!("{planned} of {total} items are still to be written"))
    } else {
        let done = total - planned - scheduled;
        let others = "the others were accepted and have not taken effect yet";
        (ConditionReason::Settling, format!("{done} of {total} items are finished; {others}"))
    };
    if let Some(why) = obstacle {
        message = format!("{message}; waiting: {why}");
    }
    Conditions { accepted: accepted(), ready: (false, reason, message), reconciling: true, stalled: false }
}

fn finished(summary: Summary, records: &Records<'_>, dry_run: bool) -> Conditions {
    let total = summary.total;
    let plural = if total == 1 { "" } else { "s" };
    let bad = summary.refused + summary.failed > 0;
    let reason = match (summary.failed > 0, summary.refused > 0, dry_run) {
        (true, ..) => ConditionReason::ItemsFailed,
        (_, true, _) => ConditionReason::ItemsRefused,
        (.., true) => ConditionReason::DryRun,
        (.., false) => ConditionReason::Settled,
    };
    let part = |count: i32, verb, result| {
        (count > 0).then(|| format!("{count} {verb} ({})", reasons(records, result)))
    };
    let failed = part(summary.failed, "failed", ItemResult::Failed);
    let refused = part(summary.refused, "refused", ItemResult::Refused);
    let parts = failed.into_iter().chain(refused).collect::<Vec<_>>().join(", ");
    let message = match (bad, dry_run) {
        (false, true) => format!("dry run: {total} item{plural} would be carried out"),
        (false, false) => format!("{total} item{plural} settled"),
        (true, true) => format!("dry run of {total} item{plural}: {} eligible, {parts}", summary.eligible),
        (true, false) => format!("of {total} item{plural}: {} settled, {parts}", summary.settled),
    };
    Conditions { accepted: accepted(), ready: (!bad, reason, message), reconciling: false, stalled: bad }
}

/// How many items with this result have each reason: `NotFound 2, WrongState`.
fn reasons(records: &Records<'_>, result: ItemResult) -> String {
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    let with_result = records.iter().filter(|(_, record)| record.result == result);
    for reason in with_result.filter_map(|(_, record)| record.reason) {
        *counts.entry(reason).or_default() += 1;
    }
    let word = |(reason, count)| if count == 1 { format!("{reason}") } else { format!("{reason} {count}") };
    counts.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

fn items(records: &Records<'_>, kind: Kind) -> Option<Vec<ItemStatus>> {
    let of_kind = records.iter().filter(|(of, _)| *of == kind);
    let mut list: Vec<_> = of_kind.map(|(_, record)| ItemStatus::clone(record)).collect();
    // It is kept for as long as the BulkUpdate is under way.
    list.shrink_to_fit();
    (!list.is_empty()).then_some(list)
}

fn summary(records: &Records<'_>) -> Summary {
    let mut summary = Summary::default();
    for (_, record) in records {
        summary.total += 1;
        *match record.result {
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

/// Builds conditions for one point in time and generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConditionBuilder<'a> {
    pub(super) before: &'a BulkUpdateStatus,
    pub(super) generation: i64,
    pub(super) now: Timestamp,
}

impl ConditionBuilder<'_> {
    /// A condition; its transition time is kept if its status did not change.
    pub(super) fn condition(
        &self,
        type_: &str,
        status: &str,
        reason: ConditionReason,
        message: &str,
    ) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_string(),
            message: cut(message, LONGEST_CONDITION_MESSAGE),
            observed_generation: Some(self.generation),
            last_transition_time: self
                .before
                .condition(type_)
                .filter(|c| c.status == status)
                .map_or(Time(self.now), |c| c.last_transition_time.clone()),
        }
    }

    fn conditions(&self, words: &Conditions) -> Vec<Condition> {
        let (status, reason, message) = &words.accepted;
        let mut list = vec![self.condition(ACCEPTED, status, *reason, message)];
        let (ready, reason, message) = &words.ready;
        list.push(self.condition(READY, if *ready { "True" } else { "False" }, *reason, message));
        if words.reconciling {
            list.push(self.condition(RECONCILING, "True", *reason, message));
        }
        if words.stalled {
            list.push(self.condition(STALLED, "True", *reason, message));
        }
        list
    }
}

#[cfg(test)]
mod tests;
