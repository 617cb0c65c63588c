//! The requests of a pass, and what is remembered of their answers.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp,
};
use kube::runtime::events::EventType;
use tracing::info;

use crate::{
    api::{Kind, time::whole_seconds},
    bulk_update::{Context, reference},
    client::Failure,
    workload::{
        attempts::{Attempts, Request},
        decide::creation_refused,
        engine::{Engine, Phase, PodSelector, StopPatch},
        facts::{Found, InQueue},
        owner::{Asks, Owner},
        pods,
        queue::{self, Kueue},
        requests::{self, Place},
        status::{Progress, Reason, Status},
        work::Work,
    },
};

/// Whose pass it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    pub namespace: Box<str>,
    pub name: Box<str>,
}

/// What the requests of a pass have in common.
pub struct Steps<'a> {
    pub ctx: &'a Context,
    pub key: &'a Key,
    pub attempts: &'a mut Attempts,
}

impl Steps<'_> {
    pub fn now(&self) -> Timestamp {
        whole_seconds(self.ctx.clock.now().earliest)
    }

    /// The latest that it can be.
    pub fn latest(&self) -> Timestamp {
        whole_seconds(self.ctx.clock.now().latest)
    }

    pub async fn read_owner(&self) -> Result<Option<Owner>, Failure> {
        requests::owner(&self.ctx.client, self.key.kind, &self.key.namespace, &self.key.name).await
    }

    fn place<'a>(&'a self, engine: &'static Engine, name: &'a str) -> Place<'a> {
        Place { engine, namespace: &self.key.namespace, name }
    }

    pub async fn read_work(&mut self, owner: &Owner) -> Found {
        let Some((engine, name)) = asked(owner) else { return Found::Absent };
        let (ctx, place) = (self.ctx, Place { engine, namespace: &self.key.namespace, name });
        let read = self.look(Request::Read, owner, requests::work(&ctx.client, place)).await;
        // Also where something else has the name of what may still be created.
        if read
            .as_ref()
            .is_ok_and(|work| !work.as_ref().is_some_and(|work| work.is_controlled_by(owner.uid())))
        {
            self.attempts.absent(self.latest());
        }
        match read {
            Ok(work) => work.map_or(Found::Absent, Found::Live),
            Err(failure) => Found::Failed(failure),
        }
    }

    /// Sends a request to read something about what runs, unless the last one has failed and it is too early to repeat it.
    async fn look<T>(
        &mut self,
        request: Request,
        owner: &Owner,
        read: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if let Some(failure) = self.attempts.holds_back(request) {
            return Err(failure.clone());
        }
        let answer = read.await;
        match &answer {
            // That Kueue is not installed is an answer, too.
            Err(Failure::NotServed(_)) if request == Request::Queue => self.attempts.succeeded(request),
            Err(failure) => self.failed(request, owner, failure.clone()),
            Ok(_) => self.attempts.succeeded(request),
        }
        answer
    }

    /// What it is after a request to change it, which was answered so.
    async fn changed(
        &mut self,
        request: Request,
        owner: &Owner,
        answer: Result<Arc<Work>, Failure>,
    ) -> Found {
        match answer {
            Ok(work) => {
                self.attempts.succeeded(request);
                Found::Live(work)
            }
            Err(failure) => {
                self.failed(request, owner, failure);
                self.read_work(owner).await
            }
        }
    }

    /// Whether a Pod of one of these is left.
    pub async fn any_pod(&mut self, owner: &Owner, selectors: &[PodSelector]) -> Result<bool, Failure> {
        let (ctx, key) = (self.ctx, self.key);
        self.look(Request::Pods, owner, pods::any_pod(&ctx.client, &key.namespace, selectors)).await
    }

    /// Kueue's Workload of what runs.
    pub async fn read_queue(
        &mut self,
        owner: &Owner,
        kueue: &Kueue,
        work: &Work,
    ) -> Result<Option<Arc<InQueue>>, Failure> {
        let (ctx, key) = (self.ctx, self.key);
        self.look(Request::Queue, owner, kueue.workload(&ctx.client, &key.namespace, &work.uid)).await
    }

    pub async fn record(&mut self, owner: &Owner, status: &Status) -> Result<Owner, Failure> {
        let Ok(recorded) = &owner.recorded else { return Ok(owner.clone()) };
        let Some(patch) = status.patch(recorded, self.now()) else {
            return Ok(owner.clone());
        };
        let intends = status.workload.as_ref().is_some_and(|workload| workload.uid.is_none());
        // Nobody has requested its creation before this is recorded, also if the answer to this write is lost; nor has anybody since
        // it was refused.
        let new = recorded.workload != status.workload || creation_refused(recorded);
        if intends && new {
            self.attempts.intends();
        }
        let written = requests::record(&self.ctx.client, self.key.kind, owner, &patch).await?;
        self.report(owner, status, recorded.reason());
        self.attempts.succeeded(Request::Owner);
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
    pub fn failed(&mut self, request: Request, owner: &Owner, failure: Failure) {
        self.attempts.failed(request, failure, owner.metadata.generation, self.now());
    }

    pub async fn create(&mut self, owner: &Owner) -> Found {
        let Ok(Some(Asks::Template { engine, manifest })) = &owner.asks else { return Found::Absent };
        self.attempts.creating();
        let created = requests::create(&self.ctx.client, self.key.kind, engine, owner, manifest).await;
        self.log(owner, engine, "create", created.as_ref().err());
        match created {
            Ok(work) => {
                self.attempts.applied(owner.metadata.generation);
                Found::Live(work)
            }
            Err(failure) => {
                let now = self.latest();
                if self.attempts.creation_failed(&failure, owner.metadata.generation, now) {
                    let found = self.read_work(owner).await;
                    // Nothing has the name: it is a quota that many use at once.
                    if matches!(found, Found::Absent) && failure.is_conflict() {
                        self.failed(Request::Create, owner, failure);
                    }
                    found
                } else {
                    Found::Absent
                }
            }
        }
    }

    pub async fn apply(&mut self, owner: &Owner, work: &Arc<Work>) -> Found {
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
                self.failed(Request::Apply, owner, failure);
                Found::Live(Arc::clone(work))
            }
        }
    }

    pub async fn adopt(&mut self, owner: &Owner, work: &Arc<Work>) -> Found {
        let Ok(Some(Asks::Reference { engine, name, .. })) = &owner.asks else { return Found::Absent };
        // What is owned by something that is gone is deleted.
        let now = self.read_owner().await;
        if !matches!(&now, Ok(Some(now)) if now.uid() == owner.uid() && !now.terminating()) {
            let failure = now.err().unwrap_or_else(|| Failure::unreadable("its owner has changed"));
            self.failed(Request::Owner, owner, failure.clone());
            return Found::Failed(failure);
        }
        let place = self.place(engine, name);
        let adopted = requests::adopt(&self.ctx.client, self.key.kind, place, owner, work).await;
        self.log(owner, engine, "adopt", adopted.as_ref().err());
        self.changed(Request::Adopt, owner, adopted).await
    }

    pub async fn label(&mut self, owner: &Owner, work: &Arc<Work>) -> Found {
        let Some((engine, name)) = asked(owner) else { return Found::Absent };
        let labelled = requests::label(&self.ctx.client, self.place(engine, name), owner, work).await;
        if !labelled.as_ref().is_err_and(Failure::is_conflict) {
            self.attempts.labelled_at = Some(self.now());
        }
        self.log(owner, engine, "label", labelled.as_ref().err());
        self.changed(Request::Label, owner, labelled).await
    }

    pub async fn stop(&mut self, owner: &Owner, work: &Arc<Work>, patch: &'static StopPatch) -> Found {
        let Some((engine, name)) = asked(owner) else { return Found::Absent };
        let stopped = requests::stop(&self.ctx.client, self.place(engine, name), work, patch).await;
        self.log(owner, engine, "stop", stopped.as_ref().err());
        let shown = self.stopped(owner, stopped).flatten();
        self.attempts.stopped_unseen = !was_running(work);
        match shown {
            Some(work) => Found::Live(work),
            None => self.read_work(owner).await,
        }
    }

    pub async fn stop_in_queue(&mut self, owner: &Owner, work: Option<&Arc<Work>>, queued: &InQueue) {
        let Some((engine, _)) = asked(owner) else { return };
        let stopped = queue::stop(&self.ctx.client, &self.key.namespace, queued).await;
        self.log(owner, engine, "stop in its queue", stopped.as_ref().err());
        self.stopped(owner, stopped);
        self.attempts.stopped_unseen = !work.is_some_and(was_running);
    }

    /// What the answer to a stop means for the next one; and what it shows.
    fn stopped<T>(&mut self, owner: &Owner, stopped: Result<T, Failure>) -> Option<T> {
        match stopped {
            Ok(shown) => {
                if self.attempts.stops > 0 {
                    let note = "a stop of what runs was undone, and is requested again";
                    self.ctx.events.publish(self.regarding(owner), EventType::Warning, "StopUndone", note);
                }
                self.attempts.stopped(self.now());
                return Some(shown);
            }
            Err(failure) if failure.is_conflict() || failure.is_not_found() => {}
            Err(failure) => self.failed(Request::Stop, owner, failure),
        }
        None
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

fn was_running(work: &Arc<Work>) -> bool {
    work.seen.as_ref().is_ok_and(|seen| seen.phase == Phase::Running)
}

/// The engine and the name of what runs for it.
pub fn asked(owner: &Owner) -> Option<(&'static Engine, &str)> {
    match owner.asks.as_ref().ok()?.as_ref()? {
        Asks::Template { engine, .. } => Some((engine, owner.name())),
        Asks::Reference { engine, name, .. } => Some((engine, name)),
    }
}
