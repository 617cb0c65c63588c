//! All BulkUpdates: one task for each that is under way, a few bytes for each that has finished.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::{events::EventType, watcher::Event};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};
use tracing::{Instrument, Span, info_span, warn};

use crate::{
    api::{BulkUpdate, BulkUpdateStatus, ConditionReason},
    bulk_update::{
        cleanup::Cleanup,
        context::{Context, Current, Latest},
        events::reference,
        finished::Finished,
        pass::run,
        request::Request,
        stored::Stored,
        unreadable::{Report, message},
    },
    observed::target::version_number,
};

/// Namespace and name.
type Key = (Box<str>, Box<str>);

/// Whose task ended, and what to keep of the BulkUpdate if it finished.
type Ended = (Key, Option<Finished>);

/// Tracks BulkUpdates by uid: one created again under the same name is another.
pub struct Registry {
    ctx: Arc<Context>,
    tracked: BTreeMap<Key, Tracked>,
    tasks: JoinSet<Ended>,
    /// The number of the current list of each scope (a namespace, or all).
    lists: HashMap<Option<Box<str>>, u32>,
    unreadable: u64,
}

#[derive(Debug)]
struct Tracked {
    uid: Box<str>,
    /// The resource version at which it was created, if a running watch reported that.
    creation_version: Option<u64>,
    /// The newest resource version that was shown of it.
    version: Option<u64>,
    list: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A task reconciles it or is about to end; and what follows then.
    Underway { task: Id, current: watch::Sender<Current>, next: Option<Box<Next>> },
    /// It has finished; what is left to do for the object itself continues while `rest` is held.
    Finished { rest: Option<Cleanup> },
    /// It cannot be read (or exceeds the bounds), and no task runs for it. Its conditions are being written, as they
    /// were `earlier` times before.
    Unreadable {
        #[expect(dead_code, reason = "holding it keeps the task alive")]
        report: Report,
        earlier: u32,
    },
    /// It is gone or terminating, which is final: an event that says otherwise is stale.
    Terminated,
}

/// What follows once its task has ended.
#[derive(Debug)]
enum Next {
    Unreadable(Box<Stored>),
    Again(Box<BulkUpdate>),
    Over(Finished),
    Terminating,
}

impl Registry {
    /// An empty one.
    pub fn new(ctx: Arc<Context>) -> Self {
        Self { ctx, tracked: BTreeMap::new(), tasks: JoinSet::new(), lists: HashMap::new(), unreadable: 0 }
    }

