//! Promise 6: the status says what happened, no more and no less. Each result of each item, in each stored version, was
//! true when it was reported; at the end nothing is missing; and results follow each other only as docs/api.md says.

use ai_api_operator::api::{ItemResult, ItemStatus, Kind, Reason, TargetStatus};
use k8s_openapi::jiff::SignedDuration;

use crate::{
    Violations, basis,
    beside::{by_another, was_changed_by_another},
    bulk::{Bulk, Claim, Record, outcome},
    case::Case,
    exchanges::{ToTarget, is_change},
    facts::{Exchange, Life, Moment, Request, Version},
    reasons,
    versions::may,
};

/// How long what is in flight may take, and then its report, where nothing fails.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(2);
const TO_REPORT: SignedDuration = SignedDuration::from_secs(5);

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for bulk in &case.bulks {
        for claim in bulk.claims().filter(|claim| !case.is_foreign(claim.record)) {
            let (at, id) = (claim.revision(), &claim.item.id);
            if !claim_is_true(case, claim) {
                let said = claim.words();
                violations.say("6", format!("at {at} it says of {id}: {said}, which is not true"));
            }
            if !was_seen_like_this(case, claim) {
                let state = claim.item.observed_state;
                violations.say("6", format!("at {at} {id} was never in the state {state:?}"));
            }
        }
        if !case.may_be_forged(bulk) {
            transitions(bulk, violations);
        }
        complete(case, bulk, violations);
    }
}

/// Whether the outcome of an item was true when it was reported.
///
/// A planned or eligible item may be based on what a watch showed long ago; see [`basis`] for how long. What somebody
/// else has written there has to be true since the BulkUpdate was created.
pub fn claim_is_true(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let Claim { bulk, item, .. } = claim;
    let (said, uid) = (claim.revision(), claim.uid());
    let stop = item.target_status == TargetStatus::Stopped;
    let mut of_uid = case.of_uid(uid).iter().filter(|v| v.revision < said);
    match item.result {
        ItemResult::Planned | ItemResult::Eligible => {
            let bases = basis::of(case, claim);
            let present = case.present(bulk, claim.kind, &item.id, said);
            of_uid.filter(|v| may(v, item.target_status, &case.facts.settings)).any(|v| {
                let existed = || present.iter().flatten().any(|p| p.uid == v.uid && p.revision == v.revision);
                bases.iter().any(|basis| basis.has(v.revision)) || (bases.is_empty() && existed())
            })
        }
        ItemResult::Scheduled if stop => stopped_at(case, bulk, uid, said).is_some(),
        ItemResult::Scheduled => of_uid.any(|v| v.terminating() || v.deleted),
        ItemResult::Settled if stop => {
            // Its state before it was stopped settles nothing.
            let stop = stopped_at(case, bulk, uid, said);
            stop.is_some_and(|stop| of_uid.any(|v| v.revision >= stop && v.has_ended()))
        }
        ItemResult::Settled => of_uid.any(|v| v.deleted),
        ItemResult::Refused | ItemResult::Failed => reasons::is_true(case, claim),
    }
}

/// The revision from which on an object names this BulkUpdate as the one that stopped it.
fn stopped_at(case: &Case<'_>, bulk: &Bulk<'_>, uid: &str, until: u64) -> Option<u64> {
    let mut versions = case.of_uid(uid).iter().filter(|v| v.revision < until);
    versions.find(|v| v.stopped_by() == bulk.uid).map(|v| v.revision)
}

/// Whether the object had the observed state by then.
fn was_seen_like_this(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let (Some(state), said) = (claim.item.observed_state, claim.revision()) else { return true };
    let mut versions = case.of_uid(claim.uid()).iter().filter(|v| v.revision < said).peekable();
    versions.peek().is_none() || versions.any(|v| v.state() == state.word())
}

/// Each result has its reasons, and follows only from some.
fn transitions(bulk: &Bulk<'_>, violations: &mut Violations) {
    for (at, record) in bulk.records.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &bulk.records[before].status);
        for (kind, item) in
            Kind::ALL.into_iter().flat_map(|k| record.status.items(k).iter().map(move |i| (k, i)))
        {
            let earlier = before.and_then(|b| b.items(kind).iter().find(|i| i.id == item.id));
            let (dry_run, revision) = (bulk.is_dry_run(), record.version.revision);
            if earlier == Some(item) {
                continue;
            }
            if !fits(item, dry_run) {
                let said = outcome(Some(item));
                violations.say("6", format!("at {revision} {} has an impossible outcome: {said}", item.id));
            }
            if !follows(earlier, item, dry_run) {
                let (was, is) = (outcome(earlier), outcome(Some(item)));
                violations.say("6", format!("at {revision} {} goes from {was} to {is}", item.id));
            }
        }
    }
}

