//! What was sent, and what became of it: one line at the end.

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
    /// Finished and gone, as its TTL asked for.
    pub expired: usize,
    pub unreadable: usize,
    /// The longest that a well-formed BulkUpdate took in between.
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

    /// Takes in what was counted elsewhere.
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
        self.unreadable += other.unreadable;
        self.slowest = self.slowest.max(other.slowest);
        self.well_formed += other.well_formed;
    }

    /// How many inputs were sent.
    pub fn total(&self) -> usize {
        self.sent.values().sum()
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
             as a whole: {}; finished and expired: {}; waiting: {}; unreadable: {}; items refused: {}; items failed: \
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
            counts(&self.refused),
            counts(&self.failed),
            self.well_formed,
            self.slowest
        )
    }
}
