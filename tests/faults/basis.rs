//! What a plan rests on, as far as the wire can tell.
//!
//! What a status says of an item that is planned, or eligible in a dry run, may rest on what the operator watches, which may
//! be behind: the write is guarded, and a dry run tells what the operator would do. So neither need be so any more when it is
//! said, nor when the BulkUpdate was made: a watch that is held back shows for as long what was long ago. But it has to rest on
//! the newest that the operator had been shown of this very object when it began to look, or on something newer. It begins
//! when it sends for the flag, which it does before it looks at any target; where several BulkUpdates do so, it is not known for
//! which, and the first time counts. Besides, what a live read has answered holds for ten seconds, whatever a watch shows
//! meanwhile.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use ai_api_operator::api::Kind;
use serde_json::Value;

/// How long an answer to a live read holds while a plan waits for another one.
const ANSWER_HOLDS: Duration = Duration::from_secs(11);

/// What one life of the operator has been shown of targets: uids and resource versions.
#[derive(Default)]
pub struct Observed {
    by_watches: Vec<(String, u64)>,
    by_reads: Vec<(Instant, String, u64)>,
    /// How many of them it had been shown each time when it sent for the flag.
    passes: Vec<usize>,
}

/// The oldest version that something may rest on, and those that live reads have shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    oldest: Option<u64>,
    read: Vec<u64>,
}

impl Basis {
    /// Whether it may rest on this version.
    pub fn has(&self, revision: u64) -> bool {
        self.oldest.is_some_and(|oldest| revision >= oldest) || self.read.contains(&revision)
    }
}

fn version_of(object: &Value) -> Option<(String, u64)> {
    let meta = &object["metadata"];
    Some((meta["uid"].as_str()?.to_owned(), meta["resourceVersion"].as_str()?.parse().ok()?))
}

impl Observed {
    /// A list or a watch shows an object.
    pub fn shows(&mut self, object: &Value) {
        self.by_watches.extend(version_of(object));
    }

    /// A live read shows it.
    pub fn has_read(&mut self, object: &Value) {
        self.by_reads.extend(version_of(object).map(|(uid, revision)| (Instant::now(), uid, revision)));
    }

    /// It sends for the flag.
    pub fn begins_a_pass(&mut self) {
        self.passes.push(self.by_watches.len());
    }

    /// What may be said of an object now can rest on this.
    fn basis(&self, uid: &str, alone: bool) -> Basis {
        let begin = if alone { self.passes.last() } else { self.passes.first() };
        let of_uid = |shown: &&(String, u64)| shown.0 == uid;
        let (before, since) = self.by_watches.split_at(begin.copied().unwrap_or_default());
        let oldest = before.iter().rfind(of_uid).or_else(|| since.iter().find(of_uid));
        let holds = |(time, of, _): &&(Instant, String, u64)| of == uid && time.elapsed() < ANSWER_HOLDS;
        let read = self.by_reads.iter().filter(holds).map(|(_, _, revision)| *revision).collect();
        Basis { oldest: oldest.map(|(_, revision)| *revision), read }
    }
}

/// What the plans of all lives rest on.
pub struct Bases {
    /// Whether there is one BulkUpdate only.
    alone: bool,
    /// By the uids of the BulkUpdate and of the object: one for each time when it was sent.
    bases: Mutex<HashMap<(String, String), Vec<Basis>>>,
}

impl Bases {
    pub fn new(alone: bool) -> Self {
        Self { alone, bases: Mutex::default() }
    }

    /// A status is sent by an operator that has been shown this.
    pub fn take_in(&self, bulk: &Value, observed: &Observed) {
        let of = bulk["metadata"]["uid"].as_str().unwrap_or_default();
        let items = Kind::ALL.into_iter().filter_map(|kind| bulk["status"][kind.plural()].as_array());
        let claims =
            items.flatten().filter(|item| item["result"] == "Planned" || item["result"] == "Eligible");
        for uid in claims.filter_map(|item| item["uid"].as_str()) {
            let basis = observed.basis(uid, self.alone);
            let key = (of.to_owned(), uid.to_owned());
            self.bases.lock().unwrap().entry(key).or_default().push(basis);
        }
    }

    /// Those on which what is said of an object may rest.
    pub fn of(&self, bulk_update: &str, uid: &str) -> Vec<Basis> {
        let key = (bulk_update.to_owned(), uid.to_owned());
        self.bases.lock().unwrap().get(&key).cloned().unwrap_or_default()
    }
}
