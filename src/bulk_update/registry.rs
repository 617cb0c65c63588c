//! Which BulkUpdates there are: one task for each that is under way, a trifle for each that is over.

use std::{collections::HashMap, sync::Arc};

use futures::{Stream, StreamExt};
use kube::{
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::{events::EventType, watcher::Event},
};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};
use tracing::{Instrument, Span, info_span, warn};

use super::{
    Context, Current, Latest, carry_out,
    finished::Finished,
    report,
    request::{Request, unfit},
};
use crate::{
    api::{BulkUpdate, BulkUpdateStatus},
    target::{not_older, version_number},
};

/// Namespace and name.
type Key = (Box<str>, Box<str>);

/// Whose task has ended, and the BulkUpdate at its end, if that is on record.
type Ended = (Key, Option<Box<BulkUpdate>>);

/// Keeps BulkUpdates apart by uid: one made anew under the same name is another.
pub struct Registry {
    ctx: Arc<Context>,
    known: HashMap<Key, Known>,
    tasks: JoinSet<Ended>,
    /// The number of the present list of each scope (a namespace, or all).
    lists: HashMap<Option<Box<str>>, u32>,
    undecodable: u64,
}

#[derive(Debug)]
struct Known {
    uid: Box<str>,
    /// The resource version at which it was created, if a running watch has brought that.
    made_at: Option<u64>,
    list: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A task carries it out, or is about to end.
    Underway { task: Id, current: watch::Sender<Current>, undecodable: bool },
    /// Nothing more is done to its targets; what is left to do for itself goes on while `rest` is held.
    Over { rest: Option<Finished> },
    /// It can't be decoded (or is unfit, which is treated alike), and no task runs for it.
    Undecodable,
    /// Nothing is done any more, though it has not come to its end: it is gone, or being deleted, and neither is ever taken
    /// back. An event that says otherwise is an old one.
    LaidDown,
}

impl Registry {
    /// One that knows no BulkUpdate yet.
    #[must_use]
    pub fn new(ctx: Arc<Context>) -> Self {
        Self { ctx, known: HashMap::new(), tasks: JoinSet::new(), lists: HashMap::new(), undecodable: 0 }
    }

