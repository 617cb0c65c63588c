//! The operator's own record of which policy and binding it has seen, and since when, which it keeps in annotations of its
//! Lease: what the API server keeps on an object does not tell when its spec was changed last.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::{client::clock::Now, decode::object::Lenient};

/// What the one that leads keeps in annotations of the Lease: each with its value, or that it is not there.
pub type Notes = Vec<(&'static str, Option<String>)>;

/// The annotation with the record: JSON, uid, generation and time of each of the two.
pub const RECORD: &str = "aiapi.dev/admission-record";

/// The annotation that names the policy and the binding for which BulkUpdates are accepted, as
/// `UID/GENERATION UID/GENERATION`; absent while they are not.
pub const ACCEPTED: &str = "aiapi.dev/admission-accepted";

/// The longest annotation that is read, in bytes; what the operator writes is shorter.
const LONGEST_RECORD: usize = 1024;

/// The longest uid, in bytes: those of the API server have 36.
const LONGEST_UID: usize = 64;

/// One state of one object: a change of its spec makes another of it, and none ever comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.generation`, at least 1.
    pub generation: i64,
}

impl Pair {
    /// That of an object; none, where it can't be told from others.
    #[must_use]
    pub fn of(object: &Lenient) -> Option<Self> {
        Self::new(object.text("uid")?, object.generation()?)
    }

    fn new(uid: &str, generation: i64) -> Option<Self> {
        let sound = !uid.is_empty() && uid.len() <= LONGEST_UID && generation >= 1;
        sound.then(|| Self { uid: uid.into(), generation })
    }
}

/// `UID/GENERATION`.
impl std::fmt::Display for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.uid, self.generation)
    }
}

/// That an object has been as it is for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub pair: Pair,
    /// Since then at least; whole seconds.
    pub since: Timestamp,
}

impl Entry {
    /// That of an object that is seen now: since its creation, if its spec was never changed, since then if that is on record,
    /// else since now. What is in doubt makes it later. It is never earlier than its creation, nor than what was on record
    /// before it: whatever shows an earlier state shows the past.
    #[must_use]
    pub fn of(pair: Pair, created: Option<Timestamp>, recorded: Option<&Self>, now: Now) -> Self {
        let now = next_second(now.latest);
        let created = created.filter(|time| *time <= now);
        let before = recorded.map(|entry| entry.since).filter(|time| *time <= now);
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

/// The record of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Of the policy.
    pub policy: Option<Entry>,
    /// Of the binding.
    pub binding: Option<Entry>,
}

impl Record {
    /// The one in an annotation. What can't be understood of it was not recorded.
    #[must_use]
    pub fn read(annotation: &str) -> Self {
        if annotation.len() > LONGEST_RECORD {
            return Self::default();
        }
        let value: Value = serde_json::from_str(annotation).unwrap_or_default();
        Self { policy: Entry::read(&value["policy"]), binding: Entry::read(&value["binding"]) }
    }

