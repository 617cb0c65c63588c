//! Promise 1: no unguarded write, and no request that the operator has no business to send. Promise 8: no finalizers, no
//! owners. Promise 6: no status is written that has not changed, and a status takes no metadata away from who manages it.
//! Promise 9: no condition is written that the schema refuses.

use ai_api_operator::api::BulkUpdateStatus;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    Violations,
    case::Case,
    exchanges::is_change,
    facts::{Request, Version},
};

/// The finalizers of others, if it is not known who has set them.
const OF_OTHERS: &str = "example.com/";

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for r in case.requests() {
        if !is_allowed(r) {
            violations.say("1", format!("it must not send {} of {}/{}", r.verb, r.resource, r.subresource));
        }
        // The deletion of a BulkUpdate after its TTL is like any other.
        if r.is_target_write() || r.verb == "delete" {
            destroys(case, r, violations);
        }
        if r.is_record() {
            if r.guard().is_none() {
                violations.say("1", format!("a status without a guard: {}", r.body));
            }
            if is_unchanged(case, r) {
                violations.say("6", format!("a status written again that had not changed: {}", r.body));
            }
            // After the end, they are acknowledged as they are.
            let conditions = r.body.pointer("/status/conditions").filter(|_| !has_ended(case, r));
            let conditions = conditions.and_then(Value::as_array).into_iter().flatten();
            for wrong in conditions.filter(|condition| !is_valid(condition)) {
                violations.say("9", format!("a condition that the schema refuses: {wrong}"));
            }
        }
    }
    // The audit log has no bodies of Leases.
    let changes = case.sent().filter(|e| e.resource == "leases" && is_change(&e.verb) && e.verb != "create");
    for change in changes.filter(|e| e.guard_number().is_none()) {
        violations.say("14", format!("a change of the Lease without a guard: {}", change.body));
    }
    finalizers(case, violations);
    managers(case, violations);
}

/// Every destructive request carries its precondition, whatever the answer, and is of a kind that the operator may send.
fn destroys(case: &Case<'_>, r: &Request, violations: &mut Violations) {
    let uid = r.body.pointer("/preconditions/uid").and_then(Value::as_str).filter(|uid| !uid.is_empty());
    // What runs goes first.
    let meant = case.of_name(&r.resource, &r.namespace, &r.name).iter();
    let runs = meant.copied().any(|v| Some(v.revision) == r.guard_number() && v.runs_something());
    let propagation = r.body.pointer("/propagationPolicy");
    let fits = if runs {
        propagation.is_some_and(|p| p == "Foreground")
    } else {
        propagation.is_none_or(|p| p == "Background")
    };
    let guarded = r.guard().is_some() && (r.verb != "delete" || (uid.is_some() && fits));
    let known = matches!((&*r.verb, &*r.subresource), ("delete", "") | ("patch", "status"));
    if !guarded || !known {
        violations.say("1", format!("unguarded: {} {}/{} {}", r.verb, r.name, r.subresource, r.body));
    }
}

/// What the operator has to send for its promises; all else is none of its business.
fn is_allowed(r: &Request) -> bool {
    let reads = matches!(&*r.verb, "get" | "list" | "watch");
    match (&*r.resource, &*r.subresource) {
        // Discovery, and what it may do.
        ("", _) | ("selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "namespaces", "") => true,
        ("executions" | "deployments" | "bulkupdates", "") => reads || r.verb == "delete",
        ("executions" | "deployments" | "work-executions" | "work-deployments", "status")
        | ("deployments.apps", "scale") => r.verb == "patch",
        // What runs is never deleted: it goes with its owner.
        ("jobs" | "deployments.apps", "") => reads || matches!(&*r.verb, "create" | "patch" | "update"),
        ("pods", "") => r.verb == "list",
        ("bulkupdates", "status") => matches!(&*r.verb, "update" | "patch"),
        ("events", "") => r.verb == "create",
        ("leases", "") => reads || matches!(&*r.verb, "create" | "update" | "patch"),
        (
            "configmaps"
            | "validatingadmissionpolicies"
            | "validatingadmissionpolicybindings"
            | "customresourcedefinitions"
            // Of an engine that is not served.
            | "jobsets"
            // The policy for what runs, and its binding.
            | "work-validatingadmissionpolicies"
            | "work-validatingadmissionpolicybindings",
            "",
        ) => reads,
        _ => false,
    }
}

/// The version of a BulkUpdate that guards a status.
fn guard_of<'a>(case: &Case<'a>, r: &Request) -> Option<&'a Version> {
    case.guarded(&r.namespace, &r.name, r.guard_number())
}

