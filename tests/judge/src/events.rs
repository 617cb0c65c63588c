//! What is reported is on record: an event about a BulkUpdate comes after the status that it reports, once, and says
//! What is reported is on record: an event about a BulkUpdate comes after the status that it reports, once, and says
//! what the status says (docs/architecture.md, "Report"). What no status may say is reported all the same: that it cannot be
//! read, and that it is too large for a status. `memory`: any other is not repeated within five minutes.

use std::collections::{HashMap, HashSet};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    Violations,
    bulk::{Bulk, Record},
    case::Case,
    facts::{Exchange, Moment, Request, Version},
};

/// The events that report a status, each at most once for a BulkUpdate.
const REPORTS: [&str; 3] = ["Accepted", "Rejected", "Finished"];

/// How long it may take until one is sent, while no other one hangs.
const AT_LATEST: SignedDuration = SignedDuration::from_secs(10);

/// How often another one may be published in so long: the five minutes begin again at fixed times.
const OTHERS: (usize, SignedDuration) = (2, SignedDuration::from_mins(5));

/// The longest note, in bytes: the rest is cut.
const LONGEST_NOTE: usize = 1000;

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for sent in case.sent().filter(|e| e.is_record()) {
        let Some(before) = replaced_by(case, sent) else { continue };
        let Some((reason, what)) = has_to_be_reported(sent, before) else { continue };
        if is_missing(case, &before.uid, sent, reason) {
            violations.say("9", format!("{}: {what}, and no event {reason} says so", sent.words()));
        }
    }
    let mut published = HashSet::new();
    let mut others: HashMap<_, Vec<Timestamp>> = HashMap::new();
    for r in case.requests().filter(|r| r.resource == "events" && r.verb == "create" && !r.dry_run) {
        let text = |pointer: &str| r.body.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default();
        let (reason, uid) = (text("/reason"), text("/regarding/uid"));
        if !REPORTS.contains(&reason) {
            let same = others.entry((reason.to_owned(), uid.to_owned())).or_default();
            same.retain(|before| r.received.duration_since(*before) < OTHERS.1);
            same.extend(Some(r.received).filter(|_| r.succeeded()));
            // Of a process that was killed it is not always known what its events were about.
            if same.len() > OTHERS.0 && !uid.is_empty() {
                violations.say("memory", format!("{} events {reason} about {uid}", same.len()));
            }
            continue;
        }
        let Some(bulk) = case.bulks.iter().find(|bulk| bulk.uid == uid) else {
            violations.say("6", format!("an event {reason} about a BulkUpdate that there is not: {uid}"));
            continue;
        };
        let sent = case.exchange_of(r).map_or(r.received, |e| e.sent.at);
        if !is_on_record(case, bulk, r, reason, sent) {
            violations.say("6", format!("an event {reason} that no status says: {}", text("/note")));
        }
        // Two processes may report the same, if somebody has taken the Lease away from one of them.
        let by = r.life.filter(|_| case.facts.others.changed_lease);
        let again = r.succeeded() && !published.insert((reason.to_owned(), uid.to_owned(), by));
        // What is planned once more, because nothing is left of the first plan, is reported once more.
        if again && case.forgotten(bulk, u64::MAX) == 0 {
            violations.say("6", format!("two events {reason} about {}", bulk.name));
        }
    }
}

/// The event that has to go with this status, and why.
fn has_to_be_reported(sent: &Exchange, before: &Version) -> Option<(&'static str, &'static str)> {
    let is_unreadable = |object: &Value| {
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|condition| condition["reason"] == "Unreadable")
    };
    // Later only its generation is acknowledged.
    if is_unreadable(&sent.body) && !is_unreadable(&before.object) {
        return Some(("Unreadable", "it cannot be read"));
    }
    let plans_or_reports = sent.verb == "update" && sent.code() == Some(413);
    plans_or_reports.then_some(("FailedUpdateStatus", "it is too large for a status"))
}

/// The version that a status was to replace.
fn replaced_by<'a>(case: &Case<'a>, sent: &Exchange) -> Option<&'a Version> {
    case.guarded(&sent.namespace, &sent.name, sent.guard_number())
}

/// Whether the process had the time to publish the event, and has not: it led for as long as that may take, and no other event
/// took longer.
fn is_missing(case: &Case<'_>, uid: &str, sent: &Exchange, reason: &str) -> bool {
    let Some(ended) = sent.ended_at() else { return false };
    let until = ended.at + AT_LATEST;
    let Some(life) = case.facts.lives.get(sent.life) else { return false };
    let before = |moment: Option<Moment>| moment.is_some_and(|moment| moment.at <= until);
    let of_the_process = || case.sent().filter(|e| e.life == sent.life);
    let leads = of_the_process().any(|e| e.resource == "leases" && e.succeeded() && e.sent.at > until);
    let events = || of_the_process().filter(|e| e.resource == "events" && e.sent.at <= until);
    let hangs =
        |e: &Exchange| e.ended_at().is_none_or(|ended| ended.at.duration_since(e.sent.at) > AT_LATEST / 5);
    if before(life.ended)
        || before(life.asked_to_end)
        || !life.pauses.is_empty()
        || !leads
        || events().any(hangs)
    {
        return false;
    }
    !events().any(|e| {
        let text = |pointer: &str| e.body.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default();
        text("/reason") == reason && text("/regarding/uid") == uid
    })
}

/// Whether a status that was stored by then says it.
fn is_on_record(case: &Case<'_>, bulk: &Bulk<'_>, r: &Request, reason: &str, sent: Timestamp) -> bool {
    let note = r.body.pointer("/note").and_then(|v| v.as_str()).unwrap_or_default();
    let until = sent + case.facts.tolerances.observer;
    let mut records = bulk.records.iter().filter(|record| record.version.at <= until);
    records.any(|record| says(record, reason, note))
}

fn says(record: &Record<'_>, reason: &str, note: &str) -> bool {
    let status = &record.status;
    let message = |type_| status.condition(type_).map(|c| &*c.message).unwrap_or_default();
    let begins = |message: &str| note.starts_with(message) || message.len() + 20 > LONGEST_NOTE;
    match reason {
        "Accepted" => {
            status.start_time.is_some()
                && status.summary.is_some_and(|summary| {
                    note.contains(&format!("{} item", summary.total))
                        && note.contains(&format!("{} refused", summary.refused))
                })
        }
        "Rejected" => {
            status.completion_time.is_some()
                && status.condition("Accepted").is_some_and(|c| c.status == "False")
                && begins(message("Accepted"))
        }
        _ => status.completion_time.is_some() && begins(message("Ready")),
    }
}