    /// Handles watch events until shutdown, then waits for all tasks to end.
    pub async fn run(mut self, events: impl Stream<Item = (Option<String>, Event<Stored>)>) {
        let mut events = std::pin::pin!(events);
        let shutdown = self.ctx.shutdown.clone();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                event = events.next() => match event {
                    Some((scope, event)) => self.take_in(scope.as_deref(), event),
                    None => break,
                },
            }
        }
        while let Some(ended) = self.tasks.join_next().await {
            let _ = crate::tasks::resume_panic(ended);
        }
    }

    fn take_in(&mut self, scope: Option<&str>, event: Event<Stored>) {
        let listed = matches!(event, Event::InitApply(_));
        match event {
            Event::Init => *self.lists.entry(scope.map(Into::into)).or_default() += 1,
            Event::InitApply(stored) | Event::Apply(stored) => {
                let metadata = &stored.bulk.metadata;
                let (key, version) = (key(metadata), version_number(metadata));
                let list = self.list(scope);
                // What is shown as it was before says nothing about what has the name now, unless a list shows another one.
                if let Some(known) = self.tracked.get_mut(&key).filter(|known| known.is_newer_than(version)) {
                    let same = metadata.uid.as_deref() == Some(&*known.uid);
                    if same {
                        known.list = list;
                        known.stop_if_terminating(metadata);
                    }
                    if same || !listed {
                        return;
                    }
                }
                // A finished one is left alone whatever is wrong with it; one without an identity is always reported.
                if stored.flaw.is_some()
                    && !(Finished::read(&stored.bulk).is_some() && stored.is_addressable())
                {
                    self.unreadable(&stored, list, listed);
                } else {
                    self.apply(Box::new(stored.bulk), list, listed);
                }
                if let Some(known) = self.tracked.get_mut(&key) {
                    known.version = known.version.max(version);
                }
            }
            Event::Delete(Stored { bulk, .. }) => {
                let key = key(&bulk.metadata);
                if self.tracked.get(&key).is_some_and(|k| Some(&*k.uid) == bulk.metadata.uid.as_deref()) {
                    self.forget(&key);
                }
            }
            Event::InitDone => {
                let list = self.list(scope);
                let in_scope = |key: &Key| scope.is_none_or(|only| only == &*key.0);
                let gone: Vec<_> = self
                    .tracked
                    .iter()
                    .filter(|(key, known)| in_scope(key) && known.list != list)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in gone {
                    self.forget(&key);
                }
            }
        }
    }

    /// The number of the current list of a scope.
    fn list(&self, scope: Option<&str>) -> u32 {
        self.lists.get(&scope.map(Into::into)).copied().unwrap_or_default()
    }

    fn forget(&mut self, key: &Key) {
        if let Some(Tracked { state: State::Underway { current, .. }, .. }) = self.tracked.remove(key) {
            current.send_modify(|current| current.stopped = true);
        }
    }

    /// `listed`: from a list, not from a running watch.
    fn apply(&mut self, bulk: Box<BulkUpdate>, list: u32, listed: bool) {
        let key = key(&bulk.metadata);
        let uid: Box<str> = bulk.metadata.uid.clone().unwrap_or_default().into();
        let ctx = Arc::clone(&self.ctx);
        let Some(known) = self.tracked_as(&key, &uid) else {
            let creation_version = created_at(&bulk).filter(|_| !listed);
            let state = self.begin(&key, bulk, creation_version);
            self.tracked.insert(key, Tracked { uid, creation_version, version: None, list, state });
            return;
        };
        known.list = list;
        let creation_version = known.creation_version;
        match &mut known.state {
            State::Underway { current, next, .. } => {
                let stopped = current.borrow().stopped;
                let terminating = bulk.metadata.deletion_timestamp.is_some();
                current.send_modify(|current| current.saw(&bulk.metadata, terminating));
                *next = match Finished::read(&bulk) {
                    Some(over) => Some(Box::new(Next::Over(over))),
                    None if terminating => Some(Box::new(Next::Terminating)),
                    // Its task is ending.
                    None if stopped => Some(Box::new(Next::Again(bulk))),
                    None => None,
                };
            }
            State::Finished { rest } => {
                // It stays finished, even if a stale event says otherwise.
                if let Some(over) = Finished::read(&bulk) {
                    *rest = Some(Cleanup::spawn(&ctx, over));
                }
            }
            State::Unreadable { .. } => {
                let state = self.begin(&key, bulk, creation_version);
                self.tracked.insert(key, Tracked { uid, creation_version, version: None, list, state });
            }
            State::Terminated => {}
        }
    }

    /// What is tracked under this name with this uid: another object that had the name is forgotten.
    fn tracked_as(&mut self, key: &Key, uid: &str) -> Option<&mut Tracked> {
        if self.tracked.get(key).is_some_and(|known| &*known.uid != uid) {
            self.forget(key);
        }
        self.tracked.get_mut(key)
    }

    fn begin(&mut self, key: &Key, bulk: Box<BulkUpdate>, creation_version: Option<u64>) -> State {
        if let Some(over) = Finished::read(&bulk) {
            return State::Finished { rest: Some(Cleanup::spawn(&self.ctx, over)) };
        }
        if bulk.metadata.deletion_timestamp.is_some() {
            return State::Terminated;
        }
        let (ctx, key) = (Arc::clone(&self.ctx), key.clone());
        let span = span(&ctx, &bulk);
        let mut seen = Current { creation_version, ..Current::default() };
        seen.saw(&bulk.metadata, false);
        let (current, receiver) = watch::channel(seen);
        let latest = Latest { current: receiver, shutdown: self.ctx.shutdown.clone() };
        let task = async move { (key, Box::pin(run(ctx, latest, bulk)).instrument(span).await) };
        State::Underway { task: self.tasks.spawn(task).id(), current, next: None }
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, (key, over)) = crate::tasks::resume_panic(ended);
        let Some(known) = self.tracked.get_mut(&key) else { return };
        let State::Underway { task, current, next } = &mut known.state else { return };
        if *task != id {
            // It was forgotten; a new task runs under this name by now.
            return;
        }
        let (next, generation) = (next.take(), current.borrow().generation);
        let creation_version = known.creation_version;
        let state = match (next.map(|next| *next), over) {
            (Some(Next::Unreadable(stored)), _) => self.report(&stored, 0),
            (Some(Next::Again(bulk)), _) => self.begin(&key, bulk, creation_version),
            (Some(Next::Over(over)), _) => State::Finished { rest: Some(Cleanup::spawn(&self.ctx, over)) },
            (Some(Next::Terminating), _) | (None, None) => State::Terminated,
            // The event of its completion is still to come, or was lost. Changes in a newer generation, such as
            // another TTL, come with an event.
            (None, Some(over)) => {
                let same = over.speaks_of(generation);
                State::Finished { rest: same.then(|| Cleanup::spawn(&self.ctx, over)) }
            }
        };
        if let Some(known) = self.tracked.get_mut(&key) {
            known.state = state;
        }
    }

    fn unreadable(&mut self, stored: &Stored, list: u32, listed: bool) {
        let metadata = &stored.bulk.metadata;
        let key = key(metadata);
        let uid: Box<str> = metadata.uid.clone().unwrap_or_default().into();
        let terminating = metadata.deletion_timestamp.is_some();
        if let Some(known) = self.tracked_as(&key, &uid) {
            known.list = list;
            match &mut known.state {
                // Its report is on its way, or waits as the API server has asked.
                State::Unreadable { .. }
                    if known.version.is_some() && known.version == version_number(metadata) =>
                {
                    return;
                }
                State::Unreadable { earlier, .. } => {
                    let (earlier, creation_version) = (earlier.saturating_add(1), known.creation_version);
                    let state = self.report(stored, earlier);
                    self.tracked.insert(key, Tracked { uid, creation_version, version: None, list, state });
                    return;
                }
                State::Underway { current, next, .. } => {
                    let reported = matches!(next.as_deref(), Some(Next::Unreadable(_)));
                    current.send_modify(|current| current.saw(metadata, true));
                    if terminating {
                        *next = Some(Box::new(Next::Terminating));
                        return;
                    }
                    *next = Some(Box::new(Next::Unreadable(Box::new(stored.clone()))));
                    if !reported {
                        self.publish(&key, stored);
                    }
                    return;
                }
                State::Terminated | State::Finished { .. } => return,
            }
        }
        let state = if terminating {
            State::Terminated
        } else {
            self.publish(&key, stored);
            self.report(stored, 0)
        };
        let creation_version = created_at(&stored.bulk).filter(|_| !listed);
        self.tracked.insert(key, Tracked { uid, creation_version, version: None, list, state });
    }

    fn report(&self, stored: &Stored, earlier: u32) -> State {
        let why = stored.flaw.as_deref().unwrap_or_default();
        let report = Report::begin(&self.ctx, stored, why, self.ctx.clock.now().to_record(), earlier);
        State::Unreadable { report, earlier }
    }

    /// Counts, logs and publishes an event: in its namespace, with its uid where its name cannot be read.
    fn publish(&mut self, key: &Key, stored: &Stored) {
        self.unreadable += 1;
        self.ctx.metrics.unreadable("bulkupdates");
        let why = stored.flaw.as_deref().unwrap_or_default();
        warn!(bulk_update = %format_args!("{}/{}", key.0, key.1), error = why, unreadable = self.unreadable,
            "a BulkUpdate cannot be read; nothing is done for it");
        let ObjectMeta { namespace, name, uid, .. } = stored.bulk.metadata.clone();
        if namespace.is_none() {
            return;
        }
        let planned = stored.bulk.status.as_ref().is_some_and(|status| status.start_time.is_some());
        let note = message(why, planned);
        let regarding = reference("BulkUpdate", namespace, name, uid);
        self.ctx.events.publish(regarding, EventType::Warning, ConditionReason::Unreadable.into(), &note);
    }
}

