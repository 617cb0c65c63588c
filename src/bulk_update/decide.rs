//! What to do about a BulkUpdate: a pure function of what was observed. No client, no clock.

mod carry_on;
mod eligible;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use crate::{
    api::{ConditionReason, ItemResult, Kind, Reason},
    bulk_update::{
        facts::{Deadline, Gate, Hindrance, Observation, Rules},
        request::{Request, Start},
        work::{Become, Entry, ItemPlan, Phase, Plan, Work},
    },
    client::clock::Now,
    observed::{admission::Admission, target::Target},
};

pub use carry_on::{Step, Terms, carry_on};
#[cfg(test)]
use eligible::is_older;
pub use eligible::{plan_item, verdict};

const UNCHECKED: &str = "it was made before the admission policy had stood for 10 s, so that nobody has checked whether its \
    author may do this: nothing was done; make a new BulkUpdate if it is still wanted";

/// How long a watch of targets may be behind before the status says that it is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What one pass has decided.
#[derive(Debug, Default)]
pub struct Decision {
    /// What the status is to say; absent where there is nothing to say yet.
    pub phase: Option<Phase>,
    /// What became of items that were planned.
    pub became: Vec<Become>,
    /// The items whose targets have to be read.
    pub reads: Vec<usize>,
    /// The items whose targets are to be written to, as they were seen: each only if the record says so.
    pub writes: Vec<(usize, Arc<Target>)>,
    /// Whether the next pass has something to do, once this one is on record.
    pub again: bool,
    /// Whether something stands in the way.
    pub hindered: bool,
}

/// Decides what to do about `work`.
#[must_use]
pub fn decide(work: &Work, observation: &Observation, rules: Rules, now: Now) -> Decision {
    let Some(start) = work.start() else { return propose(work, observation, rules, now) };
    let request = work.request();
    let deadline = Deadline::at(request, start, now);
    let terms = Terms { request, deadline, rules };
    let remark = deadline.remark(request, start, now);
    go_on(work, observation, terms, remark.as_deref())
}

fn propose(work: &Work, observation: &Observation, rules: Rules, now: Now) -> Decision {
    match plan(work.request(), observation, now, rules) {
        Planning::Reject(why, message) => {
            Decision { phase: Some(Phase::Rejected(why, message)), ..Decision::default() }
        }
        // It catches up within a moment; the status says so only where it does not.
        Planning::Wait(Hindrance::Behind, _) if !work.has_waited(PATIENCE) => {
            Decision { hindered: true, ..Decision::default() }
        }
        Planning::Wait(why, message) => {
            Decision { phase: Some(Phase::Waiting(why, message)), hindered: true, ..Decision::default() }
        }
        Planning::Read(unsure) => {
            let reads = unsure.into_iter().filter(|at| work.entries()[*at].can_send()).collect();
            Decision { reads, ..Decision::default() }
        }
        // What is being read about an item belongs to its plan.
        Planning::Planned(_) if work.is_reading() => Decision::default(),
        Planning::Planned(items) => {
            let plan =
                Plan::new(work.entries(), items, Start { time: now.to_record(), instant: Some(now.instant) });
            Decision { phase: Some(Phase::Proposed(plan)), again: true, ..Decision::default() }
        }
    }
}

/// `remark` belongs to what ends because of the deadline.
fn go_on(work: &Work, observation: &Observation, terms: Terms<'_>, remark: Option<&str>) -> Decision {
    let mut decision = Decision::default();
    let mut hindrance = observation.unlisted.clone();
    for (at, (entry, step)) in
        work.entries().iter().zip(steps(work.entries(), observation, terms)).enumerate()
    {
        match step {
            Step::Hold(why) => hindrance = hindrance.or(why),
            Step::Read if entry.can_send() => decision.reads.push(at),
            Step::Write(target) if entry.can_send() => decision.writes.push((at, target)),
            Step::Read | Step::Write(_) => {}
            Step::Become(mut record, rests_on) => {
                let late = matches!(record.reason, Some(Reason::DeadlineExceeded | Reason::NotSettledInTime));
                if let (true, Some(remark), Some(message)) = (late, remark, &mut record.message) {
                    *message = format!("{message} {remark}").into();
                }
                decision.again |= record.result == ItemResult::Planned;
                decision.became.push(Become { at, record, rests_on });
            }
        }
    }
    decision.hindered = hindrance.is_some();
    decision.phase = Some(Phase::Planned(hindrance));
    decision
}

/// What is to be done about a BulkUpdate that has not been planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planning {
    /// It is over before it began.
    Reject(ConditionReason, String),
    /// It can't be planned yet.
    Wait(Hindrance, String),
    /// These items have to be read first.
    Read(Vec<usize>),
    /// This is the plan: one for each item, in order.
    Planned(Vec<ItemPlan>),
}

/// Plans a BulkUpdate. The observation has a look for each item.
#[must_use]
pub fn plan(request: &Request, observation: &Observation, now: Now, rules: Rules) -> Planning {
    if let Some(message) = too_late(request, now) {
        return Planning::Reject(ConditionReason::DeadlineExceeded, message);
    }
    if let Admission::Missing(why) = &observation.admission {
        return Planning::Wait(Hindrance::Waiting, why.to_string());
    }
    if !observation.admission.covers(request.created) {
        return Planning::Reject(ConditionReason::NotAuthorized, UNCHECKED.into());
    }
    for kind in Kind::ALL.into_iter().filter(|kind| request.names(*kind)) {
        match observation.gates.of(kind) {
            Gate::Open => {}
            Gate::Unknown(why) => return Planning::Wait(Hindrance::FlagUnreadable, why.clone()),
            Gate::Closed(why) => {
                let reason = if observation.gates.invalid {
                    ConditionReason::MetaInvalid
                } else {
                    ConditionReason::BulkUpdatesDisabled
                };
                return Planning::Reject(reason, why.clone());
            }
        }
    }
    let mut unsure = Vec::new();
    let mut planned = Vec::new();
    let mut hindrance = None;
    for (at, (item, look)) in request.items.iter().zip(&observation.looks).enumerate() {
        match plan_item(request, item, look, rules) {
            Ok(Some(entry)) => planned.push(entry),
            Ok(None) => unsure.push(at),
            Err(hinders) => hindrance = hindrance.or(Some(hinders)),
        }
    }
    match hindrance {
        _ if !unsure.is_empty() => Planning::Read(unsure),
        Some((hindrance, why)) => Planning::Wait(hindrance, why),
        None => Planning::Planned(planned),
    }
}

fn too_late(request: &Request, now: Now) -> Option<String> {
    let (what, deadline) = if request.not_after_has_passed(now) {
        ("notAfter has passed", request.not_after.unwrap_or_default())
    } else if now.earliest >= request.starting_deadline {
        let what = "startingDeadlineSeconds after its creation it had not been planned";
        (what, request.starting_deadline)
    } else {
        return None;
    };
    let remark = now.remark(deadline).map(|remark| format!(" ({remark})")).unwrap_or_default();
    Some(format!("{what}{remark}: nothing was done; make a new BulkUpdate if it is still wanted"))
}

/// The steps of one that was planned, an entry for each item.
#[must_use]
pub fn steps(entries: &[Entry], observation: &Observation, terms: Terms<'_>) -> Vec<Step> {
    let each = entries.iter().zip(&observation.looks);
    each.map(|(entry, look)| carry_on(terms, entry, look, observation.gates.of(entry.item.kind))).collect()
}
