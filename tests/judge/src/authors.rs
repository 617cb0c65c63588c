//! Promise 15: nothing is planned unless the admission policy and its binding covered it: they had been in force,
//! unchanged, for ten seconds when it was created, and are in force when it is planned, as far as they can be watched. What
//! they covered is not rejected, if nobody changed them or the Lease said that it is accepted.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    Violations,
    bulk::Bulk,
    case::Case,
    exchanges::is_change,
    facts::{Exchange, Moment, Version},
};

/// The policy and its binding.
pub const GUARDS: [&str; 2] = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];

/// How long what is known of them counts while they cannot be watched.
const BLIND: SignedDuration = SignedDuration::from_secs(30);

/// The annotations of the Lease: which policy and binding the operator has on record, and under which BulkUpdates are accepted.
const RECORD: &str = "/metadata/annotations/aiapi.dev~1admission-record";
pub const ACCEPTED: &str = "/metadata/annotations/aiapi.dev~1admission-accepted";

/// How long both have to be in force before a BulkUpdate is created; timestamps have whole seconds.
const SPREADS: SignedDuration = SignedDuration::from_secs(10);

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    if !case.facts.settings.require_admission_policy {
        return;
    }
    for bulk in &case.bulks {
        let covered = is_covered(case, bulk);
        // What somebody else wrote into its status is no plan.
        let planned = bulk.plan().filter(|plan| !case.is_foreign(plan));
        if let Some(plan) = planned {
            let at = plan.version.revision;
            // What its watches have not shown it, it cannot know.
            if !covered && !GUARDS.into_iter().all(|guard| seemed_to_cover(case, guard, bulk, plan.version)) {
                violations.say("15", format!("planned at {at}, and nobody had checked who asked for it"));
            }
            if !GUARDS.into_iter().all(|guard| existed(case, guard, plan.version)) {
                violations.say("15", format!("planned at {at}, without the policy or its binding"));
            }
            let record = case.exchange_that_made(at);
            if record.is_some_and(|record| GUARDS.into_iter().any(|guard| is_unwatched(case, guard, record)))
            {
                violations.say("15", format!("planned at {at}, and the policy could not be watched"));
            }
        }
        let status = &bulk.last().status;
        let refused = status.condition("Ready").is_some_and(|ready| ready.reason == "NotAuthorized");
        if status.completion_time.is_none() || !refused {
            continue;
        }
        if covered && !case.facts.others.changed_policy {
            violations.say("15", format!("{} was rejected, and the policy covered it", bulk.name));
        }
        if covered && was_accepted(case, bulk) {
            let what = format!("{} was rejected, and the Lease had said that it is accepted", bulk.name);
            violations.say("15", what);
        }
    }
}

/// Whether the Lease named policy and binding as those under which it is accepted when it was created, and neither of them has
/// changed, nor has the record of them been lost, before it was rejected.
fn was_accepted(case: &Case<'_>, bulk: &Bulk<'_>) -> bool {
    let others = &case.facts.others;
    let Some(end) = bulk.end().filter(|_| !others.blind && case.facts.tolerances.clock.is_zero()) else {
        return false;
    };
    let (made, rejected) = (bulk.first().version.revision, end.version.revision);
    let meanwhile = |plural| {
        let mut all: Vec<_> = case.of_plural(plural).filter(|v| v.revision < rejected).collect();
        let first = all.iter().rposition(|v| v.revision < made);
        all.drain(..first.unwrap_or(all.len()));
        all
    };
    let leases = meanwhile("leases");
    // Once it is deleted, it says nothing.
    let said = leases.first().filter(|lease| !lease.deleted);
    let Some(accepted) = said.map(|lease| lease.text(ACCEPTED)) else { return false };
    GUARDS.into_iter().all(|guard| {
        let versions = meanwhile(guard);
        let Some(uid) = versions.first().map(|v| &*v.uid) else { return false };
        let is_named = |v: &&Version| {
            !v.deleted && accepted.split(' ').any(|pair| pair == format!("{}/{}", v.uid, v.generation()))
        };
        let has_lost_it = |pair: &[&Version]| {
            let has = |lease: &Version| !lease.deleted && lease.text(RECORD).contains(uid);
            has(pair[0]) && !has(pair[1]) && !was_lost_by_itself(case, pair[1])
        };
        let was_recorded = leases.first().is_some_and(|lease| lease.text(RECORD).contains(uid));
        versions.iter().all(is_named) && was_recorded && !leases.windows(2).any(has_lost_it)
    })
}

