//! Promises 3, 5 and 6: where only the operator changed anything, the outcome is the same as without faults, and each
//! object is stopped or deleted, once.

use ai_api_operator::api::{Kind, Reason};

use crate::{
    Violations,
    bulk::outcome,
    case::Case,
    created::is_older,
    facts::{Calm, Exchange, Facts},
    refusals::is_a_name,
    versions::{Verdict, verdict},
};

impl Calm {
    /// What the only BulkUpdate has to come to, by the state of its targets when it was created. Only for a run in which
    /// nobody but the operator changes anything after that, the flag is on, and no deadline passes. None if there is not
    /// exactly one BulkUpdate, or if it depends on time.
    pub fn expected(facts: &Facts) -> Option<Self> {
        let case = Case::of(facts);
        let [bulk] = &*case.bulks else { return None };
        let mut calm = Self::default();
        for (kind, item) in bulk.items() {
            let found = case.present(bulk, kind, &item.id, bulk.first().version.revision + 1)[0];
            let refused = |reason: Reason| format!("Refused {reason:?}");
            let outcome = match found {
                _ if !is_a_name(&item.id) => refused(Reason::NotFound),
                None => refused(Reason::NotFound),
                Some(v) if item.uid.as_ref().is_some_and(|uid| *uid != v.uid) => refused(Reason::Replaced),
                // Which of two in one second is older depends on what the operator was shown.
                Some(v) if item.uid.is_none() && v.created() == bulk.created => return None,
                Some(v) if item.uid.is_none() && !is_older(&case, v, bulk) => refused(Reason::CreatedLater),
                Some(v) => match verdict(v, item.target_status, &facts.settings) {
                    Verdict::Not(reason) => refused(reason),
                    Verdict::Eligible if bulk.is_dry_run() => "Eligible".into(),
                    Verdict::Eligible => {
                        let waits = v.object.pointer("/metadata/finalizers").is_some()
                            || !v.text("/spec/managedBy").is_empty();
                        if waits {
                            return None;
                        }
                        calm.written.push(item.id.clone());
                        "Settled".into()
                    }
                },
            };
            calm.outcomes.push((kind, item.id.clone(), outcome));
        }
        Some(calm)
    }
}

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    let Some(calm) = &case.facts.calm else { return };
    let status = case.bulks.last().map(|bulk| &bulk.last().status);
    let items = |kind: Kind| status.map(|status| status.items(kind)).unwrap_or_default();
    // What was refused for good is not written.
    let refused = |id: &str| {
        let mut items = Kind::ALL.into_iter().flat_map(items);
        let failed = items.any(|i| *i.id == *id && i.reason == Some(Reason::WriteFailed));
        failed && was_refused(case, id)
    };
    if case.is_alone() {
        for (kind, id, expected) in &calm.outcomes {
            let found = outcome(items(*kind).iter().find(|i| *i.id == **id));
            if found != *expected && found != format!("{expected} Gone") && !refused(id) {
                violations.say("6", format!("{id}: {found}, without faults it is {expected}"));
            }
        }
    }
    for name in calm.written.iter().filter(|name| !refused(name)) {
        let of_name: Vec<_> = case.targets().filter(|v| v.name == *name).collect();
        let Some(first) = of_name.first().map(|v| &v.uid) else { continue };
        let deleted = of_name.iter().any(|v| v.uid == *first && v.deleted);
        let stopped = of_name.iter().any(|v| v.uid == *first && !v.stopped_by().is_empty());
        if deleted == stopped {
            violations.say("3", format!("{name}: deleted {deleted}, stopped {stopped}"));
        }
    }
}

/// Whether somebody on the way has refused a write to it for good.
fn was_refused(case: &Case<'_>, id: &str) -> bool {
    let refused = |e: &Exchange| {
        e.name == *id && matches!(e.code(), Some(400 | 402 | 405..=407 | 410..=428 | 430..=499))
    };
    case.writes_sent().any(refused)
}
