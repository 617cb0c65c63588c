//! Promise 6: in each stored version the summary adds up, the items are those of the request, and the conditions match
//! both, by the table in docs/api.md; what a BulkUpdate was rejected for, or waits for, was true.

use std::collections::HashMap;

use ai_api_operator::api::{BulkUpdateStatus, ItemResult, Kind, Summary};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    Violations,
    bulk::{Bulk, Record},
    case::Case,
    exchanges::is_change,
    facts::Exchange,
    flag::{self, Setting},
    reasons::not_after_may_have_passed,
    versions::kind_of,
};

/// How long a BulkUpdate waits for a list before it says so, at least.
const UNMENTIONED: SignedDuration = SignedDuration::from_secs(4);

/// If the spec does not say how long it may wait to be planned.
const STARTING_DEADLINE: i64 = 3600;

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for bulk in &case.bulks {
        let mut since = HashMap::new();
        let mut last: Option<&Record<'_>> = None;
        // Whether the items are as somebody else has written them: after the end the operator leaves them so.
        let mut of_others = false;
        for record in &bulk.records {
            let status = &record.status;
            let is_new = last.is_none_or(|last| last.status != *status);
            let same_items = last.is_some_and(|last| {
                Kind::ALL.into_iter().all(|kind| last.status.items(kind) == status.items(kind))
            });
            let has_ended = status.completion_time.is_some();
            if case.is_foreign(record) {
                since.clear();
            }
            // Of what cannot be read any more, only the conditions are written.
            let is_unreadable = status.condition("Ready").is_some_and(|c| c.reason == "Unreadable");
            let stays = same_items && (has_ended || is_unreadable || !is_new);
            of_others = case.is_foreign(record) || (of_others && stays);
            last = Some(record);
            let at = record.version.revision;
            if status.conditions.is_empty() || case.is_forged(bulk, status) || of_others {
                continue;
            }
            if is_new {
                for problem in shape(case, bulk, status)
                    .into_iter()
                    .chain(times(case, record))
                    .chain(start(case, bulk, record))
                {
                    violations.say("6", format!("at {at}: {problem}"));
                }
                let found = words(status);
                match expected(case, bulk, record) {
                    Some(expected) if found == expected => {}
                    Some(expected) => {
                        violations
                            .say("6", format!("at {at} it says {found:?}, which should be {expected:?}"));
                    }
                    None => violations.say("6", format!("at {at} it says {found:?}, which is not true")),
                }
                unfounded(case, bulk, record, violations);
            }
            for condition in &status.conditions {
                let (is, when) = (condition.status.clone(), condition.last_transition_time.clone());
                let before = since.insert(condition.type_.clone(), (is.clone(), when.clone()));
                if before.is_some_and(|(was, then)| was == is && then != when) {
                    violations.say("6", format!("at {at} {} has changed only its time", condition.type_));
                }
            }
            since.retain(|type_, _| status.condition(type_).is_some());
        }
    }
}

/// Every item once, in order, and counts that add up.
fn shape(case: &Case<'_>, bulk: &Bulk<'_>, status: &BulkUpdateStatus) -> Vec<String> {
    let mut problems = Vec::new();
    let Some(summary) = status.summary else {
        let empty = Kind::ALL.into_iter().all(|kind| status.items(kind).is_empty());
        if !empty || status.start_time.is_some() {
            problems.push("items or a start, and no summary".into());
        }
        return problems;
    };
    if !bulk.has_its_items(status) {
        problems.push(format!("asked for {:?}; status: {status:?}", bulk.spec));
    }
    if summary != counted(status) {
        problems.push(format!("{summary:?} does not add up"));
    }
    // What others have written there stays.
    let over = status.completion_time.is_some();
    if over != (summary.planned + summary.scheduled == 0) && !case.may_be_forged(bulk) {
        problems.push("whether it has finished does not match the items".into());
    }
    if status.start_time.is_none() {
        problems.push("items, and no start".into());
    }
    problems
}

