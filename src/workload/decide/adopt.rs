//! Work that exists already, and is adopted as a `ReplicaSet` adopts a Pod.

use std::sync::Arc;

use crate::{
    api::State,
    workload::{
        attempts::Request,
        decide::subject::{Decided, LOOK_AGAIN, Subject},
        engine::Engine,
        facts::{Found, Step},
        owner::{Asks, Reference},
        status::{Progress, Reason},
        work::{OwnedBy, Work},
    },
};

/// The spec refers to it, and nothing is recorded.
pub fn adopt(subject: &Subject<'_>, engine: &Engine, name: &str, uid: &str) -> Decided {
    let work = match &subject.facts.found {
        Found::NotCached | Found::Cached(_) => return Err(Step::Read),
        Found::Failed(failure) => return subject.unavailable(engine, failure),
        Found::Absent => None,
        Found::Live(work) => Some(work).filter(|work| *work.uid == *uid),
    };
    let not_adoptable = |why: &str| {
        subject.trouble(Progress::Stalled, Reason::NotAdoptable, why, Step::Rest(Some(LOOK_AGAIN)))
    };
    let Some(work) = work else {
        return Ok(not_adoptable(&format!("there is no {} {name} with uid {uid}", engine.kind)));
    };
    match &work.owned_by {
        _ if work.is_controlled_by(subject.facts.owner.uid()) => {}
        _ if work.terminating => {
            return Ok(not_adoptable(&format!("{} {name} is being deleted", engine.kind)));
        }
        OwnedBy::Nobody => {}
        OwnedBy::Controller { kind, name: owner, .. } => {
            return Ok(not_adoptable(&format!(
                "{} {name} belongs to {kind} {owner}, which would create it again: let the {kind} run it, or stop that",
                engine.kind
            )));
        }
        OwnedBy::Others => {
            return Ok(not_adoptable(&format!("{} {name} has an ownerReference already", engine.kind)));
        }
    }
    let workload = Reference::of(engine, name, Some(uid));
    Ok(subject.pending("adopting", workload, Step::Adopt(Arc::clone(work))))
}

/// It is on record, and is not controlled by its Execution or Deployment (any more).
pub fn again(subject: &Subject<'_>, engine: &Engine, work: &Arc<Work>) -> Decided {
    let may = matches!(subject.facts.owner.asks, Ok(Some(Asks::Reference { .. })))
        && work.owned_by == OwnedBy::Nobody
        && !work.terminating;
    if !may {
        return Ok(subject.ended(State::Dead, format!("its {} belongs to it no more", engine.kind)));
    }
    let failed = subject.facts.attempts.last_failed(Request::Adopt);
    match failed.filter(|failed| failed.until > subject.facts.now) {
        Some(failed) => subject.unavailable(engine, &failed.failure),
        None => Err(Step::Adopt(Arc::clone(work))),
    }
}
