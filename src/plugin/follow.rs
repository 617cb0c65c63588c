//! Sends the BulkUpdates of a run and follows them to their ends.

mod call_off;
mod report;
pub mod seen;
mod send;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use futures::future::{LocalBoxFuture, OptionFuture};
use tokio::time::Instant;

pub use self::{call_off::call_off, watch::WATCHES};
use self::{
    report::{Ended, Standing},
    seen::{Followed, Key, Seen},
    send::{Attempts, Unsent},
    watch::{Change, Watch},
};
use super::{
    arguments::FollowArguments,
    batches::valid_from,
    problem::{Problem, failed},
    progress::{Counts, Progress},
    record::Record,
    session::Session,
    signals::Signals,
};
use crate::{api::BulkUpdate, client::Failure};

/// How many BulkUpdates of a run may be waiting to be written at once. More would not be carried out any faster, and could not be
/// kept back any more by who interrupts.
const WINDOW: usize = 10;
/// How long an interrupted run waits for the answer to its last request.
const LAST: Duration = Duration::from_secs(11);
/// After this, it says what a BulkUpdate waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A run: what is still to be sent, and what has become of the rest.
pub struct Run<'a> {
    session: &'a Session,
    name: String,
    unsent: VecDeque<BulkUpdate>,
    /// By namespace and name.
    followed: BTreeMap<Key, Followed>,
    /// Absent where none could be written.
    record: Option<Record>,
    /// Whether it is only the first of two steps, which the same command begins again.
    is_first_step: bool,
    total: usize,
    /// What was said about the oldest that waits, last.
    said: String,
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

/// An attempt to send the next one.
type Sending<'a> = LocalBoxFuture<'a, Result<Option<Seen>, Unsent>>;