/// Recorded times are never in the future, and in order.
fn times(case: &Case<'_>, record: &Record<'_>) -> Vec<String> {
    let status = &record.status;
    let now = record.version.at + case.facts.tolerances.clock;
    let conditions = status.conditions.iter().map(|c| (&*c.type_, c.last_transition_time.0));
    let start = status.start_time.iter().map(|time| ("startTime", time.0));
    let end = status.completion_time.iter().map(|time| ("completionTime", time.0));
    let all = conditions.chain(start).chain(end);
    let mut problems: Vec<_> = all
        .filter(|(_, time)| *time > now)
        .map(|(what, time)| format!("{what} is {time}, in the future"))
        .collect();
    if let (Some(start), Some(end)) = (&status.start_time, &status.completion_time)
        && end.0 < start.0
    {
        problems.push("it ends before it starts".into());
    }
    problems
}

/// What was planned is not planned again, whatever has become of its status.
fn start(case: &Case<'_>, bulk: &Bulk<'_>, record: &Record<'_>) -> Option<String> {
    let before = || bulk.records.iter().take_while(|r| r.version.revision < record.version.revision);
    let forgotten = case.forgotten(bulk, record.version.revision);
    // It may have no start, but an end.
    if before().filter(|r| case.is_foreign(r)).last().is_some_and(Record::is_blotted) {
        let mut items = Kind::ALL.into_iter().flat_map(|kind| record.status.items(kind));
        let decided = items.find(|i| matches!(i.result, ItemResult::Planned | ItemResult::Refused))?;
        return Some(format!("{} was decided again, though it had been planned", decided.id));
    }
    let mut own = before().skip(forgotten).filter(|r| !case.is_foreign(r));
    let first = own.find_map(|r| r.status.start_time.as_ref())?;
    let now = record.status.start_time.as_ref().filter(|now| now.0 > first.0)?;
    Some(format!("it was planned at {}, and again at {}", first.0, now.0))
}

/// `Ready=False Applying`, and so on.
fn words(status: &BulkUpdateStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}

