//! `watch`: no process sends more requests than its work and what failed explain, none repeats itself in a hurry; and once
//! nothing fails any more, every BulkUpdate ends in time, or says what it waits for, if that is so. One that has ended is
//! deleted after its TTL, and its generation is acknowledged.

use std::collections::{HashMap, HashSet};

use ai_api_operator::api::{ItemResult, Kind};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{Violations, bulk::Bulk, case::Case, exchanges::ToTarget, facts::Exchange};

/// How many requests a life may send for nothing: lists and watches at the start, and a look at each resource.
const AT_START: usize = 30;
/// For each BulkUpdate: the flag, its reading, the plan, the end, events, its TTL, and reports in between.
const FOR_A_BULK_UPDATE: usize = 14;
/// For each item: a read, a write, and a read of what it has come to.
const FOR_AN_ITEM: usize = 4;
/// For each request that failed: another one, and reads of object, BulkUpdate and flag.
const FOR_A_FAILURE: usize = 5;
/// For each version that others have made: a conflict, and what follows.
const FOR_A_CHANGE: usize = 4;
/// For each second: a reading of the flag, and a report.
const FOR_A_SECOND: usize = 2;
/// The same of each target that something runs for: two looks at the target, at what runs, at its Pods and at the flag.
const FOR_WHAT_RUNS: usize = 8;

/// How often the same request may be sent within a second, for each BulkUpdate that it may be for: the plan and a report, and
/// with a back-off from 100 ms on four attempts, each of which writes a status twice if it meets a conflict.
const SAME_IN_A_SECOND: usize = 10;

/// How long everything may take once nothing fails any more: a back-off of up to a minute, and all else.
const PATIENCE: SignedDuration = SignedDuration::from_secs(180);

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for life in 0..case.facts.lives.len() {
        if case.is_operator(life) {
            in_all(case, life, violations);
            in_a_hurry(case, life, violations);
        }
    }
    let (Some(quiet), Some(end)) = (case.facts.quiet_since, case.facts.end) else { return };
    if end.duration_since(quiet) < PATIENCE {
        return;
    }
    for bulk in case.bulks.iter().filter(|bulk| {
        let created = bulk.first().version.at;
        end.duration_since(created) >= PATIENCE && case.is_watched(bulk.namespace)
    }) {
        if let Some(why) = has_not_ended(case, bulk) {
            violations.say("watch", format!("{} has not ended: {why}", bulk.name));
        }
        if let Some(why) = is_left_over(case, bulk, end) {
            violations.say("watch", format!("{} {why}", bulk.name));
        }
    }
}

fn in_all(case: &Case<'_>, life: usize, violations: &mut Violations) {
    let sent: Vec<_> = case.sent().filter(|e| e.life == life && !e.is_in_the_background()).collect();
    let Some((first, last)) = sent.first().zip(sent.last()) else { return };
    let one = |e: &&&Exchange| !matches!(&*e.verb, "list" | "watch");
    let failed = sent.iter().filter(|e| e.ended.is_some() && !e.succeeded()).count();
    let items: usize = case.bulks.iter().map(|bulk| bulk.items().count()).sum();
    let changes = case.facts.versions.iter().filter(|v| case.is_made_by_others(v.revision)).count();
    let seconds = last.sent.at.duration_since(first.sent.at).as_secs().unsigned_abs() + 1;
    let allowed = AT_START
        + FOR_A_BULK_UPDATE * case.bulks.len()
        + FOR_AN_ITEM * items
        + FOR_A_FAILURE * failed
        + FOR_A_CHANGE * changes
        + (FOR_A_SECOND + FOR_WHAT_RUNS * case.runs()) * usize::try_from(seconds).unwrap_or(usize::MAX / 4);
    let count = sent.iter().filter(one).count();
    if count > allowed {
        violations.say("watch", format!("process {life} has sent {count} requests, {allowed} are explained"));
    }
}

