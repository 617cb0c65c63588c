//! The CustomResourceDefinitions, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::api::{bulk_update::BulkUpdate, workload};

/// The three definitions, in the order in which they are installed.
///
/// # Errors
/// None in practice: a test makes all three.
pub fn crds() -> serde_json::Result<Vec<CustomResourceDefinition>> {
    // With these defaults the status of an object that the operator has not seen yet is correct: kstatus takes a BulkUpdate
    // for InProgress, and an Execution shows UNKNOWN.
    [
        (workload::Execution::crd(), json!({"state": "UNKNOWN"})),
        (workload::Deployment::crd(), json!({"state": "UNKNOWN"})),
        (BulkUpdate::crd(), json!({"observedGeneration": -1})),
    ]
    .into_iter()
    .map(|(crd, status)| finish(crd, status))
    .collect()
}

/// Adds what cannot be derived: the default of `status`, the bounds of conditions, and that null means absent, as in
/// Kubernetes' own types (the API server prunes a null if the schema does not call the field nullable).
fn finish(crd: CustomResourceDefinition, default: Value) -> serde_json::Result<CustomResourceDefinition> {
    const STATUS: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/status";
    let mut crd = serde_json::to_value(crd)?;
    each_schema(&mut crd, &mut |schema| {
        schema.remove("nullable");
        if let Some(Value::Array(words)) = schema.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
        // Doc comments are wrapped for readers of the source; `kubectl explain` wraps lines itself.
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.replace('\n', " ");
        }
    });
    if let Some(status) = crd.pointer_mut(STATUS) {
        // One default for the whole status: defaults of single fields would bring back fields that the operator has removed.
        each_schema(status, &mut |schema| {
            schema.remove("default");
        });
        status["default"] = default;
        // It is never removed, and a field selector finds only what is there.
        if let Some(state) = status.pointer_mut("/properties/state") {
            state["default"] = json!("UNKNOWN");
        }
    }
    if let Some(condition) = crd.pointer_mut(&format!("{STATUS}/properties/conditions/items/properties")) {
        condition["type"]["maxLength"] = json!(316);
        condition["reason"]["maxLength"] = json!(1024);
        condition["reason"]["minLength"] = json!(1);
        condition["message"]["maxLength"] = json!(32768);
        condition["status"]["enum"] = json!(["True", "False", "Unknown"]);
    }
    serde_json::from_value(crd)
}

/// Calls `change` for every schema in `value`: what has a `type`, unlike the map of a schema's properties.
fn each_schema(value: &mut Value, change: &mut impl FnMut(&mut serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            if map.get("type").is_some_and(Value::is_string) {
                change(map);
            }
            map.values_mut().for_each(|v| each_schema(v, change));
        }
        Value::Array(list) => list.iter_mut().for_each(|v| each_schema(v, change)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_list_and_map_of_the_schemas_has_a_bound() {
        for crd in crds().expect("the types make CRDs") {
            let mut crd = serde_json::to_value(crd).expect("a CRD is JSON");
            let name = crd["metadata"]["name"].to_string();
            let root =
                crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties").expect("a schema");
            each_schema(root, &mut |schema| {
                let bounded = match schema["type"].as_str() {
                    Some("string") => ["maxLength", "enum", "format"].as_slice(),
                    Some("array") => &["maxItems"],
                    Some("object") => &["properties", "maxProperties"],
                    _ => return,
                };
                assert!(bounded.iter().any(|b| schema.contains_key(*b)), "{name}: no bound on {schema:?}");
                assert!(!schema.contains_key("nullable"), "{name}: {schema:?}");
            });
        }
    }
}
