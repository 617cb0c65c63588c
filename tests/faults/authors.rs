//! Checks authorization: where the admission policy is required, nothing is planned unless the policy covered it.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::{
    fault::Resource,
    guards,
    history::{Bulk, Version},
    judge::Case,
};

/// How much later than the observer the operator may see a change of the policy or its binding.
const OPERATOR_DELAY: SignedDuration = SignedDuration::from_millis(800);

/// BulkUpdates that were planned without their author being checked, and BulkUpdates that were rejected although
/// checked.
pub fn of(case: &Case<'_>, bulks: &[Bulk]) -> Vec<String> {
    let mut violations = Vec::new();
    if !case.plan.shipped {
        return violations;
    }
    for bulk in bulks {
        let covered = Resource::GUARDS.into_iter().all(|guard| covers(case, guard, bulk));
        if covered == case.plan.guard.is_some() {
            violations.push(format!("the plan is about something else: the policy covers it: {covered}"));
        }
        let planned =
            bulk.versions.iter().find(|(_, _, b)| b.status.as_ref().is_some_and(|s| s.summary.is_some()));
        if let Some((revision, ..)) = planned {
            if !covered {
                violations.push(format!("planned at {revision}, and nobody had checked who asked for it"));
            }
            if !Resource::GUARDS.into_iter().all(|guard| existed_at(case, guard, *revision)) {
                violations.push(format!("planned at {revision}, without the policy or its binding"));
            }
        }
        let (_, status) = bulk.last();
        let refused = status.condition("Ready").is_some_and(|ready| ready.reason == "NotAuthorized");
        let over = status.completion_time.is_some();
        if over && refused == covered {
            violations
                .push(format!("covered by the policy: {covered}, rejected as not authorized: {refused}"));
        }
    }
    violations
}

fn versions<'a>(case: &'a Case<'_>, guard: Resource) -> impl DoubleEndedIterator<Item = &'a Version> {
    case.shipped.iter().filter(move |v| v.plural == guard.plural())
}

/// Whether it had been in force long enough, unchanged, when the BulkUpdate was created.
fn covers(case: &Case<'_>, guard: Resource, bulk: &Bulk) -> bool {
    let made = bulk.versions[0].0;
    let mut since: Option<(Timestamp, &Version)> = None;
    for version in versions(case, guard).take_while(|v| v.revision < made) {
        since = match since {
            _ if !guards::checks(version) => None,
            Some((time, before))
                if before.uid == version.uid && generation(before) == generation(version) =>
            {
                Some((time, version))
            }
            // Generation 1: unchanged since its creation.
            _ if generation(version) == 1 => Some((version.created().parse().unwrap(), version)),
            _ => Some((version.seen, version)),
        };
    }
    let created: Timestamp = bulk.created.parse().unwrap();
    // Both times may be whole seconds.
    since.is_some_and(|(since, _)| created + SignedDuration::from_secs(1) > since + guards::SPREADS)
}

fn generation(version: &Version) -> u64 {
    version.object["metadata"]["generation"].as_u64().unwrap_or_default()
}

/// Whether it existed when a status was written, or shortly before.
fn existed_at(case: &Case<'_>, guard: Resource, revision: u64) -> bool {
    let Some(written) = case.versions.iter().find(|v| v.revision == revision) else { return false };
    let (earlier, later): (Vec<_>, Vec<_>) =
        versions(case, guard).partition(|v| v.seen < written.seen - OPERATOR_DELAY);
    let meanwhile = later.into_iter().filter(|v| v.revision < revision);
    earlier.last().copied().into_iter().chain(meanwhile).any(guards::checks)
}
