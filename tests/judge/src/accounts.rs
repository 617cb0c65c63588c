//! The two accounts of a run agree: whatever a version shows that only the operator does, a request of the operator has
//! done. Otherwise what is based on the requests shows nothing.

use std::collections::HashMap;

use crate::{Violations, case::Case, facts::Request};

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    let mut seen: HashMap<&str, (bool, bool)> = HashMap::new();
    for version in case.targets() {
        let before = seen.entry(&version.uid).or_default();
        let now = (!version.stopped_by().is_empty(), version.deleted || version.terminating());
        let others = case.was_deleted_by_others(&version.uid);
        let foreign = case.is_made_by_others(version.revision);
        let verbs = [("patch", now.0 && !before.0 && !foreign), ("delete", now.1 && !before.1 && !others)];
        for (verb, _) in verbs.into_iter().filter(|(_, new)| *new) {
            let sent = |r: &Request| {
                r.verb == verb
                    && r.resource == version.plural
                    && r.namespace == version.namespace
                    && r.name == version.name
            };
            // Not always its answer: the client may have died by then.
            if !case.requests().any(sent) {
                violations.say("13", format!("no request shows the {verb} of {}", version.name));
            }
        }
        *before = now;
    }
}
