//! Sends the BulkUpdates of a run and follows them to their ends.

pub mod seen;
mod send;
mod signals;

use std::{
    collections::{BTreeMap, VecDeque},
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
    seen::{Followed, Seen},
    signals::Signals,
};
use super::{
    arguments::FollowArguments,
    batches::RUN,
    console::Tone,
    names::bulk_updates,
    problem::Problem,
    progress::{Counts, Progress},
    record::Record,
    session::Session,
    table::Table,
};
use crate::api::BulkUpdate;

/// How many BulkUpdates of a run may be waiting to be written at once. More would not be carried out any faster, and could not be
/// kept back any more by who interrupts.
const WINDOW: usize = 10;
/// How long an interrupted run waits for the answer to its last request.
const LAST: Duration = Duration::from_secs(5);
/// After this, it says what a BulkUpdate waits for.
const PATIENCE: Duration = Duration::from_secs(10);
/// In how many namespaces a run is followed one by one. More than that needs the right to watch in all.
const WATCHES: usize = 16;
/// How many rows of what was not done are shown.
const ROWS: usize = 100;

/// A run: what is still to be sent, and what has become of the rest.
pub struct Run<'a> {
    session: &'a Session,
    name: String,
    unsent: VecDeque<BulkUpdate>,
    /// By namespace and name.
    followed: BTreeMap<(String, String), Followed>,
    /// Absent where none could be written.
    record: Option<Record>,
    /// Whether it is only the first of two steps, which the same command begins again.
    is_first_step: bool,
    total: usize,
    said: bool,
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

/// Why a run is not followed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Over,
    /// All is sent, and its user does not wait.
    Sent,
    Interrupted,
    TimedOut,
}

type Events = Pin<Box<dyn Stream<Item = watcher::Result<Event<Seen>>>>>;

impl<'a> Run<'a> {
    pub fn new(session: &'a Session, name: &str, unsent: Vec<BulkUpdate>, record: Option<Record>) -> Self {
        let total = unsent.iter().map(items).sum();
        let (unsent, name) = (unsent.into(), name.to_owned());
        Self {
            session,
            name,
            unsent,
            followed: BTreeMap::new(),
            record,
            is_first_step: false,
            total,
            said: false,
        }
    }

    /// The same as the first of two steps.
    pub const fn first_step(mut self) -> Self {
        self.is_first_step = true;
        self
    }

    /// Takes up one that was sent before.
    pub fn sent_before(&mut self, namespace: &str, name: &str, seen: &Seen) {
        let mut followed = Followed::new(seen.items());
        followed.take_in(seen);
        self.total += followed.total;
        self.followed.insert((namespace.to_owned(), name.to_owned()), followed);
    }

    /// Sends the BulkUpdates, follows all, and reports what was not done.
    ///
    /// # Errors
    /// If not everything was done, or not within the time-out, or if it was called off.
    pub async fn carry_out(mut self, follow: Following) -> Result<Counts, Problem> {
        let mut progress = Progress::new(&self.session.console);
        let ended = self.until_over(follow, &mut progress).await;
        progress.end();
        if self.unsent.is_empty()
            && let Some(record) = &self.record
        {
            record.remove();
        }
        self.report(ended)
    }

