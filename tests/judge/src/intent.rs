//! Promise 3: the plan is recorded before the first write, no object is written to twice for one BulkUpdate, and each
//! write is to an object that was eligible. Promise 7: only items of the spec are carried out, and nothing is written
//! without a BulkUpdate.

use std::collections::HashMap;

use ai_api_operator::api::TargetStatus;
use serde_json::Value;

use crate::{
    Violations,
    case::Case,
    created::is_older,
    exchanges::{ToTarget, verb_of},
    facts::Request,
    versions::{kind_of, may},
};

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    let mut hit = HashMap::new();
    for r in case.requests().filter(|r| r.is_target_write() && r.succeeded()) {
        accepted(case, r, &mut hit, violations);
    }
    deletions(case, violations);
    stops(case, violations);
}

/// Every accepted write is to an object that was eligible and had been planned in a stored status; none is made twice.
fn accepted<'a>(
    case: &Case<'a>,
    r: &'a Request,
    hit: &mut HashMap<(&'a str, &'a str), u64>,
    violations: &mut Violations,
) {
    let (Some(kind), verb) = (kind_of(&r.resource), verb_of(&r.verb)) else { return };
    let name = &r.name;
    let guard = r.guard_number().unwrap_or_default();
    let of_object = case.of_name(&r.resource, &r.namespace, name);
    let Some(before) = of_object.iter().find(|v| v.revision == guard) else {
        violations.say("1", format!("{verb:?} of {name} is based on a version that was never seen: {guard}"));
        return;
    };
    let effect = of_object.iter().map(|v| v.revision).find(|v| *v > guard);
    let effect = r.revision.or(effect).unwrap_or(u64::MAX);
    if !may(before, verb, &case.facts.settings) {
        violations.say("1", format!("{verb:?} of {name}, which was {}", before.object));
    }
    let asker = r.asker();
    let meant: Vec<_> = case
        .bulks
        .iter()
        .filter(|bulk| bulk.namespace == r.namespace && bulk.asks(kind, name, &before.uid, verb))
        .filter(|bulk| asker.is_none_or(|uid| uid == bulk.uid) && !bulk.is_dry_run())
        .filter(|bulk| {
            let by_uid = bulk.item(kind, name).is_some_and(|item| item.uid.is_some());
            by_uid || is_older(case, before, bulk)
        })
        .collect();
    if meant.is_empty() {
        violations.say("7", format!("{verb:?} of {name}; no BulkUpdate asked for it"));
    }
    if !meant.into_iter().any(|bulk| bulk.had_planned(kind, name, &before.uid, effect)) {
        violations.say("3", format!("{verb:?} of {name} before the plan was recorded"));
    }
    // If somebody has taken the stop back before its answer was known, nothing shows that there was one.
    let taken_back = |earlier: u64| {
        let mut between =
            case.of_uid(&before.uid).iter().filter(|v| (earlier + 1..=guard).contains(&v.revision));
        asker.is_some_and(|asker| between.any(|v| v.stopped_by() != asker))
    };
    let earlier = hit.insert((&before.uid, asker.unwrap_or("deleted")), effect);
    if earlier.is_some_and(|earlier| !taken_back(earlier)) {
        violations.say("3", format!("{verb:?} of {name} twice"));
    }
}

/// No object is gone unless somebody deleted it or its deletion was planned.
fn deletions(case: &Case<'_>, violations: &mut Violations) {
    for gone in case.targets().filter(|v| v.deleted && !case.was_deleted_by_others(&v.uid)) {
        let planned = case.bulks.iter().any(|bulk| {
            kind_of(&gone.plural).is_some_and(|kind| {
                bulk.namespace == gone.namespace
                    && bulk.asks(kind, &gone.name, &gone.uid, TargetStatus::Deleted)
                    && bulk.had_planned(kind, &gone.name, &gone.uid, gone.revision)
            })
        });
        if !planned {
            violations.say("3", format!("{} is gone, without a plan to delete it", gone.name));
        }
    }
}

/// No stop without its BulkUpdate, and each says who has stopped it.
fn stops(case: &Case<'_>, violations: &mut Violations) {
    for version in case.targets().filter(|v| !v.stopped_by().is_empty()) {
        let earlier = case.of_uid(&version.uid).iter().rfind(|v| v.revision < version.revision);
        if earlier.is_some_and(|v| v.stopped_by() == version.stopped_by())
            || case.is_made_by_others(version.revision)
        {
            continue;
        }
        let managers = version.object.pointer("/metadata/managedFields").and_then(Value::as_array);
        if managers.is_some_and(|m| !m.iter().any(|field| field["manager"] == "ai-api-operator")) {
            violations.say("13", format!("{} does not say who has stopped it", version.name));
        }
        let by = case.bulks.iter().find(|bulk| bulk.uid == version.stopped_by());
        let planned = kind_of(&version.plural).zip(by).is_some_and(|(kind, bulk)| {
            bulk.asks(kind, &version.name, &version.uid, TargetStatus::Stopped)
                && bulk.had_planned(kind, &version.name, &version.uid, version.revision)
        });
        if !planned {
            violations.say("3", format!("{} was stopped without a plan", version.name));
        }
    }
}
