//! `namespaces`: an operator that watches some namespaces asks for nothing in the others, and for nothing in all of them.

use crate::{Violations, case::Case, facts::Exchange, versions::kind_of};

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    if case.facts.settings.watch_namespaces.is_empty() {
        return;
    }
    let of_users = |e: &Exchange| e.resource == "bulkupdates" || kind_of(&e.resource).is_some();
    let of_own = |e: &Exchange| e.resource == "events" && e.namespace == case.facts.settings.namespace;
    for e in case.sent().filter(|e| of_users(e) || (e.resource == "events" && !of_own(e))) {
        if !case.is_watched(&e.namespace) {
            violations.say("namespaces", format!("{}: {:?} is not watched", e.words(), e.namespace));
        }
    }
}
