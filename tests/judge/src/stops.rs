//! Promise 10: once the operator has seen that a BulkUpdate was deleted, or is being deleted, no write starts for it.

use k8s_openapi::jiff::Timestamp;

use crate::{
    Violations,
    bulk::Bulk,
    case::Case,
    facts::{Exchange, Moment, Version},
};

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

/// When a process was shown for the first time that it goes.
fn first_known(case: &Case<'_>, bulk: &Bulk<'_>, going: &Version, life: usize) -> Option<Moment> {
    let by_watch = case
        .facts
        .sights
        .iter()
        .find(|s| s.life == life && s.uid == bulk.uid && (s.deleted || s.revision >= going.revision));
    let by_answer = case.about("bulkupdates", bulk.namespace, bulk.name).iter().filter(|e| {
        let shows = |e: &Exchange| match e.answer() {
            Some(answer) if answer.code == 404 => answer.names_object,
            Some(answer) => answer.object.as_ref().is_some_and(|(uid, revision)| {
                e.verb == "get" && e.succeeded() && (uid != bulk.uid || *revision >= going.revision)
            }),
            None => false,
        };
        // Before it was created, there may have been none, or another one.
        e.life == life && e.sent.at >= bulk.first().version.at && shows(e)
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
