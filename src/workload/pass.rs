//! One pass over an Execution or Deployment that something runs for: observe, decide, and carry out one step after the other
//! until nothing is left to do for now.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp,
};
use kube::runtime::events::EventType;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    api::{
        Kind,
        time::{until, whole_seconds},
    },
    bulk_update::{Context, reference},
    client::Failure,
    observed::admission::Admission,
    workload::{
        attempts::Attempts,
        decide::decide,
        engine::{Engine, StopPatch},
        facts::{Authorized, Facts, Found, Gate, InQueue, Step},
        owner::{Asks, Owner, Recorded},
        pods,
        requests::{self, Place},
        status::{Progress, Reason, Status},
        work::Work,
        works::Works,
    },
};

/// The most steps of a pass: more would be a loop.
const MOST_STEPS: usize = 16;

/// How old a reading of the flag may be for a stop.
const FRESH: Duration = Duration::from_secs(1);

/// How long after a change of the API server's mind, such as two conflicts in a row, the next pass begins.
const SHORT_WAIT: Duration = Duration::from_millis(200);

/// Whose pass it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    pub namespace: Box<str>,
    pub name: Box<str>,
}

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
    pub ctx: &'a Context,
    pub works: &'a Works,
    pub key: &'a Key,
    pub attempts: &'a mut Attempts,
    /// Called with an engine whose objects can be read: from now on they are watched.
    pub serve: &'a (dyn Fn(&'static Engine) + Sync),
}

