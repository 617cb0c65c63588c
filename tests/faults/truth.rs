//! Checks that a status reports exactly what happened.

use ai_api_operator::api::{BulkUpdateStatus, ItemResult, ItemStatus, Kind, Reason, TargetStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use support::audit::Request;

use crate::{
    fault::{Call, Change, Fault, Place},
    history::{Bulk, Version},
    judge::{Case, may, outcome},
};

/// All untrue statements in any status of this BulkUpdate.
pub fn of(case: &Case<'_>, bulk: &Bulk) -> Vec<String> {
    let mut violations = Vec::new();
    for (revision, _, version) in &bulk.versions {
        let status = version.status.clone().unwrap_or_default();
        for kind in Kind::ALL {
            for item in status.items(kind) {
                if !claim_is_true(case, bulk, kind, item, *revision) {
                    violations.push(format!("at {revision} it says of {}: {}", item.id, outcome(Some(item))));
                }
            }
        }
    }
    let (revision, status) = bulk.last();
    // What somebody has written into it at the very end stays.
    if bulk.end().is_some() && case.is_forged(bulk, &status) {
        return violations;
    }
    violations.extend(shape(bulk, &status));
    // What was in flight when it was deleted is reported as well, if a finalizer keeps it.
    let lingers =
        case.versions.iter().rfind(|v| v.uid == bulk.uid).is_some_and(|v| !v.deleted && v.terminating());
    if status.completion_time.is_some() || (lingers && status.summary.is_some() && !case.plan.crashes()) {
        for kind in Kind::ALL {
            for item in status.items(kind) {
                if let Some(problem) = unreported(case, bulk, kind, item, revision) {
                    violations.push(problem);
                }
            }
        }
    }
    violations
}

/// Every item once, in order, and counts that add up.
fn shape(bulk: &Bulk, status: &BulkUpdateStatus) -> Vec<String> {
    let mut violations = Vec::new();
    let Some(summary) = status.summary else {
        let empty = Kind::ALL.into_iter().all(|kind| status.items(kind).is_empty());
        return if empty { violations } else { vec!["items, and no summary".into()] };
    };
    if !bulk.has_its_items(status) {
        violations.push(format!("asked for {:?}; status: {status:?}", bulk.versions[0].2.spec));
    }
    let s = summary;
    if s.planned + s.eligible + s.scheduled + s.settled + s.refused + s.failed != s.total {
        violations.push(format!("{summary:?} does not add up"));
    }
    if status.completion_time.is_some() != (s.planned + s.scheduled == 0) {
        violations.push("the final reason does not match the items".into());
    }
    violations
}

impl Case<'_> {
    fn of_name<'a>(&'a self, kind: Kind, id: &'a str) -> impl Iterator<Item = &'a Version> {
        self.versions.iter().filter(move |v| v.plural == kind.plural() && v.name == id)
    }

    /// The versions under a name from the creation of the BulkUpdate to a revision.
    fn versions_between<'a>(
        &'a self,
        kind: Kind,
        id: &'a str,
        from: u64,
        to: u64,
    ) -> Vec<Option<&'a Version>> {
        let mut before = None;
        let mut present = Vec::new();
        for version in self.of_name(kind, id).filter(|v| v.revision < to) {
            let now = (!version.deleted).then_some(version);
            if version.revision <= from {
                before = now;
            } else {
                present.push(now);
            }
        }
        present.insert(0, before);
        present
    }

    /// The revision from which on it names this BulkUpdate as the one that stopped it.
    fn stopped_by(&self, bulk: &Bulk, uid: &str, until: u64) -> Option<u64> {
        let mut versions = self.versions.iter().filter(|v| v.uid == uid && v.revision < until);
        versions.find(|v| v.stopped_by() == bulk.uid).map(|v| v.revision)
    }

    /// Whether the operator's DELETE of this object was accepted. The audit log has the answer, unless the client had
    /// died by then.
    fn deleted_by_operator(&self, uid: &str) -> bool {
        let precondition = |r: &support::audit::Request| {
            r.body.pointer("/preconditions/uid").and_then(|u| u.as_str()) == Some(uid)
        };
        self.requests.iter().any(|r| r.verb == "delete" && r.succeeded() && precondition(r))
    }
}