    async fn until_over(&mut self, follow: Following, progress: &mut Progress) -> Result<Ended, Problem> {
        let mut events = self.watch();
        let mut signals = Signals::new()?;
        let mut sending: Option<LocalBoxFuture<'a, Result<(), Problem>>> = None;
        loop {
            // Who calls off a part of it does not want more of it.
            let called_off = self.called_off() > 0;
            if sending.is_none()
                && !called_off
                && self.in_writing() < WINDOW
                && let Some(next) = self.unsent.front().cloned()
            {
                sending = Some(Box::pin(send::send(self.session, next)));
            }
            if sending.is_none() && (called_off || self.unsent.is_empty()) {
                if self.followed.values().all(Followed::is_over) {
                    return Ok(Ended::Over);
                }
                if !follow.wait {
                    return Ok(Ended::Sent);
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
                    sent?;
                    self.sent();
                    None
                }
                Some(event) = events.next() => {
                    self.take_in(event)?;
                    None
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => None,
            };
            if let Some(ended) = ended {
                // What is on its way is waited for, to say whether it was sent.
                if let Some(sending) = sending
                    && let Ok(Ok(())) = tokio::time::timeout(LAST, sending).await
                {
                    self.sent();
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

    /// The first of those that were not sent yet was created.
    fn sent(&mut self) {
        let Some(bulk) = self.unsent.pop_front() else { return };
        let name = bulk.metadata.name.clone().unwrap_or_default();
        if let Some(record) = &self.record {
            // At worst it is created again, finds itself, and is followed.
            let _ = record.confirm(&name);
        }
        let key = (bulk.metadata.namespace.clone().unwrap_or_default(), name);
        self.followed.entry(key).or_insert_with(|| Followed::new(items(&bulk)));
    }

    /// The BulkUpdates of this run, in the namespaces where they are.
    fn watch(&self) -> Events {
        let sent = self.followed.keys().map(|(namespace, _)| namespace.clone());
        let unsent = self.unsent.iter().filter_map(|bulk| bulk.metadata.namespace.clone());
        let namespaces: std::collections::BTreeSet<_> = sent.chain(unsent).collect();
        let (client, resource) = (&self.session.client, Seen::resource());
        let apis: Vec<Api<Seen>> = if namespaces.len() <= WATCHES {
            let of = |namespace: &String| Api::namespaced_with(client.clone(), namespace, &resource);
            namespaces.iter().map(of).collect()
        } else {
            vec![Api::all_with(client.clone(), &resource)]
        };
        let config = watcher::Config::default().labels(&format!("{RUN}={}", self.name));
        let events = |api| watcher::watcher(api, config.clone()).default_backoff().boxed_local();
        select_all(apis.into_iter().map(events)).boxed_local()
    }

    fn take_in(&mut self, event: watcher::Result<Event<Seen>>) -> Result<(), Problem> {
        match event {
            Ok(Event::Apply(seen) | Event::InitApply(seen)) => {
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
            Err(
                watcher::Error::InitialListFailed(kube::Error::Api(status))
                | watcher::Error::WatchStartFailed(kube::Error::Api(status)),
            ) if status.code == 403 => {
                return Err(Problem::Failed(format!("the run cannot be followed: {}", status.message)));
            }
            // Another failure is retried.
            Ok(Event::Init | Event::InitDone) | Err(_) => {}
        }
        Ok(())
    }

    /// Says once what the oldest waits for.
    fn tell(&mut self, progress: &Progress) {
        if self.said {
            return;
        }
        let waiting = self.followed.iter().find(|(_, followed)| followed.waits_for_longer_than(PATIENCE));
        if let Some(((namespace, name), followed)) = waiting {
            let why = followed.waits_for();
            progress.say(&format!("BulkUpdate {namespace}/{name} is waiting: {why}"));
            self.said = true;
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts { total: self.total, ..Counts::default() };
        for followed in self.followed.values() {
            followed.add_to(&mut counts);
        }
        counts
    }

    fn report(self, ended: Result<Ended, Problem>) -> Result<Counts, Problem> {
        let console = &self.session.console;
        let counts = self.counts();
        let mut rows = self.followed.iter().flat_map(|((namespace, _), followed)| {
            followed.problems.iter().map(move |problem| (namespace, problem))
        });
        let mut table = Table::new(["NAMESPACE", "ITEM", "RESULT", "REASON", "MESSAGE"]);
        for (namespace, problem) in rows.by_ref().take(ROWS) {
            let (item, message) = (problem.id.clone(), problem.message.clone());
            table.row([namespace.clone(), item, problem.result.into(), problem.reason.clone(), message]);
        }
        let more = rows.count();
        let called_off = self.called_off();
        let not_done = counts.refused + counts.failed > 0;
        if not_done {
            console.print(table.text(console.width))?;
            if more > 0 {
                console.print(format_args!("… and {more} more (kubectl aiapi status {})", self.name))?;
            }
        }
        let tone = if not_done || called_off > 0 { Tone::Bad } else { Tone::Good };
        console.print(
            console.toned(format_args!("Run {}: {} of {}", self.name, counts.text(), counts.total), tone),
        )?;
        let sent = self.followed.len();
        let all = sent + self.unsent.len();
        match ended {
            Ok(Ended::Over) if called_off > 0 => {
                let rest = match self.unsent.len() {
                    0 => String::new(),
                    unsent => format!("; {} of this run not sent", bulk_updates(unsent)),
                };
                console.note(format_args!(
                    "{} called off: deleted before the end{rest}",
                    bulk_updates(called_off)
                ));
                Err(Problem::CalledOff)
            }
            Ok(Ended::Over) if not_done => Err(Problem::NotAllDone),
            Ok(Ended::Over) => Ok(counts),
            Ok(Ended::Sent) => {
                console.note(format_args!(
                    "{} sent; kubectl aiapi status {} shows what becomes of them",
                    bulk_updates(sent),
                    self.name
                ));
                Ok(counts)
            }
            Ok(Ended::Interrupted) => {
                self.how_to_go_on("Interrupted", sent, all);
                Err(Problem::CalledOff)
            }
            Ok(Ended::TimedOut) => {
                self.how_to_go_on("Timed out", sent, all);
                Err(Problem::TimedOut)
            }
            Err(problem) => {
                self.how_to_go_on("Failed", sent, all);
                Err(problem)
            }
        }
    }

    fn how_to_go_on(&self, what: &str, sent: usize, all: usize) {
        let run = &self.name;
        let rest = if self.is_first_step {
            "To go on, give the same command again".to_owned()
        } else if self.record.is_some() || sent == all {
            format!("To go on: kubectl aiapi resume {run}")
        } else {
            "The rest is not on record on this machine: to go on, give the same command again".to_owned()
        };
        self.session.console.note(format_args!(
            "{what}: {sent} of {} sent, which the operator carries out; nothing more is sent.\n{rest}\nTo call off what is not \
             over: kubectl aiapi cancel {run}",
            bulk_updates(all)
        ));
    }
}

/// Until that time; for ever, if there is none.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// How many items it has.
fn items(bulk: &BulkUpdate) -> usize {
    crate::api::Kind::ALL.iter().map(|kind| bulk.spec.items(*kind).len()).sum()
}
