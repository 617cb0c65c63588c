//! Promise 5: while a request about a target fails and is tried again, the condition `Ready` says so. Promise 9: what reports that
//! a BulkUpdate cannot be read is sent again after a conflict, if the BulkUpdate is as it was.

use ai_api_operator::api::Kind;
use k8s_openapi::jiff::SignedDuration;
use serde_json::Value;

use crate::{
    Violations,
    bulk::Bulk,
    case::Case,
    facts::{Exchange, Moment},
    slots::takes_a_slot,
};

/// How long that may take: progress is reported every ten seconds at the longest.
const REPORTED_WITHIN: SignedDuration = SignedDuration::from_secs(13);

/// How long a request may take that is in nobody's way.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(2);

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for e in case.sent().filter(|e| reports_unreadable(e) && e.code() == Some(409)) {
        if e.ended_at().is_some_and(|ended| was_given_up(case, e, ended)) {
            violations.say("9", format!("{} met a conflict, and it was not sent again", e.words()));
        }
    }
    for bulk in case.bulks.iter().filter(|bulk| !case.may_be_forged(bulk)) {
        for (kind, item) in bulk.items() {
            if case.askers(kind.plural(), bulk.namespace, &item.id) > 1 {
                continue;
            }
            for life in (0..case.facts.lives.len()).filter(|life| case.is_operator(*life)) {
                of_item(case, bulk, (kind, &item.id), life, violations);
            }
        }
    }
}

/// The conditions of a status that was sent.
fn conditions(e: &Exchange) -> impl Iterator<Item = &Value> {
    let all = e.body.pointer("/status/conditions").and_then(Value::as_array);
    all.into_iter().flatten()
}

/// Whether a status says that the BulkUpdate cannot be read.
pub fn reports_unreadable(e: &Exchange) -> bool {
    e.is_record() && conditions(e).any(|c| c["type"] == "Ready" && c["reason"] == "Unreadable")
}

/// Whether a report was not sent again in time, although the BulkUpdate had not changed and nothing was in the way.
fn was_given_up(case: &Case<'_>, e: &Exchange, ended: Moment) -> bool {
    // The longer it has failed, the longer it waits.
    let mut before = case.about(&e.resource, &e.namespace, &e.name).iter();
    let same = |other: &&Exchange| {
        other.life == e.life && other.is_record() && other.guard_number() == e.guard_number()
    };
    let first = before.find(|other| same(other)).map_or(e.sent.at, |first| first.sent.at);
    let until = ended.at + REPORTED_WITHIN.max(e.sent.at.duration_since(first) * 2);
    let within = |moment: &Moment| *moment > e.sent && moment.at <= until;
    let versions = case.of_name(&e.resource, &e.namespace, &e.name);
    let newest = versions.iter().rfind(|v| v.at <= until);
    let is_unchanged = newest.is_some_and(|v| Some(v.revision) == e.guard_number() && !v.terminating());
    let life = case.facts.lives.get(e.life);
    let lives_on = life.is_some_and(|life| {
        let ends = life.ended.iter().chain(&life.asked_to_end);
        let mut stops = ends.chain(life.pauses.iter().flatten());
        !stops.any(|moment| *moment > e.sent && moment.at <= until)
    });
    // It takes a slot, like all requests.
    let mut others = case.sent().filter(|other| other.life == e.life && takes_a_slot(other));
    let takes_long = |other: &Exchange| {
        let ends = other.ended_at().map_or(until, |ended| ended.at);
        ends > ended.at && other.sent.at <= until && ends.duration_since(other.sent.at) > IN_FLIGHT
    };
    let mut again = case.about(&e.resource, &e.namespace, &e.name).iter();
    let is_known = case.facts.end.is_some_and(|end| end > until);
    is_known
        && is_unchanged
        && lives_on
        && !others.any(takes_long)
        && !again.any(|again| again.life == e.life && again.is_record() && within(&again.sent))
}

/// What one process has tried for one item.
fn of_item(
    case: &Case<'_>,
    bulk: &Bulk<'_>,
    (kind, id): (Kind, &str),
    life: usize,
    violations: &mut Violations,
) {
    let mut since: Option<Moment> = None;
    let own = case.about(kind.plural(), bulk.namespace, id).iter().filter(|e| e.life == life);
    for e in own.filter(|e| !case.may_be_for_what_runs(e)) {
        if let Some(began) = since.filter(|began| e.sent.at.duration_since(began.at) > REPORTED_WITHIN)
            && could_be_reported(case, bulk, life, [began, e.sent])
            && !was_reported(case, bulk, life, [began, e.sent])
        {
            violations.say("5", format!("{}: nothing says that it has failed since {}", e.words(), began.at));
            return;
        }
        since = since.or(e.ended_at()).filter(|_| is_tried_again(e));
    }
}

fn is_tried_again(e: &Exchange) -> bool {
    !e.has_shown() && !matches!(e.code(), Some(400 | 402 | 404..=407 | 409..=428 | 430..=499))
}

/// Whether it was planned by then, and status writes did not fail.
fn could_be_reported(case: &Case<'_>, bulk: &Bulk<'_>, life: usize, [from, to]: [Moment; 2]) -> bool {
    let mut records = case.about("bulkupdates", bulk.namespace, bulk.name).iter().filter(|e| e.life == life);
    // One that has failed before may have asked to wait.
    let fails = records.any(|e| e.sent < to && !e.succeeded() && e.code() != Some(409));
    let mut pauses = case.facts.lives.get(life).into_iter().flat_map(|life| &life.pauses);
    let suspended = pauses.any(|[begin, end]| *begin < to && *end > from);
    bulk.plan().is_some_and(|plan| plan.version.at < from.at) && !fails && !suspended
}

/// Whether a status says so, or one was sent that does.
fn was_reported(case: &Case<'_>, bulk: &Bulk<'_>, life: usize, [from, to]: [Moment; 2]) -> bool {
    let says = |message: &str| message.contains("waiting:");
    // Of several that fail, it names one.
    let stands = bulk.records.iter().rfind(|record| record.version.at <= to.at);
    let stands = stands.and_then(|record| record.status.condition("Ready"));
    let mut records = case.about("bulkupdates", bulk.namespace, bulk.name).iter();
    stands.is_some_and(|ready| says(&ready.message))
        || records.any(|e| {
            let mut messages = conditions(e).filter_map(|c| c["message"].as_str());
            e.life == life && e.is_record() && e.sent > from && e.sent < to && messages.any(says)
        })
}
