//! The operator's own record of which policy and binding it has seen, and since when, in annotations of its Lease: an object
//! itself does not tell when its spec was last changed.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::{api::time::next_second, client::clock::Now, decode::object::Lenient};

/// What the leader keeps in annotations of the Lease: the names with their values; `None` if it is to be absent.
pub type Notes = Vec<(&'static str, Option<String>)>;

/// The annotation with the record: JSON, with uid, generation and time of policy and binding.
pub const RECORD: &str = "aiapi.dev/admission-record";

/// The annotation that names the policy and the binding under which BulkUpdates are accepted, as
/// `UID/GENERATION UID/GENERATION`; absent while none are accepted.
pub const ACCEPTED: &str = "aiapi.dev/admission-accepted";

/// The longest annotation that is read, in bytes; the operator writes shorter ones.
const LONGEST_RECORD: usize = 1024;

/// The longest uid, in bytes: those of the API server have 36.
const LONGEST_UID: usize = 64;

/// How far in the future a time may be that counts: the API server's clock may have been set since the operator has last seen it.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

/// One state of one object, as `UID/GENERATION`: each change of its spec makes another, and none ever comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub uid: Box<str>,
    /// At least 1.
    pub generation: i64,
}

impl Pair {
    /// `None` if its uid or generation cannot be read.
    pub fn of(object: &Lenient) -> Option<Self> {
        Self::new(object.text("uid")?, object.generation()?)
    }

    fn new(uid: &str, generation: i64) -> Option<Self> {
        let valid = !uid.is_empty() && uid.len() <= LONGEST_UID && generation >= 1;
        valid.then(|| Self { uid: uid.into(), generation })
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.uid, self.generation)
    }
}

/// Since when an object has been as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub pair: Pair,
    /// At least since then; whole seconds.
    pub since: Timestamp,
}

impl Entry {
    /// The entry of an object that is seen now: since the recorded time if it is on record as it is, since its creation if its
    /// spec was never changed, else since now. Doubt makes it later. It is never earlier than its creation, nor than what was
    /// on record before: a view that shows an earlier state is stale.
    pub fn of(pair: Pair, created: Option<Timestamp>, recorded: Option<&Self>, now: Now) -> Self {
        let now = next_second(now.latest);
        let may_be = |time: &Timestamp| time.duration_since(now) <= CLOCKS_DIFFER;
        let created = created.filter(may_be);
        let before = recorded.map(|entry| entry.since).filter(may_be);
        let since = match recorded {
            Some(entry) if entry.pair == pair && before.is_some() => before,
            Some(entry) if entry.pair.uid == pair.uid && entry.pair != pair => None,
            _ if pair.generation == 1 => created,
            _ => None,
        };
        let since = [created, before].into_iter().flatten().fold(since.unwrap_or(now), Timestamp::max);
        Self { pair, since }
    }

    fn read(value: &Value) -> Option<Self> {
        let pair = Pair::new(value["uid"].as_str()?, value["generation"].as_i64()?)?;
        Some(Self { pair, since: next_second(value["since"].as_str()?.parse().ok()?) })
    }

    fn write(&self) -> Value {
        json!({"uid": self.pair.uid, "generation": self.pair.generation, "since": self.since.to_string()})
    }
}

/// The record of policy and binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub policy: Option<Entry>,
    pub binding: Option<Entry>,
}

impl Record {
    /// The one in an annotation. What cannot be parsed counts as not recorded.
    pub fn read(annotation: &str) -> Self {
        if annotation.len() > LONGEST_RECORD {
            return Self::default();
        }
        let value: Value = serde_json::from_str(annotation).unwrap_or_default();
        Self { policy: Entry::read(&value["policy"]), binding: Entry::read(&value["binding"]) }
    }

    /// The annotation, if there is anything to record.
    pub fn write(&self) -> Option<String> {
        let both = [("policy", &self.policy), ("binding", &self.binding)];
        let entries =
            both.into_iter().filter_map(|(part, entry)| Some((part.into(), entry.as_ref()?.write())));
        let entries: Map<_, _> = entries.collect();
        (!entries.is_empty()).then(|| Value::Object(entries).to_string())
    }
}

#[cfg(test)]
mod tests;
