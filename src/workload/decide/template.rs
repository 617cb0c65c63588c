//! A changed template, which what serves is given.

use std::sync::Arc;

use crate::{
    client::Next,
    workload::{
        attempts::Request,
        decide::subject::{Decision, Subject, Trouble},
        engine::Engine,
        facts::Step,
        work::Work,
    },
};

/// Gives it the template, if that has changed; `None` if there is nothing to do. What is to stop gets no new one. Returns what is in the
/// way, and what to do then, where it cannot be given yet: it is still seen how the one of before serves.
pub fn apply(
    subject: &Subject<'_>,
    engine: &Engine,
    work: &Arc<Work>,
) -> Result<Option<(Option<Trouble>, Step)>, Step> {
    if !subject.outdated() || subject.stop_asked() || work.terminating {
        return Ok(None);
    }
    if let Some(Decision { status, then }) = subject.not_permitted() {
        let trouble = Trouble { progress: status.progress, reason: status.reason, why: status.message };
        return Ok(Some((Some(trouble), then)));
    }
    let generation = subject.facts.owner.metadata.generation;
    match subject.facts.attempts.failed_for(Request::Apply, generation) {
        Some(failed) if failed.failure.next() == Next::GiveUp => {
            Ok(Some((subject.trouble_with(engine, &failed.failure), Step::Rest(None))))
        }
        Some(failed) if failed.until > subject.facts.now => Ok(Some((
            subject.trouble_with(engine, &failed.failure),
            Step::Rest(Some(subject.wait(&failed.failure))),
        ))),
        _ => Err(Step::Apply(Arc::clone(work))),
    }
}
