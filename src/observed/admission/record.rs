//! The operator's own record of which policy and binding it has seen, and since when, in annotations of its Lease: an object
//! itself does not tell when its spec was last changed.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Resource;
use serde_json::{Map, Value, json};

use crate::{
    api::time::next_second, client::clock::Now, decode::object::Lenient, observed::target::version_number,
};

/// What the leader keeps in annotations of the Lease: the names with their values; `None` if it is to be absent.
pub type Notes = Vec<(&'static str, Option<String>)>;

/// The annotations about one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// The one with the record: JSON, with uid, generation, time and resourceVersion of policy and binding.
    pub record: &'static str,
    /// The one that names the policy and the binding under which what is created is accepted, as `UID/GENERATION UID/GENERATION`;
    /// absent while nothing is accepted.
    pub accepted: &'static str,
}

/// Those about the policy for BulkUpdates.
pub const BULK_UPDATES: Annotations =
    Annotations { record: "aiapi.dev/admission-record", accepted: "aiapi.dev/admission-accepted" };

/// Those about the policy for what Executions and Deployments run.
pub const WORK: Annotations =
    Annotations { record: "aiapi.dev/work-admission-record", accepted: "aiapi.dev/work-admission-accepted" };

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
}

/// What was last seen of one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Since when it has been as it is; absent if it is gone.
    pub entry: Option<Entry>,
    /// The highest resourceVersion at which it was seen, or seen to be deleted; 0 if there is none. Whatever has a lower one is
    /// over, also an earlier object of which nothing else is known.
    pub version: u64,
}

impl Seen {
    /// Whether something newer was seen. An object with the spec that was last seen is no other for its labels or its status;
    /// and one whose version cannot be compared is not older.
    pub fn is_past(&self, object: &Lenient) -> bool {
        let is_the_last =
            self.entry.as_ref().is_some_and(|entry| Pair::of(object).as_ref() == Some(&entry.pair));
        version_number(object.meta()).is_some_and(|version| version < self.version) && !is_the_last
    }

    fn read(value: &Value) -> Self {
        Self { entry: Entry::read(value), version: value["resourceVersion"].as_u64().unwrap_or_default() }
    }

    fn write(&self) -> Value {
        let mut value = json!({"resourceVersion": self.version});
        if let Some(Entry { pair, since }) = &self.entry {
            value["uid"] = (*pair.uid).into();
            value["generation"] = pair.generation.into();
            value["since"] = since.to_string().into();
        }
        value
    }
}

/// The record of policy and binding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub policy: Seen,
    pub binding: Seen,
}

impl Record {
    /// The one in an annotation. What cannot be parsed counts as not recorded.
    pub fn read(annotation: &str) -> Self {
        if annotation.len() > LONGEST_RECORD {
            return Self::default();
        }
        let value: Value = serde_json::from_str(annotation).unwrap_or_default();
        Self { policy: Seen::read(&value["policy"]), binding: Seen::read(&value["binding"]) }
    }

    /// The annotation, if there is anything to record.
    pub fn write(&self) -> Option<String> {
        let both = [("policy", &self.policy), ("binding", &self.binding)];
        let seen = both.into_iter().filter(|(_, seen)| **seen != Seen::default());
        let seen: Map<_, _> = seen.map(|(part, seen)| (part.into(), seen.write())).collect();
        (!seen.is_empty()).then(|| Value::Object(seen).to_string())
    }
}

#[cfg(test)]
mod tests;
