//! `watch`: lists and watches that fail are retried with a back-off of up to a minute, which the start of a list does not
//! reset, and not before `Retry-After`; a watch that is refused as too old starts with a new list. Until the objects of an
//! engine can be listed, it is looked every ten seconds whether they can.

use std::collections::HashMap;

use k8s_openapi::jiff::SignedDuration;

use crate::{
    Violations,
    case::Case,
    facts::{Exchange, Whole},
    timers::{at_least, backs_off},
    works::is_work,
};

/// The shortest and the longest wait after a failure; in between it doubles, and jitter may halve it.
const BACK_OFF: [SignedDuration; 2] = [SignedDuration::from_millis(500), SignedDuration::from_secs(30)];

/// How long an engine whose objects cannot be listed is left alone.
const SERVED_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What is known of the list or watch before.
struct Before<'a> {
    last: &'a Exchange,
    /// How many have failed since a watch was last accepted.
    failed: u32,
    /// Whether it was listed.
    listed: bool,
}

/// Whether it is not a list to watch from, but a look whether there can be one; `listed` says whether there was one before.
fn is_look(e: &Exchange, listed: bool) -> bool {
    !listed && (is_work(&e.resource) || e.resource == "jobsets")
}

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    // Where one process is run alone, without a replica around it, nothing notes the header for kube's watcher.
    if !case.facts.settings.elects {
        return;
    }
    for life in (0..case.facts.lives.len()).filter(|life| case.is_operator(*life)) {
        // Each namespace that is watched has streams of its own.
        let mut before: HashMap<(&str, &str), Before<'_>> = HashMap::new();
        let streams = case.sent().filter(|e| e.life == life && matches!(&*e.verb, "list" | "watch"));
        // A look at Pods is no stream: it is a part of a pass, of which several may have one.
        for e in streams.filter(|e| !e.is_in_the_background() && e.resource != "pods") {
            let known = before.remove(&(&*e.resource, &*e.namespace));
            if let Some(known) = &known {
                if let Some(why) = too_early(known, e) {
                    violations.say("watch", format!("{}: {why}", e.words()));
                }
                if known.last.verb == "watch" && known.last.code() == Some(410) && e.verb != "list" {
                    violations.say("watch", format!("{} after one that was too old", e.words()));
                }
            }
            let (failed, listed) = known.map_or((0, false), |known| (known.failed, known.listed));
            let failed = match &*e.verb {
                _ if !e.succeeded() => failed + 1,
                "watch" => 0,
                _ if is_look(e, listed) => 0,
                _ => failed,
            };
            let listed = listed || e.succeeded();
            before.insert((&e.resource, &e.namespace), Before { last: e, failed, listed });
        }
    }
}

/// Whether it was not waited for long enough.
fn too_early(before: &Before<'_>, e: &Exchange) -> Option<String> {
    let ended = before.last.ended_at().filter(|_| !before.last.succeeded())?;
    let waited = e.sent.at.duration_since(ended.at);
    let asked = before.last.answer().and_then(Whole::asks_to_wait).unwrap_or_default();
    if waited < at_least(asked) {
        return Some(format!("{waited:?} after one that asked to wait {asked:?}"));
    }
    let backs_off =
        if is_look(before.last, before.listed) { SERVED_AGAIN } else { backs_off(BACK_OFF, before.failed) };
    // That an answer has reached it may be noted a moment later; what is repeated too soon is so by half and more.
    (waited < backs_off * 3 / 4).then(|| format!("{waited:?} after {} that failed", before.failed))
}
