//! Promise 14: one replica works at a time. No write is sent by a process that does not hold the Lease, or whose last
//! renewal is older than the renew deadline; the Lease is taken only once it is free or has not changed for its duration.

use k8s_openapi::jiff::Timestamp;

use crate::{
    Violations,
    case::Case,
    exchanges::is_change,
    facts::{Exchange, Moment, Request, Version},
    timers::drift,
};

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    if !case.facts.settings.elects {
        return;
    }
    let renewals: Vec<_> = case.requests().filter(|r| is_renewal(r)).collect();
    if renewals.is_empty() && case.requests().any(is_write) {
        violations.say("14", "no replica ever took the Lease".to_owned());
    }
    if case.knows_exchanges() {
        for write in case.sent().filter(|e| is_sent_write(e)) {
            if let Some(why) = was_not_leading(case, write) {
                violations.say("14", format!("{}: {why}", write.words()));
            }
        }
    } else {
        for write in case.requests().filter(|r| is_write(r) && !r.delayed) {
            if let Some(why) = why_not(case, &renewals, write) {
                let (verb, name, agent, at) = (&write.verb, &write.name, &write.agent, write.received);
                violations.say("14", format!("{verb} of {name} by {agent} at {at}: {why}"));
            }
        }
    }
    takeovers(case, violations);
}

fn is_about_work(resource: &str) -> bool {
    ["executions", "deployments", "bulkupdates", "events"].contains(&resource)
}

fn is_write(request: &Request) -> bool {
    is_about_work(&request.resource) && is_change(&request.verb) && !request.dry_run
}

fn is_sent_write(e: &Exchange) -> bool {
    is_about_work(&e.resource) && is_change(&e.verb) && !e.dry_run
}

fn is_renewal(request: &Request) -> bool {
    let writes = matches!(&*request.verb, "create" | "update" | "patch");
    // A dry-run creation has no name, and its Lease does not exist.
    request.resource == "leases" && writes && request.succeeded() && !request.dry_run
}

/// Why a process must not have sent this, by what it knew itself.
fn was_not_leading(case: &Case<'_>, write: &Exchange) -> Option<String> {
    let settings = &case.facts.settings;
    let tolerances = &case.facts.tolerances;
    let own = case.sent().filter(|e| e.life == write.life && e.resource == "leases" && is_change(&e.verb));
    let mut last: Option<&Exchange> = None;
    for change in own.filter(|e| !e.dry_run && e.ended_at().is_some_and(|ended| ended < write.sent)) {
        if change.succeeded() {
            let holder = change.body.pointer("/spec/holderIdentity").and_then(|h| h.as_str());
            last = holder.is_some_and(|holder| !holder.is_empty()).then_some(change);
        }
    }
    // An answer that was lost, and the Lease read after it, show the same.
    let read = || case.sent().any(|e| e.life == write.life && e.resource == "leases" && e.verb == "get");
    let Some(renewed) = last else {
        return (!read() || !holds_at(case, write)).then(|| "it does not hold the Lease".to_owned());
    };
    let pause = case.facts.lives.get(write.life).map(|life| &life.pauses);
    // What it sends once it continues has to be checked again, even if that takes no time.
    let within = |[begin, end]: &[Moment; 2]| (*begin..*end).contains(&write.sent);
    let paused = pause.is_some_and(|pauses| pauses.iter().any(within));
    if let Some(other) = another_was_seen(case, write, renewed) {
        return Some(format!("another was seen to lead: {other}"));
    }
    let age = write.sent.at.duration_since(renewed.sent.at);
    let most =
        settings.renew_deadline + drift(settings.renew_deadline) + tolerances.operator + tolerances.observer;
    (age > most && !paused).then(|| format!("its last renewal was at {}", renewed.sent.at))
}