/// Whether the outcome of an item was true when it was reported.
///
/// A planned or eligible item may be based on what a watch showed long ago; see [`crate::basis`] for how long. What
/// somebody else has written there has to be true since the BulkUpdate was created.
pub fn claim_is_true(case: &Case<'_>, bulk: &Bulk, kind: Kind, item: &ItemStatus, said: u64) -> bool {
    let stop = item.target_status == TargetStatus::Stopped;
    let uid = item.uid.as_deref().unwrap_or_default();
    let mut of_uid = case.versions.iter().filter(|v| v.uid == uid && v.revision < said);
    match item.result {
        ItemResult::Planned | ItemResult::Eligible => {
            let bases = case.bases.of(&bulk.uid, uid);
            let since: Vec<_> = case
                .versions_between(kind, &item.id, bulk.versions[0].0, said)
                .into_iter()
                .flatten()
                .collect();
            of_uid.filter(|v| may(v, item.target_status)).any(|v| {
                let existed = || since.iter().any(|s| s.uid == v.uid && s.revision == v.revision);
                bases.iter().any(|basis| basis.has(v.revision)) || (bases.is_empty() && existed())
            })
        }
        ItemResult::Scheduled if stop => case.stopped_by(bulk, uid, said).is_some(),
        ItemResult::Scheduled => of_uid.any(|v| v.terminating() || v.deleted),
        ItemResult::Settled if stop => {
            // Its state before it was stopped settles nothing.
            let ended = |v: &Version| v.deleted || ["STOPPED", "COMPLETED", "DEAD"].contains(&v.state());
            let stop = case.stopped_by(bulk, uid, said);
            stop.is_some_and(|stop| of_uid.any(|v| v.revision >= stop && ended(v)))
        }
        ItemResult::Settled => of_uid.any(|v| v.deleted),
        ItemResult::Refused | ItemResult::Failed => reason_is_true(case, bulk, kind, item, said),
    }
}

