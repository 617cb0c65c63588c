//! Work that this operator creates: an Execution's at most once.

use crate::{
    api::{
        Kind, State,
        time::{later, until},
    },
    client::Next,
    workload::{
        attempts::Request,
        decide::subject::{Decided, Decision, Subject},
        engine::{Engine, Names},
        facts::{Found, Step},
        owner::{Recorded, Reference},
        status::{Progress, Reason},
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
    let workload = Reference::of(engine, subject.facts.owner.name(), None);
    subject.pending("creating", workload, Step::Create)
}

/// Whether the last request to create what is recorded as intended was refused, so that none can take effect any more. Before each
/// request a status is written that does not say so.
pub fn creation_refused(recorded: &Recorded) -> bool {
    let intended = recorded.workload.as_ref().is_some_and(|workload| workload.uid.is_none());
    let refusals = [Reason::Forbidden, Reason::Refused].map(<&str>::from);
    intended && recorded.reason().is_some_and(|reason| refusals.contains(&reason))
}

/// Whether it is known what has become of each request to create what is recorded: none was sent, all were refused, or one was
/// carried out. (What is created again is recorded as intended before.)
pub fn is_known(subject: &Subject<'_>) -> bool {
    let recorded = subject.recorded;
    let created = recorded.workload.as_ref().is_some_and(|workload| workload.uid.is_some());
    created || subject.facts.attempts.intended || creation_refused(recorded)
}

/// What is recorded as intended can still be created by a request of before, by this process or another one: until when it has to be
/// waited.
fn may_take_effect(subject: &Subject<'_>, engine: &Engine) -> Option<Decision> {
    let (attempts, now) = (subject.facts.attempts, subject.facts.now);
    let in_doubt = (!is_known(subject)).then(|| attempts.in_doubt_since.unwrap_or(now));
    let since = attempts.unanswered.max(in_doubt)?;
    let lasts = until(later(since, CREATION_LASTS), now);
    (!lasts.is_zero()).then(|| {
        let why = format!("waiting until a request to create its {} can take effect no more", engine.kind);
        subject.trouble(Progress::Reconciling, Reason::Waiting, &why, Step::Rest(Some(lasts)))
    })
}

/// It is to stop, and something else has its name: a request to create it could take effect once that is gone.
pub fn stopped_although_taken(subject: &Subject<'_>, engine: &Engine) -> Decided {
    match may_take_effect(subject, engine) {
        Some(wait) => Ok(wait),
        None => subject.stopped_without_work(engine),
    }
}

/// It is intended, and is not there.
pub fn create(subject: &Subject<'_>, engine: &Engine) -> Decided {
    let attempts = subject.facts.attempts;
    let asked = subject.stop_asked();
    // What serves may be created again, so doubt matters only where it is not to run any more.
    let must_know = subject.kind() == Kind::Execution || asked;
    if must_know && let Some(wait) = may_take_effect(subject, engine) {
        return Ok(wait);
    }
    if subject.kind() == Kind::Execution && !is_known(subject) {
        let why = format!(
            "it is not known whether its {} was ever created: it is not there, and is not created again",
            engine.kind
        );
        return Ok(subject.ended(State::Dead, why));
    }
    if asked {
        return subject.stopped_without_work(engine);
    }
    if let Some(against) = subject.not_permitted() {
        return Ok(against);
    }
    match attempts.failed_for(Request::Create, subject.facts.owner.metadata.generation) {
        Some(failed) if failed.failure.next() == Next::GiveUp => Ok(match subject.kind() {
            Kind::Execution => {
                let why = format!("the API server refuses its {}: {}", engine.kind, failed.failure);
                subject.ended(State::Dead, why)
            }
            // Another template may be accepted.
            Kind::Deployment => {
                Decision { then: Step::Rest(None), ..subject.unavailable(engine, &failed.failure)? }
            }
        }),
        Some(failed) if failed.until > subject.facts.now => subject.unavailable(engine, &failed.failure),
        _ => Ok(intend(subject, engine)),
    }
}
