//! Odd `metadata`: what users send, what they patch later, and what only etcd accepts.

use std::fmt::Write as _;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{
    hostile::{odd, odd_names, texts},
    inputs::NAME,
    schema::Care,
};

/// Timestamps that the API server accepts, as far as Go supports them; this project's clock ends a day earlier.
const TIMES: [&str; 12] = [
    "9999-12-31T23:59:59Z",
    "9999-12-30T22:00:00Z",
    "9999-12-30T22:00:01Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:01Z",
    "1582-10-10T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "2016-12-31T23:59:59.123456789123Z",
    "2016-12-31T23:59:59+24:00",
    "2038-01-19T03:14:08Z",
    "2999-01-01T00:00:00-00:00",
];

/// What the API server refuses, or drops when it reads it from etcd.
const NO_TIMES: [&str; 8] = [
    "soon",
    "",
    "2016-12-31T23:59:60Z",
    "2016-12-31t23:59:59z",
    "2026-02-30T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
    "2016-12-31",
];

/// A placeholder for deeply nested JSON objects, which as a value would overflow the stack.
const DEEP: [(&str, usize); 4] = [("$DEEP90", 90), ("$DEEP130", 130), ("$DEEP900", 900), ("$DEEP2000", 2000)];

/// The maximum size of all annotations of an object together, in bytes.
pub const MAX_ANNOTATIONS: usize = 256 << 10;

