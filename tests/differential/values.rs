//! Random values for the fields of a schema: at its bounds, and beyond.

use std::sync::LazyLock;

use fastrand::Rng;
use serde_json::{Map, Value, json};
use support::control_plane::PROJECT;

use crate::place::Kind;

/// The schema of a custom resource.
pub fn schema(kind: Kind) -> &'static Value {
    static SCHEMAS: LazyLock<[Value; 3]> = LazyLock::new(|| {
        ["executions", "deployments", "bulkupdates"].map(|plural| {
            let file = format!("{PROJECT}/crds/{plural}.aiapi.dev.yaml");
            let crds: Vec<Value> =
                serde_saphyr::from_multiple(&std::fs::read_to_string(file).unwrap()).unwrap();
            let crd = crds.into_iter().find(|crd| !crd.is_null()).unwrap();
            crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
        })
    });
    &SCHEMAS[match kind {
        Kind::Execution => 0,
        Kind::Deployment => 1,
        _ => 2,
    }]
}

/// A value for a field; `wild` is how often, in a thousand, something about it is wrong.
pub fn value(rng: &mut Rng, schema: &Value, wild: u32) -> Value {
    if rng.u32(0..1000) < wild {
        return any(rng);
    }
    if let Some(words) = schema["enum"].as_array() {
        let wrong = rng.u32(0..1000) < wild;
        return if wrong { "NONE".into() } else { rng.choice(words).unwrap().clone() };
    }
    match schema["type"].as_str() {
        Some("object") => object(rng, schema, wild).into(),
        Some("array") => array(rng, schema, wild).into(),
        Some("string") => string(rng, schema, wild).into(),
        Some("integer") => integer(rng, schema, wild),
        Some("boolean") => rng.bool().into(),
        _ => any(rng),
    }
}

/// Something of any type.
pub fn any(rng: &mut Rng) -> Value {
    let values = [
        Value::Null,
        true.into(),
        0.into(),
        (-1).into(),
        1.5.into(),
        2.0.into(),
        3_000_000_000_u64.into(),
        "".into(),
        "text".into(),
        json!([]),
        json!(["text"]),
        json!([null]),
        json!({}),
        json!({"id": "text"}),
    ];
    rng.choice(values).unwrap()
}

fn object(rng: &mut Rng, schema: &Value, wild: u32) -> Map<String, Value> {
    let mut object = Map::new();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let needed = required.iter().any(|one| one == name) && rng.u32(0..1000) >= wild;
        if needed || rng.u32(0..100) < 30 {
            object.insert(name.clone(), value(rng, schema, wild));
        }
    }
    if rng.u32(0..1000) < wild {
        object.insert("unknown".into(), any(rng));
    }
    object
}

fn array(rng: &mut Rng, schema: &Value, wild: u32) -> Vec<Value> {
    let most = schema["maxItems"].as_u64().map(|most| usize::try_from(most).unwrap());
    let mut count = rng.usize(0..4);
    if let Some(most) = most.filter(|_| rng.u32(0..1000) < wild) {
        count = most + rng.usize(0..2);
    }
    let key = schema["x-kubernetes-list-map-keys"][0].as_str();
    let mut items: Vec<Value> = Vec::new();
    for at in 0..count {
        let mut item = value(rng, &schema["items"], if count > 10 { 0 } else { wild });
        let repeats = rng.u32(0..1000) < wild;
        if let (Some(key), false) = (key, repeats)
            && item[key].is_string()
        {
            item[key] = format!("item-{at}").into();
        }
        items.push(item);
    }
    items
}

fn string(rng: &mut Rng, schema: &Value, wild: u32) -> String {
    let wrong = rng.u32(0..1000) < wild;
    if schema["format"] == "date-time" || schema["pattern"].as_str().is_some_and(|p| p.contains("T(")) {
        let right = ["2026-01-01T00:00:00Z", "2026-12-31T23:59:59.123456789+02:00"];
        let odd = [
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01t00:00:00z",
            "now",
            "",
        ];
        return (*if wrong { rng.choice(&odd).unwrap() } else { rng.choice(&right).unwrap() }).to_owned();
    }
    let least = schema["minLength"].as_u64().unwrap_or(0);
    let most = schema["maxLength"].as_u64().unwrap_or(300);
    let length = match rng.u32(0..10) {
        _ if wrong => *rng.choice(&[least.saturating_sub(1), most + 1]).unwrap(),
        0 => most,
        1 => least,
        _ => rng.u64(least..=(least + 8).min(most)),
    };
    let letter = if wrong && rng.bool() { "é" } else { "a" };
    let text = letter.repeat(usize::try_from(length).unwrap());
    if wrong && rng.u8(0..4) == 0 { format!("{text} b") } else { text }
}

fn integer(rng: &mut Rng, schema: &Value, wild: u32) -> Value {
    // The schemas have whole numbers, written as floating-point ones.
    let bound = |name: &str, otherwise: i64| {
        schema[name].as_f64().map_or(otherwise, |bound| format!("{bound}").parse().unwrap())
    };
    let least = bound("minimum", 0);
    let most = bound("maximum", 1_000_000);
    match rng.u32(0..8) {
        _ if rng.u32(0..1000) < wild => {
            (*rng.choice(&[least - 1, most + 1, i64::MAX, i64::MIN]).unwrap()).into()
        }
        0 => least.into(),
        1 => most.into(),
        _ => rng.i64(least..=most).into(),
    }
}
