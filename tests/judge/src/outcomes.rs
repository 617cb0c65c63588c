//! Promise 4: after a conflict the object is read, and the write decided again. Promise 5: after a time-out, a lost
//! connection or a 5xx the object is read before anything else is tried; requests are repeated with back-off, or as
//! `Retry-After` says. Two writes to an object are never under way at once.

use std::collections::HashMap;

use k8s_openapi::jiff::SignedDuration;

use crate::{
    Violations,
    bulk::Bulk,
    case::Case,
    exchanges::{ToTarget, is_change},
    facts::{Exchange, Moment, Sight, Whole},
    timers::at_least,
    versions::kind_of,
};

/// The shortest back-off.
const BACK_OFF: SignedDuration = SignedDuration::from_millis(100);

type Object<'a> = (&'a str, &'a str, &'a str);

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    let mut by_object: HashMap<Object<'_>, Vec<&Exchange>> = HashMap::new();
    for e in case.sent().filter(|e| !e.name.is_empty() && !e.is_in_the_background()) {
        by_object.entry(e.target()).or_default().push(e);
    }
    let mut by_object: Vec<_> = by_object.into_iter().collect();
    by_object.sort_unstable_by_key(|(object, _)| *object);
    for ((resource, namespace, name), exchanges) in by_object {
        // Each BulkUpdate waits for itself, and reads for itself; they share only the reading of the flag.
        let alone = case.askers(resource, namespace, name) < 2;
        for (at, e) in exchanges.iter().enumerate() {
            let earlier = &exchanges[..at];
            if e.is_target_write() && alone {
                looks_first(case, e, earlier, violations);
            }
            if alone && !case.may_be_for_what_runs(e) {
                waits(case, e, earlier, violations);
            }
        }
    }
}

/// A write after one that met a conflict, or whose outcome is unknown, is preceded by a read of its own process.
fn looks_first(case: &Case<'_>, write: &Exchange, earlier: &[&Exchange], violations: &mut Violations) {
    let writes = earlier.iter().filter(|e| e.is_target_write());
    for before in writes.filter(|before| may_know(case, before, write) && !was_forgotten(case, write)) {
        let ended = before.ended_at().filter(|ended| *ended < write.sent);
        if ended.is_none() && before.life == write.life {
            violations.say("3", format!("{}: the one before has no answer yet", write.words()));
            continue;
        }
        let gone = |answer: &Whole| answer.code == 404 && answer.names_object;
        let conflict = before.answer().is_some_and(|answer| answer.code == 409 || gone(answer));
        if !(conflict || ended.is_none() || before.outcome_unknown()) {
            continue;
        }
        let since = ended.unwrap_or(before.sent);
        // A simulated network has no connections that tell a write that is given up with the leadership whether it was sent.
        let mut pauses = case.facts.lives.get(before.life).into_iter().flat_map(|life| &life.pauses);
        if before.life == write.life && pauses.any(|[from, to]| *from >= before.sent && *to <= since) {
            continue;
        }
        let read = earlier.iter().any(|e| {
            e.life == write.life
                && e.is_target_read()
                && e.sent > since
                && e.has_shown()
                && e.ended_at().is_some_and(|read| read < write.sent)
        });
        if !read {
            let (promise, why) = if conflict { ("4", "a conflict") } else { ("5", "a lost answer") };
            let words = write.words();
            violations.say(promise, format!("{words} again after {why}, without reading the object"));
        }
    }
}

/// Whether the process that writes has to reckon with an earlier write: its own, or one of a process that had ended when
/// it began to lead.
fn may_know(case: &Case<'_>, before: &Exchange, write: &Exchange) -> bool {
    if before.life == write.life {
        return true;
    }
    let lives = &case.facts.lives;
    let elected = || {
        let mut own = case.sent().filter(|e| e.life == write.life && e.resource == "leases");
        own.find(|e| is_change(&e.verb) && !e.dry_run && e.succeeded())?.ended_at()
    };
    let leads = if case.facts.settings.elects { elected() } else { lives.get(write.life).map(|l| l.started) };
    let ended = lives.get(before.life).and_then(|life| life.ended);
    ended.zip(leads).is_some_and(|(ended, leads)| ended < leads)
}

