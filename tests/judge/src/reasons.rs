//! Promise 6: each refusal and each failure has its reason, by the tables of docs/api.md and docs/architecture.md; never
//! because of a deadline that has not passed, or of a flag that was not off.

use ai_api_operator::api::{ItemResult, Kind, Reason};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    beside::was_changed_by_another,
    bulk::{Bulk, Claim, Record},
    case::Case,
    created::{is_older, was_shown_to_be_older},
    exchanges::ToTarget,
    facts::{Exchange, Version},
    flag::{self, Setting},
    refusals::{about_the_object, is_a_name, was_read},
    timers::at_least,
    versions::{Verdict, verdict},
};

/// For how long a write has to be forbidden before that is final.
const FORBIDDEN_FOR: SignedDuration = SignedDuration::from_secs(10);

/// The API server's clock is known to a second: `notAfter` goes by the latest that it may be.
const CLOCK: SignedDuration = SignedDuration::from_secs(1);

/// Whether the reason was true when it was reported.
pub fn is_true(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let Claim { bulk, kind, item, .. } = claim;
    let Some(reason) = item.reason else { return false };
    if about_the_object(reason) {
        if !is_a_name(&item.id) {
            return reason == Reason::NotFound;
        }
        if !case.knows_exchanges() && !was_read(case, bulk, kind, &item.id, claim.version().at) {
            return false;
        }
        let present = case.present(bulk, kind, &item.id, claim.revision());
        return present.iter().any(|found| speaks_for(case, claim, *found));
    }
    match reason {
        Reason::BulkUpdatesDisabled => was_off(case, claim),
        Reason::NotSettledInTime => active_deadline_has_passed(case, claim),
        Reason::DeadlineExceeded => deadline_may_have_passed(case, claim),
        Reason::OutcomeUnknown => {
            let over = || was_off(case, claim) || deadline_may_have_passed(case, claim);
            let refused = || was_refused_for_good(case, bulk, kind, &item.id);
            // Somebody may have removed the record of the plan.
            case.may_be_forged(bulk) || (may_be_open(case, claim) && (over() || refused()))
        }
        Reason::WriteFailed => was_refused_for_good(case, bulk, kind, &item.id),
        Reason::Forbidden => was_forbidden(case, bulk, kind, &item.id),
        _ => false,
    }
}

/// Whether this object under the name, or none, is what the reason says.
pub fn speaks_for(case: &Case<'_>, claim: Claim<'_, '_>, found: Option<&Version>) -> bool {
    let Claim { bulk, record, item, .. } = claim;
    let Some(reason) = item.reason else { return false };
    let Some(version) = found else { return matches!(reason, Reason::NotFound | Reason::Gone) };
    let asked = claim.asked().and_then(|asked| asked.uid.as_deref());
    let was_planned = item.result == ItemResult::Failed;
    let meant = asked.or(item.uid.as_deref().filter(|_| was_planned));
    if meant.is_some_and(|uid| uid != version.uid) {
        return matches!(reason, Reason::Replaced | Reason::Gone);
    }
    if meant.is_none() && version.created() >= bulk.created {
        let later = version.created() > bulk.created || !is_older(case, version, bulk);
        let in_doubt = || {
            was_shown_to_be_older(case, bulk, record, &version.uid)
                .map_or(case.facts.others.disturbed, |shown| !shown)
        };
        if later || (reason == Reason::CreatedLater && in_doubt()) {
            return reason == Reason::CreatedLater;
        }
    }
    verdict(version, item.target_status, &case.facts.settings) == Verdict::Not(reason)
}

/// Whether the flag of its kind was off, or invalid, at some time since it was planned. The first reading is begun with the
/// plan, and may arrive before it.
fn was_off(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let Claim { bulk, kind, .. } = claim;
    let stored = bulk.plan().unwrap_or(bulk.first()).version.at;
    let sent = case.life_of(claim.revision()).and_then(|life| flag::plan_sent_by(case, bulk, life));
    let planned = sent.map_or(stored, |sent| sent.min(stored));
    flag::was(case, kind, [planned, claim.version().at], &[Setting::Off, Setting::Invalid])
}

fn deadline_may_have_passed(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    active_deadline_has_passed(case, claim) || not_after_may_have_passed(case, claim.bulk, claim.version().at)
}

