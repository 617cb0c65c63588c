//! Checks that only the leader has written, by the API server's audit log, in which each life of the operator has a
//! name.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use support::audit::Request;

use crate::{fault::Change, history::Version, judge::Case, operator::TIMING};

/// How long a request may be in transit from the fence to the API server. It is shorter than the time from the renew
/// deadline to the end of the Lease, so that no late request arrives after another replica has taken the Lease.
const IN_TRANSIT: SignedDuration = SignedDuration::from_millis(700);

/// What was written by a replica that did not lead.
pub fn of(case: &Case<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    if !case.plan.shipped {
        return violations;
    }
    let renewals: Vec<_> = case.requests.iter().filter(|r| is_renewal(r)).collect();
    if renewals.is_empty() {
        violations.push("no replica ever took the Lease".to_owned());
    }
    // For requests that the harness delays, the time of arrival says nothing about when they were sent.
    let writes = case.requests.iter().filter(|r| is_write(r) && !case.plan.is_sent_late(r));
    for write in writes.filter(|r| !was_held(case, r)) {
        if let Some(why) = why_not(case, &renewals, write) {
            violations.push(format!(
                "{} of {} by {} at {}: {why}",
                write.verb, write.name, write.agent, write.received
            ));
        }
    }
    violations
}

fn is_write(request: &Request) -> bool {
    let about_work = ["executions", "deployments", "bulkupdates", "events"].contains(&&*request.resource);
    about_work && !matches!(&*request.verb, "get" | "list" | "watch")
}

fn is_renewal(request: &Request) -> bool {
    let writes = matches!(&*request.verb, "create" | "update" | "patch");
    // A dry-run creation has no name, and its Lease does not exist.
    request.resource == "leases" && writes && request.succeeded() && !request.dry_run
}

/// Whether it was in flight when its operator was held: it had passed the fence.
fn was_held(case: &Case<'_>, request: &Request) -> bool {
    // The name of an object that is created is only in the body.
    let name = if request.verb == "create" { String::new() } else { format!("/{}", request.name) };
    let path = format!("/{}{name}", request.resource);
    case.held.iter().any(|(life, held)| *life == request.agent && held.ends_with(&path))
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn duration(time: std::time::Duration) -> SignedDuration {
    time.try_into().unwrap()
}

fn why_not(case: &Case<'_>, renewals: &[&Request], write: &Request) -> Option<String> {
    let received = time(&write.received);
    let before = renewals.iter().filter(|r| r.received < write.received);
    let Some(last) = before.clone().rfind(|r| r.agent == write.agent) else {
        return Some("it has never held the Lease".into());
    };
    let renewed = time(&last.received);
    if received > renewed + duration(TIMING.renew_deadline) + IN_TRANSIT {
        return Some(format!("its last renewal was at {renewed}"));
    }
    // When somebody takes the Lease away by hand, this is noticed at the next renewal.
    let notices = duration(TIMING.retry_period) + IN_TRANSIT;
    let others = before.filter(|r| r.agent != write.agent && time(&r.received) > renewed);
    if let Some(other) = others.into_iter().find(|r| received > time(&r.answered) + notices) {
        return Some(format!("{} has taken the Lease at {}", other.agent, other.answered));
    }
    let freed = released(case, &write.agent).filter(|released| received > *released + IN_TRANSIT);
    freed.map(|released| format!("it has released the Lease at {released}"))
}

/// When a life has released the Lease.
fn released(case: &Case<'_>, life: &str) -> Option<Timestamp> {
    if case.plan.changes().any(|change| change == Change::FreeLease) {
        return None;
    }
    let holder = |v: &Version| v.text("/spec/holderIdentity").to_owned();
    let leases: Vec<_> = case.shipped.iter().filter(|v| v.plural == "leases" && !v.deleted).collect();
    let freed = leases.windows(2).find(|pair| holder(pair[0]) == life && holder(pair[1]).is_empty());
    freed.map(|pair| pair[1].seen)
}
