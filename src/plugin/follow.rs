//! Sends the BulkUpdates of a run and follows them to their ends.

mod report;
pub mod seen;
mod send;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::Pin,
    time::Duration,
};

use futures::{
    Stream, StreamExt,
    future::{LocalBoxFuture, OptionFuture},
    stream::select_all,
};
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::time::Instant;

use self::{
    report::{Ended, Standing},
    seen::{Followed, Key, Seen},
};
use super::{
    arguments::FollowArguments,
    batches::{RUN, valid_from},
    problem::Problem,
    progress::{Counts, Progress},
    record::Record,
    session::Session,
    signals::Signals,
};
use crate::api::BulkUpdate;

/// How many BulkUpdates of a run may be waiting to be written at once. More would not be carried out any faster, and could not be
/// kept back any more by who interrupts.
const WINDOW: usize = 10;
/// How long an interrupted run waits for the answer to its last request.
const LAST: Duration = Duration::from_secs(11);
/// After this, it says what a BulkUpdate waits for.
const PATIENCE: Duration = Duration::from_secs(10);
/// In how many namespaces a run is followed one by one. More than that needs the right to watch in all.
pub const WATCHES: usize = 16;

/// A run: what is still to be sent, and what has become of the rest.
pub struct Run<'a> {
    session: &'a Session,
    name: String,
    unsent: VecDeque<BulkUpdate>,
    /// By namespace and name.
    followed: BTreeMap<Key, Followed>,
    /// What the list of a watch that begins again has brought so far, and since when, by the namespace that is watched.
    listed: BTreeMap<Option<String>, (Instant, BTreeSet<Key>)>,
    /// Absent where none could be written.
    record: Option<Record>,
    /// Whether it is only the first of two steps, which the same command begins again.
    is_first_step: bool,
    total: usize,
    /// What was said about the oldest that waits, last.
    said: String,
    watch_failed: bool,
}

/// For how long a run is followed.
#[derive(Clone, Copy, Debug)]
pub struct Following {
    /// Whether to wait for the end of what was sent.
    pub wait: bool,
    pub deadline: Option<Instant>,
}

impl From<&FollowArguments> for Following {
    /// The time begins now.
    fn from(arguments: &FollowArguments) -> Self {
        Self { wait: arguments.wait, deadline: arguments.timeout.map(|timeout| Instant::now() + timeout) }
    }
}

/// Events, each with the namespace that is watched; with none if all are.
type Events = Pin<Box<dyn Stream<Item = (Option<String>, watcher::Result<Event<Seen>>)>>>;

impl<'a> Run<'a> {
    pub fn new(session: &'a Session, name: &str, unsent: Vec<BulkUpdate>, record: Option<Record>) -> Self {
        let total = unsent.iter().map(|bulk| bulk.spec.total()).sum();
        let (unsent, name) = (unsent.into(), name.to_owned());
        Self {
            session,
            name,
            unsent,
            followed: BTreeMap::new(),
            listed: BTreeMap::new(),
            record,
            is_first_step: false,
            total,
            said: String::new(),
            watch_failed: false,
        }
    }

    /// The same as the first of two steps.
    pub const fn first_step(mut self) -> Self {
        self.is_first_step = true;
        self
    }

    /// Takes up one that was sent before.
    pub fn sent_before(&mut self, seen: &Seen) {
        let mut followed = Followed::new(seen.items());
        followed.confirmed = Some(Instant::now());
        followed.take_in(seen);
        self.total += followed.total;
        self.followed.insert(seen.key(), followed);
    }

    /// Sends the BulkUpdates, follows all, and reports what was not done.
    ///
    /// # Errors
    /// If not everything was done, or not within the time-out, or if it was called off.
    pub async fn carry_out(mut self, follow: Following) -> Result<(), Problem> {
        let mut progress = Progress::new(&self.session.console);
        let ended = self.until_over(follow, &mut progress).await;
        progress.end();
        if self.unsent.is_empty()
            && let Some(record) = &self.record
        {
            record.remove();
        }
        let standing = Standing {
            session: self.session,
            name: &self.name,
            followed: &self.followed,
            unsent: self.unsent.len(),
            is_recorded: self.record.as_ref().is_some_and(Record::is_there),
            is_first_step: self.is_first_step,
            called_off: self.called_off(),
            counts: self.counts(),
        };
        standing.report(ended)
    }