fn in_a_hurry(case: &Case<'_>, life: usize, violations: &mut Violations) {
    let mut recent: HashMap<(&str, &str, &str, &str), Vec<&Exchange>> = HashMap::new();
    let mut said = HashSet::new();
    for e in case.sent().filter(|e| e.life == life && !e.is_in_the_background() && e.resource != "events") {
        let (resource, namespace, name) = e.target();
        let same = recent.entry((&e.verb, resource, namespace, name)).or_default();
        same.retain(|earlier| e.sent.at.duration_since(earlier.sent.at) < SignedDuration::from_secs(1));
        same.push(e);
        // Readings of the flag are shared; a list comes in pages.
        let times = match resource {
            "configmaps" => case.bulks.len() + case.runs() + 1,
            // One that is created again is another one.
            "bulkupdates" if !name.is_empty() => {
                case
                .bulks
                .iter()
                .filter(|bulk| (bulk.namespace, bulk.name) == (namespace, name))
                .count()
                .max(1)
                // Its work starts again where the policy has changed, for example, and with it the back-off.
                + 1
            }
            _ if name.is_empty() => 4 + case.runs(),
            // Each change of what runs is a reason to look.
            _ if case.runs() > 0 => case.askers(resource, namespace, name).max(1) * 3,
            _ => case.askers(resource, namespace, name).max(1),
        };
        if same.len() > SAME_IN_A_SECOND * times && said.insert((e.verb.clone(), resource, name)) {
            violations.say("watch", format!("{}: {} of these within a second", e.words(), same.len()));
        }
    }
}

/// What is left to do for one that has ended.
fn is_left_over(case: &Case<'_>, bulk: &Bulk<'_>, end: Timestamp) -> Option<String> {
    let last = bulk.last();
    let over = last.status.completion_time.as_ref().map(|time| time.0)?;
    if last.version.deleted || last.version.terminating() || case.may_be_forged(bulk) {
        return None;
    }
    let ttl = last.version.object.pointer("/spec/ttlSecondsAfterFinished").and_then(Value::as_i64);
    // It may have been set or changed late.
    let since = over.max(last.version.at);
    if ttl.is_some_and(|ttl| end.duration_since(since) > SignedDuration::from_secs(ttl) + PATIENCE) {
        return Some("was not deleted after its TTL".into());
    }
    let seen = last.status.observed_generation;
    let generation = last.version.generation();
    (seen < generation).then(|| format!("has generation {generation}, and {seen} was observed"))
}

/// Why it has not ended, unless there is a reason that is none of the operator's business.
fn has_not_ended(case: &Case<'_>, bulk: &Bulk<'_>) -> Option<String> {
    let last = bulk.last();
    if last.version.deleted || last.version.terminating() || last.status.completion_time.is_some() {
        return None;
    }
    if bulk.spec.is_none() || case.may_be_forged(bulk) {
        return None;
    }
    let ready = last.status.condition("Ready");
    let says = ready.map_or("nothing", |ready| &ready.reason);
    match says {
        "Settling" => {
            let items =
                || Kind::ALL.into_iter().flat_map(|k| last.status.items(k).iter().map(move |i| (k, i)));
            let late = items().find(|(_, item)| {
                let uid = item.uid.as_deref().unwrap_or_default();
                let now = case.of_uid(uid).last();
                item.result == ItemResult::Scheduled
                    && now.is_none_or(|now| match item.target_status {
                        ai_api_operator::api::TargetStatus::Stopped => now.has_ended(),
                        ai_api_operator::api::TargetStatus::Deleted => now.deleted,
                    })
            });
            late.map(|(_, item)| format!("{} has settled", item.id))
        }
        "Waiting" if case.facts.settings.require_admission_policy && is_unguarded(case) => None,
        says => Some(format!("it says {says}: {}", ready.map_or("", |ready| &ready.message))),
    }
}

/// Whether policy or binding is missing, or not what was shipped, at the end.
fn is_unguarded(case: &Case<'_>) -> bool {
    crate::authors::GUARDS.into_iter().any(|guard| {
        let versions: Vec<_> = case.of_plural(guard).collect();
        let last = versions.last().filter(|last| !last.deleted && !last.terminating());
        last.is_none_or(|last| last.object["spec"] != versions[0].object["spec"])
    })
}
