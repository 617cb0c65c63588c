//! Since when an object counts as it is, and how that is recorded.

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
        // The API server's clock may have been set meanwhile: in doubt, it is later.
        (Some(recorded("a", 1, 1001)), 1001, 1001),
        (Some(recorded("a", 2, 4600)), 4600, 4600),
        // A record from the far future is none.
        (Some(recorded("a", 1, 4601)), 100, 1000),
        (Some(recorded("a", 2, 4601)), 1000, 1000),
        (Some(recorded("b", 2, i64::from(u32::MAX) * 20)), 100, 1000),
    ] {
        let found = (since(1, Some(100), record.as_ref()), since(2, Some(100), record.as_ref()));
        assert_eq!(found, (first, second), "{record:?}");
    }
    // The same with its creation.
    for created in [1001, 4600] {
        assert_eq!(since(1, Some(created), None), created);
        assert_eq!(since(2, Some(created), Some(&recorded("a", 2, 700))), created);
    }
    // A creation that cannot be read, or is far in the future, is none.
    for created in [None, Some(4601), Some(i64::from(u32::MAX))] {
        assert_eq!(since(1, created, None), 1000);
        assert_eq!(since(1, created, Some(&recorded("a", 1, 700))), 700);
        assert_eq!(since(2, created, Some(&recorded("a", 2, 700))), 700);
        assert_eq!(since(2, created, None), 1000);
    }
}

#[test]
fn a_record_is_read_as_it_was_written_and_what_is_wrong_with_it_was_not_recorded() {
    let uid = "d7a1f7a2-0f0c-4a3e-9f55-1f2f6f6f0c11";
    let seen = |pair, since, version| Seen { entry: Some(Entry { pair, since: at(since) }), version };
    let whole = Record {
        policy: seen(pair(uid, i64::MAX), 253_402_207_199, u64::MAX),
        binding: seen(pair(&"b".repeat(LONGEST_UID), 1), 5, 0),
    };
    let written = whole.write().unwrap();
    assert!(written.len() < 400, "{written}");
    assert_eq!(Record::read(&written), whole);
    assert_eq!(Record::default().write(), None);
    for policy in [Seen::default(), Seen { entry: None, version: 7 }] {
        let part = Record { policy, ..whole.clone() };
        assert_eq!(Record::read(&part.write().unwrap()), part);
    }

    for garbage in ["", "{", "[]", "7", "null", "\"a\"", "{\"policy\": 7}", &"[".repeat(1000)] {
        assert_eq!(Record::read(garbage), Record::default(), "{garbage}");
    }
    let too_long = written.replacen('{', &format!("{{{}", " ".repeat(LONGEST_RECORD)), 1);
    assert_eq!(Record::read(&too_long), Record::default());
    // One that is wrong spoils no other.
    let entry = json!({"uid": "a", "generation": 2, "since": "2026-01-01T00:00:00.5Z", "resourceVersion": 9});
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
        assert_eq!(read.policy, Seen { entry: None, version: 9 }, "{field}: {odd}");
        // Rounded up: never earlier.
        let since = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(read.binding, Seen { entry: Some(Entry { pair: pair("a", 2), since }), version: 9 });
    }
    for odd in [json!("9"), json!(-1), json!(9.5), json!(null)] {
        let mut policy = entry.clone();
        policy["resourceVersion"] = odd;
        let read = Record::read(&json!({ "policy": policy }).to_string()).policy;
        assert!(read.version == 0 && read.entry.is_some());
    }
}