impl Pass<'_> {
    /// Runs it.
    pub async fn run(mut self) -> Ended {
        let mut owner = match self.read_owner().await {
            Ok(Some(owner)) => owner,
            Ok(None) => return Ended::Over,
            Err(failure) => return self.again_after(failure, None),
        };
        self.attempts.of(owner.uid());
        // What an Execution runs cannot be changed.
        if self.key.kind == Kind::Deployment {
            self.attempts.saw(owner.template_hash(), self.now());
        }
        let mut found = self.cached(&owner);
        let (mut queue, mut pods) = (None, None);
        for _ in 0..MOST_STEPS {
            let facts = Facts {
                kind: self.key.kind,
                owner: &owner,
                found: found.clone(),
                attempts: self.attempts,
                authorized: self.authorized(&owner),
                gate: self.gate(&owner).await,
                queue: queue.clone(),
                pods: pods.clone(),
                now: self.now(),
            };
            match decide(&facts) {
                Step::Rest(wait) => return self.rest(&owner, wait),
                Step::Record(status) => match self.record(&owner, &status).await {
                    Ok(recorded) => owner = recorded,
                    // Somebody else has changed it: all is decided again.
                    Err(failure) if failure.is_conflict() || failure.is_not_found() => {
                        return Ended::Waits { version: Box::default(), wait: Some(SHORT_WAIT) };
                    }
                    Err(failure) => return self.again_after(failure, owner.metadata.generation),
                },
                Step::Read => {
                    found = self.read_work(&owner).await;
                    // A list of Pods that is older than the object says nothing about it.
                    pods = None;
                }
                Step::ListPods(selectors) => {
                    let client = &self.ctx.client;
                    pods = Some(pods::any_pod(client, &self.key.namespace, &selectors).await);
                }
                Step::ReadQueue(work) => {
                    let client = &self.ctx.client;
                    queue = Some(requests::in_queue(client, &self.key.namespace, &work.uid).await);
                }
                Step::StopQueue(queued) => {
                    self.stop_in_queue(&owner, &queued).await;
                    (queue, pods) = (None, None);
                }
                Step::Create => found = self.create(&owner).await,
                Step::Apply(work) => found = self.apply(&owner, &work).await,
                Step::Adopt(work) => found = self.adopt(&owner, &work).await,
                Step::Stop(work, patch) => {
                    found = self.stop(&owner, &work, patch).await;
                    pods = None;
                }
            }
        }
        self.rest(&owner, Some(SHORT_WAIT))
    }

    /// A pass that ends because the owner cannot be read or written.
    fn again_after(&mut self, failure: Failure, generation: Option<i64>) -> Ended {
        let now = self.now();
        let Key { kind, namespace, name } = self.key;
        self.ctx.metrics.failed(kind.plural(), &failure);
        warn!(owner = %format_args!("{}/{namespace}/{name}", kind.name()), %failure, "cannot read or record its state; trying again");
        self.attempts.failed(failure, generation, now);
        let wait = self.attempts.failed.as_ref().map(|failed| until(failed.until, now));
        Ended::Waits { version: Box::default(), wait }
    }

    fn now(&self) -> Timestamp {
        whole_seconds(self.ctx.clock.now().earliest)
    }

    /// The latest that it can be.
    fn latest(&self) -> Timestamp {
        whole_seconds(self.ctx.clock.now().latest)
    }

    fn rest(&self, owner: &Owner, wait: Option<Duration>) -> Ended {
        let runs =
            matches!(owner.asks, Ok(Some(_)) | Err(_)) && !owner.managed_by_other && !owner.terminating();
        let over = owner.recorded.as_ref().is_ok_and(|recorded| recorded.is_over(self.key.kind));
        match wait {
            _ if !runs => Ended::Over,
            None if over => Ended::Finished,
            wait => Ended::Waits { version: owner.version().into(), wait },
        }
    }

    async fn read_owner(&self) -> Result<Option<Owner>, Failure> {
        requests::owner(&self.ctx.client, self.key.kind, &self.key.namespace, &self.key.name).await
    }

    fn cached(&self, owner: &Owner) -> Found {
        let cached =
            asked(owner).and_then(|(engine, name)| self.works.get(engine, &self.key.namespace, name));
        cached.map_or(Found::NotCached, Found::Cached)
    }

    fn place<'a>(&'a self, engine: &'static Engine, name: &'a str) -> Place<'a> {
        Place { engine, namespace: &self.key.namespace, name }
    }

    async fn read_work(&mut self, owner: &Owner) -> Found {
        let Some((engine, name)) = asked(owner) else { return Found::Absent };
        let read = requests::work(&self.ctx.client, self.place(engine, name)).await;
        if read.is_ok() {
            (self.serve)(engine);
        }
        match read {
            Ok(Some(work)) => Found::Live(work),
            Ok(None) => {
                self.attempts.absent(self.latest());
                Found::Absent
            }
            Err(failure) => {
                self.failed(owner, failure.clone());
                Found::Failed(failure)
            }
        }
    }

    /// Whether its author was checked, and the author of a changed template.
    fn authorized(&self, owner: &Owner) -> Authorized {
        let recorded = owner.recorded.as_ref().ok().filter(|recorded| recorded.workload.is_some());
        if recorded.is_some_and(|recorded| recorded.observed_generation == owner.metadata.generation) {
            // It was found to be so when that was recorded.
            return Authorized::Yes;
        }
        let admission = self.ctx.work_policies.admission();
        if let Admission::Missing(why) = &admission {
            return Authorized::Unknown(why.to_string());
        }
        let created = owner.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let since = match self.key.kind {
            // What an Execution runs cannot be changed.
            Kind::Execution => created,
            Kind::Deployment => self.attempts.changed_after(created),
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
        match self.ctx.flag.read_since(now.checked_sub(FRESH).unwrap_or(now)).await {
            Ok(flags) if flags.on(self.key.kind) => Gate::Open,
            Ok(_) => {
                let kind = self.key.kind.plural();
                Gate::Closed(format!(
                    "the stop waits: bulk updates of {kind} are disabled in {}",
                    self.ctx.flag.place()
                ))
            }
            Err(failure) => Gate::Unreadable(format!(
                "the stop waits: {} cannot be read: {failure}",
                self.ctx.flag.place()
            )),
        }
    }

    async fn record(&mut self, owner: &Owner, status: &Status) -> Result<Owner, Failure> {
        let Ok(recorded) = &owner.recorded else { return Ok(owner.clone()) };
        let Some(patch) = status.patch(recorded, self.now()) else {
            return Ok(owner.clone());
        };
        let intends = status.workload.as_ref().is_some_and(|workload| workload.uid.is_none());
        let new = recorded.workload != status.workload;
        // Nobody has requested its creation before this is recorded, also if the answer to this write is lost.
        if intends && new {
            self.attempts.intends();
        }
        let written = requests::record(&self.ctx.client, self.key.kind, owner, &patch).await?;
        self.report(owner, status, recorded.reason());
        Ok(written)
    }

    /// An event for what somebody may want to know, after the status says so.
    fn report(&self, owner: &Owner, status: &Status, before: Option<&str>) {
        let reason: &str = status.reason.into();
        if before == Some(reason) {
            return;
        }
        let r#type = match (status.progress, status.reason) {
            (Progress::Stalled, _) | (_, Reason::StopImpossible) => EventType::Warning,
            (Progress::Ready | Progress::Idle, _) => EventType::Normal,
            (Progress::Reconciling, _) => return,
        };
        self.ctx.events.publish(self.regarding(owner), r#type, reason, &status.message);
    }

    fn regarding(&self, owner: &Owner) -> ObjectReference {
        let ObjectMeta { namespace, name, uid, .. } = owner.metadata.clone();
        reference(self.key.kind.name(), namespace, name, uid)
    }

    /// A request about it, or about what runs for it, has failed.
    fn failed(&mut self, owner: &Owner, failure: Failure) {
        self.attempts.failed(failure, owner.metadata.generation, self.now());
    }

    async fn create(&mut self, owner: &Owner) -> Found {
        let Ok(Some(Asks::Template { engine, manifest })) = &owner.asks else { return Found::Absent };
        self.attempts.creating();
        let created = requests::create(&self.ctx.client, self.key.kind, engine, owner, manifest).await;
        self.log(owner, engine, "create", created.as_ref().err());
        match created {
            Ok(work) => {
                self.attempts.applied(owner.metadata.generation);
                (self.serve)(engine);
                Found::Live(work)
            }
            Err(failure) => {
                let now = self.latest();
                if self.attempts.creation_failed(&failure, owner.metadata.generation, now) {
                    self.read_work(owner).await
                } else {
                    Found::Absent
                }
            }
        }
    }

    async fn apply(&mut self, owner: &Owner, work: &Arc<Work>) -> Found {
        let Ok(Some(Asks::Template { engine, manifest })) = &owner.asks else { return Found::Absent };
        let applied = requests::apply(&self.ctx.client, engine, owner, manifest, work).await;
        self.log(owner, engine, "apply", applied.as_ref().err());
        match applied {
            Ok(work) => {
                self.attempts.applied(owner.metadata.generation);
                Found::Live(work)
            }
            // It is decided again on what it is now.
            Err(failure) if failure.is_conflict() || failure.is_not_found() => self.read_work(owner).await,
            Err(failure) => {
                self.failed(owner, failure);
                Found::Live(Arc::clone(work))
            }
        }
    }

    async fn adopt(&mut self, owner: &Owner, work: &Arc<Work>) -> Found {
        let Ok(Some(Asks::Reference { engine, name, .. })) = &owner.asks else { return Found::Absent };
        // What is owned by something that is gone is deleted.
        let now = self.read_owner().await;
        if !matches!(&now, Ok(Some(now)) if now.uid() == owner.uid() && !now.terminating()) {
            let failure = now.err().unwrap_or_else(|| Failure::unreadable("its owner has changed"));
            self.failed(owner, failure.clone());
            return Found::Failed(failure);
        }
        let place = self.place(engine, name);
        let adopted = requests::adopt(&self.ctx.client, self.key.kind, place, owner, work).await;
        self.log(owner, engine, "adopt", adopted.as_ref().err());
        match adopted {
            Ok(work) => {
                self.attempts.succeeded();
                (self.serve)(engine);
                Found::Live(work)
            }
            Err(failure) => {
                self.failed(owner, failure);
                self.read_work(owner).await
            }
        }
    }

    async fn stop(&mut self, owner: &Owner, work: &Arc<Work>, patch: &'static StopPatch) -> Found {
        let Some((engine, name)) = asked(owner) else { return Found::Absent };
        let stopped = requests::stop(&self.ctx.client, self.place(engine, name), work, patch).await;
        self.log(owner, engine, "stop", stopped.as_ref().err());
        self.stopped(owner, stopped);
        self.read_work(owner).await
    }

    async fn stop_in_queue(&mut self, owner: &Owner, queued: &InQueue) {
        let Some((engine, _)) = asked(owner) else { return };
        let stopped = requests::stop_in_queue(&self.ctx.client, &self.key.namespace, queued).await;
        self.log(owner, engine, "stop in its queue", stopped.as_ref().err());
        self.stopped(owner, stopped);
    }

    fn stopped(&mut self, owner: &Owner, stopped: Result<(), Failure>) {
        match stopped {
            Ok(()) => {
                if self.attempts.stops > 0 {
                    let note = "a stop of what runs was undone, and is requested again";
                    self.ctx.events.publish(self.regarding(owner), EventType::Warning, "StopUndone", note);
                }
                self.attempts.stopped(self.now());
            }
            Err(failure) if failure.is_conflict() || failure.is_not_found() => {}
            Err(failure) => self.failed(owner, failure),
        }
    }

    /// Each write to what runs is one line.
    fn log(&self, owner: &Owner, engine: &Engine, verb: &str, failure: Option<&Failure>) {
        let Key { kind, namespace, name } = self.key;
        info!(
            owner = %format_args!("{}/{namespace}/{name}", kind.name()),
            owner_uid = owner.uid(),
            engine = engine.kind.kind(),
            verb,
            outcome = %failure.map_or_else(|| "accepted".to_owned(), ToString::to_string),
            "wrote to what runs"
        );
    }
}

/// The engine and the name of what runs for it.
fn asked(owner: &Owner) -> Option<(&'static Engine, &str)> {
    match owner.asks.as_ref().ok()?.as_ref()? {
        Asks::Template { engine, .. } => Some((engine, owner.name())),
        Asks::Reference { engine, name, .. } => Some((engine, name)),
    }
}
