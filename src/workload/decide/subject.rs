//! What is decided about, and the statuses that several decisions share.

use std::time::Duration;

use crate::{
    api::{Kind, State, time::until},
    client::Failure,
    workload::{
        engine::Engine,
        facts::{Authorized, Facts, Step},
        owner::{Asks, Recorded, Reference},
        status::{Progress, Reason, Status},
    },
};

/// How long to wait before looking again for what nothing reports: a name that is taken, an object that is to be adopted.
pub const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// How many failures in a row the status mentions.
const WORTH_A_STATUS: u32 = 3;

/// What the status is to say, and what to do once it says so.
pub struct Decision {
    pub status: Status,
    pub then: Step,
}

/// A decision; or what has to be looked at first.
pub type Decided = Result<Decision, Step>;

/// An Execution or Deployment that something runs for.
pub struct Subject<'a> {
    pub facts: &'a Facts<'a>,
    pub recorded: &'a Recorded,
}

impl Subject<'_> {
    pub fn kind(&self) -> Kind {
        self.facts.kind
    }

    /// Whether what serves does not have the template yet that the spec has.
    pub fn outdated(&self) -> bool {
        let owner = self.facts.owner;
        let from_template = matches!(owner.asks, Ok(Some(Asks::Template { .. })));
        // Also one whose creation is only intended: the template that was found to be permitted is that of the recorded generation.
        let exists = self.recorded.workload.is_some();
        let generation = owner.metadata.generation;
        let known = [self.recorded.observed_generation, self.facts.attempts.applied].contains(&generation);
        self.kind() == Kind::Deployment && from_template && exists && !known
    }

    /// The generation of the spec that the status is about.
    pub fn observed_generation(&self) -> Option<i64> {
        if self.outdated() { self.recorded.observed_generation } else { self.facts.owner.metadata.generation }
    }

    pub fn stop_asked(&self) -> bool {
        self.recorded.stop_asked()
    }

    pub fn status(&self, progress: Progress, reason: Reason, message: impl AsRef<str>) -> Status {
        Status::of(self.recorded, progress, reason, message)
    }

    /// The state stays; the conditions say what is wrong.
    pub fn trouble(&self, progress: Progress, reason: Reason, why: &str, then: Step) -> Decision {
        Decision { status: self.status(progress, reason, why), then }
    }

    pub fn ended(&self, state: State, message: impl AsRef<str>) -> Decision {
        let (progress, reason) = match state {
            State::Completed => (Progress::Ready, Reason::Completed),
            State::Stopped => (Progress::Idle, Reason::Stopped),
            _ => (Progress::Stalled, Reason::Dead),
        };
        let completed = self.recorded.completed.or(Some(self.facts.now));
        Decision {
            status: Status { state, completed, ..self.status(progress, reason, message) },
            then: Step::Rest(None),
        }
    }

    /// Why nothing may be run for it, if so.
    pub fn not_permitted(&self) -> Option<Decision> {
        match &self.facts.authorized {
            Authorized::Yes => None,
            Authorized::No => Some(self.trouble(
                Progress::Stalled,
                Reason::NotAuthorized,
                "the admission policy for work was not in force when this was created, so its author's permissions were never \
                checked and nothing is run: delete it and create it again",
                Step::Rest(None),
            )),
            Authorized::Unknown(why) => {
                Some(self.trouble(Progress::Reconciling, Reason::Waiting, why, Step::Rest(Some(Duration::from_secs(5)))))
            }
        }
    }

    pub fn name_taken(&self, engine: &Engine) -> Decision {
        let why = format!(
            "there is a {} {} already that does not belong to this {}; it is left alone: delete it, or use another name",
            engine.kind,
            self.facts.owner.name(),
            self.kind().name()
        );
        self.trouble(Progress::Stalled, Reason::NameTaken, &why, Step::Rest(Some(LOOK_AGAIN)))
    }

    /// Something that has to be read, or written, cannot be. What may pass by itself is not worth a status at first.
    pub fn unavailable(&self, engine: &Engine, failure: &Failure) -> Decided {
        let then = Step::Rest(Some(self.wait(failure)));
        let (progress, reason, why) = match failure {
            Failure::NotServed(_) => {
                let why =
                    format!("this cluster does not serve {} {}", engine.kind.api_version(), engine.kind);
                (Progress::Stalled, Reason::EngineNotServed, why)
            }
            Failure::Refused { code: 403, message, .. } => {
                (Progress::Stalled, Reason::Forbidden, message.clone())
            }
            other => {
                if self.facts.attempts.failed.as_ref().is_none_or(|failed| failed.times < WORTH_A_STATUS) {
                    return Err(then);
                }
                (Progress::Reconciling, Reason::Waiting, other.to_string())
            }
        };
        Ok(self.trouble(progress, reason, &why, then))
    }

    /// How long to wait after a failure.
    fn wait(&self, failure: &Failure) -> Duration {
        let failed = self.facts.attempts.failed.as_ref();
        let wait = failed.map_or_else(|| failure.wait(1), |failed| until(failed.until, self.facts.now));
        wait.max(Duration::from_secs(1))
    }
}

/// How an object is called in messages.
pub fn describe(workload: &Reference) -> String {
    format!("{} {}", workload.kind, workload.name)
}
