//! What others than the operator did, derived from who has made which version.

use std::collections::HashSet;

use ai_api_operator::api::Kind;

use crate::{
    case::Case,
    facts::{Facts, Others},
    flag::{Setting, settings},
};

impl Others {
    /// What the versions and requests show, if each request has the revision that it made. Whether requests or watches
    /// were disturbed is not among it.
    pub fn of(facts: &Facts) -> Self {
        let case = Case::of(facts);
        let mut others = Self::default();
        let mut going = HashSet::new();
        for version in case.targets().filter(|v| v.deleted || v.terminating()) {
            if going.insert(&version.uid) && case.is_made_by_others(version.revision) {
                others.deleted.push(version.uid.clone());
            }
        }
        for bulk in &case.bulks {
            let pairs = bulk.records.windows(2).map(|pair| (&pair[0].version, &pair[1].version));
            let status =
                pairs.filter(|(before, now)| before.object.get("status") != now.object.get("status"));
            let foreign = status.map(|(_, now)| now.revision).filter(|r| case.is_made_by_others(*r));
            let foreign: Vec<_> = foreign.collect();
            if !foreign.is_empty() {
                others.forged.push(bulk.uid.to_owned());
                others.forged_at.extend(foreign);
            }
            let gone = bulk.records.iter().find(|r| r.version.deleted || r.version.terminating());
            if let Some(gone) = gone.filter(|gone| case.is_made_by_others(gone.version.revision)) {
                others.cancelled = Some(others.cancelled.map_or(gone.version.at, |t| t.min(gone.version.at)));
            }
        }
        for kind in Kind::ALL {
            let mut was_on = false;
            for change in settings(&case, kind) {
                if was_on && change.is != Setting::On {
                    others.cancelled = Some(others.cancelled.map_or(change.at, |t| t.min(change.at)));
                }
                was_on |= change.is == Setting::On;
                if change.is != Setting::On && !others.switched_off.contains(&kind) {
                    others.switched_off.push(kind);
                }
            }
        }
        let changed = |plural| case.of_plural(plural).skip(1).any(|v| case.is_made_by_others(v.revision));
        others.changed_policy = crate::authors::GUARDS.into_iter().any(changed);
        others.changed_lease = case.of_plural("leases").any(|v| case.is_made_by_others(v.revision));
        others
    }
}
