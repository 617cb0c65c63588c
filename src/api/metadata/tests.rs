//! What is taken of metadata, whatever that is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::decode::json::tests::any_json;

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

#[test]
fn of_metadata_the_few_fields_are_taken_and_what_cannot_be_read_is_absent() {
    let taken = bare_metadata(Some(&raw(&json!({
        "name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "7", "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "9999-12-31T23:59:59Z",
        "labels": {"a": "b"}, "annotations": {"aiapi.dev/requester": "alice", "more": "x".repeat(250_000)},
        "finalizers": ["f"], "ownerReferences": [{}], "generateName": "n-", "managedFields": [{"time": 1}],
    })
    .to_string())));
    let expected = ObjectMeta {
        name: Some("n".into()),
        namespace: Some("ns".into()),
        uid: Some("u".into()),
        resource_version: Some("7".into()),
        generation: Some(3),
        creation_timestamp: Some(Time(Timestamp::from_second(1_767_225_600).unwrap())),
        deletion_timestamp: Some(Time(Timestamp::MAX)),
        annotations: Some([("aiapi.dev/requester".to_owned(), "alice".to_owned())].into()),
        labels: Some([].into()),
        finalizers: Some([].into()),
        owner_references: Some([].into()),
        generate_name: Some(String::new()),
        ..ObjectMeta::default()
    };
    assert_eq!(taken, expected);

    let odd = [
        "null",
        "0",
        "-1",
        "1e999",
        "3.5",
        "18446744073709551616",
        "true",
        "\"\"",
        "\"odd\"",
        "[]",
        "[[1]]",
        "{}",
        r#"{"a": {"b": []}}"#,
        r#"[{"time": "9999-12-31T23:59:59Z"}]"#,
    ];
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "annotations",
        "labels",
        "finalizers",
        "ownerReferences",
        "generateName",
        "managedFields",
        "selfLink",
        "unheardOf",
    ] {
        for value in odd.iter().copied().chain([&*deep]) {
            // Also where the field stands there twice.
            let text = format!(r#"{{"name": "n", "uid": "u", "{field}": {value}, "resourceVersion": "7"}}"#);
            let taken = bare_metadata(Some(&raw(&text)));
            if field != "name" && field != "uid" && field != "resourceVersion" {
                let named = (taken.name.as_deref(), taken.uid.as_deref(), taken.resource_version.as_deref());
                assert_eq!(named, (Some("n"), Some("u"), Some("7")), "{field}");
            }
            assert_eq!(taken.deletion_timestamp.is_some(), field == "deletionTimestamp" && value != "null");
            assert!(taken.creation_timestamp.is_none() && taken.managed_fields.is_none());
        }
    }
    for none in ["null", "0", "\"n\"", "[]", "{}"] {
        assert_eq!(bare_metadata(Some(&raw(none))), ObjectMeta::default(), "{none}");
    }
    assert_eq!(bare_metadata(None), ObjectMeta::default());
}

#[test]
fn texts_without_end_are_cut_and_names_and_uids_are_none() {
    let long = "ä".repeat(100_000);
    let taken = bare_metadata(Some(&raw(
        &json!({"name": long, "namespace": long, "uid": long, "resourceVersion": long,
            "annotations": {"aiapi.dev/requester": long}})
        .to_string(),
    )));
    assert_eq!((taken.name, taken.namespace), (None, None));
    assert_eq!((taken.uid, taken.resource_version), (None, None));
    assert!(taken.annotations.unwrap()["aiapi.dev/requester"].len() <= 256);
}

#[test]
fn what_would_be_another_path_in_a_url_is_no_name() {
    let of = |name: &str, namespace: &str| {
        let taken = bare_metadata(Some(&raw(&json!({"name": name, "namespace": namespace}).to_string())));
        (taken.name, taken.namespace)
    };
    assert_eq!(of("a.b-c", "team-a"), (Some("a.b-c".into()), Some("team-a".into())));
    let longest = "a".repeat(253);
    assert_eq!(of(&longest, &longest[..63]), (Some(longest.clone()), Some(longest[..63].into())));
    for odd in
        ["", ".", "..", "....", "a/b", "../a", "a?dryRun=All", "a#b", "a%2fb", "a b", "a\n", "A", "ä", "\0"]
    {
        assert_eq!(of(odd, odd), (None, None), "{odd:?}");
    }
    assert_eq!(of("a.b", "a.b"), (Some("a.b".into()), None));
    assert_eq!(of(&"a".repeat(254), &"a".repeat(64)), (None, None));
}

proptest! {
    #[test]
    fn no_metadata_fails(value in any_json()) {
        let text = value.to_string();
        let taken = bare_metadata(Some(&raw(&text)));
        prop_assert!(taken.managed_fields.is_none());
    }
}
