//! `work`: what runs for an Execution or Deployment is created once, stopped entirely, and never taken from others. Each write to
//! it is guarded and is to an object of that Execution or Deployment; one is adopted only by its uid, and only if nobody owns it.
//! A state is never UNKNOWN again, and what has ended stays so.

use std::collections::HashMap;

use ai_api_operator::api::Kind;
use serde_json::{Value, json};

use crate::{
    Violations,
    authors::{Made, is_covered_by, seemed_to_be_covered},
    case::Case,
    exchanges::{ToTarget, is_change},
    facts::{Exchange, Request, Version, Whole},
    flag,
    pods::{self, controller},
    timers::at_least,
    versions::kind_of,
};

/// The policy for what runs and its binding.
const GUARDS: [&str; 2] = ["work-validatingadmissionpolicies", "work-validatingadmissionpolicybindings"];

/// The states that are final; what serves can recover from DEAD.
const FINAL: [&str; 3] = ["STOPPED", "COMPLETED", "DEAD"];

/// What is stopped of a kind of object: all that the request may change.
const STOPS: [(&str, &str, &str); 2] =
    [("jobs", "", r#"{"suspend":true}"#), ("deployments.apps", "scale", r#"{"replicas":0}"#)];

/// By the uid of the Execution, what its process has sent to create what it runs.
type Created<'a> = HashMap<&'a str, Option<&'a Exchange>>;

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    if !case.targets().any(Version::runs_something) {
        return;
    }
    let mut created = HashMap::new();
    for r in case.requests().filter(|r| is_work(&r.resource) && is_change(&r.verb)) {
        if let Some(wrong) = wrong_with(case, r, &mut created) {
            let Request { verb, resource, namespace, name, received, .. } = r;
            let what = format!("{verb} of {resource} {namespace}/{name} at {received}: {wrong}");
            violations.say("work", what);
        }
    }
    for r in case.requests().filter(|r| r.is_work_record()) {
        let kind = r.resource.trim_start_matches("work-");
        let guarded =
            case.of_name(kind, &r.namespace, &r.name).iter().find(|v| Some(v.revision) == r.guard_number());
        if r.guard_number().is_none() || guarded.is_some_and(|v| !v.runs_something()) {
            violations.say("work", format!("the state of {} is not its to tell: {}", r.name, r.body));
        }
    }
    waits(case, violations);
    states(case, violations);
    pods::judge(case, violations);
}

pub fn is_work(resource: &str) -> bool {
    matches!(resource, "jobs" | "deployments.apps")
}

/// What is wrong with a write to what runs.
fn wrong_with<'a>(case: &Case<'a>, r: &'a Request, created: &mut Created<'a>) -> Option<String> {
    if r.verb == "create" {
        return creation(case, r, created);
    }
    let text = |pointer: &str| r.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (uid, version) = (text("/metadata/uid"), text("/metadata/resourceVersion"));
    if uid.is_empty() || version.is_empty() {
        return Some("without a guard".into());
    }
    let adopts = r.verb == "patch" && r.body.pointer("/metadata/ownerReferences").is_some();
    let label = text("/metadata/labels/aiapi.dev~1owner-uid");
    if r.verb == "patch" && !label.is_empty() && !adopts {
        let metadata =
            json!({"uid": uid, "resourceVersion": version, "labels": {"aiapi.dev/owner-uid": label}});
        if *r.body != json!({"metadata": metadata}) {
            return Some(format!("it puts more than its label back: {}", r.body));
        }
    } else if r.verb == "patch" && !adopts {
        let spec = r.body.get("spec").map(ToString::to_string).unwrap_or_default();
        if !STOPS.contains(&(&*r.resource, &*r.subresource, &*spec)) {
            return Some(format!("it is no stop: {}", r.body));
        }
        let kind = if r.resource == "jobs" { Kind::Execution } else { Kind::Deployment };
        let why = case.exchange_of(r).and_then(|exchange| flag::not_allowed(case, exchange, kind));
        if why.is_some() {
            return why;
        }
    }
    let revision = r.revision.filter(|_| r.succeeded())?;
    let before = case.of_name(&r.resource, &r.namespace, &r.name).iter().rfind(|v| v.revision < revision)?;
    if adopts {
        return adoption(case, r, before);
    }
    let Some(owner) = controller(before) else { return Some("it belongs to nobody".into()) };
    let versions = case.of_uid(owner);
    let Some(target) = versions.iter().rfind(|v| v.is_target() && v.revision < revision) else {
        return Some(format!("it belongs to {owner}"));
    };
    if !target.runs_something() {
        return Some("nothing is to run for its owner".into());
    }
    if !label.is_empty() {
        return (label != owner).then(|| format!("it is the label of {label}, not of {owner}"));
    }
    let asked = || versions.iter().any(|v| v.revision < revision && v.stop_pending());
    (r.verb == "patch" && !asked()).then(|| "nobody has requested a stop".into())
}