/// The expected conditions; none if the present ones are impossible.
fn expected(case: &Case<'_>, bulk: &Bulk<'_>, record: &Record<'_>) -> Option<Vec<String>> {
    let status = &record.status;
    let over = status.completion_time.is_some();
    let ready = &status.condition("Ready")?.reason;
    let words = |accepted: &str, is_ready: &str, reason: &str, last: Option<&str>| {
        let mut words = vec![format!("Accepted={accepted}"), format!("Ready={is_ready} {reason}")];
        words.extend(last.map(|type_| format!("{type_}=True {reason}")));
        Some(words)
    };
    let accepted = "True Planned";
    if ready == "Unreadable" {
        // What was planned keeps its record.
        let kept = status.summary.is_some() && !over;
        // What the schema accepts can be read.
        let flawed = bulk.was_flawed_by(record) && !case.facts.settings.keeps_the_schema;
        let rejected = || words("False Unreadable", "False", ready, Some("Stalled"));
        return flawed.then(|| if kept { Some(self::words(status)) } else { rejected() })?;
    }
    let Some(summary) = status.summary else {
        if over {
            return may_be_rejected(case, bulk, record, ready)
                .then(|| words(&format!("False {ready}"), "False", ready, Some("Stalled")))?;
        }
        return may_wait(case, record, ready)
            .then(|| words(&format!("Unknown {ready}"), "False", ready, Some("Reconciling")))?;
    };
    // An end that somebody else has written stays, whatever the items say.
    if case.may_be_forged(bulk) && over != (summary.planned + summary.scheduled == 0) {
        return Some(self::words(status));
    }
    match (over, summary) {
        (false, Summary { planned: 1.., .. }) => words(accepted, "False", "Applying", Some("Reconciling")),
        (false, _) => words(accepted, "False", "Settling", Some("Reconciling")),
        (true, Summary { failed: 1.., .. }) => words(accepted, "False", "ItemsFailed", Some("Stalled")),
        (true, Summary { refused: 1.., .. }) => words(accepted, "False", "ItemsRefused", Some("Stalled")),
        (true, _) if bulk.is_dry_run() => words(accepted, "True", "DryRun", None),
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

/// Whether what it was rejected for was true. `authors` judges whether nobody had checked its author.
fn may_be_rejected(case: &Case<'_>, bulk: &Bulk<'_>, record: &Record<'_>, reason: &str) -> bool {
    let at = record.version.at;
    let was = |is: &[Setting]| {
        let named = Kind::ALL.into_iter().filter(|kind| bulk.names(*kind));
        named.into_iter().any(|kind| flag::was(case, kind, [bulk.made_at(), at], is))
    };
    match reason {
        "BulkUpdatesDisabled" => was(&[Setting::Off]),
        "MetaInvalid" => was(&[Setting::Invalid]),
        "NotAuthorized" => case.facts.settings.require_admission_policy,
        "DeadlineExceeded" => {
            starting_deadline_has_passed(case, bulk, at) || not_after_may_have_passed(case, bulk, at)
        }
        _ => false,
    }
}

/// Never early; it counts from the end of the second in which it was created.
fn starting_deadline_has_passed(case: &Case<'_>, bulk: &Bulk<'_>, at: Timestamp) -> bool {
    let seconds = bulk.spec.as_ref().and_then(|spec| spec.starting_deadline_seconds);
    let seconds = seconds.map_or(STARTING_DEADLINE, i64::from);
    let end = Case::later(bulk.created_at(), SignedDuration::from_secs(seconds + 1));
    at + case.facts.tolerances.clock >= end
}

/// Whether there was anything to wait for.
fn may_wait(case: &Case<'_>, record: &Record<'_>, reason: &str) -> bool {
    let others = &case.facts.others;
    let failed = |about: &dyn Fn(&Exchange) -> bool| match exchanges_before(case, record) {
        Some(mut before) => before.any(|e| about(e) && !e.has_shown()),
        None => others.disturbed,
    };
    match reason {
        "FlagUnreadable" => failed(&|e| e.resource == "configmaps"),
        "Waiting" => {
            let watched = |e: &Exchange| {
                kind_of(&e.resource).is_some() || crate::authors::GUARDS.contains(&&*e.resource)
            };
            let late = |e: &Exchange| watched(e) && e.verb == "list" && is_slow(e);
            let mut before = exchanges_before(case, record).into_iter().flatten();
            failed(&watched)
                || before.any(late)
                || others.changed_policy
                || others.blind
                || was_suspended(case, record)
        }
        _ => false,
    }
}

/// Whether a BulkUpdate that waits for it says so.
fn is_slow(e: &Exchange) -> bool {
    e.ended_at().is_none_or(|ended| ended.at.duration_since(e.sent.at) > UNMENTIONED)
}

/// Whether the process that wrote this had been suspended: then all it had asked for came late.
fn was_suspended(case: &Case<'_>, record: &Record<'_>) -> bool {
    let Some(sent) = case.exchange_that_made(record.version.revision) else { return false };
    case.facts.lives[sent.life].pauses.iter().any(|[from, _]| *from < sent.sent)
}

/// What the process that wrote this had sent before.
fn exchanges_before<'a>(
    case: &'a Case<'_>,
    record: &Record<'_>,
) -> Option<impl Iterator<Item = &'a Exchange>> {
    let sent = case.exchange_that_made(record.version.revision)?;
    Some(case.sent().filter(move |e| e.life == sent.life && e.sent < sent.sent))
}

/// It says that it waits only if something has failed.
fn unfounded(case: &Case<'_>, bulk: &Bulk<'_>, record: &Record<'_>, violations: &mut Violations) {
    let Some(ready) = record.status.condition("Ready").filter(|c| c.message.contains("waiting:")) else {
        return;
    };
    let failed = |e: &Exchange| {
        let about_it = is_change(&e.verb) || e.verb == "get" || e.verb == "list" || e.verb == "watch";
        about_it && !e.is_in_the_background() && !e.succeeded()
    };
    let founded = match exchanges_before(case, record) {
        Some(mut before) => before.any(failed) || case.facts.others.blind,
        None => case.facts.others.disturbed,
    };
    if !founded {
        let (name, message) = (bulk.name, &ready.message);
        violations.say("5", format!("{name}: nothing was blocked, and it says: {message}"));
    }
}