/// `activeDeadlineSeconds` never passes early. It counts from the exact moment of the plan, of which the start on record has
/// only the second: the plan was made after its process was shown the BulkUpdate.
fn active_deadline_has_passed(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let Claim { bulk, record, .. } = claim;
    let seconds = bulk.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    let Some((seconds, start)) = seconds.zip(record.status.start_time.as_ref()) else { return false };
    let seconds = SignedDuration::from_secs(seconds.into());
    if record.version.at + case.facts.tolerances.clock < Case::later(start.0, seconds) {
        return false;
    }
    let plan = bulk.plan().filter(|_| !case.may_be_forged(bulk));
    let planner = plan.and_then(|plan| case.exchange_that_made(plan.version.revision));
    let shown = planner.and_then(|planner| case.first_shown(planner.life, bulk.uid));
    let said = case.exchange_that_made(record.version.revision);
    let Some((shown, said)) = shown.zip(said) else { return true };
    // Timers may be somewhat fast.
    let fast = case.facts.tolerances.operator + seconds / 1000;
    said.sent.at + case.facts.tolerances.clock + fast >= Case::later(shown.at, seconds)
}

/// `notAfter` has passed once it may have passed.
pub fn not_after_may_have_passed(case: &Case<'_>, bulk: &Bulk<'_>, at: Timestamp) -> bool {
    let not_after = bulk.spec.as_ref().and_then(|spec| spec.not_after.as_ref());
    not_after.is_some_and(|end| Case::later(at, CLOCK + case.facts.tolerances.clock) >= end.0)
}

/// The writes that were sent to a target of this BulkUpdate.
fn writes<'a>(
    case: &'a Case<'_>,
    bulk: &'a Bulk<'_>,
    kind: Kind,
    id: &str,
) -> impl Iterator<Item = &'a Exchange> {
    let about = case.about(kind.plural(), bulk.namespace, id).iter().copied();
    about.filter(|e| e.is_target_write() && e.asker().is_none_or(|uid| uid == bulk.uid))
}

/// Whether a write may have been sent whose outcome the process does not know: one without an answer, or one of an
/// earlier process; a plan whose answer it never got may be of an earlier process for all it knows.
fn may_be_open(case: &Case<'_>, claim: Claim<'_, '_>) -> bool {
    let Claim { bulk, record, kind, item } = claim;
    if !case.knows_exchanges() {
        return case.facts.others.disturbed;
    }
    let life = |record: &Record<'_>| case.life_of(record.version.revision);
    let planned_by = bulk.plan().and_then(life);
    let said_by = life(record);
    let another = match (planned_by, said_by) {
        (Some(planned), Some(said)) => planned != said,
        // It is not known who wrote which.
        _ => case.facts.lives.len() > 1,
    };
    let unanswered = || {
        let plan = bulk.plan().and_then(|plan| case.exchange_that_made(plan.version.revision));
        plan.is_some_and(Exchange::outcome_unknown)
    };
    // It starts again from what another process has changed, and has forgotten what it knew.
    let changed = || was_changed_by_another(case, claim);
    another || unanswered() || changed() || writes(case, bulk, kind, &item.id).any(Exchange::outcome_unknown)
}

/// A refusal that never changes.
fn is_final(code: u16) -> bool {
    (400..500).contains(&code) && ![401, 403, 404, 408, 409, 429].contains(&code)
}

fn was_refused_for_good(case: &Case<'_>, bulk: &Bulk<'_>, kind: Kind, id: &str) -> bool {
    if !case.knows_exchanges() {
        return case.facts.others.disturbed;
    }
    writes(case, bulk, kind, id).any(|e| e.code().is_some_and(is_final))
        || was_forbidden(case, bulk, kind, id)
}

/// Whether nothing but 403 was answered for ten seconds.
fn was_forbidden(case: &Case<'_>, bulk: &Bulk<'_>, kind: Kind, id: &str) -> bool {
    let mut since: Option<(usize, Timestamp)> = None;
    // A deletion does not say for whom it is: what succeeded may have been for another one.
    let is_alone = case.askers(kind.plural(), bulk.namespace, id) <= 1;
    for write in writes(case, bulk, kind, id) {
        let Some(ended) = write.ended_at() else { continue };
        since = match since {
            _ if write.code() != Some(403) && is_alone => None,
            _ if write.code() != Some(403) => since,
            Some((life, began)) if life == write.life => {
                if ended.at.duration_since(began) >= at_least(FORBIDDEN_FOR) {
                    return true;
                }
                Some((life, began))
            }
            _ => Some((write.life, ended.at)),
        };
    }
    false
}
