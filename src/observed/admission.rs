//! The admission policy: a `ValidatingAdmissionPolicy` checks the permissions of a BulkUpdate's author when it is created, and
//! without the policy nothing is planned. This follows the policy and its binding, compares them with the shipped ones, and
//! records since when each has been as it is.

use std::{
    fmt::{self, Display, Formatter},
    sync::Mutex,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, runtime::watcher::Event};
use tokio::{sync::watch, time::Instant};

use crate::{
    api::time::{later, next_second, whole_seconds},
    client::clock::{Clock, Now},
    decode::object::Lenient,
    observed::{
        admission::{
            compare::{Flaw, Shipped},
            record::{Annotations, Entry, Notes, Pair, Record, Seen},
        },
        target::version_number,
    },
    tasks::lock,
};

pub mod compare;
pub mod record;

pub use self::compare::{BULK_UPDATES, WORK};

/// How many seconds after its creation or change an object is in force on every API server.
pub const SPREADS: i64 = 10;

/// How long the last state that a watch has brought counts while the watch fails: it covers another API server taking over.
pub const BLIND: Duration = Duration::from_secs(30);

/// Whether and since when authors are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Not required: authors are authorized in another way.
    NotRequired,
    /// Policy and binding are there, and the younger of the two has been as it is since then; whole seconds.
    Since(Timestamp),
    /// Why not.
    Missing(NotInForce),
}

/// Why BulkUpdates are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInForce {
    #[error("the {0} cannot be listed yet; the operator's log says why{UNCHECKED}")]
    NotListed(Object),
    /// Its watch has failed for longer than [`BLIND`].
    #[error("the {0} cannot be watched any more; the operator's log says why{UNCHECKED}")]
    NotWatched(Object),
    /// It does not exist, or is being deleted.
    #[error("the {0} is missing{UNCHECKED}")]
    Missing(Object),
    /// An API server that lags behind shows one that was deleted, or as it was before it was changed.
    #[error(
        "the {0} is shown as it was before: that API server lags behind, or etcd or the operator's Lease was restored \
        (then scale the operator to 0, delete its Lease, and scale it up again){UNCHECKED}"
    )]
    Past(Object),
    #[error("the {0} does not check what the shipped one checks: {1}{UNCHECKED}")]
    Weaker(Object, Flaw),
    /// One of the two was created or changed only just now.
    #[error("the admission policy has not been in force for {SPREADS} s yet")]
    Recent,
}

/// What follows from a policy or binding that is not there.
const UNCHECKED: &str = ": nothing is done without it, because the author's permissions would not be checked";

impl Admission {
    /// Whether the author of a BulkUpdate that was created then was checked. Both times have whole seconds: hence one more.
    pub(crate) fn covers(&self, created: Timestamp) -> bool {
        match self {
            Self::NotRequired => true,
            Self::Since(since) => created > later(*since, SPREADS),
            Self::Missing(_) => false,
        }
    }

    /// Whether the author of every BulkUpdate that is created from now on is checked.
    fn covers_what_comes(&self, now: Now) -> bool {
        // The creationTimestamp that it would get now.
        self.covers(whole_seconds(now.earliest))
    }
}

/// One of the two objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Part {
    #[strum(serialize = "ValidatingAdmissionPolicy")]
    Policy,
    #[strum(serialize = "ValidatingAdmissionPolicyBinding")]
    Binding,
}

/// A policy or its binding, which have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    pub part: Part,
    pub name: &'static str,
}

impl Display for Object {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.part, self.name)
    }
}

/// An object that is there.
#[derive(Clone, Debug)]
struct Found {
    /// Since when it has been as it is; absent if its uid or generation cannot be read.
    entry: Option<Entry>,
    /// Why it does not check what the shipped one checks, if it does not.
    flaw: Option<Flaw>,
}

/// What a watch shows of one of the two.
#[derive(Debug, Default)]
enum Shown {
    /// It does not exist, or is being deleted.
    #[default]
    Nothing,
    /// Something that is over: it was deleted, or changed since, or it is an earlier one.
    Past,
    Object(Found),
}

/// What is shown, and at which resourceVersion; 0 if that is not known.
#[derive(Debug, Default)]
struct View(Shown, u64);

/// What is known of one of the two.
#[derive(Default)]
struct Watched {
    listed: bool,
    shown: Shown,
    /// What a list in progress has brought so far.
    listing: View,
    /// What is on record of it: what the Lease had at first, then what was last seen.
    recorded: Seen,
    /// When it was last seen to be absent, or as it was before: a view that shows an older one is stale.
    missed: Option<Timestamp>,
    /// Since when its watch has been failing, if it is.
    fails: Option<Instant>,
}