    /// Does what the watches say, until the process is to end and the tasks have laid down their work.
    pub async fn run(
        mut self,
        events: impl Stream<Item = (Option<String>, Event<DeserializeGuard<BulkUpdate>>)>,
    ) {
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
            let _ = crate::unpanicked(ended);
        }
    }

    fn take_in(&mut self, scope: Option<&str>, event: Event<DeserializeGuard<BulkUpdate>>) {
        let listed = matches!(event, Event::InitApply(_));
        match event {
            Event::Init => *self.lists.entry(scope.map(Into::into)).or_default() += 1,
            Event::InitApply(DeserializeGuard(object)) | Event::Apply(DeserializeGuard(object)) => {
                let list = self.list(scope);
                match object {
                    Ok(bulk) => match unfit(&bulk.spec).filter(|_| !is_over(&bulk)) {
                        Some(why) => {
                            let invalid = InvalidObject { error: why.into(), metadata: bulk.metadata };
                            self.undecodable(&invalid, list);
                        }
                        None => self.apply(Arc::new(bulk), list, listed),
                    },
                    Err(invalid) => self.undecodable(&invalid, list),
                }
            }
            Event::Delete(DeserializeGuard(object)) => {
                let meta = match &object {
                    Ok(bulk) => &bulk.metadata,
                    Err(invalid) => &invalid.metadata,
                };
                let key = key(meta.namespace.as_deref(), meta.name.as_deref());
                if self.known.get(&key).is_some_and(|k| Some(&*k.uid) == meta.uid.as_deref()) {
                    self.forget(&key);
                }
            }
            Event::InitDone => {
                let list = self.list(scope);
                let in_scope = |key: &Key| scope.is_none_or(|only| only == &*key.0);
                let gone: Vec<_> = self
                    .known
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

    /// The number of the present list of a scope.
    fn list(&self, scope: Option<&str>) -> u32 {
        self.lists.get(&scope.map(Into::into)).copied().unwrap_or_default()
    }

    fn forget(&mut self, key: &Key) {
        if let Some(Known { state: State::Underway { current, .. }, .. }) = self.known.remove(key) {
            current.send_modify(|current| current.stopped = true);
        }
    }

    /// `listed` is whether a list has brought it.
    fn apply(&mut self, bulk: Arc<BulkUpdate>, list: u32, listed: bool) {
        let meta = &bulk.metadata;
        let key = key(meta.namespace.as_deref(), meta.name.as_deref());
        let uid: Box<str> = meta.uid.clone().unwrap_or_default().into();
        let terminating = meta.deletion_timestamp.is_some();
        if self.known.get(&key).is_some_and(|known| known.uid != uid) {
            self.forget(&key);
        }
        let Some(known) = self.known.get_mut(&key) else {
            let made_at = created_at(&bulk).filter(|_| !listed);
            let state = self.begin(&key, bulk, made_at);
            self.known.insert(key, Known { uid, made_at, list, state });
            return;
        };
        known.list = list;
        let made_at = known.made_at;
        match &mut known.state {
            State::Underway { current, undecodable, .. } => {
                *undecodable = false;
                current.send_modify(|current| {
                    current.stopped |= terminating;
                    if !is_older(&bulk, &current.bulk) {
                        current.bulk = bulk;
                    }
                });
            }
            State::Over { rest } => {
                // What is over stays over: a watch that goes back in time does not take it up again.
                if is_over(&bulk) {
                    *rest = Some(Finished::take_up(&self.ctx, &bulk));
                }
            }
            State::Undecodable => {
                let state = self.begin(&key, bulk, made_at);
                self.known.insert(key, Known { uid, made_at, list, state });
            }
            State::LaidDown => {}
        }
    }

    /// Takes up what is not under way yet.
    fn begin(&mut self, key: &Key, bulk: Arc<BulkUpdate>, made_at: Option<u64>) -> State {
        if is_over(&bulk) {
            return State::Over { rest: Some(Finished::take_up(&self.ctx, &bulk)) };
        }
        if bulk.metadata.deletion_timestamp.is_some() {
            return State::LaidDown;
        }
        let (ctx, key) = (Arc::clone(&self.ctx), key.clone());
        let span = span(&ctx, &bulk);
        let (current, receiver) = watch::channel(Current { bulk, stopped: false, made_at });
        let latest = Latest { current: receiver, shutdown: self.ctx.shutdown.clone() };
        let task = self.tasks.spawn(async move { (key, carry_out(ctx, latest).instrument(span).await) }).id();
        State::Underway { task, current, undecodable: false }
    }

    /// A task has ended.
    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, (key, over)) = crate::unpanicked(ended);
        let Some(known) = self.known.get_mut(&key) else { return };
        let State::Underway { task, current, undecodable } = &known.state else { return };
        if *task != id {
            // It was forgotten, and what has the name now has a task of its own: another, or the same once more.
            return;
        }
        let Current { bulk, stopped, made_at } = current.borrow().clone();
        let terminating = bulk.metadata.deletion_timestamp.is_some();
        if *undecodable {
            known.state = State::Undecodable;
        } else if stopped && !terminating {
            // It could not be decoded for a while, and can again.
            let state = self.begin(&key, bulk, made_at);
            if let Some(known) = self.known.get_mut(&key) {
                known.state = state;
            }
        } else if is_over(&bulk) {
            known.state = State::Over { rest: Some(Finished::take_up(&self.ctx, &bulk)) };
        } else if let Some(end) = over {
            // The event of the end is still to come, or was lost. What a newer generation says, such as another TTL, only
            // an event tells.
            let current = bulk.metadata.generation;
            let same = end.metadata.generation == current
                && end.status.as_ref().map(|s| s.observed_generation) == current;
            let rest = same.then(|| Finished::take_up(&self.ctx, &end));
            known.state = State::Over { rest };
        } else {
            known.state = State::LaidDown;
        }
    }

    fn undecodable(&mut self, invalid: &InvalidObject, list: u32) {
        let meta = &invalid.metadata;
        let key = key(meta.namespace.as_deref(), meta.name.as_deref());
        let uid: Box<str> = meta.uid.clone().unwrap_or_default().into();
        if self.known.get(&key).is_some_and(|known| known.uid != uid) {
            self.forget(&key);
        }
        match self.known.get_mut(&key) {
            Some(Known { list: seen_in, state: State::Undecodable, .. }) => {
                *seen_in = list;
                return;
            }
            Some(known) => {
                known.list = list;
                match &mut known.state {
                    State::Underway { current, undecodable, .. } => {
                        *undecodable = true;
                        current.send_modify(|current| current.stopped = true);
                    }
                    State::LaidDown => {}
                    state => *state = State::Undecodable,
                }
            }
            None => {
                let known = Known { uid, made_at: None, list, state: State::Undecodable };
                self.known.insert(key.clone(), known);
            }
        }
        self.undecodable += 1;
        self.ctx.metrics.unreadable("bulkupdates");
        warn!(bulk_update = %format_args!("{}/{}", key.0, key.1), error = invalid.error,
            undecodable = self.undecodable, "a BulkUpdate can't be decoded: nothing is done for it");
        let note = format!("it can't be decoded, so nothing is done for it: {}", invalid.error);
        let (namespace, name) = (meta.namespace.clone(), meta.name.clone());
        let uid = meta.uid.clone();
        report::publish(&self.ctx, namespace, name, uid, EventType::Warning, "Unreadable", &note);
    }
}

/// What its trace is called, and tells.
fn span(ctx: &Context, bulk: &BulkUpdate) -> Span {
    let request = Request::from(bulk);
    info_span!("bulk_update", k8s.namespace.name = request.namespace, bulk_update = request.name,
        uid = %request.uid, requester = ctx.requester(&request), items = request.items.len())
}

/// The resource version at which a BulkUpdate was created, that a running watch has brought and nothing was known of before.
///
/// A watch brings each object first as it was created: what was there when it began, its list has brought. That nothing has been
/// written into it since is looked at as well: if an event was lost on the way, a later version would make objects count as
/// older that are not.
fn created_at(bulk: &BulkUpdate) -> Option<u64> {
    let unseen = bulk.status.as_ref().is_none_or(|status| *status == BulkUpdateStatus::default());
    version_number(&bulk.metadata).filter(|_| unseen && bulk.metadata.generation == Some(1))
}

fn is_over(bulk: &BulkUpdate) -> bool {
    bulk.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

fn is_older(a: &BulkUpdate, b: &BulkUpdate) -> bool {
    let version = |bulk: &BulkUpdate| bulk.metadata.resource_version.clone().unwrap_or_default();
    !not_older(&version(a), &version(b))
}

fn key(namespace: Option<&str>, name: Option<&str>) -> Key {
    (namespace.unwrap_or_default().into(), name.unwrap_or_default().into())
}

#[cfg(test)]
mod tests;
