//! Who may ask: a `ValidatingAdmissionPolicy` checks it when a BulkUpdate is created, and without the policy nothing is
//! planned. This follows the policy and its binding, compares them with the shipped ones, and keeps on record since when each
//! has been as it is.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;
use tokio::{sync::watch, time::Instant};

use crate::{
    api::time::{later, whole_seconds},
    client::clock::{Clock, Now},
    decode::object::Lenient,
    observed::admission::{
        compare::Shipped,
        record::{ACCEPTED, Entry, Notes, Pair, RECORD, Record, next_second},
    },
};

mod compare;
pub mod record;

pub use self::compare::POLICY;

/// How many seconds after it was created or changed an object is in force on every API server.
pub const SPREADS: i64 = 10;

/// How long what a watch has said last counts while it fails. It bridges what is over by itself, such as another API server taking
/// over.
pub const BLIND: Duration = Duration::from_secs(30);

/// What the check of authors has to say about BulkUpdates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nobody asks for it: authors are authorized otherwise.
    NotRequired,
    /// Policy and binding are there, the younger of the two as it is since then; whole seconds.
    Since(Timestamp),
    /// They are not; why.
    Missing(String),
}

impl Admission {
    /// Whether the author of a BulkUpdate was checked that was made then. Both times have whole seconds: one more makes up
    /// for what they lack.
    #[must_use]
    pub fn covers(&self, created: Timestamp) -> bool {
        match self {
            Self::NotRequired => true,
            Self::Since(since) => created > later(*since, SPREADS),
            Self::Missing(_) => false,
        }
    }

    /// Whether the author of every BulkUpdate that is made from now on is checked.
    #[must_use]
    pub fn covers_what_comes(&self, now: Now) -> bool {
        // As an API server would date what is made now.
        self.covers(whole_seconds(now.earliest))
    }
}

/// One of the two objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The policy.
    Policy,
    /// Its binding.
    Binding,
}

/// An object that is there.
#[derive(Clone, Debug)]
struct There {
    /// Since when it is as it is; absent where that can't be told.
    entry: Option<Entry>,
    /// What it checks less than the shipped one, if anything.
    flaw: Option<String>,
}

/// One of the two, as its watch has it.
#[derive(Debug, Default)]
struct Seen {
    listed: bool,
    there: Option<There>,
    /// What a list under way has shown so far.
    listing: Option<There>,
    /// What is on record of it: as found at first, then as seen last.
    recorded: Option<Entry>,
    /// When it was seen last that there is none: whatever shows one that is older shows the past.
    missed: Option<Timestamp>,
    /// Since when its watch fails, if it does.
    fails: Option<Instant>,
}

#[derive(Debug, Default)]
struct Known {
    policy: Seen,
    binding: Seen,
}

/// Follows policy and binding; one for the whole operator.
#[derive(Debug)]
pub struct Policies {
    required: bool,
    shipped: Result<Shipped, String>,
    known: Mutex<Known>,
    changed: watch::Sender<()>,
    notes: watch::Sender<Notes>,
}

/// What the Lease says before anything is known: an earlier leader's word on what is accepted does not count.
#[must_use]
pub fn nothing_accepted() -> Notes {
    vec![(ACCEPTED, None)]
}

impl Policies {
    /// Without anything seen yet; `required` is whether planning waits for them. `recorded` is the annotation [`RECORD`], and
    /// what is to be kept in the Lease goes to `notes`.
    #[must_use]
    pub fn new(required: bool, recorded: Option<&str>, notes: watch::Sender<Notes>) -> Self {
        let record = recorded.map(Record::read).unwrap_or_default();
        let seen = |recorded| Seen { recorded, ..Seen::default() };
        let known = Known { policy: seen(record.policy), binding: seen(record.binding) };
        Self {
            required,
            shipped: Shipped::read(),
            known: Mutex::new(known),
            changed: watch::Sender::default(),
            notes,
        }
    }

    /// Whether planning waits for them.
    #[must_use]
    pub const fn required(&self) -> bool {
        self.required
    }

    /// Waits until both were listed once, if they are required.
    pub async fn listed(&self) {
        let mut changes = self.changes();
        while self.required && !self.both_listed() {
            // The sender is a part of self, so that waiting can't fail.
            let _ = changes.changed().await;
        }
    }

    fn both_listed(&self) -> bool {
        let known = self.known();
        known.policy.listed && known.binding.listed
    }

    /// What can be said now.
    #[must_use]
    pub fn admission(&self) -> Admission {
        if self.required { self.known().admission() } else { Admission::NotRequired }
    }

    /// Takes in what a watch says of one of them, which is known by `now`.
    pub fn take_in(&self, part: Part, event: Event<Lenient>, now: Now) {
        {
            let mut known = self.known();
            let seen = known.of(part);
            match event {
                Event::Init => seen.listing = None,
                Event::InitApply(object) => seen.listing = self.look(part, &object, seen, now),
                Event::InitDone => {
                    seen.listed = true;
                    let listing = seen.listing.take();
                    seen.set(listing, now);
                }
                Event::Apply(object) => {
                    let there = self.look(part, &object, seen, now);
                    seen.set(there, now);
                }
                Event::Delete(_) => seen.set(None, now),
            }
        }
        self.note(now);
        self.changed.send_replace(());
    }

