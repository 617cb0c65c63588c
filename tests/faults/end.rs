//! Checks that work ends: nothing is done after the end, after a deadline, or long after the flag was switched off.

use ai_api_operator::api::{BulkUpdateStatus, Kind, Reason, TargetStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use support::audit::Request;

use crate::{
    fault::{Change, Resource},
    history::{Bulk, Version},
    judge::{Case, kind_of, verb_of},
};

/// How late a write may arrive after cancellation: the reading of the flag may be a second old.
const EMERGENCY_STOP: SignedDuration = SignedDuration::from_millis(1500);

/// How much later than the observer the operator may see something.
const OPERATOR_DELAY: SignedDuration = SignedDuration::from_millis(800);

/// How long a request may be in transit.
const IN_TRANSIT: SignedDuration = SignedDuration::from_millis(700);

/// Everything that was done too late.
pub fn of(case: &Case<'_>, bulks: &[Bulk]) -> Vec<String> {
    let mut violations = Vec::new();
    // For a request that the harness delays, the time of arrival says nothing about when it was sent.
    if !case.plan.has_late_request() {
        violations.extend(cancelled(case));
        for bulk in bulks {
            violations.extend(written_too_late(case, bulk, bulks.len() == 1));
        }
    }
    for bulk in bulks {
        violations.extend(changes_after_end(case, bulk));
    }
    violations
}

fn received(request: &Request) -> Timestamp {
    request.received.parse().unwrap()
}

fn cancelled(case: &Case<'_>) -> Vec<String> {
    let Some(time) = case.cancelled else { return Vec::new() };
    // Only the flag is read again; the deletion of a BulkUpdate has to be seen in a watch.
    if !case.plan.switches_off() && case.plan.hides_what_happens_in_the_middle() {
        return Vec::new();
    }
    let whole = !case.plan.switches_off();
    let off = |r: &&Request| whole || case.plan.switches_off_for(kind_of(&r.resource));
    let writes = case.requests.iter().filter(|r| r.is_target_write()).filter(off);
    let late = writes.filter(|r| received(r) > time + EMERGENCY_STOP);
    late.map(|r| format!("{:?} of {} at {}, cancelled at {time}", verb_of(r), r.name, r.received)).collect()
}

/// From when on nothing may be written for a BulkUpdate, and why.
fn ends(case: &Case<'_>, bulk: &Bulk) -> Vec<(Timestamp, &'static str)> {
    let spec = &bulk.versions[0].2.spec;
    let (_, status) = bulk.last();
    let mut ends = Vec::new();
    if let (Some(seconds), Some(start)) = (spec.active_deadline_seconds, &status.start_time) {
        // The recorded start may be two seconds early: it has whole seconds, and so has the clock.
        ends.push((start.0 + SignedDuration::from_secs(i64::from(seconds) + 2), "activeDeadlineSeconds"));
    }
    if let Some(time) = &spec.not_after {
        ends.push((time.0, "notAfter"));
    }
    // Its deletion has to be seen in a watch.
    let watched = case.plan.view.is_none_or(|(_, resource)| resource != Resource::BulkUpdates);
    let goes = |v: &&Version| v.uid == bulk.uid && (v.deleted || v.terminating());
    if let Some(gone) = case.versions.iter().find(goes).filter(|_| watched) {
        ends.push((gone.seen + OPERATOR_DELAY, "its deletion"));
    }
    let sets_the_end = |r: &&Request| {
        let guard = r.guard().and_then(|guard| guard.parse().ok());
        // Another object may have the name.
        let guarded = bulk.versions.iter().any(|(revision, ..)| Some(*revision) == guard);
        let of_this = r.is_record() && guarded;
        let over = r.body.pointer("/status/completionTime").is_some_and(|time| !time.is_null());
        of_this && over && r.succeeded()
    };
    if let Some(end) = case.requests.iter().find(sets_the_end) {
        ends.push((end.answered.parse().unwrap(), "the end"));
    }
    ends
}

/// Writes to targets after a deadline or the end, whatever the answer.
fn written_too_late(case: &Case<'_>, bulk: &Bulk, alone: bool) -> Vec<String> {
    let for_it = |r: &&Request| {
        let by = r.body.pointer("/status/stopRequest/uid").and_then(|uid| uid.as_str());
        r.is_target_write() && by.map_or(alone && verb_of(r) == TargetStatus::Deleted, |uid| uid == bulk.uid)
    };
    let mut violations = Vec::new();
    for (end, what) in ends(case, bulk) {
        for r in case.requests.iter().filter(for_it).filter(|r| received(r) > end + IN_TRANSIT) {
            violations.push(format!(
                "{:?} of {} at {}, after {what} at {end}",
                verb_of(r),
                r.name,
                r.received
            ));
        }
    }
    violations
}

/// The status of a finished BulkUpdate does not change, except for the generation.
fn changes_after_end(case: &Case<'_>, bulk: &Bulk) -> Vec<String> {
    let mut violations = Vec::new();
    let Some(end) = bulk.end().filter(|_| !case.plan.changes().any(|c| c == Change::WidenStatus)) else {
        return violations;
    };
    let still = |status: &BulkUpdateStatus| {
        let mut status = status.clone();
        status.observed_generation = 0;
        status.conditions.iter_mut().for_each(|c| c.observed_generation = None);
        status
    };
    let at_end = bulk.versions.iter().find(|(r, ..)| *r == end).unwrap();
    let ended = at_end.2.status.clone().unwrap_or_default();
    for (revision, _, later) in bulk.versions.iter().filter(|(r, ..)| *r > end) {
        if still(&later.status.clone().unwrap_or_default()) != still(&ended) {
            violations.push(format!("the status changed after the end, at {revision}"));
        }
    }
    for item in Kind::ALL.into_iter().flat_map(|kind| ended.items(kind)) {
        let open = [Some(Reason::OutcomeUnknown), Some(Reason::NotSettledInTime)].contains(&item.reason);
        let mut stopped = case.versions.iter().filter(|v| *v.name == *item.id && v.stopped_by() == bulk.uid);
        if !open && stopped.next().is_some_and(|first| first.revision > end) {
            violations.push(format!("{} was stopped after the end", item.id));
        }
    }
    violations
}
