//! Which members, times and errors are read from JSON, and a generator of JSON for other tests.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn raw(text: &str) -> Box<RawValue> {
    serde_json::from_str(text).unwrap()
}

fn seconds(text: &str) -> Option<i64> {
    moment(text).map(Timestamp::as_second)
}

#[test]
fn members_are_found_by_name_and_null_is_absent() {
    let object = raw(r#"{"a": 1, "b": null, "c": {"a": 2}, "a": 3, "\u0064": [4]}"#);
    let found = members(&object, ["a", "b", "c", "d", "e"]).unwrap().map(|found| found.map(RawValue::get));
    assert_eq!(found, [Some("3"), None, Some(r#"{"a": 2}"#), Some("[4]"), None]);
    for none in ["1", "[]", "\"a\"", "null", "true"] {
        assert!(members(&raw(none), ["a"]).is_none(), "{none}");
    }
}

#[test]
fn every_time_of_the_calendar_is_held_and_no_other() {
    for (text, expected) in [
        ("2026-01-01T00:00:00Z", Some(1_767_225_600)),
        ("2026-01-01t00:00:00z", Some(1_767_225_600)),
        ("2026-01-01T00:00:00.999999999+00:00", Some(1_767_225_600)),
        ("2026-01-01T23:59:00+23:59", Some(1_767_225_600)),
        ("2026-06-30T23:59:60Z", seconds("2026-06-30T23:59:59Z")),
        ("9999-12-31T23:59:59Z", Some(Timestamp::MAX.as_second())),
        ("9999-12-31T23:59:59.999999999-23:59", Some(Timestamp::MAX.as_second())),
        ("9999-12-31T00:00:00+00:00", Some(Timestamp::MAX.as_second())),
        ("9999-12-31T23:59:60Z", Some(Timestamp::MAX.as_second())),
        ("0000-01-01T00:00:00Z", Some(FIRST)),
        ("0000-01-01T00:00:00+23:59", Some(FIRST)),
        ("0001-01-01T00:00:00Z", Some(-62_135_596_800)),
        ("2026-02-30T00:00:00Z", None),
        ("2026-13-45T99:99:99Z", None),
        ("9999-02-30T00:00:00Z", None),
        ("9999-12-31T23:59:59+24:00", None),
        ("9999-12-31T23:59:59+23:60", None),
        ("9999-12-31T23:59:59+2a:00", None),
        ("9999-12-31T23:59:59", None),
        ("9999-12-31Z", None),
        ("9999-12-31+00:00", None),
        ("9999-12-31", None),
        ("10000-01-01T00:00:00Z", None),
        ("", None),
        ("Z", None),
        ("äääZ", None),
        ("ää+00:00", None),
        ("yesterday", None),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_in_a_part_is_reported_with_its_place() {
    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    struct Part {
        #[serde(default)]
        items: Vec<Item>,
    }
    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    struct Item {
        id: String,
    }
    let message = |text: &str| part::<Part>(Some(&raw(text)), "spec").unwrap_err().to_string();
    assert_eq!(part::<Part>(None, "spec"), Ok(Part::default()));
    for none in ["7", "[]", r#"[[{"id": "x"}]]"#, "\"x\""] {
        assert_eq!(message(none), "spec: it is not an object");
    }
    assert_eq!(
        message(r#"{"items": [{"id": 7}]}"#),
        "spec.items[0].id: invalid type: integer `7`, expected a string"
    );
    assert_eq!(message(r#"{"items": [{}]}"#), "spec.items[0]: missing field `id`");
}

/// Any JSON, as deep and as odd as may be.
pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        proptest::sample::select(vec!["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "STOPPED", "1"])
            .prop_map(Value::from),
    ];
    let names = proptest::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "labels",
        "annotations",
        "managedFields",
        "time",
        "creationTimestamp",
        "deletionTimestamp",
        "state",
        "stopRequest",
        "managedBy",
        "template",
        "workloadRef",
        "apiVersion",
        "kind",
        "targetStatus",
        "executions",
        "deployments",
        "id",
        "notAfter",
        "startTime",
        "completionTime",
        "conditions",
        "observedGeneration",
        "ttlSecondsAfterFinished",
        "kind",
        "data",
        "bulkUpdates",
    ]);
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((names.clone().prop_map(str::to_owned), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