struct Both {
    name: &'static str,
    policy: Watched,
    binding: Watched,
}

/// Follows a policy and its binding; there is one for each shipped policy.
pub struct Policies {
    /// Whether what is asked for waits for them.
    pub(crate) required: bool,
    /// The name of both.
    pub(crate) name: &'static str,
    shipped: Option<&'static Shipped>,
    annotations: Annotations,
    both: Mutex<Both>,
    changed: watch::Sender<()>,
    notes: watch::Sender<Notes>,
}

/// What the Lease says before anything is known: what an earlier leader has accepted does not count.
pub fn nothing_accepted() -> Notes {
    vec![(record::BULK_UPDATES.accepted, None), (record::WORK.accepted, None)]
}

impl Policies {
    /// The policy for BulkUpdates. Nothing is known yet. `required` is whether planning waits for it, `annotation` reads what the
    /// Lease has; what is to be kept there goes to `notes`.
    pub fn for_bulk_updates<'a>(
        required: bool,
        annotation: impl FnOnce(&str) -> Option<&'a str>,
        notes: watch::Sender<Notes>,
    ) -> Self {
        let annotations = record::BULK_UPDATES;
        let recorded = annotation(annotations.record);
        Self::new((BULK_UPDATES, Shipped::for_bulk_updates()), annotations, required, recorded, notes)
    }

    /// The same for what Executions and Deployments run.
    pub fn for_work<'a>(
        required: bool,
        annotation: impl FnOnce(&str) -> Option<&'a str>,
        notes: watch::Sender<Notes>,
    ) -> Self {
        let annotations = record::WORK;
        let recorded = annotation(annotations.record);
        Self::new((WORK, Shipped::for_work()), annotations, required, recorded, notes)
    }

    fn new(
        (name, shipped): (&'static str, Option<&'static Shipped>),
        annotations: Annotations,
        required: bool,
        recorded: Option<&str>,
        notes: watch::Sender<Notes>,
    ) -> Self {
        let record = recorded.map(Record::read).unwrap_or_default();
        let watched = |recorded| Watched { recorded, ..Watched::default() };
        let both = Both { name, policy: watched(record.policy), binding: watched(record.binding) };
        let changed = watch::Sender::default();
        Self { required, name, shipped, annotations, both: Mutex::new(both), changed, notes }
    }

    /// Waits until both were listed once, if they are required.
    pub async fn listed(&self) {
        let listed = |both: &Both| both.policy.listed && both.binding.listed;
        // The sender is part of self, so waiting cannot fail.
        let _ = self.changes().wait_for(|()| !self.required || listed(&lock(&self.both))).await;
    }

    pub(crate) fn admission(&self) -> Admission {
        if self.required { lock(&self.both).admission() } else { Admission::NotRequired }
    }

    /// Takes in an event of the watch of one of them.
    pub fn take_in(&self, part: Part, event: Event<Lenient>, now: Now) {
        let mut both = lock(&self.both);
        let watched = both.of(part);
        match event {
            Event::Init => watched.listing = View::default(),
            Event::InitApply(object) => watched.listing = self.assess(part, &object, watched, now),
            Event::InitDone => {
                watched.listed = true;
                let listing = std::mem::take(&mut watched.listing);
                watched.set(listing, now);
            }
            Event::Apply(object) => {
                let view = self.assess(part, &object, watched, now);
                watched.set(view, now);
            }
            Event::Delete(object) => {
                watched.set(View(Shown::Nothing, version_number(object.meta()).unwrap_or_default()), now);
            }
        }
        drop(both);
        self.note(now);
        self.changed.send_replace(());
    }

    /// Whether the watch of one of them works. What is recorded stays: once the watch works again, it brings what has changed.
    pub fn set_watched(&self, part: Part, works: bool) {
        let mut both = lock(&self.both);
        let fails = &mut both.of(part).fails;
        *fails = if works { None } else { fails.or_else(|| Some(Instant::now())) };
        drop(both);
        self.changed.send_replace(());
    }

    /// Since when an object has been as it is, and what is wrong with it.
    fn assess(&self, part: Part, object: &Lenient, watched: &Watched, now: Now) -> View {
        let version = version_number(object.meta()).unwrap_or_default();
        if watched.recorded.is_past(object) {
            return View(Shown::Past, version);
        }
        if object.is_terminating() {
            return View(Shown::Nothing, version);
        }
        let back = matches!(watched.shown, Shown::Past).then(|| next_second(now.latest));
        let entry = Pair::of(object).map(|pair| {
            let entry = Entry::of(pair, object.created(), watched.recorded.entry.as_ref(), now);
            let since = [watched.missed, back].into_iter().flatten().fold(entry.since, Timestamp::max);
            Entry { since, ..entry }
        });
        let checked = self.shipped.ok_or(Flaw::NotShipped).and_then(|shipped| match part {
            Part::Policy => shipped.check_policy(&object.spec),
            Part::Binding => shipped.check_binding(&object.spec),
        });
        let flaw = checked.err().or_else(|| entry.is_none().then_some(Flaw::NoIdentity));
        View(Shown::Object(Found { entry, flaw }), version)
    }

    /// Updates what is kept in the Lease. Returns whether BulkUpdates that are created from now on are accepted.
    fn note(&self, now: Now) -> bool {
        if !self.required {
            return true;
        }
        let both = lock(&self.both);
        let accepts = both.admission().covers_what_comes(now);
        let accepted = both.entries().ok().filter(|_| accepts);
        let accepted = accepted.map(|(policy, binding)| format!("{} {}", policy.pair, binding.pair));
        let record = Record { policy: both.policy.recorded.clone(), binding: both.binding.recorded.clone() };
        let Annotations { record: recorded, accepted: accepted_by } = self.annotations;
        // While the lock is held, so that newer notes are not overwritten.
        self.notes.send_if_modified(|kept| {
            let record = keep(kept, recorded, record.write());
            keep(kept, accepted_by, accepted) || record
        });
        accepts
    }

    /// Keeps the Lease's annotations up to date as time passes, and calls `report` whenever BulkUpdates begin or cease to be
    /// accepted, or the reason changes. It never returns.
    pub async fn follow(&self, clock: &Clock, mut report: impl FnMut(Result<(), NotInForce>)) {
        let mut changes = self.changes();
        self.listed().await;
        let mut reported = None;
        loop {
            let accepts = self.note(clock.now());
            let state = match self.admission() {
                Admission::Missing(why) => Err(why),
                _ if accepts => Ok(()),
                _ => Err(NotInForce::Recent),
            };
            let waits_for_time = state.is_err() || lock(&self.both).fails();
            if reported.as_ref() != Some(&state) {
                report(state.clone());
                reported = Some(state);
            }
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(1)), if waits_for_time => {}
            }
        }
    }

    /// Notified whenever a watch has brought an event, failed or recovered.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// Sets a note; whether that changes it.