/// Whether a result may have this reason.
fn fits(item: &ItemStatus, dry_run: bool) -> bool {
    let delete = item.target_status == TargetStatus::Deleted;
    match (item.result, item.reason) {
        (ItemResult::Planned | ItemResult::Scheduled | ItemResult::Settled, None) => !dry_run,
        (ItemResult::Eligible, None) => dry_run,
        (ItemResult::Settled, Some(Reason::Gone)) => delete,
        (ItemResult::Refused, Some(reason)) => matches!(
            reason,
            Reason::NotFound
                | Reason::Replaced
                | Reason::CreatedLater
                | Reason::Terminating
                | Reason::Unreadable
                | Reason::StopPending
                | Reason::WrongState
        ),
        (ItemResult::Failed, Some(reason)) => match reason {
            Reason::NotFound | Reason::CreatedLater => false,
            Reason::Gone | Reason::Replaced | Reason::Terminating => !delete,
            _ => true,
        },
        _ => false,
    }
}

fn follows(before: Option<&ItemStatus>, item: &ItemStatus, dry_run: bool) -> bool {
    let Some(before) = before else {
        return matches!(item.result, ItemResult::Planned | ItemResult::Eligible | ItemResult::Refused);
    };
    match before.result {
        // An item whose plan was based on a stale cache is planned again, or refused.
        ItemResult::Planned => !dry_run,
        ItemResult::Scheduled => match item.result {
            ItemResult::Scheduled | ItemResult::Settled => true,
            ItemResult::Failed => item.reason == Some(Reason::NotSettledInTime),
            _ => false,
        },
        _ => false,
    }
}

/// Nothing that was done by the end is missing in the last status.
fn complete(case: &Case<'_>, bulk: &Bulk<'_>, violations: &mut Violations) {
    // What somebody has written into it at the very end stays.
    if case.may_be_forged(bulk) && (bulk.end().is_some() || case.knows_makers()) {
        return;
    }
    // What was in flight when it was deleted is reported as well, if a finalizer keeps it.
    let lingered = bulk.records.iter().rfind(|record| !record.version.deleted);
    let lingered = lingered.filter(|record| record.status.summary.is_some() && lingers(case, bulk, record));
    let last = lingered.unwrap_or(bulk.last());
    if last.status.completion_time.is_none() && lingered.is_none() {
        return;
    }
    for kind in Kind::ALL {
        for item in last.status.items(kind) {
            let claim = Claim { bulk, record: last, kind, item };
            let until = if lingered.is_some() { bulk.last().version.revision } else { claim.revision() };
            if is_unreported(case, claim, until) {
                let said = claim.words();
                violations.say("6", format!("{} was done, and the status says {said}", item.id));
            }
        }
    }
}

/// Whether this is the last version of one that was kept by a finalizer while it was deleted, for so long that all in flight
/// was reported, unless that failed.
fn lingers(case: &Case<'_>, bulk: &Bulk<'_>, last: &Record<'_>) -> bool {
    let going = bulk.records.iter().map(|record| record.version).find(|version| version.terminating());
    let Some(going) = going.filter(|_| last.version.terminating()) else { return false };
    let gone = bulk.last().version;
    if !gone.deleted {
        return !any_crash(case);
    }
    let meanwhile = |moment: &Moment| moment.at >= bulk.created_at() && moment.at <= gone.at;
    // One that has lost the Lease ends, too.
    let crashed = |life: &Life| {
        life.ended.iter().any(meanwhile)
            || life.pauses.iter().any(|[from, to]| meanwhile(from) || meanwhile(to))
    };
    if case.facts.lives.iter().any(crashed) {
        return false;
    }
    let late = going.at + IN_FLIGHT;
    let open = |e: &Exchange| e.outcome_unknown() || e.ended_at().is_none_or(|ended| ended.at > late);
    let reports = |e: &Exchange| e.is_record() || e.verb == "get";
    let fails = |e: &Exchange| reports(e) && e.sent.at >= going.at && !e.succeeded() && e.code() != Some(409);
    let mut of_items = case.writes_sent().filter(|write| case.is_for(bulk, *write));
    let about = case.about("bulkupdates", bulk.namespace, bulk.name);
    // Who had to repeat it may not have led any more.
    let failed = about.iter().rfind(|e| e.is_record()).is_some_and(|e| !e.succeeded());
    let mut records = about.iter();
    gone.at >= late + TO_REPORT
        && case.knows_exchanges()
        && !failed
        && !of_items.any(open)
        && !records.any(|e| fails(e) || (e.is_record() && open(e)))
}