/// Whether the operator itself has taken its record out of the Lease, although the API server had room for it.
fn was_lost_by_itself(case: &Case<'_>, lease: &Version) -> bool {
    let by_operator = case.maker(lease.revision).is_some_and(|r| case.is_operators(r));
    let is_refusal = |e: &Exchange| e.code().is_some_and(|code| (400..500).contains(&code) && code != 409);
    let changes = || case.sent().filter(|e| e.resource == "leases" && is_change(&e.verb) && !e.dry_run);
    by_operator && !changes().any(is_refusal)
}

/// Whether all attempts to list or watch it had failed for too long when a status was sent.
fn is_unwatched(case: &Case<'_>, guard: &str, record: &Exchange) -> bool {
    let streams = case.sent().filter(|e| {
        e.life == record.life
            && e.resource == guard
            && matches!(&*e.verb, "list" | "watch")
            && e.ended_at().is_some_and(|ended| ended < record.sent)
    });
    let since_success = streams.rev().take_while(|e| !e.succeeded());
    let fails_since = since_success.last().and_then(Exchange::ended_at);
    let most = BLIND + case.facts.tolerances.operator;
    fails_since.is_some_and(|since| record.sent.at.duration_since(since.at) > most)
}

/// Whether policy and binding covered this BulkUpdate when it was created.
pub fn is_covered(case: &Case<'_>, bulk: &Bulk<'_>) -> bool {
    GUARDS.into_iter().all(|guard| is_covered_by(case, guard, Made::of_bulk(bulk)))
}

/// Whether it checks at least what the shipped one checks: the first version is the shipped one, or as good.
fn checks(case: &Case<'_>, guard: &str, version: &Version) -> bool {
    let shipped = case.of_plural(guard).find(|v| v.name == version.name);
    // Mostly they are the same; only otherwise it is worth a copy.
    let same = shipped.is_some_and(|shipped| {
        shipped.object["spec"] == version.object["spec"] || spec(shipped) == spec(version)
    });
    same && !(version.deleted || version.terminating())
}

/// The spec without what is absent or empty: the same written in another way.
fn spec(version: &Version) -> serde_json::Map<String, serde_json::Value> {
    let spec = version.object["spec"].as_object().cloned().unwrap_or_default();
    let is_empty = |value: &serde_json::Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    spec.into_iter().filter(|(_, value)| !is_empty(value)).collect()
}

/// When something was created.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// In whole seconds.
    created: Timestamp,
    at: Timestamp,
    revision: u64,
}

impl Made {
    /// By its first version.
    pub fn of(first: &Version) -> Self {
        let created = first.created().parse().unwrap_or(first.at);
        Self { created, at: first.at, revision: first.revision }
    }

    fn of_bulk(bulk: &Bulk<'_>) -> Self {
        let first = bulk.first().version;
        Self { created: bulk.created_at(), ..Self::of(first) }
    }
}

/// Whether it had been in force long enough, unchanged, when this was created.
pub fn is_covered_by(case: &Case<'_>, guard: &str, made: Made) -> bool {
    covers_by(case, made, case.of_plural(guard).take_while(|v| v.revision < made.revision))
}

/// The same, as far as the process that planned it had been shown the versions, now or shortly before. False if that is not
/// known.
fn seemed_to_cover(case: &Case<'_>, guard: &str, bulk: &Bulk<'_>, plan: &Version) -> bool {
    let record = case.exchange_that_made(plan.revision);
    record.is_some_and(|record| seemed_to_be_covered(case, guard, Made::of_bulk(bulk), record))
}

/// The same of anything that was created, and of what was sent for it.
pub fn seemed_to_be_covered(case: &Case<'_>, guard: &str, made: Made, record: &Exchange) -> bool {
    let sent = record.sent.at;
    [sent - case.facts.tolerances.operator, sent].into_iter().any(|until| {
        let shown = |v: &&Version| {
            case.facts.sights.iter().any(|s| {
                s.life == record.life && s.uid == v.uid && s.revision == v.revision && s.when.at <= until
            })
        };
        covers_by(case, made, case.of_plural(guard).filter(shown))
    })
}

