//! What is read of an object, and what is written back.

use kube::Resource;
use serde_json::json;

use super::*;

/// What the API server sends of an object whose `managedFields` an adversary has written.
fn hostile() -> String {
    let deep = format!("{}{}", "{\"f:a\":".repeat(5000), "{}") + &"}".repeat(5000);
    let fields = format!(r#"[{{"time":"9999-12-31T23:59:59Z","fieldsV1":{deep}}},{{"time":7}}]"#);
    format!(
        r#"{{"kind":"Lease","metadata":{{"name":"a","uid":"u","resourceVersion":"7","generation":3,
            "creationTimestamp":"9999-12-31T23:59:59Z","managedFields":{fields},
            "labels":{{"of":"others"}},"annotations":{{"of":"others"}},"finalizers":["of/others"]}},
            "spec":{{"renewTime":"9999-12-31T23:59:59.999999Z","new":{{"field":1}}}},"status":{deep}}}"#
    )
}

#[test]
fn nothing_in_an_object_fails_it() {
    let object: Lenient = serde_json::from_str(&hostile()).unwrap();
    assert_eq!((object.text("uid"), object.generation(), object.created()), (Some("u"), Some(3), None));
    assert_eq!(object.meta().resource_version.as_deref(), Some("7"));
    assert!(!object.is_terminating());
    for text in [
        json!({}),
        json!({"metadata": {"generation": "x", "creationTimestamp": 7, "annotations": 7, "uid": [1]}}),
        json!({"metadata": {"creationTimestamp": "-009999-01-01T00:00:00Z", "annotations": null}}),
        json!({"metadata": {"deletionTimestamp": "9999-12-31T23:59:59Z"}, "spec": [1], "status": 1}),
    ] {
        let object: Lenient = serde_json::from_str(&text.to_string()).unwrap();
        assert_eq!((object.text("uid"), object.generation()), (None, None), "{text}");
        assert_eq!(object.is_terminating(), text["metadata"]["deletionTimestamp"].is_string());
        assert_eq!(object.annotation("a"), None);
    }
}

#[test]
fn written_back_it_keeps_what_is_of_others() {
    let mut object: Lenient = serde_json::from_str(&hostile()).unwrap();
    object.annotate("own", Some("1"));
    object.annotate("away", None);
    assert_eq!((object.annotation("own"), object.annotation("away")), (Some("1"), None));
    let written = serde_json::to_value(&object).unwrap();
    assert_eq!(
        written,
        json!({"kind": "Lease", "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "9999-12-31T23:59:59Z", "labels": {"of": "others"},
            "annotations": {"of": "others", "own": "1"}, "finalizers": ["of/others"]},
            "spec": {"renewTime": "9999-12-31T23:59:59.999999Z", "new": {"field": 1}}})
    );
    object.annotate("own", None);
    assert_eq!(object.annotation("own"), None);
    let mut odd: Lenient = serde_json::from_value(json!({"metadata": {"annotations": [1]}})).unwrap();
    odd.annotate("own", Some("1"));
    assert_eq!(odd.annotation("own"), Some("1"));
    let mut new = Lenient::new("v1", "ConfigMap", "new");
    new.annotate("away", None);
    assert_eq!(new.meta().name.as_deref(), Some("new"));
}
