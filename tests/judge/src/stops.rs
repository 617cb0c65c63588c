//! Promise 10: once the operator has seen that a BulkUpdate was deleted, or is being deleted, no write starts for it; and once it
//! has recorded what was in flight, it does not begin with it again.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    Violations,
    bulk::Bulk,
    case::Case,
    facts::{Exchange, Moment, Sight, Version},
    slots::takes_a_slot,
};

/// How long the last status of one that goes is tried for, and some time more.
const LAST_RECORD: SignedDuration = SignedDuration::from_secs(13);

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for bulk in &case.bulks {
        let goes = |v: &Version| v.deleted || v.terminating();
        let Some(going) = bulk.records.iter().map(|r| r.version).find(|v| goes(v)) else { continue };
        if case.knows_exchanges() {
            sent_afterwards(case, bulk, going, violations);
        } else if !case.facts.others.blind {
            received_afterwards(case, bulk, going, violations);
        }
    }
}

fn sent_afterwards(case: &Case<'_>, bulk: &Bulk<'_>, going: &Version, violations: &mut Violations) {
    let mut known: Vec<Option<Moment>> = vec![None; case.facts.lives.len()];
    for (life, known) in known.iter_mut().enumerate() {
        *known = first_known(case, bulk, going, life);
    }
    let shown = known.iter().enumerate().filter_map(|(life, since)| Some((life, (*since)?)));
    for (life, since) in shown {
        if let Some(record) = recorded_long_afterwards(case, bulk, life, since) {
            let what = format!("{}: it had been seen to go long before", record.words());
            violations.say("10", what);
        }
    }
    let slack = case.facts.tolerances.operator;
    for write in case.writes_sent() {
        if !case.is_for(bulk, write) {
            continue;
        }
        let seen = known.get(write.life).copied().flatten();
        if seen.is_some_and(|seen| seen.at + slack < write.sent.at && seen < write.sent) {
            violations.say("10", format!("{}: the deletion of {} had been seen", write.words(), bulk.name));
        }
    }
}

/// A status that a process has sent for one that it knew to go, while a finalizer keeps that, after nothing was in flight any more
/// for longer than the last status is tried for.
fn recorded_long_afterwards<'a>(
    case: &'a Case<'_>,
    bulk: &Bulk<'_>,
    life: usize,
    known: Moment,
) -> Option<&'a Exchange> {
    let own = || case.sent().filter(|e| e.life == life && e.sent > known);
    let gone = bulk.last().version;
    // It is there, or what has its name now is known, of which older news is none.
    let succeeded = |e: &Exchange| {
        let mut sights = case.facts.sights.iter().filter(|s| s.life == life && s.when < e.sent);
        let has_its_name =
            |s: &Sight| s.namespace == bulk.namespace && s.name == bulk.name && s.uid != bulk.uid;
        let last = sights.rfind(|s| s.resource == "bulkupdates" && has_its_name(s));
        last.is_some_and(|s| s.revision > gone.revision && !s.deleted)
    };
    let is_there = |e: &Exchange| !gone.deleted || gone.at > e.sent.at || succeeded(e);
    let mut idle_since = Some(known.at);
    let mut was_idle = false;
    for e in own().filter(|e| takes_a_slot(e) || e.is_flag_read()) {
        was_idle |= idle_since.is_some_and(|since| e.sent.at.duration_since(since) > LAST_RECORD);
        let of_it = e.is_record()
            && e.verb == "update"
            && e.body.pointer("/metadata/uid").is_some_and(|uid| uid == bulk.uid);
        if was_idle && of_it && is_there(e) {
            // What a list does not have, or what was suspended, may begin again.
            let mut lists = own().filter(|list| list.resource == "bulkupdates" && list.verb == "list");
            let pauses = case.facts.lives.get(life).map(|life| &life.pauses);
            let suspended = pauses.is_some_and(|pauses| pauses.iter().any(|[_, end]| *end > known));
            return (!suspended && !lists.any(|list| list.sent < e.sent)).then_some(e);
        }
        idle_since = idle_since.zip(e.ended_at()).map(|(since, ended)| since.max(ended.at));
    }
    None
}

/// When a process was shown for the first time that it goes.
fn first_known(case: &Case<'_>, bulk: &Bulk<'_>, going: &Version, life: usize) -> Option<Moment> {
    let mut sights = case.facts.sights.iter().filter(|s| s.life == life && s.uid == bulk.uid).peekable();
    let first = sights.peek().map(|sight| sight.when);
    let by_watch = sights.find(|s| s.deleted || s.revision >= going.revision);
    let by_answer = case.about("bulkupdates", bulk.namespace, bulk.name).iter().filter(|e| {
        let shows = |e: &Exchange| match e.answer() {
            Some(answer) if answer.code == 404 => answer.names_object,
            Some(answer) => answer.object.as_ref().is_some_and(|(uid, revision)| {
                e.verb == "get" && e.succeeded() && (uid != bulk.uid || *revision >= going.revision)
            }),
            None => false,
        };
        // Before it was created, or was heard of, there may have been none, or another one.
        let heard_of = first.is_some_and(|first| e.sent >= first);
        e.life == life && e.sent.at >= bulk.first().version.at && heard_of && shows(e)
    });
    let by_answer = by_answer.filter_map(|e| e.ended_at()).min();
    by_watch.map(|sight| sight.when).into_iter().chain(by_answer).min()
}

fn received_afterwards(case: &Case<'_>, bulk: &Bulk<'_>, going: &Version, violations: &mut Violations) {
    let seen = going.at + case.facts.tolerances.operator;
    for r in case.requests().filter(|r| r.is_target_write()) {
        let sent = case.sent_at(r).unwrap_or(Timestamp::MIN);
        if sent > seen && case.is_for(bulk, r) {
            let (verb, name, at) = (&r.verb, &r.name, r.received);
            violations.say("10", format!("{verb} of {name} at {at}, after its deletion at {seen}"));
        }
    }
}
