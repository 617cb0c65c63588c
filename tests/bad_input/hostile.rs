//! Hostile input: texts, names, JSON that does not match the schema, bytes that are not JSON.

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Value, json};

/// Texts that have broken parsers, logs, terminals and templates elsewhere.
const FRAGMENTS: [&str; 36] = [
    "a",
    "Z",
    "0",
    " ",
    "-",
    ".",
    "_",
    "\"",
    "'",
    "`",
    "\\",
    "\n",
    "\r\n",
    "\t",
    "\u{0}",
    "\u{7}",
    "\u{1b}[31m",
    "\u{1b}]0;title\u{7}",
    "\u{7f}",
    "\u{85}",
    "\u{202e}",
    "\u{200f}",
    "\u{feff}",
    "\u{2028}",
    "\u{fffd}",
    "😀",
    "👩‍👩‍👧",
    "e\u{301}",
    "{{}}",
    "{{ .Values.x }}",
    "${HOME}$(id)",
    "%s%n%00",
    "<script>",
    "../../",
    "---\n- !!x &a *a",
    "null",
];

/// Texts of `min` to `max` characters, with a bias to the shortest and the longest.
pub fn texts(min: usize, max: usize) -> BoxedStrategy<String> {
    let fragment = prop_oneof![4 => select(&FRAGMENTS[..]).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    // Very long texts are rare: ten thousand objects have to fit into etcd.
    let longest = if max > 2000 { 1 } else { 8 };
    let length = prop_oneof![8 => Just(min), 24 => min..=max.min(min + 24), longest => Just(max)];
    (vec(fragment, 1..12), length)
        .prop_map(|(fragments, length)| fragments.concat().chars().cycle().take(length).collect())
        .boxed()
}

/// Names that the API server may or may not accept.
pub fn odd_names() -> BoxedStrategy<Value> {
    let lengths = select(vec![1, 3, 4, 63, 64, 65, 253, 254, 5000]).prop_map(|n| "x".repeat(n));
    let known = [
        "",
        ".",
        "..",
        "...",
        "-abc",
        "abc-",
        "ab..cd",
        ".abcd",
        "Abcd",
        "a_b-c",
        "a.b-c.d",
        "0000",
        "null",
        "true",
        "a/b/c",
        "../../default",
        "%2e%2e%2f",
        "a b c",
        "abcd\n",
        "abcd\u{0}",
        "äbcd",
        "😀😀😀😀",
        "{{abcd}}",
        "a:b;c",
    ];
    prop_oneof![
        4 => select(known.to_vec()).prop_map(Value::from),
        2 => lengths.prop_map(Value::from),
        1 => texts(1, 300).prop_map(Value::from),
        1 => odd(),
    ]
    .boxed()
}

/// A value of the wrong type, or far out of bounds.
pub fn odd() -> BoxedStrategy<Value> {
    let known = vec![
        json!(null),
        json!(true),
        json!("true"),
        json!(0),
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!(3e2),
        json!(1e19),
        json!(-1e300),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(i64::from(i32::MAX) + 1),
        json!(""),
        json!("7"),
        json!("STOPPED"),
        json!("stopped"),
        json!("PAUSED"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": ""}),
        json!({"$ref": "#/"}),
        json!([["STOPPED"]]),
        deep(60),
    ];
    prop_oneof![6 => select(known), 1 => texts(0, 400).prop_map(Value::from), 1 => anything()].boxed()
}

/// Nested lists.
pub fn deep(depth: usize) -> Value {
    (0..depth).fold(json!(null), |inner, _| json!([inner]))
}

/// Any JSON.
pub fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts(0, 40).prop_map(Value::from),
    ];
    let key = prop_oneof![
        select(vec![
            "executions",
            "deployments",
            "dryRun",
            "id",
            "targetStatus",
            "state",
            "managedBy",
            "template",
            "workloadRef",
            "apiVersion",
            "kind",
            "spec",
            "workload",
            "stateTime"
        ])
        .prop_map(str::to_owned),
        texts(0, 12),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(key.clone(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

/// Documents that are not such an object at all.
pub fn documents() -> BoxedStrategy<Vec<u8>> {
    let known: [&[u8]; 18] = [
        b"",
        b" ",
        b"null",
        b"true",
        b"7",
        b"\"text\"",
        b"[]",
        b"{}",
        b"{",
        b"}{",
        b"{}{}",
        b"[{}]",
        b"\xff\xfe\x00",
        b"\xef\xbb\xbf{}",
        b"apiVersion: aiapi.dev/v1alpha1\nkind: BulkUpdate",
        br#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a-pod"}, "spec": {}}"#,
        br#"{"apiVersion": "aiapi.dev/v1alpha1", "kind": "List", "items": [{}]}"#,
        br#"{"apiVersion": "aiapi.dev/v9", "kind": "BulkUpdate", "metadata": {"name": "newer"}, "spec": {}}"#,
    ];
    let nested = select(vec![120usize, 1000, 9_990, 20_000]).prop_map(|depth| {
        format!(r#"{{"metadata": {}1{}}}"#, "[".repeat(depth), "]".repeat(depth)).into_bytes()
    });
    prop_oneof![
        6 => select(known.to_vec()).prop_map(<[u8]>::to_vec),
        1 => nested,
        2 => anything().prop_map(|value| value.to_string().into_bytes()),
        1 => vec(any::<u8>(), 0..200),
    ]
    .boxed()
}

/// Mutates an object: replaces something in one place by something odd, removes it, or duplicates it.
pub fn mutated(values: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    (values, any::<Index>(), 0..4u8, odd())
        .prop_map(|(mut value, at, change, odd)| {
            let mut places = Vec::new();
            list_places(&value, "", &mut places);
            let Some(place) = (!places.is_empty()).then(|| at.get(&places)) else { return odd };
            let (parent, key) = place.rsplit_once('/').unwrap();
            let key = key.replace("~1", "/").replace("~0", "~");
            match value.pointer_mut(parent).unwrap() {
                Value::Object(map) => match change {
                    0 => _ = map.remove(&key),
                    1 => _ = map.insert(key.to_uppercase(), odd),
                    _ => _ = map.insert(key, odd),
                },
                Value::Array(list) => {
                    let at: usize = key.parse().unwrap();
                    match change {
                        0 => _ = list.remove(at),
                        1 => list.push(list[at].clone()),
                        2 => list.push(odd),
                        _ => list[at] = odd,
                    }
                }
                _ => {}
            }
            value
        })
        .boxed()
}

/// The JSON pointers of everything in `value`.
fn list_places(value: &Value, path: &str, places: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, child)| (key.replace('~', "~0").replace('/', "~1"), child)).collect()
        }
        Value::Array(list) => list.iter().enumerate().map(|(at, child)| (at.to_string(), child)).collect(),
        _ => return,
    };
    for (key, child) in children {
        let place = format!("{path}/{key}");
        list_places(child, &place, places);
        places.push(place);
    }
}

/// JSON text with an error that is only possible in text.
pub fn garbled(values: BoxedStrategy<Value>) -> BoxedStrategy<Vec<u8>> {
    let token = select(vec![
        "1e400",
        "-0",
        "1E+2",
        "0x10",
        "007",
        "NaN",
        "1.0",
        "1.5",
        "tru",
        "'x'",
        r#""\ud800""#,
        r#""\u0000""#,
        r#""\x""#,
        "123456789012345678901234567890",
        "-9223372036854775809",
        "\"\u{1b}\"",
        "",
        "{}",
        "[",
        "/* */ 1",
    ]);
    let double = select(vec![
        r#""spec":null,"#,
        r#""spec":{},"#,
        r#""metadata":{"name":"first"},"#,
        r#""kind":"Pod","#,
        r#""apiVersion":"v1","#,
        r#""status":{"state":"STOPPED"},"#,
        r#""executions":[],"#,
        r#""id":"twice","#,
        "\"\":0,",
        "// no\n",
    ]);
    (values, 0..6u8, any::<Index>(), token, double)
        .prop_map(|(value, change, at, token, double)| {
            let text = value.to_string();
            let places = |c| text.match_indices(c).map(|(at, _)| at + 1).collect::<Vec<_>>();
            let (opened, colons) = (places('{'), places(':'));
            let mut bytes = text.clone().into_bytes();
            match change {
                0 => bytes.truncate(at.index(bytes.len())),
                1 => _ = bytes.remove(at.index(bytes.len())),
                2 => bytes.insert(at.index(bytes.len()), 0xc3),
                3 | 4 if !opened.is_empty() => {
                    let at = *at.get(&opened);
                    bytes.splice(at..at, double.bytes());
                }
                _ if !colons.is_empty() => {
                    let at = *at.get(&colons);
                    let end = text[at..].find([',', '}', ']']).map_or(text.len(), |end| at + end);
                    bytes.splice(at..end, token.bytes());
                }
                _ => {}
            }
            bytes
        })
        .boxed()
}