fn has_ended(case: &Case<'_>, r: &Request) -> bool {
    guard_of(case, r).is_some_and(|before| !before.text("/status/completionTime").is_empty())
}

/// Whether a status says the same as the one that it replaces.
fn is_unchanged(case: &Case<'_>, r: &Request) -> bool {
    let Some(before) = guard_of(case, r) else { return false };
    let (Some(stored), Some(Value::Object(sent))) = (before.object.get("status"), r.body.get("status"))
    else {
        return false;
    };
    if !r.succeeded() {
        return false;
    }
    if r.verb == "patch" {
        return sent.iter().all(|(field, value)| stored.get(field).unwrap_or(&Value::Null) == value);
    }
    match (BulkUpdateStatus::deserialize(stored), BulkUpdateStatus::deserialize(&r.body["status"])) {
        (Ok(stored), Ok(sent)) => stored == sent,
        _ => false,
    }
}

/// Whether the schema of conditions accepts it.
fn is_valid(condition: &Value) -> bool {
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    ["True", "False", "Unknown"].contains(&text("status"))
        && !text("reason").is_empty()
        && !text("type").is_empty()
}

/// What others manage in the metadata of a BulkUpdate stays theirs when a status is written.
fn managers(case: &Case<'_>, violations: &mut Violations) {
    let managed = |version: &Version| -> Vec<(String, Value)> {
        let entries = version.object.pointer("/metadata/managedFields").and_then(Value::as_array);
        let of_others = entries.into_iter().flatten().filter(|e| e["manager"] != "ai-api-operator");
        let fields = of_others.map(|e| (e["manager"].to_string(), e["fieldsV1"]["f:metadata"].clone()));
        fields.filter(|(_, fields)| fields.is_object()).collect()
    };
    for bulk in &case.bulks {
        for pair in bulk.records.windows(2) {
            let [before, after] = [pair[0].version, pair[1].version];
            let by_operator =
                case.maker(after.revision).is_some_and(|r| case.is_operators(r) && r.is_record());
            if by_operator && managed(before) != managed(after) {
                violations.say("6", format!("at {} others manage less of {}", after.revision, bulk.name));
            }
        }
    }
}

/// The operator sets no finalizers and no owners.
fn finalizers(case: &Case<'_>, violations: &mut Violations) {
    let of = |version: &Version, pointer: &str| {
        let list = version.object.pointer(pointer).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    for version in case.facts.versions.iter().filter(|v| v.is_target() || v.plural == "bulkupdates") {
        let all = of(version, "/metadata/finalizers");
        let owners = of(version, "/metadata/ownerReferences");
        if all.is_empty() && owners.is_empty() {
            continue;
        }
        let wrong = if case.knows_makers() {
            let is_operators = case.maker(version.revision).is_some_and(|r| case.is_operators(r));
            let before = case.of_uid(&version.uid).iter().rfind(|v| v.revision < version.revision);
            let is_new = |list: &[Value], pointer: &str| {
                let before = before.map(|before| of(before, pointer)).unwrap_or_default();
                // By a deletion that waits for what runs.
                let waits = |entry: &Value| version.terminating() && *entry == "foregroundDeletion";
                list.iter().any(|entry| !before.contains(entry) && !waits(entry))
            };
            is_operators
                && (is_new(&all, "/metadata/finalizers") || is_new(&owners, "/metadata/ownerReferences"))
        } else {
            let own = |entry: &Value| !entry.as_str().is_some_and(|entry| entry.starts_with(OF_OTHERS));
            all.iter().any(own) || !owners.is_empty()
        };
        if wrong {
            violations.say("8", format!("{} has finalizers or owners", version.name));
        }
    }
}
