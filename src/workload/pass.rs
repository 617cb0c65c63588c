//! One pass over an Execution or Deployment that something runs for: observe, decide, and carry out one step after the other
//! until nothing is left to do for now.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::{
    api::Kind,
    client::Failure,
    observed::admission::Admission,
    workload::{
        attempts::Request,
        decide::decide,
        facts::{Authorized, Facts, Found, Gate, Step},
        owner::{Owner, Recorded},
        queue::Kueue,
        steps::{Key, Steps, asked},
        works::Works,
    },
};

/// The most steps of a pass: more would be a loop.
const MOST_STEPS: usize = 16;

/// How old a reading of the flag may be for a stop.
const FRESH: Duration = Duration::from_secs(1);

/// How long to wait at most where an engine's objects cannot be watched, such as without the permission, or not yet.
const UNWATCHED: Duration = Duration::from_secs(30);

/// How long after a change of the API server's mind, such as two conflicts in a row, the next pass begins.
const SHORT_WAIT: Duration = Duration::from_millis(200);

/// How a pass ended.
#[derive(Debug)]
pub enum Ended {
    /// There is nothing to run for it (any more).
    Over,
    /// It was seen at this resourceVersion; it is to be looked at again when something changes, and after this time.
    Waits { version: Box<str>, wait: Option<Duration> },
    /// It has ended: it is to be looked at again only if a stop is undone.
    Finished,
}

/// The pass of one Execution or Deployment.
pub struct Pass<'a> {
    pub works: &'a Works,
    pub kueue: &'a Kueue,
    pub steps: Steps<'a>,
}