    async fn until_over(&mut self, follow: Following, progress: &mut Progress) -> Result<Ended, Problem> {
        let mut events = self.watch();
        let mut signals = Signals::new()?;
        let mut sending: Option<LocalBoxFuture<'a, Result<Option<Seen>, Problem>>> = None;
        loop {
            // Who calls off a part of it, or removes the record, does not want more of it.
            let called_off =
                self.called_off() > 0 || self.record.as_ref().is_some_and(|record| !record.is_there());
            if sending.is_none()
                && !called_off
                && self.in_writing() < WINDOW
                && let Some(next) = self.unsent.front().cloned()
            {
                // The watch may bring it before the answer does.
                self.followed.entry(key(&next)).or_insert_with(|| Followed::new(next.spec.total()));
                let next = valid_from(next, self.session.clock.now().earliest);
                sending = Some(Box::pin(send::send(self.session, next)));
            }
            if sending.is_none() && (called_off || self.unsent.is_empty()) {
                if self.followed.values().all(Followed::is_over) {
                    return Ok(Ended::Over);
                }
                if !follow.wait {
                    return Ok(if called_off { Ended::Over } else { Ended::Sent });
                }
            }
            progress.show(self.counts());
            self.tell(progress);
            let ended = tokio::select! {
                biased;
                () = signals.recv() => Some(Ended::Interrupted),
                () = until(follow.deadline) => Some(Ended::TimedOut),
                Some(sent) = OptionFuture::from(sending.as_mut()) => {
                    sending = None;
                    self.sent(sent)?;
                    None
                }
                Some((namespace, event)) = events.next() => {
                    self.take_in(namespace, event, progress)?;
                    None
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => None,
            };
            if let Some(ended) = ended {
                // What is on its way is waited for, to say whether it was sent.
                if let Some(sending) = sending {
                    let late = |_| Err(Problem::Failed("its answer is not waited for".into()));
                    let _ = self.sent(tokio::time::timeout(LAST, sending).await.unwrap_or_else(late));
                }
                return Ok(ended);
            }
        }
    }

    /// How many were deleted before their ends.
    fn called_off(&self) -> usize {
        self.followed.values().filter(|followed| followed.called_off).count()
    }

    /// How many are waiting to be written.
    fn in_writing(&self) -> usize {
        self.followed.values().filter(|followed| !followed.is_written()).count()
    }

    /// The first of those that were not sent yet was created; it is absent if it is gone already.
    fn sent(&mut self, sent: Result<Option<Seen>, Problem>) -> Result<(), Problem> {
        let Some(bulk) = self.unsent.front() else { return Ok(()) };
        let key = key(bulk);
        let seen = match sent {
            Ok(seen) => seen,
            Err(problem) => {
                // If it was created nevertheless, `resume` finds it.
                self.followed.remove(&key);
                return Err(problem);
            }
        };
        if let Some(record) = &self.record {
            // At worst it is created again, finds itself, and is followed.
            let _ = record.confirm(&key.1);
        }
        self.unsent.pop_front();
        if let Some(followed) = self.followed.get_mut(&key) {
            followed.confirmed = Some(Instant::now());
            match &seen {
                Some(seen) => followed.take_in(seen),
                None => followed.deleted(),
            }
        }
        Ok(())
    }

    /// The BulkUpdates of this run, in the namespaces where they are.
    fn watch(&self) -> Events {
        let sent = self.followed.keys().map(|(namespace, _)| namespace.clone());
        let unsent = self.unsent.iter().filter_map(|bulk| bulk.metadata.namespace.clone());
        let namespaces: BTreeSet<_> = sent.chain(unsent).collect();
        let (client, resource) = (&self.session.client, Seen::resource());
        let apis: Vec<(Option<String>, Api<Seen>)> = if namespaces.len() <= WATCHES {
            let of = |namespace: &String| {
                (Some(namespace.clone()), Api::namespaced_with(client.clone(), namespace, &resource))
            };
            namespaces.iter().map(of).collect()
        } else {
            vec![(None, Api::all_with(client.clone(), &resource))]
        };
        let config = watcher::Config::default().labels(&format!("{RUN}={}", self.name));
        let events = |(namespace, api): (Option<String>, _)| {
            let events = watcher::watcher(api, config.clone()).default_backoff();
            events.map(move |event| (namespace.clone(), event)).boxed_local()
        };
        select_all(apis.into_iter().map(events)).boxed_local()
    }

    fn take_in(
        &mut self,
        namespace: Option<String>,
        event: watcher::Result<Event<Seen>>,
        progress: &Progress,
    ) -> Result<(), Problem> {
        match event {
            Ok(Event::Init) => {
                self.listed.insert(namespace, (Instant::now(), BTreeSet::new()));
            }
            Ok(Event::Apply(seen) | Event::InitApply(seen)) => {
                if let Some((_, listed)) = self.listed.get_mut(&namespace) {
                    listed.insert(seen.key());
                }
                if let Some(followed) = self.followed.get_mut(&seen.key()) {
                    followed.take_in(&seen);
                }
            }
            Ok(Event::Delete(seen)) => {
                if let Some(followed) = self.followed.get_mut(&seen.key()) {
                    followed.take_in(&seen);
                    followed.deleted();
                }
            }
            Ok(Event::InitDone) => {
                let Some((since, listed)) = self.listed.remove(&namespace) else { return Ok(()) };
                // Deleted while nobody watched.
                let missing = self.followed.iter_mut().filter(|(key, followed)| {
                    let was_there = followed.confirmed.is_some_and(|confirmed| confirmed < since);
                    was_there
                        && namespace.as_ref().is_none_or(|watched| *watched == key.0)
                        && !listed.contains(*key)
                });
                missing.for_each(|(_, followed)| followed.deleted());
            }
            Err(
                watcher::Error::InitialListFailed(kube::Error::Api(status))
                | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
            ) if matches!(status.code, 401 | 403 | 404) => {
                return Err(Problem::Failed(format!("the run cannot be followed: {}", status.message)));
            }
            Err(error) if !self.watch_failed => {
                self.watch_failed = true;
                progress
                    .say(&format!("the run cannot be followed at the moment, which is tried again: {error}"));
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// Says what the oldest waits for, when that changes.
    fn tell(&mut self, progress: &Progress) {
        let waiting = self.followed.iter().find(|(_, followed)| followed.waits_for_longer_than(PATIENCE));
        if let Some(((namespace, name), followed)) = waiting {
            let why = format!("BulkUpdate {namespace}/{name} is waiting: {}", followed.waits_for());
            if why != self.said {
                progress.say(&why);
                self.said = why;
            }
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { total: self.total, ..Counts::default() };
        for followed in self.followed.values() {
            followed.add_to(&mut counts);
        }
        counts
    }
}

/// Until that time; for ever, if there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn key(bulk: &BulkUpdate) -> Key {
    (bulk.metadata.namespace.clone().unwrap_or_default(), bulk.metadata.name.clone().unwrap_or_default())
}
