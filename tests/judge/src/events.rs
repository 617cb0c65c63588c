//! What is reported is on record: an event about a BulkUpdate comes after the status that it reports, once, and says
//! what the status says (docs/architecture.md, "Report").

use std::collections::HashSet;

use k8s_openapi::jiff::Timestamp;

use crate::{
    Violations,
    bulk::{Bulk, Record},
    case::Case,
    facts::Request,
};

/// The events that report a status, each at most once for a BulkUpdate.
const REPORTS: [&str; 3] = ["Accepted", "Rejected", "Finished"];

/// The longest note, in bytes: the rest is cut.
const LONGEST_NOTE: usize = 1000;

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    let mut published = HashSet::new();
    for r in case.requests().filter(|r| r.resource == "events" && r.verb == "create") {
        let text = |pointer: &str| r.body.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default();
        let (reason, uid) = (text("/reason"), text("/regarding/uid"));
        if !REPORTS.contains(&reason) {
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
        if r.succeeded() && !published.insert((reason.to_owned(), uid.to_owned(), by)) {
            violations.say("6", format!("two events {reason} about {}", bulk.name));
        }
    }
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