fn any_crash(case: &Case<'_>) -> bool {
    case.facts.lives.iter().any(|life| life.killed || !life.pauses.is_empty())
}

fn is_unreported(case: &Case<'_>, claim: Claim<'_, '_>, until: u64) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let reported = matches!(item.result, ItemResult::Settled | ItemResult::Scheduled)
        || matches!(item.reason, Some(Reason::OutcomeUnknown | Reason::NotSettledInTime));
    if reported {
        return false;
    }
    if by_another(case, claim) || refused_when_repeated(case, claim) {
        return false;
    }
    case.targets_of(bulk, kind, &item.id).iter().any(|v| match item.target_status {
        TargetStatus::Stopped => v.stopped_by() == bulk.uid && v.revision < until && !lost(case, claim, v),
        // Another BulkUpdate may have deleted it. And after a crash it may look as if another object had been there before,
        // because the API server's clock was set back when it was created.
        TargetStatus::Deleted => {
            let mistaken = !case.facts.tolerances.clock.is_zero() && claim.uid() != v.uid;
            let alone = case.askers(kind.plural(), bulk.namespace, &item.id) == 1;
            alone && !mistaken && was_deleted(case, &v.uid)
        }
    })
}

/// Whether a proxy has sent a write twice and given the process the second answer, a refusal, after which the object could
/// not be read any more.
pub fn refused_when_repeated(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let about = || case.about(kind.plural(), bulk.namespace, &item.id).iter().copied();
    let maker = case.life_of(claim.said_first());
    let said = case.exchange_that_made(claim.said_first());
    about().filter(|e| e.is_target_write() && Some(e.life) == maker && !e.succeeded()).any(|refused| {
        let carried_out =
            |r: &&Request| case.exchange_of(r).is_some_and(|e| std::ptr::eq(e, refused)) && r.succeeded();
        let since = |e: &Exchange| refused.ended_at().is_some_and(|ended| e.sent > ended);
        let was_read = |e: &Exchange| {
            let in_time = said.is_none_or(|said| e.sent < said.sent);
            e.life == refused.life && e.verb == "get" && since(e) && in_time && e.has_shown()
        };
        case.requests().any(|r| carried_out(&r)) && !about().any(was_read)
    })
}

/// Whether the evidence of a lost answer is gone: the object was deleted, made unreadable, or its controller has
/// overwritten who has stopped it. If a finalizer keeps it, the evidence stays. A process also forgets an answer if another
/// one changes its record, side by side with it: then it starts again from that.
pub fn lost(case: &Case<'_>, claim: Claim<'_, '_>, stopped: &Version) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let maker = case.life_of(claim.said_first());
    let about = case.about(kind.plural(), bulk.namespace, &item.id).iter();
    let mut answers = about.filter(|e| {
        e.is_target_write() && e.asker() == Some(bulk.uid) && e.succeeded() && Some(e.life) == maker
    });
    let answered = answers.next().is_some() && !was_changed_by_another(case, claim);
    // The version with which it is gone is one of those that show the stop.
    let mut after = case.of_uid(&stopped.uid).iter().filter(|v| v.revision >= stopped.revision);
    !answered && after.any(|v| v.deleted || v.stopped_by() != stopped.stopped_by() || v.is_unreadable())
}

/// Whether the operator's DELETE of this object was accepted. The API server knows, unless the client had died by then.
fn was_deleted(case: &Case<'_>, uid: &str) -> bool {
    let precondition = |r: &Request| r.body.pointer("/preconditions/uid").is_some_and(|u| u == uid);
    case.requests().any(|r| is_change(&r.verb) && r.verb == "delete" && r.succeeded() && precondition(r))
}
