//! `work`: STOPPED means that no Pod is left, and so does the end of a deletion that the operator has requested; and once nothing
//! fails any more, nothing runs that was stopped or deleted.

use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::{
    Violations,
    case::Case,
    facts::{Exchange, Version},
    works::is_work,
};

/// The uid of the controller among the owners of an object.
pub fn controller(version: &Version) -> Option<&str> {
    let owners = version.object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}

/// The Pods of a run, by uid, with their versions.
struct Pods<'a>(Vec<Vec<&'a Version>>);

impl<'a> Pods<'a> {
    fn of(case: &Case<'a>) -> Self {
        let mut by_uid: HashMap<&str, usize> = HashMap::new();
        let mut all: Vec<Vec<&Version>> = Vec::new();
        for version in case.of_plural("pods") {
            let at = *by_uid.entry(&version.uid).or_insert_with(|| {
                all.push(Vec::new());
                all.len() - 1
            });
            all[at].push(version);
        }
        Self(all)
    }

    /// A Pod that runs for this target, as it all was at a revision.
    fn left(&self, case: &Case<'a>, target: &str, at: u64) -> Option<&'a Version> {
        let now = self.0.iter().filter_map(|versions| versions.iter().rfind(|v| v.revision <= at));
        now.copied().find(|pod| {
            let has_ended = matches!(pod.text("/status/phase"), "Succeeded" | "Failed");
            !pod.deleted && !has_ended && runner_of(case, pod, target, at).is_some()
        })
    }

    /// Whether there was a moment from a time to a revision at which no Pod was left; if not, one that was.
    fn always_left(&self, case: &Case<'a>, target: &str, from: Timestamp, to: u64) -> Option<&'a Version> {
        let versions = &case.facts.versions;
        let before = versions.iter().rfind(|v| v.at < from && v.revision < to).map_or(0, |v| v.revision);
        let since =
            versions.iter().map(|v| v.revision).filter(|revision| *revision > before && *revision < to);
        let mut left = None;
        for revision in [before].into_iter().chain(since) {
            left = Some(self.left(case, target, revision)?);
        }
        left
    }
}

/// The uid of what runs for a target and has this Pod; None if the Pod belongs to something else.
fn runner_of<'a>(case: &Case<'a>, pod: &'a Version, target: &str, at: u64) -> Option<&'a str> {
    let (mut object, mut owner) = (&*pod.uid, controller(pod)?);
    // A Pod of a Deployment has a ReplicaSet between.
    for _ in 0..3 {
        if owner == target {
            return Some(object);
        }
        let version = case.of_uid(owner).iter().rfind(|v| v.revision <= at)?;
        (object, owner) = (owner, controller(version)?);
    }
    None
}

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    let pods = Pods::of(case);
    for version in case.targets().filter(|v| v.runs_something()) {
        let Some(exchange) = case.exchange_that_made(version.revision) else {
            if version.deleted {
                gone(case, &pods, version, violations);
            }
            continue;
        };
        let earlier = case.of_uid(&version.uid).iter().rfind(|v| v.revision < version.revision);
        let newly = version.state() == "STOPPED" && earlier.is_none_or(|v| v.state() != "STOPPED");
        if !newly || version.deleted || !case.is_operator(exchange.life) {
            continue;
        }
        let from = last_look(case, exchange);
        if let Some(pod) = pods.always_left(case, &version.uid, from, version.revision) {
            let what = format!(
                "at {} {} is STOPPED, and its Pod {} is left",
                version.revision, version.name, pod.name
            );
            violations.say("work", what);
        }
    }
    at_the_end(case, &pods, violations);
}

/// When the API server was last asked about what runs before this was sent.
fn last_look(case: &Case<'_>, sent: &Exchange) -> Timestamp {
    let looks = |e: &Exchange| (is_work(&e.resource) && e.verb == "get") || e.resource == "pods";
    let before = |e: &Exchange| e.ended_at().is_some_and(|ended| ended < sent.sent);
    let mut own = case.sent().filter(|e| e.life == sent.life && e.namespace == sent.namespace);
    own.rfind(|e| looks(e) && before(e)).map_or(sent.sent.at, |look| look.sent.at)
}

/// A target whose deletion the operator has requested is gone after its Pods.
fn gone(case: &Case<'_>, pods: &Pods<'_>, version: &Version, violations: &mut Violations) {
    let going = case.of_uid(&version.uid).iter().find(|v| v.terminating());
    let by_operator = going.is_some_and(|v| case.maker(v.revision).is_some_and(|r| case.is_operators(r)));
    // Unless somebody has asked for another end since.
    let foreground = |v: &Version| {
        let finalizers = v.object.pointer("/metadata/finalizers").and_then(Value::as_array);
        finalizers.is_some_and(|all| all.iter().any(|name| name == "foregroundDeletion"))
    };
    let last = case.of_uid(&version.uid).iter().rfind(|v| !v.deleted);
    let Some(going) = going.filter(|_| by_operator && last.is_some_and(|last| foreground(last))) else {
        return;
    };
    // Whose Pods were left to end by themselves before, by somebody who deleted it.
    let was_deleted = |pod: &&Version| {
        let runner = runner_of(case, pod, &version.uid, version.revision).unwrap_or_default();
        case.of_uid(runner).iter().any(|v| v.deleted && v.revision < going.revision)
    };
    if let Some(pod) = pods.left(case, &version.uid, version.revision).filter(|pod| !was_deleted(pod)) {
        let what =
            format!("at {} {} is gone, and its Pod {} is left", version.revision, version.name, pod.name);
        violations.say("work", what);
    }
}

/// Nothing runs any more for what was stopped or deleted.
fn at_the_end(case: &Case<'_>, pods: &Pods<'_>, violations: &mut Violations) {
    let (Some(_), Some(last)) = (case.facts.quiet_since, case.facts.versions.last()) else { return };
    let mut seen = std::collections::HashSet::new();
    for target in case.targets().rev().filter(|v| v.runs_something()) {
        if !seen.insert(&target.uid) || !case.is_watched(&target.namespace) {
            continue;
        }
        let stopped = target.stop_pending() && !target.deleted;
        if stopped && !target.has_ended() {
            violations.say("work", format!("{} was to be stopped, and is {}", target.name, target.state()));
        }
        if !(stopped || target.deleted) {
            continue;
        }
        let of_it = pods.left(case, &target.uid, last.revision);
        // Nobody sees what has lost the label by which it is found.
        if let Some(pod) = of_it.filter(|pod| target.deleted || is_labelled(case, pod)) {
            violations.say("work", format!("{} has ended, and its Pod {} runs", target.name, pod.name));
        }
    }
}

fn is_labelled(case: &Case<'_>, pod: &Version) -> bool {
    let mut owner = controller(pod);
    while let Some(uid) = owner {
        let Some(version) = case.of_uid(uid).last() else { return false };
        if is_work(&version.plural) {
            return !version.text("/metadata/labels/aiapi.dev~1owner-uid").is_empty();
        }
        owner = controller(version);
    }
    false
}