/// Replaces the placeholders by nested objects.
pub fn nested(mut text: String) -> String {
    for (mark, depth) in DEEP {
        let mark = json!(mark).to_string();
        if text.contains(&mark) {
            text = text.replace(&mark, &format!("{}{{}}{}", r#"{"f:a":"#.repeat(depth), "}".repeat(depth)));
        }
    }
    text
}

/// The metadata of a new object, except for its name: mostly none.
pub fn sent(care: Care) -> BoxedStrategy<Value> {
    let stray = match care {
        Care::Keeps => Just(None).boxed(),
        Care::Strays => option::weighted(0.2, (select(&FIELDS[..]), odd())).boxed(),
    };
    (
        option::weighted(0.15, annotations()),
        option::weighted(0.08, labels()),
        option::weighted(0.06, finalizers()),
        option::weighted(0.06, owners()),
        option::weighted(0.06, managed_fields(care)),
        option::weighted(0.05, select(&TIMES[..])),
        stray,
    )
        .prop_map(|(annotations, labels, finalizers, owners, managed, time, stray)| {
            let mut metadata = json!({});
            let known = [
                ("annotations", annotations),
                ("labels", labels),
                ("finalizers", finalizers),
                ("ownerReferences", owners),
                ("managedFields", managed),
            ];
            for (field, value) in known.into_iter().filter_map(|(field, value)| Some((field, value?))) {
                metadata[field] = value;
            }
            // Fields that the API server sets by itself, whatever is sent.
            if let Some(time) = time {
                for field in ["creationTimestamp", "deletionTimestamp"] {
                    metadata[field] = time.into();
                }
                metadata["selfLink"] = "/apis/elsewhere".into();
                metadata["generation"] = 77.into();
                metadata["uid"] = "00000000-0000-0000-0000-000000000000".into();
            }
            if let Some((field, value)) = stray {
                metadata[field] = value;
            }
            metadata
        })
        .boxed()
}

/// A merge patch of the metadata of an existing object.
pub fn patches(care: Care) -> BoxedStrategy<Value> {
    let strays = u32::from(care == Care::Strays);
    let one = prop_oneof![
        12 => managed_fields(care).prop_map(|value| ("managedFields", value)),
        3 => annotations().prop_map(|value| ("annotations", value)),
        2 => labels().prop_map(|value| ("labels", value)),
        2 => owners().prop_map(|value| ("ownerReferences", value)),
        strays => (select(&FIELDS[..]), odd()),
    ];
    vec(one, 1..=2)
        .prop_map(|changes| {
            let changes = changes.into_iter().map(|(field, value)| (field.to_owned(), value));
            json!({"metadata": changes.collect::<serde_json::Map<_, _>>()})
        })
        .boxed()
}

/// The patches of the known cases.
pub fn known_patches() -> Vec<Value> {
    let entry = |field: &str, value: Value| {
        let mut entry = json!({"manager": "m", "operation": "Update", "apiVersion": "aiapi.dev/v1alpha1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}});
        entry[field] = value;
        entry
    };
    let mut entries: Vec<_> = TIMES.map(|time| vec![entry("time", time.into())]).into();
    entries.extend(DEEP[..3].iter().map(|(mark, _)| vec![entry("fieldsV1", (*mark).into())]));
    entries.extend([
        vec![entry("time", json!(null))],
        vec![entry("manager", "x".repeat(128).into())],
        vec![entry("manager", "\"{{}}😀\\".into())],
        vec![entry("subresource", "x".repeat(256).into())],
        vec![entry("subresource", "status".into())],
        vec![entry("operation", "Apply".into())],
        vec![entry("fieldsV1", json!({"f:metadata": {"f:labels": {".": {}, "f:\u{1b}": {}}}}))],
        vec![entry("fieldsV1", json!({"f:spec": {"f:executions": {r#"k:{"id":1e300}"#: {}}, "v:null": {}}}))],
        (0..60).map(|n| entry("manager", format!("applies-{n}").into())).collect(),
    ]);
    let mut patches: Vec<_> =
        entries.into_iter().map(|entries| json!({"metadata": {"managedFields": entries}})).collect();
    let owner = |n| json!({"apiVersion": "v1", "kind": "Pod", "name": format!("p{n}"), "uid": format!("u{n}"), "controller": n == 0});
    patches.extend([
        json!({"metadata": {"ownerReferences": (0..200).map(owner).collect::<Vec<_>>()}}),
        json!({"metadata": {"annotations": {"example.com/note": "x".repeat(MAX_ANNOTATIONS - 100)}}}),
        json!({"metadata": {"annotations": many(5000)}}),
        json!({"metadata": {"labels": many(2000)}}),
    ]);
    patches
}

/// Whether the API server keeps serving a kind while this is the name or the namespace of an object in etcd: its own
/// cache cannot be filled if one has no name, or one that is not valid in a path.
fn is_served(name: &Value) -> bool {
    let name = name.as_str().unwrap_or_default();
    !["", ".", ".."].contains(&name) && !name.contains(['/', '%'])
}

/// As deep as possible: the API server takes seconds for it.
pub fn deepest_patch() -> Value {
    json!({"metadata": {"managedFields": [{"manager": "m", "operation": "Update", "apiVersion": "aiapi.dev/v1alpha1",
        "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": DEEP[3].0}]}})
}

/// A text, and the name under which it is stored: of two with the same name the API server lists one.
fn own(name: &Value) -> Value {
    format!("{}{NAME}", name.as_str().unwrap_or_default()).into()
}

/// A change of the metadata of a stored object: a field, and its new value, if any.
pub fn changes() -> BoxedStrategy<Vec<(&'static str, Option<Value>)>> {
    let times = || {
        let known = prop_oneof![3 => select(&TIMES[..]), 1 => select(&NO_TIMES[..])];
        prop_oneof![6 => known.prop_map(|time| Some(time.into())), 1 => Just(None), 1 => odd().prop_map(Some)]
    };
    let some = |values: BoxedStrategy<Value>| prop_oneof![3 => values, 1 => odd()].prop_map(Some);
    let generations = prop_oneof![
        2 => select(vec![json!(0), json!(i64::MAX), json!(i64::MAX - 1), json!(2), json!(-1)]),
        1 => odd(),
    ];
    let references = prop_oneof![2 => owners(), 1 => Just(json!([{}])), 1 => Just(json!([{"uid": 7}]))];
    let absent = select(&FIELDS[..]).prop_map(|field| (field, None));
    let one = prop_oneof![
        8 => times().prop_map(|value| ("creationTimestamp", value)),
        2 => times().prop_map(|value| ("deletionTimestamp", value)),
        4 => generations.prop_map(|value| ("generation", Some(value))),
        6 => some(managed_fields(Care::Strays)).prop_map(|value| ("managedFields", value)),
        2 => some(annotations()).prop_map(|value| ("annotations", value)),
        2 => some(labels()).prop_map(|value| ("labels", value)),
        2 => some(finalizers()).prop_map(|value| ("finalizers", value)),
        2 => some(references.boxed()).prop_map(|value| ("ownerReferences", value)),
        2 => odd_names().prop_filter("it is served", is_served).prop_map(|name| ("name", Some(own(&name)))),
        1 => odd_names().prop_filter("it is served", is_served).prop_map(|name| ("namespace", Some(name))),
        1 => odd().prop_map(|uid| ("uid", Some(uid))),
        2 => (select(&FIELDS[..]), odd().prop_map(Some)),
        2 => absent,
    ];
    // With two of the same uid it is unknown which one has its answer.
    let one = one.prop_map(|(field, value)| match (field, value) {
        ("uid", Some(Value::String(uid))) if !uid.is_empty() => ("uid", Some(own(&uid.into()))),
        other => other,
    });
    vec(one, 1..=3).boxed()
}

const FIELDS: [&str; 14] = [
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "resourceVersion",
    "generateName",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "selfLink",
    "unheardOf",
];

fn annotations() -> BoxedStrategy<Value> {
    // Very long values are rare: everything has to fit into etcd.
    let text = prop_oneof![
        40 => texts(0, 300),
        1 => Just("x".repeat(MAX_ANNOTATIONS - 100)),
        1 => texts(80_000, 80_000),
        1 => Just("x".repeat(MAX_ANNOTATIONS + 1)),
    ];
    prop_oneof![
        20 => text.prop_map(|text| json!({"example.com/note": text})),
        1 => (0..2000usize).prop_map(many),
    ]
    .boxed()
}

fn labels() -> BoxedStrategy<Value> {
    let known = vec![
        json!({"example.com/team": "a"}),
        json!({"velero.io/restore-name": "nightly"}),
        json!({"a": ""}),
        json!({"a": "-"}),
        json!({"a": "x".repeat(63)}),
        json!({"a": "x".repeat(64)}),
    ];
    prop_oneof![6 => select(known), 1 => (0..500usize).prop_map(many)].boxed()
}

/// An object with this many short texts.
fn many(count: usize) -> Value {
    let key = |n| {
        let mut key = "k".to_owned();
        write!(key, "{n}").unwrap();
        key
    };
    (0..count).map(|n| (key(n), json!("v"))).collect::<serde_json::Map<_, _>>().into()
}

fn finalizers() -> BoxedStrategy<Value> {
    let known = vec![
        json!(["example.com/keep"]),
        json!(["example.com/keep", "foregroundDeletion"]),
        json!(["orphan"]),
        json!(["unqualified"]),
    ];
    let many = (0..300usize).prop_map(|n| (0..n).map(|n| format!("example.com/f{n}")).collect::<Vec<_>>());
    prop_oneof![8 => select(known), 1 => many.prop_map(Value::from)].boxed()
}

fn owners() -> BoxedStrategy<Value> {
    let owner = |n: usize| {
        json!({"apiVersion": "v1", "kind": "Pod", "name": format!("pod-{n}"), "uid": format!("uid-{n}"),
            "controller": n == 7, "blockOwnerDeletion": true})
    };
    (1..30usize).prop_map(move |n| (0..n).map(owner).collect::<Vec<_>>().into()).boxed()
}

fn managed_fields(care: Care) -> BoxedStrategy<Value> {
    let strays = u32::from(care == Care::Strays);
    let time = prop_oneof![
        8 => select(&TIMES[..]).prop_map(Value::from),
        1 => Just(json!(null)),
        strays => select(&NO_TIMES[..]).prop_map(Value::from),
    ];
    let fields = prop_oneof![
        12 => Just(json!({"f:spec": {".": {}}, "f:metadata": {"f:labels": {"f:a": {}}}})),
        // Deep nesting takes the API server seconds, if there are thousands of levels.
        12 => select(DEEP[..2].iter().map(|(mark, _)| json!(mark)).collect::<Vec<_>>()),
        1 => Just(json!(DEEP[2].0)),
        3 => texts(1, 400).prop_map(|text| json!({format!("f:{text}"): {}})),
        3 => texts(1, 40).prop_map(|text| json!({format!("v:{}", json!(text)): {}})),
        3 * strays => odd(),
    ];
    let manager = prop_oneof![3 => Just("kubectl-edit".to_owned()), 1 => texts(1, 128)];
    let subresource = prop_oneof![4 => Just(""), 1 => select(vec!["status", "scale", "../..", "\u{1b}[31m"])];
    let operation = prop_oneof![8 => select(vec!["Update", "Apply"]), strays => Just("Replace")];
    let version = prop_oneof![12 => Just("aiapi.dev/v1alpha1"), 1 => select(vec!["aiapi.dev/v9", "v1", ""])];
    let entry = (time, fields, manager, subresource, operation, version).prop_map(
        |(time, fields, manager, subresource, operation, version)| {
            json!({"manager": manager, "operation": operation, "apiVersion": version, "time": time,
                "fieldsType": "FieldsV1", "fieldsV1": fields, "subresource": subresource})
        },
    );
    prop_oneof![12 => vec(entry.clone(), 1..4), 1 => vec(entry, 20..60)].prop_map(Value::from).boxed()
}