/// Who was seen to hold the Lease since the last renewal, if that was somebody else.
fn another_was_seen<'a>(case: &Case<'a>, write: &Exchange, renewed: &Exchange) -> Option<&'a str> {
    let name = case.facts.lives.get(write.life).map(|life| &*life.name)?;
    let slack = case.facts.tolerances.operator;
    let reads = case.sent().filter(|e| {
        e.life == write.life
            && e.resource == "leases"
            && e.verb == "get"
            && e.sent > renewed.sent
            && e.ended_at().is_some_and(|ended| ended < write.sent && ended.at + slack < write.sent.at)
    });
    let seen =
        reads.filter_map(|e| e.answer()?.object.as_ref().map(|(_, revision)| *revision)).next_back()?;
    let lease = case.of_plural("leases").find(|v| v.revision == seen)?;
    let holder = lease.text("/spec/holderIdentity");
    (!holder.is_empty() && holder != name).then_some(holder)
}

/// Whether the Lease named the process when it sent this.
fn holds_at(case: &Case<'_>, write: &Exchange) -> bool {
    let name = case.facts.lives.get(write.life).map(|life| &*life.name).unwrap_or_default();
    let lease = case.of_plural("leases").rfind(|v| v.at <= write.sent.at);
    lease.is_some_and(|lease| !lease.deleted && lease.text("/spec/holderIdentity") == name)
}

/// The same by the API server's side alone.
fn why_not(case: &Case<'_>, renewals: &[&Request], write: &Request) -> Option<String> {
    let (settings, tolerances) = (&case.facts.settings, &case.facts.tolerances);
    let received = write.received;
    let before = renewals.iter().filter(|r| r.received < received);
    let Some(last) = before.clone().rfind(|r| r.life == write.life) else {
        return Some("it has never held the Lease".into());
    };
    let renewed = last.received;
    if received > renewed + settings.renew_deadline + tolerances.in_transit {
        return Some(format!("its last renewal was at {renewed}"));
    }
    // When somebody takes the Lease away by hand, this is noticed at the next renewal.
    let notices = settings.retry_period + tolerances.in_transit;
    let others = before.filter(|r| r.life != write.life && r.received > renewed);
    if let Some(other) = others.into_iter().find(|r| received > r.answered + notices) {
        return Some(format!("{} has taken the Lease at {}", other.agent, other.answered));
    }
    let freed = released(case, write).filter(|released| received > *released + tolerances.in_transit);
    freed.map(|released| format!("it has released the Lease at {released}"))
}

/// When a process has released the Lease.
fn released(case: &Case<'_>, write: &Request) -> Option<Timestamp> {
    if case.facts.others.changed_lease {
        return None;
    }
    let name = &*case.facts.lives.get(write.life?)?.name;
    let leases: Vec<_> = case.of_plural("leases").filter(|v| !v.deleted).collect();
    let holder = |v: &Version| v.text("/spec/holderIdentity").to_owned();
    let freed = leases.windows(2).find(|pair| holder(pair[0]) == name && holder(pair[1]).is_empty());
    freed.map(|pair| pair[1].at)
}

/// No replica takes the Lease from another one before its duration has passed since it last changed.
fn takeovers(case: &Case<'_>, violations: &mut Violations) {
    let (settings, tolerances) = (&case.facts.settings, &case.facts.tolerances);
    let leases: Vec<_> = case.of_plural("leases").collect();
    for pair in leases.windows(2).filter(|pair| pair[0].uid == pair[1].uid && !pair[0].deleted) {
        let [before, after] = [pair[0], pair[1]].map(|v| v.text("/spec/holderIdentity"));
        let by_replica = case.facts.lives.iter().any(|life| life.name == after);
        let from_replica = case.facts.lives.iter().any(|life| life.name == before);
        if before == after || before.is_empty() || !by_replica || !from_replica {
            continue;
        }
        let age = pair[1].at.duration_since(pair[0].at) + tolerances.observer;
        if age + drift(settings.lease_duration) < settings.lease_duration {
            violations.say("14", format!("{after} took the Lease of {before} after {age:?}"));
        }
    }
}
