//! What a plan is based on, as far as the wire shows it.
//!
//! An item that is planned, or eligible in a dry run, may be based on the operator's watches, which may be behind: the
//! write is guarded, and a dry run only reports what the operator would do. So the state need not hold when it is
//! reported, nor when the BulkUpdate was created: a delayed watch shows an old state for as long as it is delayed. But
//! it has to be based on the newest version that the operator had been shown of this very object when it started the
//! pass, or on something newer. A pass starts with reading the flag, before any target is looked at; with several
//! BulkUpdates, it is unknown whose pass it is, and the first one counts. In addition, the answer to a live read stays
//! valid for ten seconds, whatever a watch shows in the meantime.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use ai_api_operator::api::Kind;
use serde_json::Value;

/// How long the answer to a live read stays valid while a plan waits for another one.
const ANSWER_VALIDITY: Duration = Duration::from_secs(11);

/// What one life of the operator has been shown of targets: uids and resource versions.
#[derive(Default)]
pub struct Observed {
    by_watches: Vec<(String, u64)>,
    by_reads: Vec<(Instant, String, u64)>,
    /// How many of them it had been shown at each reading of the flag.
    passes: Vec<usize>,
}

/// The oldest version that a decision may be based on, and those that live reads have shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    oldest: Option<u64>,
    read: Vec<u64>,
}

impl Basis {
    /// Whether a decision may be based on this version.
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

    /// It reads the flag.
    pub fn begins_a_pass(&mut self) {
        self.passes.push(self.by_watches.len());
    }

    /// What a status that is sent now may be based on for this object.
    fn basis(&self, uid: &str, alone: bool) -> Basis {
        let begin = if alone { self.passes.last() } else { self.passes.first() };
        let of_uid = |shown: &&(String, u64)| shown.0 == uid;
        let (before, since) = self.by_watches.split_at(begin.copied().unwrap_or_default());
        let oldest = before.iter().rfind(of_uid).or_else(|| since.iter().find(of_uid));
        let holds = |(time, of, _): &&(Instant, String, u64)| of == uid && time.elapsed() < ANSWER_VALIDITY;
        let read = self.by_reads.iter().filter(holds).map(|(_, _, revision)| *revision).collect();
        Basis { oldest: oldest.map(|(_, revision)| *revision), read }
    }
}

/// What the plans of all lives are based on.
pub struct Bases {
    /// Whether there is one BulkUpdate only.
    alone: bool,
    /// By the uids of the BulkUpdate and of the object: one for each status sent.
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

    /// The versions that the status of an object may be based on.
    pub fn of(&self, bulk_update: &str, uid: &str) -> Vec<Basis> {
        let key = (bulk_update.to_owned(), uid.to_owned());
        self.bases.lock().unwrap().get(&key).cloned().unwrap_or_default()
    }
}
