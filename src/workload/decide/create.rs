//! Work that this operator creates: an Execution's at most once.

use crate::{
    api::{
        Kind, State,
        time::{later, until},
    },
    client::Next,
    workload::{
        decide::subject::{Decided, Decision, Subject, describe},
        engine::{Engine, Names},
        facts::{Found, Step},
        owner::Reference,
        status::{Progress, Reason, Status},
    },
};

/// How long a request to create something may take effect after it was sent, in seconds: the API server ends a request after a
/// minute.
const CREATION_LASTS: i64 = 75;

/// Whether the engine's objects can have this name; if not, why.
fn fits(engine: &Engine, name: &str) -> Result<(), String> {
    let Names { longest, letter_first } = engine.names;
    if name.len() > longest {
        return Err(format!(
            "the name has {} characters, and a {} can have at most {longest}: use a shorter one",
            name.len(),
            engine.kind
        ));
    }
    if letter_first && (!name.starts_with(|c: char| c.is_ascii_lowercase()) || name.contains('.')) {
        return Err(format!(
            "the name of a {} has to begin with a letter and may have no dots: use another one",
            engine.kind
        ));
    }
    Ok(())
}

/// The spec asks for it, and nothing is recorded.
pub fn begin(subject: &Subject<'_>, engine: &Engine) -> Decided {
    if let Err(why) = fits(engine, subject.facts.owner.name()) {
        return Ok(subject.trouble(Progress::Stalled, Reason::NameInvalid, &why, Step::Rest(None)));
    }
    // That the name is free is seen before anything is recorded, so that what has it is not taken for ours.
    match &subject.facts.found {
        Found::NotCached | Found::Cached(_) => Err(Step::Read),
        Found::Failed(failure) => subject.unavailable(engine, failure),
        Found::Live(work) if !work.is_controlled_by(subject.facts.owner.uid()) => {
            Ok(subject.name_taken(engine))
        }
        Found::Live(_) | Found::Absent => Ok(intend(subject, engine)),
    }
}

/// Records that it is to be created, and creates it.
fn intend(subject: &Subject<'_>, engine: &Engine) -> Decision {
    let workload = Reference {
        api_version: engine.kind.api_version(),
        kind: engine.kind.kind().into(),
        name: subject.facts.owner.name().into(),
        uid: None,
    };
    let status =
        subject.status(Progress::Reconciling, Reason::Pending, format!("creating {}", describe(&workload)));
    let status = Status {
        state: State::Pending,
        workload: Some(workload),
        // The first time: or writing this would not end where the API server takes longer than a second.
        submitted: subject.recorded.submitted.or(Some(subject.facts.now)),
        ..status
    };
    Decision { status, then: Step::Create }
}

/// It is intended, and is not there.
pub fn create(subject: &Subject<'_>, engine: &Engine) -> Decided {
    let attempts = subject.facts.attempts;
    let asked = subject.stop_asked();
    // What serves may be created again, so doubt matters only where it is not to run any more.
    let must_know = subject.kind() == Kind::Execution || asked;
    let in_doubt = (!attempts.intended).then(|| attempts.in_doubt_since.unwrap_or(subject.facts.now));
    let since = attempts.unanswered.max(in_doubt).filter(|_| must_know);
    let lasts = since.map(|since| until(later(since, CREATION_LASTS), subject.facts.now));
    if let Some(lasts) = lasts.filter(|lasts| !lasts.is_zero()) {
        let why = format!("waiting until a request to create its {} can take effect no more", engine.kind);
        let then = Step::Rest(Some(lasts));
        return Ok(subject.trouble(Progress::Reconciling, Reason::Waiting, &why, then));
    }
    if must_know && !attempts.intended {
        return Ok(match subject.kind() {
            Kind::Execution => {
                let why = format!(
                    "it is not known whether its {} was ever created: it is not there, and is not created again",
                    engine.kind
                );
                subject.ended(State::Dead, why)
            }
            Kind::Deployment => subject.ended(State::Stopped, format!("its {} is gone", engine.kind)),
        });
    }
    if asked {
        return Ok(subject.ended(State::Stopped, "it was stopped before it started"));
    }
    if let Some(against) = subject.not_permitted() {
        return Ok(against);
    }
    match attempts.failed_for(subject.facts.owner.metadata.generation) {
        Some(failed) if failed.failure.next() == Next::GiveUp => {
            let why = format!("the API server refuses its {}: {}", engine.kind, failed.failure);
            Ok(match subject.kind() {
                Kind::Execution => subject.ended(State::Dead, why),
                // Another template may be accepted.
                Kind::Deployment => {
                    subject.trouble(Progress::Stalled, Reason::Refused, &why, Step::Rest(None))
                }
            })
        }
        Some(failed) if failed.until > subject.facts.now => subject.unavailable(engine, &failed.failure),
        _ => Ok(intend(subject, engine)),
    }
}
