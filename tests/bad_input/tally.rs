//! What was sent, and its outcome: one line at the end.

use std::{collections::BTreeMap, fmt};

/// How often each word was counted.
type Counts = BTreeMap<String, usize>;

#[derive(Debug, Default)]
pub struct Tally {
    sent: Counts,
    accepted: Counts,
    codes: BTreeMap<u16, usize>,
    rejected: Counts,
    refused: Counts,
    failed: Counts,
    waiting: Counts,
    pub finished: usize,
    /// Finished and deleted after its TTL.
    pub expired: usize,
    /// Whose conditions say that they cannot be read.
    pub unreadable: usize,
    /// Without a usable name.
    pub nameless: usize,
    /// Stored under another name than the one in their metadata.
    pub astray: usize,
    /// For which the API server accepts no status.
    pub unwritable: usize,
    /// Which somebody else has marked as finished.
    pub believed: usize,
    pub terminating: usize,
    /// Which had finished before the operator was restarted, and were not touched.
    pub found_again: usize,
    /// The longest that a well-formed BulkUpdate in between took.
    pub slowest: std::time::Duration,
    pub well_formed: usize,
}

fn add(counts: &mut Counts, word: &str) {
    *counts.entry(word.to_owned()).or_default() += 1;
}

impl Tally {
    /// One input was sent, and this was the answer.
    pub fn sent(&mut self, kind: &str, code: u16) {
        add(&mut self.sent, kind);
        if code < 300 {
            add(&mut self.accepted, kind);
        } else {
            *self.codes.entry(code).or_default() += 1;
        }
    }

    /// A BulkUpdate was rejected as a whole.
    pub fn rejected(&mut self, reason: &str) {
        self.finished += 1;
        add(&mut self.rejected, reason);
    }

    pub fn refused(&mut self, reason: &str) {
        add(&mut self.refused, reason);
    }

    pub fn failed(&mut self, reason: &str) {
        add(&mut self.failed, reason);
    }

    pub fn waiting(&mut self, reason: &str) {
        add(&mut self.waiting, reason);
    }

    /// Adds what was counted elsewhere.
    pub fn merge(&mut self, other: Self) {
        let Self { sent, accepted, codes, rejected, refused, failed, waiting, .. } = other;
        let both = |own: &mut Counts, other: Counts| {
            for (word, count) in other {
                *own.entry(word).or_default() += count;
            }
        };
        both(&mut self.sent, sent);
        both(&mut self.accepted, accepted);
        both(&mut self.rejected, rejected);
        both(&mut self.refused, refused);
        both(&mut self.failed, failed);
        both(&mut self.waiting, waiting);
        for (code, count) in codes {
            *self.codes.entry(code).or_default() += count;
        }
        self.finished += other.finished;
        self.expired += other.expired;
        self.slowest = self.slowest.max(other.slowest);
        self.well_formed += other.well_formed;
    }

    /// How many inputs were sent.
    fn total(&self) -> usize {
        self.sent.values().sum()
    }

    /// A run in which hardly anything is accepted or has any effect shows nothing.
    pub fn shows_enough(&self, count: usize, writes: usize) {
        let all = |counts: &Counts| counts.values().sum::<usize>();
        let of = |counts: &Counts, word: &str| counts.get(word).copied().unwrap_or_default();
        let bulk_updates = of(&self.accepted, "BulkUpdate");
        let edited_targets =
            of(&self.accepted, "Execution metadata") + of(&self.accepted, "Deployment metadata");
        let floors = [
            ("inputs", self.total(), count),
            ("accepted inputs", all(&self.accepted), count / 2),
            ("accepted BulkUpdates", bulk_updates, count / 5),
            (
                "accepted patches of a BulkUpdate's metadata",
                of(&self.accepted, "BulkUpdate metadata"),
                count / 50,
            ),
            ("accepted patches of a target's metadata", edited_targets, count / 40),
            ("inputs refused by the API server", self.codes.values().sum(), count / 10),
            ("BulkUpdates in etcd", of(&self.accepted, "BulkUpdate in etcd"), count / 25),
            ("finished BulkUpdates", self.finished, bulk_updates / 2),
            ("BulkUpdates rejected as a whole", all(&self.rejected), bulk_updates / 50),
            ("unreadable BulkUpdates", self.unreadable, count / 200),
            ("BulkUpdates without a usable name", self.nameless, count / 1000),
            ("BulkUpdates without a status", self.unwritable, count / 1000),
            ("BulkUpdates that wait", all(&self.waiting), count / 200),
            ("refused items", all(&self.refused), count / 4),
            ("reasons of refusals", self.refused.len(), 5),
            ("failed items", all(&self.failed), count / 200),
            ("reasons of failures", self.failed.len(), 3),
            ("BulkUpdates found finished", self.found_again, count / 50),
            ("writes to targets", writes, count / 20),
        ];
        let few: Vec<_> = floors.iter().filter(|(_, found, least)| found < least).collect();
        assert!(few.is_empty(), "too few for the run to show anything: {few:?}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = |counts: &Counts| {
            let words = counts.iter().map(|(word, count)| format!("{word} {count}"));
            let list = words.collect::<Vec<_>>().join(", ");
            if list.is_empty() { "none".to_owned() } else { list }
        };
        let codes = self.codes.iter().map(|(code, count)| (code.to_string(), *count)).collect();
        write!(
            f,
            "inputs: {} ({}); accepted: {}; refused by the API server: {}; BulkUpdates finished: {}, of them rejected \
             as a whole: {}; finished and expired: {}; waiting: {}; unreadable: {}; nameless: {}; astray: {}; without a status: {}; \
             believed to be over: {}; being deleted: {}; found over after a restart: {}; items refused: {}; items failed: \
             {}; well-formed ones in between: {}, the slowest took {:?}",
            self.total(),
            counts(&self.sent),
            counts(&self.accepted),
            counts(&codes),
            self.finished,
            counts(&self.rejected),
            self.expired,
            counts(&self.waiting),
            self.unreadable,
            self.nameless,
            self.astray,
            self.unwritable,
            self.believed,
            self.terminating,
            self.found_again,
            counts(&self.refused),
            counts(&self.failed),
            self.well_formed,
            self.slowest
        )
    }
}