/// What runs is not read again before the time that the last answer has asked to wait for, whatever is reported meanwhile.
fn waits(case: &Case<'_>, violations: &mut Violations) {
    let mut last: HashMap<_, &Exchange> = HashMap::new();
    for e in case.sent().filter(|e| is_work(&e.resource) && !has_several_readers(case, e)) {
        let of = (e.life, e.target());
        // A write between two reads is another reason to read.
        let before = if e.verb == "get" { last.insert(of, e) } else { last.remove(&of) };
        let Some(before) = before.filter(|_| e.verb == "get") else { continue };
        let refused = before.answer().filter(|answer| matches!(answer.code, 429 | 500..));
        let Some(asked) = refused.and_then(Whole::asks_to_wait) else { continue };
        let Some(ended) = before.ended_at() else { continue };
        let waited = e.sent.at.duration_since(ended.at) + case.facts.tolerances.operator;
        if waited < at_least(asked) {
            violations
                .say("work", format!("{} {waited:?} after one that asked to wait {asked:?}", e.words()));
        }
    }
}

/// Whether it may have been read for more than one Execution or Deployment: those that refer to it, and each that had its name.
fn has_several_readers(case: &Case<'_>, e: &Exchange) -> bool {
    let kind = if e.resource == "jobs" { Kind::Execution } else { Kind::Deployment };
    let named = case.of_name(kind.plural(), &e.namespace, &e.name);
    let mut referring = case.targets().filter(|v| v.namespace == e.namespace);
    named.iter().any(|v| v.uid != named[0].uid)
        || referring.any(|v| v.text("/spec/workloadRef/name") == e.name)
}

fn creation<'a>(case: &Case<'a>, r: &'a Request, created: &mut Created<'a>) -> Option<String> {
    let uid = r.body.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str).unwrap_or_default();
    let revision = r.revision.filter(|_| r.succeeded())?;
    let before = case.of_uid(uid).iter().rfind(|v| v.revision < revision);
    let Some(target) = before.filter(|v| v.object.pointer("/spec/template").is_some()) else {
        return Some("without a template that asks for it".into());
    };
    if target.object.pointer("/status/workload/kind").is_none() {
        return Some("nothing says that it is to be created".into());
    }
    let sent = case.exchange_of(r);
    // A proxy may deliver a request twice, which nobody can prevent: its name is free again if the first object is gone.
    let again = |before: Option<&Exchange>| {
        !before.zip(sent).is_some_and(|(before, sent)| std::ptr::eq(before, sent))
    };
    if target.plural == "executions" && created.insert(uid, sent).is_some_and(again) {
        return Some("it was created before".into());
    }
    not_permitted(case, r, target)
}

fn adoption(case: &Case<'_>, r: &Request, before: &Version) -> Option<String> {
    let owners = before.object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    if owners.is_some_and(|owners| !owners.is_empty()) {
        return Some("it has an owner".into());
    }
    let uid = r.body.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str).unwrap_or_default();
    let target = case.of_uid(uid).iter().rfind(|v| v.revision < r.revision.unwrap_or_default())?;
    if target.text("/spec/workloadRef/uid") != before.uid {
        return Some("it is not the object that was meant".into());
    }
    not_permitted(case, r, target)
}

/// Whether nobody had checked that the author of its Execution or Deployment may run it, as far as its process could know.
fn not_permitted(case: &Case<'_>, r: &Request, target: &Version) -> Option<String> {
    let sent = case.exchange_of(r).filter(|_| case.facts.settings.require_admission_policy)?;
    // A template that was changed may have been checked since.
    let versions = case.of_uid(&target.uid);
    let made = Made::of(versions.first().filter(|_| target.generation() == 1)?);
    // What is on record was permitted when it was recorded.
    let intended = versions.iter().find(|v| v.object.pointer("/status/workload/kind").is_some());
    let recorded = intended.and_then(|intended| case.exchange_that_made(intended.revision));
    let seemed = |guard| {
        [Some(sent), recorded].into_iter().flatten().any(|e| seemed_to_be_covered(case, guard, made, e))
    };
    let covered = GUARDS.into_iter().all(|guard| is_covered_by(case, guard, made) || seemed(guard));
    (!covered).then(|| "nobody had checked whether its author may run it".into())
}

fn states(case: &Case<'_>, violations: &mut Violations) {
    for version in case.targets().filter(|v| v.runs_something() && !v.deleted) {
        let by_operator = case.maker(version.revision).is_some_and(|r| case.is_operators(r));
        let earlier = case.of_uid(&version.uid).iter().rfind(|v| v.revision < version.revision);
        let Some(earlier) = earlier.filter(|_| by_operator) else { continue };
        let (was, is) = (earlier.state(), version.state());
        let recovers = was == "DEAD" && kind_of(&version.plural) == Some(Kind::Deployment);
        if was != is && (is == "UNKNOWN" || (FINAL.contains(&was) && !recovers)) {
            violations
                .say("work", format!("at {} {} goes from {was} to {is}", version.revision, version.name));
        }
    }
}