fn covers_by<'a>(case: &Case<'a>, made: Made, versions: impl Iterator<Item = &'a Version>) -> bool {
    // Both times may be whole seconds.
    let [created, made] = [made.created, made.at].map(|at| at + SignedDuration::from_secs(1));
    // Since when, and whether that is before the BulkUpdate, by the clock that it was taken from.
    let mut since: Option<(bool, &Version)> = None;
    for version in versions {
        since = match since {
            _ if !checks(case, &version.plural, version) => None,
            Some((covers, before))
                if before.uid == version.uid && before.generation() == version.generation() =>
            {
                Some((covers, version))
            }
            // Generation 1: unchanged since its creation.
            _ if version.generation() == 1 => {
                let since = version.created().parse::<Timestamp>().ok();
                since.map(|since| (created > since + SPREADS, version))
            }
            // The API server's clock may have been set since.
            _ => Some((created.max(made) + case.facts.tolerances.clock > version.at + SPREADS, version)),
        };
    }
    since.is_some_and(|(covers, _)| covers)
}

/// Whether it existed when a status was written, or shortly before; if that is known, as the process was shown it.
fn existed(case: &Case<'_>, guard: &str, written: &Version) -> bool {
    let tolerances = &case.facts.tolerances;
    let record = case.exchange_that_made(written.revision);
    if let Some(record) = record.filter(|_| !case.facts.sights.is_empty()) {
        // What was shown in the moment in which it was suspended need not have been noticed when it goes on.
        let resumed = case.facts.lives[record.life].pauses.iter().find(|[_, to]| to.at == record.sent.at);
        let sent = resumed.map_or(record.sent.at, |[from, _]| from.at);
        return just_before(case, record, sent)
            .into_iter()
            .any(|until| was_shown(case, guard, record, until));
    }
    let since = written.at - tolerances.operator;
    let (earlier, later): (Vec<_>, Vec<_>) = case.of_plural(guard).partition(|v| v.at < since);
    let meanwhile = later.into_iter().filter(|v| v.revision < written.revision);
    earlier.last().copied().into_iter().chain(meanwhile).any(|version| checks(case, guard, version))
}

/// When a process may have decided what it has sent: what it was shown in that time need not have been noticed. One that has just
/// begun knows nothing older than its lists.
pub fn just_before(case: &Case<'_>, sent: &Exchange, since: Timestamp) -> Vec<Timestamp> {
    let [from, to] = [since - case.facts.tolerances.operator, sent.sent.at];
    let lists = case.sent().filter(|e| {
        e.life == sent.life && e.verb == "list" && GUARDS.contains(&&*e.resource) && e.succeeded()
    });
    let ends = lists.filter_map(|e| Some(e.ended_at()?.at)).filter(|end| (from..to).contains(end));
    ends.chain([from, to]).collect()
}

/// Whether the newest that a process had been shown of it checks authors.
fn was_shown(case: &Case<'_>, guard: &str, record: &Exchange, until: Timestamp) -> bool {
    newest_shown(case, guard, record, until).is_some_and(|version| checks(case, guard, version))
}

/// The newest that a process had been shown of it when it sent something, by its last list or the watch after that.
pub fn newest_shown<'a>(
    case: &Case<'a>,
    guard: &str,
    sent: &Exchange,
    until: Timestamp,
) -> Option<&'a Version> {
    let before = |moment: Moment| moment < sent.sent && moment.at <= until;
    let mut listed = case
        .sent()
        .filter(|e| e.life == sent.life && e.resource == guard && e.verb == "list" && e.succeeded());
    let last = listed.rfind(|e| e.ended_at().is_some_and(before))?;
    let mut sights = case
        .facts
        .sights
        .iter()
        .filter(|s| s.life == sent.life && s.resource == guard && s.when > last.sent && before(s.when));
    let newest = sights.next_back().filter(|sight| !sight.deleted)?;
    case.version_at(&newest.uid, newest.revision)
}

/// Whether a version checks authors, and had been in force, unchanged, for ten seconds at this time.
pub fn is_in_force(case: &Case<'_>, guard: &str, version: &Version, at: Timestamp) -> bool {
    let same = |v: &&&Version| v.generation() == version.generation();
    let since = case.of_uid(&version.uid).iter().find(same).map_or(version.at, |first| first.at);
    // Who observes may have come later.
    let created = version.created().parse().ok().filter(|_| version.generation() == 1);
    let since = created.map_or(since, |created| since.min(created));
    checks(case, guard, version) && at >= since + SPREADS
}
