//! What is decided about, and the statuses that several decisions share.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::{
        Kind, State,
        time::{later, until},
    },
    client::{Failure, Next},
    workload::{
        attempts::Request,
        engine::Engine,
        facts::{Authorized, Facts, Step},
        owner::{Asks, Recorded, Reference},
        status::{Progress, Reason, Status},
    },
};

/// How long to wait before looking again for what nothing reports: a name that is taken, an object that is to be adopted.
pub const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// How often to look for Pods that are left.
pub const LOOK_FOR_PODS: Duration = Duration::from_secs(2);

/// How many failures in a row the status mentions.
const WORTH_A_STATUS: u32 = 3;

/// How long it may take until what was requested to stop takes notice, in seconds. Engines do so within one; that its Pods end may
/// take longer.
const A_STOP_LASTS: i64 = 60;

/// How long its engine may go on to create Pods after a stop of what was not seen to run, in seconds: what has just been started
/// says so only when its Pods are created.
const A_START_LASTS: i64 = 5;

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
        let over = self.recorded.is_over(self.kind());
        self.kind() == Kind::Deployment && from_template && exists && !known && !over
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

    /// It is to run: on record before anything is done about it, as what runs must not be UNKNOWN, which may be deleted.
    pub fn pending(&self, doing: &str, workload: Reference, then: Step) -> Decision {
        let message = format!("{doing} {} {}", workload.kind, workload.name);
        let status = Status {
            state: State::Pending,
            workload: Some(workload),
            // The first time: or writing this would not end where the API server takes longer than a second.
            submitted: self.recorded.submitted.or(Some(self.facts.now)),
            ..self.status(Progress::Reconciling, Reason::Pending, message)
        };
        Decision { status, then }
    }

    pub fn stopped_before_it_started(&self) -> Decision {
        self.ended(State::Stopped, "it was stopped before it started")
    }

    /// It is to stop, and its object is gone, or was never created. What serves may have left Pods behind, such as when its object was
    /// deleted with `--cascade=orphan`.
    pub fn stopped_without_work(&self, engine: &Engine) -> Decided {
        let recorded = self.recorded.workload.as_ref();
        let name = recorded.map_or(self.facts.owner.name(), |workload| &workload.name);
        let pods = engine.left_behind.map(|of| of(name));
        let why = match (pods, &self.facts.pods) {
            (None, _) => return Ok(self.stopped_before_it_started()),
            (_, Some(Ok(false))) => {
                return Ok(
                    self.ended(State::Stopped, format!("there is no {} of it, and no Pod", engine.kind))
                );
            }
            (Some(pods), None) => return Err(Step::ListPods(vec![pods])),
            // The Pods of both look alike, by the names of what owns them.
            (_, Some(Ok(true))) if self.facts.found.work().is_some() => format!(
                "its {0} is gone, and there is another {0} {1}, which is left alone: whether Pods of the one that is gone are left \
                 can be known once that and its Pods are gone",
                engine.kind, name
            ),
            (_, Some(Ok(true))) => format!(
                "its {} is gone, and Pods that it has left behind have not ended: delete what owns them",
                engine.kind
            ),
            (_, Some(Err(failure))) => cannot_list(failure),
        };
        Ok(self.trouble(Progress::Reconciling, Reason::Stopping, &why, Step::Rest(Some(LOOK_FOR_PODS))))
    }

    /// Why nothing may be run for it, if so.
    pub fn not_permitted(&self) -> Option<Decision> {
        match &self.facts.authorized {
            Authorized::Yes => None,
            Authorized::No if self.recorded.workload.as_ref().is_some_and(|workload| workload.uid.is_some()) => {
                let why = "the admission policy for work may not have been in force when the template was changed, so it is not \
                    known whether its author may run it, and it is not applied: change it once more, such as an annotation of it";
                Some(self.trouble(Progress::Stalled, Reason::NotAuthorized, why, Step::Rest(None)))
            }
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
        match self.trouble_with(engine, failure) {
            None => Err(then),
            Some(Trouble { progress, reason, why }) => Ok(self.trouble(progress, reason, &why, then)),
        }
    }

    /// What a request that has failed means for the conditions; nothing yet if it may pass by itself.
    pub fn trouble_with(&self, engine: &Engine, failure: &Failure) -> Option<Trouble> {
        let failed = self.facts.attempts.failed.as_ref();
        let refused = failed.and_then(|failed| refused(failed.request)).filter(|_| failure.is_refusal());
        let why = refused.map_or_else(
            || failure.to_string(),
            |what| format!("the API server refuses {what} its {}: {failure}", engine.kind),
        );
        let (progress, reason, why) = match failure {
            Failure::NotServed(_) => {
                let why =
                    format!("this cluster does not serve {} {}", engine.kind.api_version(), engine.kind);
                (Progress::Stalled, Reason::EngineNotServed, why)
            }
            Failure::Refused { code: 403, message, .. } => {
                (Progress::Stalled, Reason::Forbidden, message.clone())
            }
            _ if refused.is_some() && failure.next() == Next::GiveUp => {
                (Progress::Stalled, Reason::Refused, why)
            }
            _ if failed.is_none_or(|failed| failed.times < WORTH_A_STATUS) => return None,
            _ if refused.is_some() => (Progress::Reconciling, Reason::Refused, why),
            _ => (Progress::Reconciling, Reason::Waiting, why),
        };
        Some(Trouble { progress, reason, why })
    }

    /// How long to wait after a failure.
    pub fn wait(&self, failure: &Failure) -> Duration {
        let failed = self.facts.attempts.failed.as_ref();
        let wait = failed.map_or_else(|| failure.wait(1), |failed| until(failed.until, self.facts.now));
        wait.max(Duration::from_secs(1))
    }

    /// Whether its engine may be creating Pods that it does not tell of yet.
    pub fn may_lag(&self) -> bool {
        let (attempts, now) = (self.facts.attempts, self.facts.now);
        attempts.stopped_unseen && attempts.stopped_at.is_some_and(|at| now < later(at, A_START_LASTS))
    }

    /// How long a stop may go on until it should have taken hold; zero if it should have by now.
    pub fn stop_has_left(&self) -> Duration {
        let now = self.facts.now;
        let stopping = self.recorded.state_time.filter(|_| self.recorded.state == Some(State::Stopping));
        let since = stopping.unwrap_or(now).max(self.facts.attempts.stopped_at.unwrap_or(Timestamp::MIN));
        until(later(since, A_STOP_LASTS), now)
    }
}

/// What the conditions say about what is in the way.
pub struct Trouble {
    pub progress: Progress,
    pub reason: Reason,
    pub why: String,
}

/// That nobody knows whether Pods are left.
pub fn cannot_list(failure: &Failure) -> String {
    format!("its Pods cannot be listed: {failure}")
}

/// What is refused if such a request is, to be followed by the object; `None` for reads.
fn refused(request: Request) -> Option<&'static str> {
    match request {
        Request::Owner | Request::Read | Request::Pods | Request::Queue => None,
        Request::Create => Some("the creation of"),
        Request::Apply => Some("the new template of"),
        Request::Adopt => Some("the adoption of"),
        Request::Label => Some("the label of"),
        Request::Stop => Some("the stop of"),
    }
}