fn keep(notes: &mut Notes, name: &'static str, value: Option<String>) -> bool {
    if let Some((_, kept)) = notes.iter_mut().find(|(noted, _)| *noted == name) {
        return std::mem::replace(kept, value.clone()) != value;
    }
    notes.push((name, value));
    true
}

impl Both {
    fn of(&mut self, part: Part) -> &mut Watched {
        match part {
            Part::Policy => &mut self.policy,
            Part::Binding => &mut self.binding,
        }
    }

    /// The entries of both, if both are there and check what they should.
    fn entries(&self) -> Result<(&Entry, &Entry), NotInForce> {
        let object = |part| Object { part, name: self.name };
        Ok((self.policy.entry(object(Part::Policy))?, self.binding.entry(object(Part::Binding))?))
    }

    fn fails(&self) -> bool {
        self.policy.fails.or(self.binding.fails).is_some()
    }

    fn admission(&self) -> Admission {
        let since = self.entries().map(|(policy, binding)| policy.since.max(binding.since));
        since.map_or_else(Admission::Missing, Admission::Since)
    }
}

impl Watched {
    fn entry(&self, object: Object) -> Result<&Entry, NotInForce> {
        if self.listed && self.fails.is_some_and(|since| since.elapsed() > BLIND) {
            return Err(NotInForce::NotWatched(object));
        }
        match &self.shown {
            Shown::Object(Found { flaw: Some(flaw), .. }) => Err(NotInForce::Weaker(object, flaw.clone())),
            Shown::Object(Found { entry: Some(entry), flaw: None }) => Ok(entry),
            Shown::Past => Err(NotInForce::Past(object)),
            Shown::Nothing if !self.listed => Err(NotInForce::NotListed(object)),
            _ => Err(NotInForce::Missing(object)),
        }
    }

    /// Sets what is shown. What is over replaces no record of what was seen since.
    fn set(&mut self, View(shown, version): View, now: Now) {
        self.recorded.version = self.recorded.version.max(version);
        match &shown {
            Shown::Nothing => self.recorded.entry = None,
            Shown::Past => {}
            Shown::Object(found) => self.recorded.entry.clone_from(&found.entry),
        }
        if self.recorded.entry.is_none() || matches!(shown, Shown::Past) {
            self.missed = Some(next_second(now.latest));
        }
        self.shown = shown;
    }
}

#[cfg(test)]
mod tests;