    /// Takes in whether the watch of one of them works. What is recorded of it stays: when it works again, it brings whatever has
    /// changed.
    pub fn is_watched(&self, part: Part, works: bool) {
        {
            let mut known = self.known();
            let seen = known.of(part);
            seen.fails = if works { None } else { seen.fails.or_else(|| Some(Instant::now())) };
        }
        self.changed.send_replace(());
    }

    /// What an object is worth; nothing, if it is on its way out.
    fn look(&self, part: Part, object: &Lenient, seen: &Seen, now: Now) -> Option<There> {
        if object.is_terminating() {
            return None;
        }
        let entry = Pair::of(object).map(|pair| {
            let entry = Entry::of(pair, object.created(), seen.recorded.as_ref(), now);
            Entry { since: seen.missed.map_or(entry.since, |missed| entry.since.max(missed)), ..entry }
        });
        let checked = match (&self.shipped, part) {
            (Err(why), _) => Err(format!("the shipped one, which it is compared with, can't be read: {why}")),
            (Ok(shipped), Part::Policy) => shipped.check_policy(&object.spec),
            (Ok(shipped), Part::Binding) => shipped.check_binding(&object.spec),
        };
        let nameless = || "its metadata have no uid and generation that can be read".to_owned();
        Some(There { flaw: checked.err().or_else(|| entry.is_none().then(nameless)), entry })
    }

    /// Brings what is kept in the Lease up to date. It tells whether BulkUpdates that are made from now on are accepted.
    fn note(&self, now: Now) -> bool {
        if !self.required {
            return true;
        }
        let known = self.known();
        let accepts = known.admission().covers_what_comes(now);
        let accepted = known.both().ok().filter(|_| accepts);
        let accepted = accepted.map(|(policy, binding)| format!("{} {}", policy.pair, binding.pair));
        let record =
            Record { policy: known.policy.recorded.clone(), binding: known.binding.recorded.clone() };
        let notes = vec![(RECORD, record.write()), (ACCEPTED, accepted)];
        // While it is locked: what is known later is not overtaken.
        self.notes.send_if_modified(|kept| {
            let changed = *kept != notes;
            *kept = notes;
            changed
        });
        accepts
    }

    /// Keeps the Lease's annotations up to date as time goes by, and tells `tell` what has come of it whenever that is something
    /// else. It never returns.
    pub async fn follow(&self, clock: &Clock, mut tell: impl FnMut(Result<(), String>)) {
        let mut changes = self.changes();
        self.listed().await;
        let mut told = None;
        loop {
            let accepts = self.note(clock.now());
            let state = match self.admission() {
                Admission::Missing(why) => Err(why),
                _ if accepts => Ok(()),
                _ => Err(format!("the admission policy has not been in force for {SPREADS} s yet")),
            };
            let waits_for_time = state.is_err() || self.known().fails();
            if told.as_ref() != Some(&state) {
                tell(state.clone());
                told = Some(state);
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(1)), if waits_for_time => {}
            }
        }
    }

    /// Is told whenever a watch has said something.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn of(&mut self, part: Part) -> &mut Seen {
        match part {
            Part::Policy => &mut self.policy,
            Part::Binding => &mut self.binding,
        }
    }

    /// The entries of both, if both are there and check what they should; else what is wrong.
    fn both(&self) -> Result<(&Entry, &Entry), String> {
        let policy = self.policy.entry("ValidatingAdmissionPolicy")?;
        Ok((policy, self.binding.entry("ValidatingAdmissionPolicyBinding")?))
    }

    fn fails(&self) -> bool {
        self.policy.fails.or(self.binding.fails).is_some()
    }

    fn admission(&self) -> Admission {
        match self.both() {
            Ok((policy, binding)) => Admission::Since(policy.since.max(binding.since)),
            Err(why) => Admission::Missing(format!(
                "{why}: nothing is planned without it, for nobody would know whether authors may do what they ask for"
            )),
        }
    }
}

impl Seen {
    fn entry(&self, what: &str) -> Result<&Entry, String> {
        if self.listed && self.fails.is_some_and(|since| since.elapsed() > BLIND) {
            return Err(format!(
                "the {what} {POLICY} can't be watched any more; the operator's log says why"
            ));
        }
        match &self.there {
            Some(There { flaw: Some(flaw), .. }) => {
                Err(format!("the {what} {POLICY} does not check what the shipped one checks: {flaw}"))
            }
            Some(There { entry: Some(entry), flaw: None }) => Ok(entry),
            None if !self.listed => {
                Err(format!("the {what} {POLICY} can't be listed yet; the operator's log says why"))
            }
            _ => Err(format!("the {what} {POLICY} is missing")),
        }
    }

    /// What is gone leaves no record: under its uid nothing comes back.
    fn set(&mut self, there: Option<There>, now: Now) {
        self.recorded = there.as_ref().and_then(|there| there.entry.clone());
        if self.recorded.is_none() {
            self.missed = Some(next_second(now.latest));
        }
        self.there = there;
    }
}

#[cfg(test)]
mod tests;