    /// The annotation, if there is anything to record.
    #[must_use]
    pub fn write(&self) -> Option<String> {
        let mut parts = serde_json::Map::new();
        for (part, entry) in [("policy", &self.policy), ("binding", &self.binding)] {
            if let Some(entry) = entry {
                parts.insert(part.into(), entry.write());
            }
        }
        (!parts.is_empty()).then(|| Value::Object(parts).to_string())
    }
}

/// `time`, or the first whole second after it: BulkUpdates have whole seconds too, and none may seem to be later than it is.
#[must_use]
pub fn next_second(time: Timestamp) -> Timestamp {
    let second = time.as_second() + i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pair(uid: &str, generation: i64) -> Pair {
        Pair::new(uid, generation).unwrap()
    }

    #[test]
    fn generation_1_counts_since_its_creation_and_any_other_that_is_not_recorded_since_now() {
        let latest = Timestamp::from_millisecond(999_001).unwrap();
        let now = Now { earliest: at(990), latest, ..Now::from(latest) };
        let recorded = |uid: &str, generation, since| Entry { pair: pair(uid, generation), since: at(since) };
        let since = |generation, created: Option<i64>, recorded: Option<&Entry>| {
            let entry = Entry::of(pair("a", generation), created.map(at), recorded, now);
            assert_eq!(entry.pair, pair("a", generation));
            entry.since.as_second()
        };
        for (record, first, second) in [
            (None, 100, 1000),
            // As recorded, but never before it was created.
            (Some(recorded("a", 2, 500)), 1000, 500),
            (Some(recorded("a", 2, 50)), 1000, 100),
            (Some(recorded("a", 1, 500)), 500, 1000),
            (Some(recorded("a", 1, 50)), 100, 1000),
            // What another state of it was says nothing, except that this one is later, or a view of the past.
            (Some(recorded("a", 3, 500)), 1000, 1000),
            // So does another object, such as the one that was there before.
            (Some(recorded("b", 2, 50)), 100, 1000),
            (Some(recorded("b", 2, 500)), 500, 1000),
            (Some(recorded("b", 1, 500)), 500, 1000),
            // A record from the future is none.
            (Some(recorded("a", 1, 1001)), 100, 1000),
            (Some(recorded("a", 2, 1001)), 1000, 1000),
            (Some(recorded("b", 2, i64::from(u32::MAX) * 20)), 100, 1000),
        ] {
            let found = (since(1, Some(100), record.as_ref()), since(2, Some(100), record.as_ref()));
            assert_eq!(found, (first, second), "{record:?}");
        }
        // A creation that can't be read, or is to come, is none.
        for created in [None, Some(1001), Some(i64::from(u32::MAX))] {
            assert_eq!(since(1, created, None), 1000);
            assert_eq!(since(1, created, Some(&recorded("a", 1, 700))), 700);
            assert_eq!(since(2, created, Some(&recorded("a", 2, 700))), 700);
            assert_eq!(since(2, created, None), 1000);
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_what_is_wrong_with_it_was_not_recorded() {
        let uid = "d7a1f7a2-0f0c-4a3e-9f55-1f2f6f6f0c11";
        let whole = Record {
            policy: Some(Entry { pair: pair(uid, i64::MAX), since: at(253_402_207_199) }),
            binding: Some(Entry { pair: pair(&"b".repeat(LONGEST_UID), 1), since: at(5) }),
        };
        let written = whole.write().unwrap();
        assert!(written.len() < 400, "{written}");
        assert_eq!(Record::read(&written), whole);
        assert_eq!(Record::default().write(), None);
        let part = Record { policy: None, ..whole.clone() };
        assert_eq!(Record::read(&part.write().unwrap()), part);

        for garbage in ["", "{", "[]", "7", "null", "\"a\"", "{\"policy\": 7}", &"[".repeat(1000)] {
            assert_eq!(Record::read(garbage), Record::default(), "{garbage}");
        }
        let too_long = written.replacen('{', &format!("{{{}", " ".repeat(LONGEST_RECORD)), 1);
        assert_eq!(Record::read(&too_long), Record::default());
        // One that is wrong spoils no other.
        let entry = json!({"uid": "a", "generation": 2, "since": "2026-01-01T00:00:00.5Z"});
        for (field, odd) in [
            ("uid", json!("")),
            ("uid", json!("u".repeat(LONGEST_UID + 1))),
            ("uid", json!(7)),
            ("generation", json!(0)),
            ("generation", json!(-1)),
            ("generation", json!(1.5)),
            ("generation", json!(u64::MAX)),
            ("generation", json!("2")),
            ("since", json!("yesterday")),
            ("since", json!("9999-12-31T23:59:59Z")),
            ("since", json!(null)),
        ] {
            let mut policy = entry.clone();
            policy[field] = odd.clone();
            let read = Record::read(&json!({"policy": policy, "binding": entry}).to_string());
            assert_eq!(read.policy, None, "{field}: {odd}");
            // Rounded up: never earlier.
            let since = "2026-01-01T00:00:01Z".parse().unwrap();
            assert_eq!(read.binding, Some(Entry { pair: pair("a", 2), since }));
        }
    }
}