/// The same request is not sent again before the time that `Retry-After` or the back-off says.
fn waits(case: &Case<'_>, e: &Exchange, earlier: &[&Exchange], violations: &mut Violations) {
    let uid = uid_of(case, e);
    let same = |other: &&&Exchange| {
        let kind = other.life == e.life && other.verb == e.verb && other.subresource == e.subresource;
        // An object that is created again under its name is another one.
        kind && (uid.is_none() || uid_of(case, other).is_none_or(|other| Some(other) == uid))
    };
    let Some(last) = earlier.iter().rfind(same) else { return };
    let Some(ended) = last.ended_at().filter(|ended| *ended < e.sent) else { return };
    let slack = case.facts.tolerances.operator;
    let waited = e.sent.at.duration_since(ended.at) + slack;
    let about_one = e.is_target() || (e.resource == "bulkupdates" && e.is_record());
    let retries = last.answer().is_some_and(|answer| matches!(answer.code, 401 | 403 | 408 | 429 | 500..));
    let failed = retries || (last.answer().is_none() && e.is_target());
    if !failed {
        return;
    }
    // The next task that writes its status has to wait as well, if the one before has seen the answer.
    let excused = if e.is_record() { is_abandoned(case, last, ended) } else { starts_again(case, e, last) };
    if excused {
        return;
    }
    if let Some(asked_for) = last.answer().and_then(Whole::asks_to_wait).filter(|_| retries)
        && waited < at_least(asked_for)
        && (about_one || e.is_flag_read())
    {
        violations.say("5", format!("{} {waited:?} after one that asked to wait {asked_for:?}", e.words()));
    }
    if about_one && waited < BACK_OFF && last.resource != "bulkupdates" {
        violations.say("5", format!("{} only {waited:?} after one that failed", e.words()));
    }
}

/// Whether news of the BulkUpdate has come together with the answer: the task that waited for that may have ended just before.
fn is_abandoned(case: &Case<'_>, e: &Exchange, ended: Moment) -> bool {
    let slack = case.facts.tolerances.operator;
    let is_about = |s: &Sight| (&s.resource, &s.namespace, &s.name) == (&e.resource, &e.namespace, &e.name);
    let mut seen = case.facts.sights.iter().filter(|s| s.life == e.life && is_about(s));
    seen.any(|seen| seen.when.at.duration_since(ended.at).abs() <= slack)
}

/// Whether work on it has started again between two requests, and with it the back-off.
fn starts_again(case: &Case<'_>, e: &Exchange, last: &Exchange) -> bool {
    // If somebody has changed its record, the work starts again, and with it the back-off; if somebody has ended it there,
    // what is left is to acknowledge that.
    let again = || {
        let mut own = case.sent().filter(|e| e.life == last.life && e.resource == "bulkupdates");
        own.any(|read| read.verb == "get" && read.sent > last.sent && read.sent < e.sent)
    };
    // The same if a watch shows it once more after its deletion.
    let meanwhile = |moment: Moment| moment > last.sent && moment < e.sent;
    let seen = || {
        let own = case.facts.sights.iter().filter(|s| s.life == last.life && s.resource == "bulkupdates");
        own.filter(|seen| meanwhile(seen.when))
    };
    let shown_once_more = || seen().any(|seen| seen.deleted);
    again() || shown_once_more() || was_forgotten(case, e)
}

/// Whether a BulkUpdate that asks for it could not be read before: nothing is known any more of what was done for it.
fn was_forgotten(case: &Case<'_>, e: &Exchange) -> bool {
    let (resource, namespace, name) = e.target();
    let asks = |bulk: &&Bulk<'_>| {
        bulk.namespace == namespace && kind_of(resource).is_some_and(|kind| bulk.item(kind, name).is_some())
    };
    case.bulks.iter().filter(asks).any(|bulk| bulk.was_flawed_at(e.sent.at))
}

/// The uid of the object that a write is about, by its body or its guard.
fn uid_of<'a>(case: &Case<'a>, e: &'a Exchange) -> Option<&'a str> {
    let in_body = ["/metadata/uid", "/preconditions/uid"].iter().find_map(|at| e.body.pointer(at)?.as_str());
    in_body.or_else(|| {
        let guard = e.guard_number()?;
        let versions = case.of_name(&e.resource, &e.namespace, &e.name);
        versions.iter().find(|v| v.revision == guard).map(|v| &*v.uid)
    })
}