impl Pass<'_> {
    /// Runs it.
    pub async fn run(mut self) -> Ended {
        if self.steps.attempts.holds_back(Request::Owner).is_some() {
            return self.waits();
        }
        let mut owner = match self.steps.read_owner().await {
            Ok(Some(owner)) => owner,
            Ok(None) => return Ended::Over,
            Err(failure) => return self.again_after(failure, None),
        };
        self.saw(&owner);
        let mut found = self.cached(&owner);
        let (mut queue, mut pods) = (None, None);
        for _ in 0..MOST_STEPS {
            let facts = Facts {
                kind: self.steps.key.kind,
                owner: &owner,
                found: found.clone(),
                attempts: self.steps.attempts,
                authorized: self.authorized(&owner),
                gate: self.gate(&owner).await,
                queue: queue.clone(),
                pods: pods.clone(),
                now: self.steps.now(),
            };
            match decide(&facts) {
                Step::Rest(wait) => return self.rest(&owner, wait),
                Step::Record(status) => match self.steps.record(&owner, &status).await {
                    Ok(recorded) => owner = recorded,
                    // Somebody else has changed it: all is decided again.
                    Err(failure) if failure.is_conflict() || failure.is_not_found() => {
                        return Ended::Waits { version: Box::default(), wait: Some(SHORT_WAIT) };
                    }
                    Err(failure) => return self.again_after(failure, owner.metadata.generation),
                },
                Step::Read => {
                    found = self.steps.read_work(&owner).await;
                    // A list of Pods that is older than the object says nothing about it.
                    pods = None;
                }
                Step::ListPods(selectors) => pods = Some(self.steps.any_pod(&owner, &selectors).await),
                Step::ReadQueue(work) => {
                    queue = Some(self.steps.read_queue(&owner, self.kueue, &work).await);
                }
                Step::StopQueue(queued) => {
                    self.steps.stop_in_queue(&owner, found.work(), &queued).await;
                    (queue, pods) = (None, None);
                }
                Step::Create => found = self.steps.create(&owner).await,
                Step::Apply(work) => found = self.steps.apply(&owner, &work).await,
                Step::Adopt(work) => found = self.steps.adopt(&owner, &work).await,
                Step::Label(work) => found = self.steps.label(&owner, &work).await,
                Step::Stop(work, patch) => {
                    found = self.steps.stop(&owner, &work, patch).await;
                    pods = None;
                }
            }
        }
        self.rest(&owner, Some(SHORT_WAIT))
    }

    /// What is remembered of it.
    fn saw(&mut self, owner: &Owner) {
        self.steps.attempts.of(owner.uid());
        // What an Execution runs cannot be changed.
        if self.steps.key.kind == Kind::Deployment {
            self.steps.attempts.saw(owner.template_hash(), self.steps.now());
            if owner.is_observed() {
                self.steps.attempts.permits();
            }
        }
    }

    /// A pass that ends because the owner cannot be read or written.
    fn again_after(&mut self, failure: Failure, generation: Option<i64>) -> Ended {
        let now = self.steps.now();
        let Key { kind, namespace, name } = self.steps.key;
        self.steps.ctx.metrics.failed(kind.plural(), &failure);
        warn!(owner = %format_args!("{}/{namespace}/{name}", kind.name()), %failure, "cannot read or record its state; trying again");
        self.steps.attempts.failed(Request::Owner, failure, generation, now);
        self.waits()
    }

    /// Until the request that has failed last may be sent again.
    fn waits(&self) -> Ended {
        let failed = self.steps.attempts.failed.as_ref();
        let wait = failed.map(|failed| failed.again.saturating_duration_since(Instant::now()));
        Ended::Waits { version: Box::default(), wait }
    }

    fn rest(&self, owner: &Owner, wait: Option<Duration>) -> Ended {
        let runs =
            matches!(owner.asks, Ok(Some(_)) | Err(_)) && !owner.managed_by_other && !owner.terminating();
        let over = owner.recorded.as_ref().is_ok_and(|recorded| recorded.is_over(self.steps.key.kind));
        let unwatched =
            asked(owner).is_some_and(|(engine, _)| !self.works.is_watched(engine, &self.steps.key.namespace));
        let wait = match wait {
            // Nothing else shows what becomes of it.
            wait if unwatched && !over => Some(wait.map_or(UNWATCHED, |wait| wait.min(UNWATCHED))),
            wait => wait,
        };
        match wait {
            _ if !runs => Ended::Over,
            None if over => Ended::Finished,
            wait => Ended::Waits { version: owner.version().into(), wait },
        }
    }

    fn cached(&self, owner: &Owner) -> Found {
        let cached =
            asked(owner).and_then(|(engine, name)| self.works.get(engine, &self.steps.key.namespace, name));
        cached.map_or(Found::NotCached, Found::Cached)
    }

    /// Whether its author was checked, and the author of a changed template.
    fn authorized(&self, owner: &Owner) -> Authorized {
        // It was found to be so when that was recorded.
        if owner.is_observed() || self.steps.attempts.permitted() {
            return Authorized::Yes;
        }
        let admission = self.steps.ctx.work_policies.admission();
        if let Admission::Missing(why) = &admission {
            return Authorized::Unknown(why.to_string());
        }
        let created = owner.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let since = match self.steps.key.kind {
            // What an Execution runs cannot be changed.
            Kind::Execution => created,
            Kind::Deployment => self.steps.attempts.changed_after(created),
        };
        if since.is_some_and(|time| admission.covers(time)) { Authorized::Yes } else { Authorized::No }
    }

    /// The gate, where something is to be stopped.
    async fn gate(&self, owner: &Owner) -> Gate {
        let asked = owner.recorded.as_ref().is_ok_and(Recorded::stop_asked);
        if !asked {
            return Gate::Open;
        }
        let now = Instant::now();
        match self.steps.ctx.flag.read_since(now.checked_sub(FRESH).unwrap_or(now)).await {
            Ok(flags) if flags.on(self.steps.key.kind) => Gate::Open,
            Ok(_) => {
                let kind = self.steps.key.kind.plural();
                Gate::Closed(format!(
                    "the stop waits: bulk updates of {kind} are disabled in {}",
                    self.steps.ctx.flag.place()
                ))
            }
            Err(failure) => Gate::Unreadable(format!(
                "the stop waits: {} cannot be read: {failure}",
                self.steps.ctx.flag.place()
            )),
        }
    }
}
