//! What to do about a BulkUpdate: a pure function of what was observed. No client, no clock.

mod eligible;
mod next_step;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use crate::{
    api::{ItemResult, Kind, Reason},
    bulk_update::{
        facts::{Deadline, Gate, MissedDeadline, Observation, Obstacle, Rejection, Rules},
        request::{Request, Start},
        work::{Entry, ItemPlan, Phase, Plan, Work},
    },
    client::clock::Now,
    observed::{admission::Admission, target::Target},
};

pub use eligible::{Ineligible, ItemPlanning, applies, plan_item, verdict};
pub use next_step::{Step, Terms, next_step};

/// How long the cache may be stale before the status says that it is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What one pass has decided.
#[derive(Debug, Default)]
pub struct Decision {
    /// What the status is to report; absent if there is nothing to report yet.
    pub phase: Option<Phase>,
    /// New entries, each with the index of its item.
    pub became: Vec<(usize, ItemPlan)>,
    pub reads: Vec<usize>,
    /// The items whose targets are to be written to, as they were seen. Only those recorded as planned are sent.
    pub writes: Vec<(usize, Arc<Target>)>,
    /// Whether to requeue it at once, when this one is recorded: another pass can make progress.
    pub again: bool,
    /// Whether something has to be waited for: it is requeued with back-off.
    pub blocked: bool,
}

pub fn decide(work: &Work, observation: &Observation, rules: Rules, now: Now) -> Decision {
    let Some(start) = work.start() else { return propose(work, observation, rules, now) };
    let request = work.request();
    let deadline = Deadline::at(request, start, now);
    let remark = deadline.remark(request, start, now);
    follow_plan(work, observation, Terms { request, deadline, rules }, remark.as_deref())
}

fn propose(work: &Work, observation: &Observation, rules: Rules, now: Now) -> Decision {
    match plan(work.request(), observation, now, rules) {
        Planning::Reject(why) => Decision { phase: Some(Phase::Rejected(why)), ..Decision::default() },
        // It usually catches up at once; the status reports it only if it does not.
        Planning::Wait(why) => {
            let hidden =
                matches!(why, Obstacle::StaleCache { .. }) && !work.has_waited(PATIENCE, observation.at);
            let phase = (!hidden).then_some(Phase::Waiting(why));
            Decision { phase, blocked: true, ..Decision::default() }
        }
        Planning::Read(unsure) => {
            let reads =
                unsure.into_iter().filter(|at| work.entries()[*at].can_send(observation.at)).collect();
            Decision { reads, ..Decision::default() }
        }
        // Reads still in flight are part of the plan.
        Planning::Planned(_) if work.is_reading() => Decision::default(),
        Planning::Planned(items) => {
            let start = Start { time: now.to_record(), instant: Some(now.instant) };
            let phase = Some(Phase::Proposed(Plan::new(work.entries(), items, start)));
            Decision { phase, again: true, ..Decision::default() }
        }
    }
}

/// `remark` is appended to the message of items that end because of the deadline.
fn follow_plan(work: &Work, observation: &Observation, terms: Terms<'_>, remark: Option<&str>) -> Decision {
    let mut decision = Decision::default();
    let mut obstacle = observation.not_listed.map(Obstacle::NotListed);
    let steps = steps(work.entries(), observation, terms);
    for (at, (entry, step)) in work.entries().iter().zip(steps).enumerate() {
        match step {
            Step::Hold(why) => obstacle = obstacle.or(why),
            Step::Read if entry.can_send(observation.at) => decision.reads.push(at),
            Step::Write(target) if entry.can_send(observation.at) => decision.writes.push((at, target)),
            Step::Read | Step::Write(_) => {}
            Step::Become(mut plan) => {
                let record = &mut plan.record;
                let late = matches!(record.reason, Some(Reason::DeadlineExceeded | Reason::NotSettledInTime));
                if let (true, Some(remark), Some(message)) = (late, remark, &mut record.message) {
                    *message = format!("{message} {remark}").into();
                }
                decision.again |= record.result == ItemResult::Planned;
                decision.became.push((at, plan));
            }
        }
    }
    decision.blocked = obstacle.is_some();
    decision.phase = Some(Phase::Planned(obstacle));
    decision
}

/// What to do about a BulkUpdate that is not planned yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Planning {
    /// Reject it as a whole.
    Reject(Rejection),
    /// It cannot be planned yet.
    Wait(Obstacle),
    /// Read the targets of these items first.
    Read(Vec<usize>),
    /// The plan: one entry per item, in order.
    Planned(Vec<ItemPlan>),
}

/// Plans a BulkUpdate. The observation has a lookup for each item.
pub fn plan(request: &Request, observation: &Observation, now: Now, rules: Rules) -> Planning {
    if let Some(rejection) = too_late(request, now) {
        return Planning::Reject(rejection);
    }
    if let Admission::Missing(why) = &observation.admission {
        return Planning::Wait(Obstacle::Admission(why.clone()));
    }
    if !observation.admission.covers(request.created) {
        return Planning::Reject(Rejection::NotAuthorized);
    }
    for kind in Kind::ALL.into_iter().filter(|kind| request.names(*kind)) {
        match observation.gates.of(kind) {
            Gate::Open => {}
            Gate::Unknown(why) => return Planning::Wait(why.clone()),
            Gate::Closed(why) => return Planning::Reject(why.clone()),
        }
    }
    let mut unsure = Vec::new();
    let mut planned = Vec::new();
    let mut obstacle = None;
    for (at, (item, lookup)) in request.items.iter().zip(&observation.lookups).enumerate() {
        match plan_item(request, item, lookup, rules) {
            ItemPlanning::Planned(plan) => planned.push(plan),
            ItemPlanning::Read => unsure.push(at),
            ItemPlanning::Wait(why) => obstacle = obstacle.or(Some(why)),
        }
    }
    match obstacle {
        _ if !unsure.is_empty() => Planning::Read(unsure),
        Some(why) => Planning::Wait(why),
        None => Planning::Planned(planned),
    }
}

fn too_late(request: &Request, now: Now) -> Option<Rejection> {
    let (deadline, time) = if request.not_after_has_passed(now) {
        (MissedDeadline::NotAfter, request.not_after.unwrap_or_default())
    } else if now.earliest >= request.starting_deadline {
        (MissedDeadline::Starting, request.starting_deadline)
    } else {
        return None;
    };
    Some(Rejection::TooLate { deadline, remark: now.remark(time) })
}

/// The next step of each item of a planned BulkUpdate.
pub fn steps(entries: &[Entry], observation: &Observation, terms: Terms<'_>) -> Vec<Step> {
    let each = entries.iter().zip(&observation.lookups);
    let gate = |entry: &Entry| observation.gates.of(entry.item.kind);
    each.map(|(entry, lookup)| next_step(terms, entry, lookup, gate(entry))).collect()
}