impl<'a> Run<'a> {
    pub fn new(session: &'a Session, name: &str, unsent: Vec<BulkUpdate>, record: Option<Record>) -> Self {
        let total = unsent.iter().map(|bulk| bulk.spec.total()).sum();
        let (unsent, name) = (unsent.into(), name.to_owned());
        Self {
            session,
            name,
            unsent,
            followed: BTreeMap::new(),
            record,
            is_first_step: false,
            total,
            said: String::new(),
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
        followed.confirm(seen);
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
        // If one was created nevertheless, `resume` finds it.
        self.followed.retain(|key, _| self.unsent.front().is_none_or(|unsent| *key != self::key(unsent)));
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
        let mut watch = Watch::new(self.session, &self.name, &self.namespaces());
        let mut signals = Signals::new()?;
        let mut sending: Option<Sending<'a>> = None;
        let mut attempts = Attempts::none();
        loop {
            let called_off = self.is_called_off();
            if called_off && sending.is_none() && !attempts.is_first() {
                attempts = Attempts::none();
                self.call_off_in_doubt().await?;
            }
            if sending.is_none()
                && !called_off
                && attempts.due <= Instant::now()
                && (!attempts.is_first() || self.in_writing() < WINDOW)
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
                    self.attempted(sent, &mut attempts).await?;
                    None
                }
                change = watch.next() => {
                    self.take_in(change?, &mut watch, progress);
                    self.call_off_later().await?;
                    None
                }
                () = tokio::time::sleep_until(attempts.due), if !attempts.is_first() && sending.is_none() => None,
                () = tokio::time::sleep(Duration::from_secs(1)) => None,
            };
            if let Some(ended) = ended {
                if let Some(sending) = sending {
                    self.wait_for_the_last(sending, &mut signals).await;
                }
                return Ok(ended);
            }
        }
    }

    /// What is on its way is waited for, to say whether it was sent; not after another interruption.
    async fn wait_for_the_last(&mut self, sending: Sending<'a>, signals: &mut Signals) {
        let sent = tokio::select! {
            biased;
            () = signals.recv() => None,
            sent = tokio::time::timeout(LAST, sending) => sent.ok(),
        };
        if let Some(Ok(created)) = sent {
            self.sent(created.as_ref());
        }
    }

    /// What an attempt to send the next one has come to.
    async fn attempted(
        &mut self,
        sent: Result<Option<Seen>, Unsent>,
        attempts: &mut Attempts,
    ) -> Result<(), Problem> {
        match sent {
            Err(Unsent::Now(failure)) => attempts.failed(&failure),
            Err(Unsent::Never(problem)) => Err(problem),
            Ok(created) => {
                *attempts = Attempts::none();
                self.sent(created.as_ref());
                self.call_off_too(created).await
            }
        }
    }

    /// The run was called off after an attempt of which nobody knows whether it has created one: that is called off, too.
    async fn call_off_in_doubt(&mut self) -> Result<(), Problem> {
        let Some(bulk) = self.unsent.front() else { return Ok(()) };
        let key = key(bulk);
        let found = self.session.read::<Seen>(&Seen::url(Some(&key.0)), &key.1).await;
        // Another one with its name is somebody else's.
        let found = found.map_err(|failure| unread(&key, &failure))?.filter(|seen| send::is_same(seen, bulk));
        if found.is_some() {
            self.sent(found.as_ref());
        } else if self.followed.get(&key).is_some_and(|followed| !followed.is_over()) {
            // It never was, as far as the watch has shown.
            self.followed.remove(&key);
        }
        self.call_off_too(found).await
    }

    /// Who calls off a part of it, or removes the record, does not want more of it.
    fn is_called_off(&self) -> bool {
        self.called_off() > 0 || self.record.as_ref().is_some_and(|record| !record.is_there())
    }

    /// Calls off what has been created while the rest was called off.
    async fn call_off_too(&self, created: Option<Seen>) -> Result<(), Problem> {
        match created {
            Some(created) if self.is_called_off() => call_off(self.session, created).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Calls off what was created after somebody had called off a part of the run, before that was known here.
    async fn call_off_later(&self) -> Result<(), Problem> {
        let called_off = self.followed.values().filter(|followed| followed.called_off && followed.gone > 0);
        let Some(since) = called_off.map(|followed| followed.gone).min() else { return Ok(()) };
        for (key, followed) in self.followed.iter().filter(|(_, followed)| followed.is_open_since(since)) {
            let found = self.session.read::<Seen>(&Seen::url(Some(&key.0)), &key.1).await;
            let found = found.map_err(|failure| unread(key, &failure))?;
            self.call_off_too(found.filter(|seen| followed.is_it(seen))).await?;
        }
        Ok(())
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
    fn sent(&mut self, seen: Option<&Seen>) {
        let Some(bulk) = self.unsent.pop_front() else { return };
        let key = key(&bulk);
        if let Some(record) = &self.record {
            // At worst it is created again, finds itself, and is followed.
            let _ = record.confirm(&key.1);
        }
        if let Some(followed) = self.followed.get_mut(&key) {
            match seen {
                Some(seen) => followed.confirm(seen),
                None => followed.deleted(),
            }
        }
    }

    /// The namespaces in which it is.
    fn namespaces(&self) -> BTreeSet<String> {
        let sent = self.followed.keys().map(|(namespace, _)| namespace.clone());
        sent.chain(self.unsent.iter().filter_map(|bulk| bulk.metadata.namespace.clone())).collect()
    }

    fn take_in(&mut self, change: Change, watch: &mut Watch<'_>, progress: &Progress) {
        match change {
            Change::Shown(seen) => {
                if let Some(followed) = self.followed.get_mut(&seen.key()) {
                    followed.take_in(&seen);
                }
            }
            Change::NotShown(key, version) => {
                if let Some(followed) = self.followed.get_mut(&key).filter(|followed| !followed.is_over()) {
                    followed.gone = version;
                    watch.look_for(key);
                }
            }
            Change::Listed { namespace, all } => {
                // One that was created after the list is shown later, or was deleted before the list.
                let missing = self.followed.iter().filter(|(key, followed)| {
                    let expected = followed.is_confirmed() && !followed.is_over();
                    expected
                        && !all.contains(*key)
                        && namespace.as_ref().is_none_or(|watched| *watched == key.0)
                });
                missing.for_each(|(key, _)| watch.look_for(key.clone()));
            }
            Change::Read(key, found) => {
                let Some(followed) = self.followed.get_mut(&key) else { return };
                if followed.found(found.as_ref()) {
                    watch.look_again(key);
                }
            }
            Change::Fails(why) => progress.say(&why),
            Change::Nothing => {}
        }
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

fn unread(key: &Key, failure: &Failure) -> Problem {
    failed(format_args!("BulkUpdate {} cannot be read", key.1), failure)
}

fn key(bulk: &BulkUpdate) -> Key {
    (bulk.metadata.namespace.clone().unwrap_or_default(), bulk.metadata.name.clone().unwrap_or_default())
}
