//! What an Execution or Deployment runs: a manifest of an object that is to be created, or a reference to one that exists.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::rules::{LABEL_VALUE, immutable, object_name, object_uid};

/// What the messages about a field that cannot be changed advise.
const AGAIN: &str = "delete the object and create it again";

/// The manifest of one object. Its name, namespace and owner are set by the operator.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// The API version of the object. Immutable.
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = immutable("template.apiVersion", AGAIN))]
    pub api_version: String,

    /// The kind of the object. Immutable.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = immutable("template.kind", AGAIN))]
    pub kind: String,

    /// Labels and annotations of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,

    /// The spec of the object, in the form that its own API describes. That API checks it when the object is created.
    #[schemars(schema_with = "any_fields")]
    pub spec: BTreeMap<String, Value>,
}

/// What a template can say about the metadata of the object.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct TemplateMetadata {
    /// Labels of the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,

    /// Annotations of the object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// One object in the namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadReference {
    /// Its API version.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,

    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = object_name("workloadRef.name"))]
    pub name: String,

    /// Its uid: an object that is created again under the name is another one.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = object_uid("workloadRef.uid"))]
    pub uid: String,
}

/// The object that does the work, as the status names it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadInUse {
    /// Its API version.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,

    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,

    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Its uid; absent while it is not known whether it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub uid: Option<String>,
}

/// An object with any fields. Not `x-kubernetes-preserve-unknown-fields` on the object itself: of fields that the schema does not
/// know, a rule `self == oldSelf` does not see that one is there in place of another (1.33 and 1.37). Those of a map it knows.
fn any_fields(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 256,
        "additionalProperties": {"x-kubernetes-preserve-unknown-fields": true},
    })
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    let message = "a label can have at most 63 letters, digits, '-', '_' and '.', the first and the last a letter or digit";
    let rule = json!({"rule": format!("self.matches('{LABEL_VALUE}')"), "message": message});
    texts(&json!({"type": "string", "maxLength": 63, "x-kubernetes-validations": [rule]}))
}

fn annotations(_: &mut SchemaGenerator) -> Schema {
    texts(&json!({"type": "string", "maxLength": 16 << 10}))
}

/// A map of such strings.
fn texts(each: &Value) -> Schema {
    json_schema!({"type": "object", "maxProperties": 64, "additionalProperties": each})
}