fn reason_is_true(case: &Case<'_>, bulk: &Bulk, kind: Kind, item: &ItemStatus, said: u64) -> bool {
    let from = bulk.versions[0].0;
    let present = case.versions_between(kind, &item.id, from, said);
    let some = |what: &dyn Fn(&Version) -> bool| present.iter().flatten().any(|v| what(v));
    let uid = item.uid.as_deref();
    let spec = &bulk.versions[0].2.spec;
    let asked = spec.items(kind).iter().find(|asked| *asked.id == *item.id);
    let meant = asked.and_then(|asked| asked.uid.as_deref()).or(uid);
    let injections = || case.plan.injections.iter();
    let Some(reason) = item.reason else { return false };
    let Some(version) = case.versions.iter().find(|v| v.uid == bulk.uid && v.revision == said) else {
        return false;
    };
    let start = version.bulk().status.and_then(|status| status.start_time);
    let active = spec.active_deadline_seconds.zip(start);
    let active = active.map(|(seconds, start)| start.0 + SignedDuration::from_secs(seconds.into()));
    let in_time = |end: Option<Timestamp>| end.is_some_and(|end| version.seen >= end);
    if about_the_object(reason) && !was_read(case, bulk, kind, &item.id, version.seen) {
        return false;
    }
    match reason {
        Reason::NotFound | Reason::Gone => present.iter().any(Option::is_none),
        Reason::Replaced => some(&|v| meant.is_some_and(|uid| uid != v.uid)),
        // With the same second it may be in doubt, if a fault has affected the operator or its watches.
        Reason::CreatedLater => some(&|v| {
            let in_doubt = injections().next().is_some() || case.plan.view.is_some();
            v.created() >= &*bulk.created && (in_doubt || !case.is_older(v, bulk))
        }),
        Reason::Terminating => some(&Version::terminating),
        Reason::StopPending => some(&|v| v.stop_pending()),
        Reason::WrongState => some(&|v| !may(v, item.target_status)),
        Reason::BulkUpdatesDisabled => case.plan.switches_off_for(kind) && case.cancelled.is_some(),
        // It was read last, or that was not possible.
        Reason::NotSettledInTime => {
            in_time(active)
                && (was_read(case, bulk, kind, &item.id, version.seen) || injections().next().is_some())
        }
        Reason::DeadlineExceeded => in_time(active) || in_time(spec.not_after.as_ref().map(|time| time.0)),
        Reason::OutcomeUnknown => {
            let disabled = case.plan.switches_off_for(kind) && case.cancelled.is_some();
            let over = disabled || in_time(active) || in_time(spec.not_after.as_ref().map(|time| time.0));
            // Somebody may have removed the record of the plan.
            let forged = case.plan.changes().any(|change| change == Change::WidenStatus);
            forged
                || over
                    && injections().any(|injection| {
                        let write = match injection.place {
                            Place::Nth(call, _) => call.is_target_write() || injection.fault.ends_a_life(),
                            Place::Write(_) => true,
                            Place::InTheMiddle(_) => injection.fault.ends_a_life(),
                        };
                        let fault = injection.fault;
                        // After a restart, the operator does not know what the previous process has sent.
                        write && (fault.leaves_the_outcome_open() || fault.ends_a_life())
                    })
        }
        Reason::WriteFailed => injections().any(|injection| {
            let place = matches!(injection.place, Place::Nth(Call::Stop | Call::Delete, _));
            place && matches!(injection.fault, Fault::Answer { code: 410, .. })
        }),
        // The schema admits no unreadable object, and a single 403 is retried.
        Reason::Unreadable | Reason::Forbidden => false,
    }
}

/// Whether the reason is about the live object (or its absence), which has to be read.
fn about_the_object(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotFound
            | Reason::Gone
            | Reason::Replaced
            | Reason::CreatedLater
            | Reason::Terminating
            | Reason::StopPending
            | Reason::WrongState
    )
}

/// Whether the operator has read an object since the BulkUpdate was made.
fn was_read(case: &Case<'_>, bulk: &Bulk, kind: Kind, id: &str, until: Timestamp) -> bool {
    let created: Timestamp = bulk.created.parse().unwrap();
    let times = |r: &Request| [&r.received, &r.answered].map(|time| time.parse::<Timestamp>().unwrap());
    case.requests.iter().filter(|r| r.verb == "get" && r.resource == kind.plural() && r.name == id).any(|r| {
        let [received, answered] = times(r);
        received >= created && answered <= until && (r.succeeded() || r.code == 404)
    })
}

/// What was done by the end and is not reported.
fn unreported(case: &Case<'_>, bulk: &Bulk, kind: Kind, item: &ItemStatus, said: u64) -> Option<String> {
    let reported = matches!(item.result, ItemResult::Settled | ItemResult::Scheduled)
        || matches!(item.reason, Some(Reason::OutcomeUnknown | Reason::NotSettledInTime));
    if reported {
        return None;
    }
    // Deleting a stopped object removes the evidence of the lost answer; if a finalizer keeps it, the evidence stays.
    let deletes = case.plan.changes().any(|c| matches!(c, Change::Delete | Change::Recreate));
    let done = case.of_name(kind, &item.id).any(|v| match item.target_status {
        TargetStatus::Stopped => {
            let overtaken = deletes && case.was_deleted_by_others(&v.uid);
            v.stopped_by() == bulk.uid && v.revision < said && !overtaken
        }
        // Another BulkUpdate may have deleted it.
        TargetStatus::Deleted => case.bulk_updates().len() == 1 && case.deleted_by_operator(&v.uid),
    });
    done.then(|| format!("{} was done, and the status says {}", item.id, outcome(Some(item))))
}
