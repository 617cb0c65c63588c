//! A changed template, which what serves is given.

use std::sync::Arc;

use crate::{
    client::Next,
    workload::{
        decide::subject::{Decided, Subject},
        engine::Engine,
        facts::Step,
        status::{Progress, Reason},
        work::Work,
    },
};

/// What has to be done first, or what is in the way, if the template has changed. What is to stop gets no new one.
pub fn apply(subject: &Subject<'_>, engine: &Engine, work: &Arc<Work>) -> Option<Decided> {
    if !subject.outdated() || subject.stop_asked() || work.terminating {
        return None;
    }
    if let Some(against) = subject.not_permitted() {
        return Some(Ok(against));
    }
    let generation = subject.facts.owner.metadata.generation;
    Some(match subject.facts.attempts.failed_for(generation) {
        Some(failed) if failed.failure.next() == Next::GiveUp => {
            let why =
                format!("the API server refuses the new template of its {}: {}", engine.kind, failed.failure);
            Ok(subject.trouble(Progress::Stalled, Reason::Refused, &why, Step::Rest(None)))
        }
        Some(failed) if failed.until > subject.facts.now => subject.unavailable(engine, &failed.failure),
        _ => Err(Step::Apply(Arc::clone(work))),
    })
}
