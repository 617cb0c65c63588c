//! What is remembered of the Executions and Deployments that something runs for: which are due for a pass, and which pass is running.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::workload::{attempts::Attempts, pass::Ended, steps::Key};

/// How long what was tried is remembered of what has ended: a stop that is undone over and over is requested less and less often.
const REMEMBERED: Duration = Duration::from_mins(2);

/// All of them.
#[derive(Debug, Default)]
pub struct Entries {
    entries: BTreeMap<Key, Entry>,
    due: BTreeSet<(Instant, Key)>,
}

#[derive(Debug, Default)]
struct Entry {
    attempts: Attempts,
    /// The resourceVersion at which the last pass left it.
    handled: Box<str>,
    running: bool,
    /// What arrived while a pass was running: a change of the work, and the newest version of the owner.
    again: bool,
    arrived: Option<Box<str>>,
    /// When it is looked at again, or forgotten if it has ended.
    due: Option<Instant>,
    finished: bool,
}

/// A pass that is to begin, with what was tried so far.
pub type Begin = (Key, Attempts);

impl Entries {
    /// Whether anything is remembered of it.
    pub fn has(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// It has changed, and has this resourceVersion, or what runs for it has.
    pub fn changed(&mut self, key: Key, version: Option<Box<str>>) -> Option<Begin> {
        let entry = self.entries.entry(key.clone()).or_default();
        match version {
            None if entry.running => entry.again = true,
            Some(_) if entry.running => entry.arrived = version,
            // What the last pass has written itself.
            Some(version) if version == entry.handled => {}
            _ => return self.begin(key),
        }
        None
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next pass that is due by now; those that have ended are forgotten.
    pub fn due(&mut self, now: Instant) -> Option<Begin> {
        while self.next().is_some_and(|at| at <= now) {
            let (_, key) = self.due.pop_first()?;
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.due = None;
            if entry.finished {
                self.entries.remove(&key);
            } else {
                return self.begin(key);
            }
        }
        None
    }

    /// A pass has ended. Another one begins at once if something has arrived meanwhile.
    pub fn ended(&mut self, key: Key, attempts: Attempts, ended: Ended, now: Instant) -> Option<Begin> {
        let entry = self.entries.get_mut(&key)?;
        let remembers = attempts.stops > 0;
        (entry.running, entry.attempts) = (false, attempts);
        let arrived = entry.arrived.take();
        let (forget, wait) = match ended {
            Ended::Over => (true, None),
            Ended::Finished => {
                entry.finished = true;
                (!remembers, Some(REMEMBERED))
            }
            Ended::Waits { version, wait } => {
                entry.handled = version;
                (false, wait)
            }
        };
        if entry.again || arrived.is_some_and(|version| version != entry.handled) {
            return self.begin(key);
        }
        if forget {
            self.entries.remove(&key);
        } else if let Some(wait) = wait {
            entry.due = Some(now + wait);
            self.due.insert((now + wait, key));
        }
        None
    }

    /// Forgets what does not exist any more: nothing says so of one that waits for a change.
    pub fn forget(&mut self, exists: impl Fn(&Key) -> bool) {
        let gone = self.entries.extract_if(.., |key, entry| !entry.running && !exists(key));
        for (key, entry) in gone {
            if let Some(at) = entry.due {
                self.due.remove(&(at, key));
            }
        }
    }

    fn begin(&mut self, key: Key) -> Option<Begin> {
        let entry = self.entries.get_mut(&key)?;
        if entry.running {
            entry.again = true;
            return None;
        }
        if let Some(at) = entry.due.take() {
            self.due.remove(&(at, key.clone()));
        }
        (entry.running, entry.again, entry.arrived, entry.finished) = (true, false, None, false);
        let attempts = entry.attempts.clone();
        Some((key, attempts))
    }
}

#[cfg(test)]
mod tests;
