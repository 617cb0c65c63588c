//! What has ended has ended: after `completionTime` nothing is written to a target, and of the status only
//! `observedGeneration` changes (promise 6, and 9: "finished"). A dry run writes nothing.

use ai_api_operator::api::{BulkUpdateStatus, Kind, Reason};
use k8s_openapi::jiff::Timestamp;

use crate::{
    Violations,
    beside::was_beside_another,
    bulk::Bulk,
    case::Case,
    facts::{Exchange, Request},
};

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for bulk in &case.bulks {
        changes(case, bulk, violations);
        stopped_afterwards(case, bulk, violations);
        if case.knows_exchanges() {
            sent_afterwards(case, bulk, violations);
        } else {
            received_afterwards(case, bulk, violations);
        }
    }
}

/// A status without the generations that it is about: after the end only these change.
fn but_for_generations(status: &BulkUpdateStatus) -> BulkUpdateStatus {
    let mut status = status.clone();
    status.observed_generation = 0;
    status.conditions.iter_mut().for_each(|c| c.observed_generation = None);
    status
}

/// The status of a finished BulkUpdate does not change, except for the generation.
fn changes(case: &Case<'_>, bulk: &Bulk<'_>, violations: &mut Violations) {
    let Some(end) = bulk.end() else { return };
    for pair in bulk.records.windows(2) {
        let [before, after] = [&pair[0], &pair[1]];
        let taken_back = before.status.completion_time.is_some() && after.status.completion_time.is_none();
        if taken_back && !case.is_foreign(after) {
            violations.say("6", format!("at {} the end was taken back", after.version.revision));
        }
    }
    if case.may_be_forged(bulk) {
        return;
    }
    let ended = but_for_generations(&end.status);
    for later in bulk.records.iter().filter(|r| r.version.revision > end.version.revision) {
        let at = later.version.revision;
        if later.status != end.status && but_for_generations(&later.status) != ended {
            violations.say("6", format!("the status changed after the end, at {at}"));
        }
        if later.status.observed_generation > later.version.generation() {
            violations.say("6", format!("at {at} a generation was observed that there was not"));
        }
    }
}

/// No target is stopped after the end, unless the status says that this may happen, or two have worked side by side.
fn stopped_afterwards(case: &Case<'_>, bulk: &Bulk<'_>, violations: &mut Violations) {
    let Some(end) = bulk.end().filter(|_| !case.may_be_forged(bulk)) else { return };
    for (kind, item) in Kind::ALL.into_iter().flat_map(|k| end.status.items(k).iter().map(move |i| (k, i))) {
        let open = [Some(Reason::OutcomeUnknown), Some(Reason::NotSettledInTime)].contains(&item.reason);
        let versions = case.targets_of(bulk, kind, &item.id);
        let first = versions.iter().find(|v| v.stopped_by() == bulk.uid);
        let Some(first) = first.filter(|first| !open && first.revision > end.version.revision) else {
            continue;
        };
        let by_another = case.life_of(first.revision) != case.life_of(end.version.revision);
        if !(by_another && was_beside_another(case, end.version.revision)) {
            violations.say("6", format!("{} was stopped after the end", item.id));
        }
    }
}

fn says_the_end(e: &Exchange) -> bool {
    e.is_record() && e.body.pointer("/status/completionTime").is_some_and(|time| !time.is_null())
}

/// What was sent for it by the process that knew of its end, or by one that started after that.
fn sent_afterwards(case: &Case<'_>, bulk: &Bulk<'_>, violations: &mut Violations) {
    let Some(end) = bulk.end() else { return };
    let ends = |e: &&&Exchange| {
        let of_this = e.body.pointer("/metadata/uid").is_none_or(|uid| uid == bulk.uid);
        let guarded = bulk.records.iter().any(|r| Some(r.version.revision) == e.guard_number());
        says_the_end(e) && of_this && guarded && e.succeeded()
    };
    let own = case.about("bulkupdates", bulk.namespace, bulk.name).iter().find(ends);
    for write in case.writes_sent() {
        if !case.is_for(bulk, write) {
            continue;
        }
        let known = own.filter(|own| own.life == write.life).and_then(|own| own.ended_at());
        let knew = known.is_some_and(|ended| ended < write.sent);
        let life = &case.facts.lives[write.life];
        if knew || life.started.at > end.version.at {
            violations.say("6", format!("{}: {} had finished", write.words(), bulk.name));
        }
        if bulk.is_dry_run() {
            violations.say("6", format!("{}: {} is a dry run", write.words(), bulk.name));
        }
    }
}

/// The same if only the API server's side is known.
fn received_afterwards(case: &Case<'_>, bulk: &Bulk<'_>, violations: &mut Violations) {
    let ends = |r: &&Request| {
        // Another object may have the name.
        let guarded = bulk.records.iter().any(|record| Some(record.version.revision) == r.guard_number());
        let over = r.body.pointer("/status/completionTime").is_some_and(|time| !time.is_null());
        r.is_record() && r.name == bulk.name && guarded && over && r.succeeded()
    };
    let Some(end) = case.requests().find(ends).map(|r| r.answered) else { return };
    let sent = |r: &Request| case.sent_at(r).unwrap_or(Timestamp::MIN);
    for r in case.requests().filter(|r| r.is_target_write() && sent(r) > end) {
        if case.is_for(bulk, r) {
            let (verb, name, at) = (&r.verb, &r.name, r.received);
            violations.say("6", format!("{verb} of {name} at {at}, after the end at {end}"));
        }
    }
}