fn span(ctx: &Context, bulk: &BulkUpdate) -> Span {
    let request = Request::from(bulk);
    info_span!("bulk_update", k8s.namespace.name = request.namespace, bulk_update = request.name,
        uid = %request.uid, requester = ctx.requester(&request), items = request.items.len())
}

/// The resource version at which a BulkUpdate was created, if a running watch reports it for the first time.
///
/// A watch delivers each object first as it was created; what existed before came with the list. Nothing may have been
/// written into it since: if an event was lost, a later version would make younger objects count as older.
fn created_at(bulk: &BulkUpdate) -> Option<u64> {
    let unseen = bulk.status.as_ref().is_none_or(|status| *status == BulkUpdateStatus::default());
    version_number(&bulk.metadata).filter(|_| unseen && bulk.metadata.generation == Some(1))
}

impl Tracked {
    /// Whether a newer version was shown than this one; one that is not a number is not older.
    fn is_newer_than(&self, version: Option<u64>) -> bool {
        self.version.zip(version).is_some_and(|(known, shown)| shown < known)
    }

    /// What goes comes back in no version: after etcd was restored, also a lower one tells.
    fn stop_if_terminating(&self, metadata: &ObjectMeta) {
        if let (State::Underway { current, .. }, Some(_)) = (&self.state, &metadata.deletion_timestamp) {
            current.send_modify(|current| current.stopped = true);
        }
    }
}

impl Current {
    fn saw(&mut self, metadata: &ObjectMeta, stop: bool) {
        self.stopped |= stop;
        self.generation = metadata.generation;
    }
}

/// Its key: one without a readable name is tracked by its uid, in a form that no name has.
fn key(metadata: &ObjectMeta) -> Key {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let name = match text(&metadata.name) {
        none if none.is_empty() => format!("uid {}", text(&metadata.uid)),
        name => name,
    };
    (text(&metadata.namespace).into(), name.into())
}

#[cfg(test)]
mod tests;
