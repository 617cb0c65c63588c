//! Whatever a BulkUpdate contains, at worst it cannot be read itself.

use kube::core::{ObjectList, WatchEvent};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{ItemResult, Kind, MAX_ITEMS},
    decode::json::tests::any_json,
    observed::target::Observed,
};

fn valid() -> Value {
    json!({
        "apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"name": "nightly", "namespace": "team-a", "uid": "u", "resourceVersion": "7", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"executions": [{"id": "exec-1", "targetStatus": "STOPPED"}], "ttlSecondsAfterFinished": 60},
        "status": {"observedGeneration": -1},
    })
}

fn read(object: &Value) -> Stored {
    serde_json::from_str(&object.to_string()).expect("always decodes")
}

/// The valid document with another text at this path.
fn with(path: &str, text: &str) -> String {
    let mut object = valid();
    let mark = "\u{0}here";
    let (parent, name) = path.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = mark.into(),
        parent => parent[name] = mark.into(),
    }
    object.to_string().replace(&json!(mark).to_string(), text)
}

fn deep() -> String {
    format!("{}{}", "{\"a\":[".repeat(3000), "]}".repeat(3000))
}

/// Decoded from a list, a watch event and a GET.
fn in_each_way(text: &str) -> [Stored; 3] {
    let list = format!(
        r#"{{"apiVersion": "v1", "kind": "BulkUpdateList", "metadata": {{"resourceVersion": "9"}}, "items": [{}, {text}]}}"#,
        valid()
    );
    let listed = serde_json::from_str::<ObjectList<Stored>>(&list).expect("no object fails a list");
    assert!(listed.items[0].flaw.is_none(), "the others are read");
    let event = format!(r#"{{"type": "MODIFIED", "object": {text}}}"#);
    let WatchEvent::Modified(watched) = serde_json::from_str(&event).expect("no object fails a watch") else {
        panic!("{event}")
    };
    [
        listed.items[1].clone(),
        watched,
        serde_json::from_slice(text.as_bytes()).expect("no object fails an answer"),
    ]
}

#[test]
fn what_is_valid_is_read() {
    let Stored { bulk, flaw } = read(&valid());
    assert_eq!(flaw, None);
    assert_eq!(bulk.spec.items(Kind::Execution).len(), 1);
    assert_eq!(bulk.spec.ttl_seconds_after_finished, Some(60));
    assert_eq!(bulk.status, Some(BulkUpdateStatus::default()));
}

#[test]
fn nothing_in_the_metadata_keeps_a_bulk_update_from_being_carried_out() {
    let (deep, long) = (deep(), json!("x".repeat(1_000_000)).to_string());
    let odd = [
        "null",
        "0",
        "-1",
        "1e999",
        "1.5",
        "true",
        "\"\"",
        "\"odd\"",
        "[]",
        "[[[]]]",
        "{}",
        &deep,
        &long,
        r#"[{"manager": "m", "time": "9999-12-31T23:59:59Z", "fieldsV1": {}}]"#,
        r#"[{"time": 5}]"#,
        r#"{"a": 5}"#,
        "\"9999-12-31T23:59:59Z\"",
        "\"0000-00-00T00:00:00Z\"",
        "99999999999999999999999999",
    ];
    for field in [
        "managedFields",
        "ownerReferences",
        "finalizers",
        "labels",
        "annotations",
        "generateName",
        "selfLink",
        "creationTimestamp",
        "generation",
        "deletionGracePeriodSeconds",
        "unheardOf",
    ] {
        for value in odd {
            let text = with(&format!("/metadata/{field}"), value);
            for stored in in_each_way(&text) {
                assert_eq!(stored.flaw, None, "{field}: {}", &value[..value.len().min(80)]);
                assert_eq!(stored.bulk.metadata.name.as_deref(), Some("nightly"));
                assert!(stored.is_addressable());
            }
        }
    }
    // Without an identity nothing can be done for it.
    for field in ["name", "namespace", "uid", "resourceVersion"] {
        for value in ["null", "5", "\"\"", "[]", &deep] {
            for stored in in_each_way(&with(&format!("/metadata/{field}"), value)) {
                assert!(stored.flaw.unwrap().contains(field), "{field}: {value}");
            }
        }
    }
    for whole in ["null", "5", "[]", "\"x\"", &deep] {
        for text in [whole.to_owned(), with("/metadata", whole)] {
            for stored in in_each_way(&text) {
                assert!(stored.flaw.is_some() && !stored.is_addressable(), "{text}");
            }
        }
    }
}

#[test]
fn what_is_wrong_in_the_spec_is_reported_and_its_ttl_is_read_all_the_same() {
    let deep = deep();
    for (path, value, expected) in [
        (
            "/spec/executions/0/targetStatus",
            "\"EXPLODED\"",
            "spec.executions[0].targetStatus: unknown variant `EXPLODED`",
        ),
        ("/spec/executions/0/id", "5", "spec.executions[0].id: invalid type: integer `5`"),
        ("/spec/executions/0/id", "\"x\"", "spec: an id must have"),
        ("/spec/executions/0/id", &deep, "spec.executions[0].id: "),
        ("/spec/executions/0", "null", "spec.executions[0]: "),
        ("/spec/executions", "[]", "spec: it must have 1 to 100 items"),
        ("/spec/executions", "null", "spec: it must have 1 to 100 items"),
        ("/spec/executions", "{}", "spec.executions: invalid type: map"),
        ("/spec/dryRun", "\"yes\"", "spec.dryRun: invalid type: string"),
        ("/spec/notAfter", "\"2026-02-30T00:00:00Z\"", "spec.notAfter: there is no such time"),
        ("/spec/notAfter", "1e999", "spec.notAfter: "),
        ("/spec/activeDeadlineSeconds", "1.5", "spec.activeDeadlineSeconds: it is not a whole number"),
    ] {
        for Stored { bulk, flaw } in in_each_way(&with(path, value)) {
            let flaw = flaw.unwrap();
            assert!(flaw.starts_with(expected), "{path}: {flaw}");
            assert_eq!(bulk.spec.ttl_seconds_after_finished, Some(60), "{path}");
            assert!(bulk.spec.executions.is_none());
        }
    }
    for spec in ["null", "5", "[]", "\"x\"", &deep] {
        for stored in in_each_way(&with("/spec", spec)) {
            assert!(stored.flaw.unwrap().starts_with("spec: "), "{spec}");
        }
    }
    for unknown in ["1e999", &deep, "[5]"] {
        for stored in in_each_way(&with("/spec/unheardOf", unknown)) {
            assert_eq!(stored.flaw, None, "{unknown}");
        }
    }
}

#[test]
fn of_a_status_what_can_be_read_counts_and_a_start_or_an_end_is_one_whatever_its_value() {
    let deep = deep();
    let created = Time("2026-01-01T00:00:00Z".parse().unwrap());
    let status = |path: &str, value: &str| {
        let read = in_each_way(&with(path, value));
        assert!(read.iter().all(|stored| stored.flaw.is_none() && stored.bulk.status == read[0].bulk.status));
        read[0].bulk.status.clone()
    };
    assert_eq!(status("/status", "null"), None);
    for odd in ["5", "true", "1e999", "[]", "{}", "\"\"", &deep] {
        // It may have been the record of a plan: planning again could write twice.
        let none = BulkUpdateStatus { start_time: Some(created.clone()), ..BulkUpdateStatus::default() };
        assert_eq!(
            status("/status", odd),
            Some(if odd == "{}" || odd == deep { BulkUpdateStatus::default() } else { none })
        );
        let started = status("/status/startTime", odd).unwrap();
        assert_eq!(started.start_time.as_ref(), Some(&created), "{odd}");
        let ended = status("/status/completionTime", odd).unwrap();
        assert!(ended.completion_time.is_some() && ended.start_time.is_none(), "{odd}");
        for field in ["observedGeneration", "conditions", "summary", "executions", "deployments"] {
            let read = status(&format!("/status/{field}"), odd).unwrap();
            assert!(read.start_time.is_none() && read.completion_time.is_none(), "{field}: {odd}");
        }
    }
    // Times that can be represented are written as the API server accepts them.
    for (text, held) in [
        ("9999-12-31T23:59:59Z", "9999-12-30T22:00:00Z"),
        ("0000-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.75Z", "2026-01-01T00:00:00Z"),
    ] {
        let read = status("/status/startTime", &json!(text).to_string()).unwrap();
        assert_eq!(serde_json::to_value(read.start_time).unwrap(), json!(held), "{text}");
    }
    // Those of conditions are kept if the condition does not change.
    for (text, held) in [
        ("0000-01-01T00:00:00+23:59", Some("0001-01-01T00:00:00Z")),
        ("2026-01-01T00:00:00Z", Some("2026-01-01T00:00:00Z")),
        ("9999-12-31T23:59:59Z", None),
    ] {
        let condition = json!([{"type": "Ready", "status": "False", "reason": "r", "message": "", "lastTransitionTime": text}]);
        let read = status("/status/conditions", &condition.to_string()).unwrap().conditions;
        let times = serde_json::to_value(read).unwrap();
        let time = times.pointer("/0/lastTransitionTime").and_then(serde_json::Value::as_str);
        assert_eq!(time, held, "{text}");
    }
    // One item that cannot be read does not affect the others.
    let item = json!({"id": "exec-1", "targetStatus": "STOPPED", "result": "Planned", "uid": "u"});
    for bad in [json!(5), json!({}), json!({"id": "exec-2", "targetStatus": "STOPPED", "result": "Vanished"})]
    {
        let list = json!([bad, item]).to_string();
        let items = status("/status/executions", &list).unwrap().executions.unwrap();
        assert!(matches!(&items[..], [one] if one.result == ItemResult::Planned), "{items:?}");
    }
}

#[test]
fn a_status_that_somebody_has_blown_up_is_kept_small() {
    let long = "ä".repeat(10_000);
    let item =
        json!({"id": long, "targetStatus": "STOPPED", "result": "Failed", "uid": long, "message": long});
    let condition = json!({"type": long, "status": "True", "reason": long, "message": long,
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let mut object = valid();
    object["status"] = json!({"executions": vec![item; 1000], "conditions": vec![condition; 100]});
    let status = read(&object).bulk.status.unwrap();
    let items = status.executions.unwrap();
    assert_eq!((items.len(), status.conditions.len()), (MAX_ITEMS, MOST_CONDITIONS));
    assert!(
        items.iter().all(|i| i.id.len() <= 128 && i.message.as_ref().unwrap().len() <= LONGEST_ITEM_MESSAGE)
    );
    assert!(status.conditions.iter().all(|c| c.message.len() <= 1024 && c.reason.len() <= 128));
}

/// The document with arbitrary JSON in place of one of its parts.
fn any_object() -> impl Strategy<Value = Value> {
    let paths = proptest::sample::select(vec![
        "/metadata",
        "/metadata/name",
        "/metadata/labels",
        "/metadata/managedFields",
        "/metadata/creationTimestamp",
        "/metadata/resourceVersion",
        "/spec",
        "/spec/executions",
        "/spec/notAfter",
        "/status",
        "/status/startTime",
        "/status/executions",
        "/status/conditions",
    ]);
    let changed = (paths, any_json()).prop_map(|(path, value)| {
        let mut object = valid();
        let (parent, name) = path.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[name] = value;
        object
    });
    prop_oneof![1 => any_json(), 3 => changed]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn no_object_fails_a_list_a_watch_or_an_answer(object in any_object()) {
        let text = object.to_string();
        in_each_way(&text);
        let list = format!(r#"{{"metadata": {{"resourceVersion": "9"}}, "items": [{text}, {text}]}}"#);
        prop_assert_eq!(serde_json::from_str::<ObjectList<Observed>>(&list).unwrap().items.len(), 2);
        let event = format!(r#"{{"type": "DELETED", "object": {text}}}"#);
        let deleted = serde_json::from_str(&event).unwrap();
        prop_assert!(matches!(deleted, WatchEvent::<Observed>::Deleted(_)));
        let target = crate::observed::target::Target::from(&serde_json::from_str::<Observed>(&text).unwrap());
        prop_assert!(target.state.err().is_none_or(|why| why.to_string().len() <= 80));
    }
}
