//! Promises 14 and 15: the annotations of the Lease. It says that BulkUpdates are accepted only once the replica that writes it
//! was shown that the policy and its binding, as it names them, had been in force for ten seconds; what others have written
//! there stays; and where there is no room for more, the Lease is renewed nevertheless.

use std::collections::HashMap;

use k8s_openapi::jiff::SignedDuration;
use serde_json::Value;

use crate::{
    Violations,
    authors::{ACCEPTED, GUARDS, is_in_force, just_before, newest_shown},
    case::Case,
    exchanges::is_change,
    facts::{Exchange, Moment, Version},
};

/// What the operator keeps there.
const OWN: &str = "aiapi.dev/";

/// How long it may take a process that goes on to notice what has come meanwhile.
const MOMENT: SignedDuration = SignedDuration::from_millis(100);

/// How exact the times are by which it is decided: whole seconds.
const WHOLE_SECONDS: SignedDuration = SignedDuration::from_secs(1);

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for change in case.sent().filter(|e| e.resource == "leases" && is_change(&e.verb) && !e.dry_run) {
        // One that releases it takes in no more news.
        let holder = change.body.pointer("/spec/holderIdentity").and_then(Value::as_str);
        let held = holder.is_some_and(|holder| !holder.is_empty());
        let accepted = change.body.pointer(ACCEPTED).filter(|_| held).and_then(Value::as_str);
        if let Some(accepted) = accepted.filter(|_| case.facts.settings.require_admission_policy)
            && !was_in_force(case, change, accepted)
        {
            violations.say(
                "15",
                format!("{}: it says {accepted}, which was not in force for long", change.words()),
            );
        }
    }
    others_stay(case, violations);
    is_renewed(case, violations);
}

/// Whether the process had been shown that this was in force.
fn was_in_force(case: &Case<'_>, change: &Exchange, accepted: &str) -> bool {
    let pairs: Vec<_> = accepted.split(' ').collect();
    let now = change.sent.at + WHOLE_SECONDS + case.facts.tolerances.clock;
    let is_it = |v: &Version, pair: &str| format!("{}/{}", v.uid, v.generation()) == pair;
    // What it was shown a moment ago need not have been noticed.
    let pauses = case.facts.lives.get(change.life).into_iter().flat_map(|life| &life.pauses);
    // What came while it was suspended need not have been noticed in the moment in which it goes on.
    let goes_on = |to: Moment| to <= change.sent && change.sent.at.duration_since(to.at) < MOMENT;
    let resumed = pauses.filter(|[_, to]| goes_on(*to)).map(|[from, _]| from.at).min();
    let sent = resumed.unwrap_or(change.sent.at);
    let until = just_before(case, change, sent);
    // Without this, it is not known what its watches have shown.
    let is_known = GUARDS.into_iter().all(|guard| case.facts.sights.iter().any(|s| s.resource == guard));
    !is_known
        || pairs.len() == GUARDS.len()
            && GUARDS.into_iter().zip(pairs).all(|(guard, pair)| {
                let shown = until.iter().filter_map(|until| newest_shown(case, guard, change, *until));
                shown.into_iter().any(|v| is_it(v, pair) && is_in_force(case, guard, v, now))
            })
}

fn others_stay(case: &Case<'_>, violations: &mut Violations) {
    let leases: Vec<_> = case.of_plural("leases").collect();
    for pair in leases.windows(2).filter(|pair| pair[0].uid == pair[1].uid) {
        let by_operator = case.maker(pair[1].revision).is_some_and(|r| case.is_operators(r));
        let [before, after] = [pair[0], pair[1]].map(|v| v.object.pointer("/metadata/annotations"));
        let of_others = before.and_then(Value::as_object).into_iter().flatten();
        let lost = |name: &str| after.is_none_or(|after| after.get(name).is_none());
        for (name, _) in of_others.filter(|(name, _)| !name.starts_with(OWN) && lost(name)) {
            if by_operator && !pair[1].deleted {
                violations.say("14", format!("the Lease has lost the annotation {name}"));
            }
        }
    }
}

/// What the API server itself has refused as invalid is not written again with the same annotations.
fn is_renewed(case: &Case<'_>, violations: &mut Violations) {
    let refused: HashMap<usize, u16> = case
        .requests()
        .filter(|r| r.resource == "leases")
        .filter_map(|r| Some((r.exchange?, r.code)))
        .collect();
    for life in 0..case.facts.lives.len() {
        let changes =
            case.facts.exchanges.iter().enumerate().filter(|(_, e)| {
                e.life == life && e.resource == "leases" && is_change(&e.verb) && !e.dry_run
            });
        let changes: Vec<_> = changes.collect();
        for pair in changes.windows(2) {
            let invalid =
                |(at, e): (usize, &Exchange)| e.code() == Some(422) && refused.get(&at) == Some(&422);
            if invalid(pair[0]) && invalid(pair[1]) {
                violations.say("14", format!("{}: it was refused before", pair[1].1.words()));
            }
        }
    }
}
