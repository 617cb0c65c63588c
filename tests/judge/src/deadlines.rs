//! `deadline` and `clock`: no write starts after `notAfter` or `activeDeadlineSeconds`, nothing is planned long after
//! `startingDeadlineSeconds`, and no BulkUpdate is deleted before its TTL has passed, nor again and again where that meets a
//! conflict. (`reasons` judges whether a deadline that was reported had passed.)

use std::collections::HashMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    Violations,
    bulk::Bulk,
    case::Case,
    exchanges::ToTarget,
    facts::{Exchange, Moment},
    timers::{at_least, backs_off},
};

/// The recorded start has whole seconds, and the clock is known to one; after a restart both count.
const START_IN_DOUBT: SignedDuration = SignedDuration::from_secs(3);

/// How long a plan may take to be recorded, with requests that have to wait for their turn.
const TO_RECORD: SignedDuration = SignedDuration::from_secs(30);

/// The shortest and the longest wait after a conflict before the same DELETE is sent again; in between it doubles.
const AFTER_CONFLICT: [SignedDuration; 2] = [SignedDuration::from_secs(1), SignedDuration::from_secs(300)];

/// If the spec does not say how long it may wait to be planned.
const STARTING_DEADLINE: i64 = 3600;

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for bulk in &case.bulks {
        for (end, what) in ends(case, bulk) {
            written_too_late(case, bulk, end, what, violations);
        }
        planned_too_late(case, bulk, violations);
    }
    deleted_too_early(case, violations);
    deleted_in_a_hurry(case, violations);
}

/// From when on nothing may be written for a BulkUpdate, and why.
fn ends(case: &Case<'_>, bulk: &Bulk<'_>) -> Vec<(Timestamp, &'static str)> {
    let Some(spec) = &bulk.spec else { return Vec::new() };
    let clock = case.facts.tolerances.clock;
    let mut ends = Vec::new();
    let mut starts = bulk.records.iter().filter_map(|record| record.status.start_time.as_ref());
    // Where the record of a plan is lost, its writes go on until that is noticed.
    let start = match case.forgotten(bulk, u64::MAX) {
        0 => starts.next(),
        _ => starts.max_by_key(|start| start.0),
    };
    if let (Some(seconds), Some(start)) = (spec.active_deadline_seconds, start) {
        let end = Case::later(start.0, SignedDuration::from_secs(seconds.into()) + START_IN_DOUBT + clock);
        ends.push((end, "activeDeadlineSeconds"));
    }
    if let Some(time) = &spec.not_after {
        ends.push((Case::later(time.0, clock), "notAfter"));
    }
    ends
}

fn written_too_late(
    case: &Case<'_>,
    bulk: &Bulk<'_>,
    end: Timestamp,
    what: &str,
    violations: &mut Violations,
) {
    let mut say = |verb: &str, name: &str, at: Timestamp| {
        violations.say("deadline", format!("{verb} of {name} at {at}, after {what} at {end}"));
    };
    if case.knows_exchanges() {
        for write in case.writes_sent().filter(|write| case.is_for(bulk, *write) && write.sent.at >= end) {
            say(&write.verb, write.target().2, write.sent.at);
        }
        return;
    }
    for r in case.requests().filter(|r| r.is_target_write() && case.is_for(bulk, *r)) {
        if case.sent_at(r).is_some_and(|sent| sent > end) {
            say(&r.verb, &r.name, r.received);
        }
    }
}

fn planned_too_late(case: &Case<'_>, bulk: &Bulk<'_>, violations: &mut Violations) {
    let (Some(plan), Some(spec)) = (bulk.plan(), &bulk.spec) else { return };
    let seconds = spec.starting_deadline_seconds.map_or(STARTING_DEADLINE, i64::from);
    let end = Case::later(
        bulk.created_at(),
        SignedDuration::from_secs(seconds) + START_IN_DOUBT + TO_RECORD + case.facts.tolerances.clock,
    );
    // What a process has sent before it died may be carried out at any time.
    let at = case.exchange_that_made(plan.version.revision).map_or(plan.version.at, |e| e.sent.at);
    if at > end && !case.may_be_forged(bulk) {
        violations
            .say("deadline", format!("{} was planned at {at}, after startingDeadlineSeconds", bulk.name));
    }
}

/// The DELETE of a BulkUpdate after its TTL, by the version that guards it.
fn deleted_too_early(case: &Case<'_>, violations: &mut Violations) {
    for r in case.requests().filter(|r| r.resource == "bulkupdates" && r.verb == "delete") {
        let guard = r.guard_number();
        let record = case
            .bulks
            .iter()
            .filter(|bulk| bulk.namespace == r.namespace && bulk.name == r.name)
            .flat_map(|bulk| &bulk.records)
            .find(|record| Some(record.version.revision) == guard);
        let Some(record) = record else {
            violations.say("1", format!("{} was deleted at a version that it never had: {guard:?}", r.name));
            continue;
        };
        let ttl = record
            .version
            .object
            .pointer("/spec/ttlSecondsAfterFinished")
            .and_then(serde_json::Value::as_i64);
        let end = record.status.completion_time.as_ref().map(|time| time.0);
        // It may have ended as late as the end of the recorded second; zero means at once.
        let due = ttl
            .zip(end)
            .map(|(ttl, end)| Case::later(end, SignedDuration::from_secs(ttl + i64::from(ttl > 0))));
        let sent = case.exchange_of(r).map_or(r.received, |e| e.sent.at) + case.facts.tolerances.clock;
        if due.is_none_or(|due| sent < due) {
            violations.say("clock", format!("{} was deleted at {sent}, its TTL ends at {due:?}", r.name));
        }
    }
}

/// After a conflict the change has to be seen; until then the same DELETE is sent ever more rarely. (With each event about the
/// BulkUpdate, even a late one, that begins from the start.)
fn deleted_in_a_hurry(case: &Case<'_>, violations: &mut Violations) {
    let shown = |e: &Exchange, since: Moment| {
        let mut sights = case.facts.sights.iter().filter(|s| s.life == e.life && s.resource == e.resource);
        sights.any(|s| s.namespace == e.namespace && s.name == e.name && s.when > since && s.when < e.sent)
    };
    // When the last one was sent and answered, and how many there were.
    let mut conflicts: HashMap<(usize, Option<u64>), ([Moment; 2], u32)> = HashMap::new();
    for e in case.sent().filter(|e| e.resource == "bulkupdates" && e.verb == "delete") {
        let before = conflicts.remove(&(e.life, e.guard_number())).filter(|([sent, _], _)| !shown(e, *sent));
        if let Some(([_, at], nth)) = before {
            let waited = e.sent.at.duration_since(at.at);
            if waited < at_least(backs_off(AFTER_CONFLICT, nth)) {
                violations.say("9", format!("{}: {waited:?} after a conflict", e.words()));
            }
        }
        if let Some(ended) = e.ended_at().filter(|_| e.code() == Some(409)) {
            let nth = before.map_or(1, |(_, nth)| nth + 1);
            conflicts.insert((e.life, e.guard_number()), ([e.sent, ended], nth));
        }
    }
}
