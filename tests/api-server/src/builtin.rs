//! What the built-in kinds have in common with the real ones: their fields, defaults, and what is validated.

use serde_json::{Map, Value, json};

use crate::{
    invalid::Flaw,
    kinds::{BuiltIn, Definition},
    metadata, times, workloads,
};

/// The fields of a kind, besides those that all have.
const fn fields(kind: BuiltIn) -> &'static [&'static str] {
    match kind {
        BuiltIn::ConfigMap => &["data", "binaryData", "immutable"],
        BuiltIn::Namespace
        | BuiltIn::Policy
        | BuiltIn::Pod
        | BuiltIn::Job
        | BuiltIn::ReplicaSet
        | BuiltIn::Deployment => &["spec", "status"],
        BuiltIn::ServiceAccount => &["secrets", "imagePullSecrets", "automountServiceAccountToken"],
        BuiltIn::Lease | BuiltIn::PolicyBinding => &["spec"],
        BuiltIn::Event => &[
            "eventTime",
            "series",
            "reportingController",
            "reportingInstance",
            "action",
            "reason",
            "regarding",
            "related",
            "note",
            "type",
            "deprecatedSource",
            "deprecatedFirstTimestamp",
            "deprecatedLastTimestamp",
            "deprecatedCount",
        ],
        BuiltIn::Role => &["rules"],
        BuiltIn::ClusterRole => &["rules", "aggregationRule"],
        BuiltIn::RoleBinding | BuiltIn::ClusterRoleBinding => &["subjects", "roleRef"],
    }
}

/// The fields of a Lease's spec.
const OF_LEASES: [&str; 7] = [
    "holderIdentity",
    "leaseDurationSeconds",
    "acquireTime",
    "renewTime",
    "leaseTransitions",
    "strategy",
    "preferredHolder",
];

/// Drops unknown fields and nulls, and fills in defaults; the error is Go's.
pub fn decode(kind: BuiltIn, object: &mut Value, unknown: &mut Vec<String>) -> Result<(), String> {
    let own = object.as_object_mut().unwrap();
    own.retain(|name, value| {
        let known = ["apiVersion", "kind", "metadata"].contains(&name.as_str())
            || fields(kind).contains(&name.as_str());
        if !known {
            unknown.push(name.clone());
        }
        known && !value.is_null()
    });
    match kind {
        BuiltIn::ConfigMap => decode_config_map(own),
        BuiltIn::Lease => decode_lease(own, unknown),
        BuiltIn::Event => {
            decode_event(own);
            Ok(())
        }
        BuiltIn::Policy => {
            default_policy(own);
            Ok(())
        }
        BuiltIn::RoleBinding | BuiltIn::ClusterRoleBinding => {
            for subject in own.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                if subject["kind"] != "ServiceAccount" && subject["apiGroup"].is_null() {
                    subject["apiGroup"] = "rbac.authorization.k8s.io".into();
                }
            }
            Ok(())
        }
        kind if kind.is_workload() => workloads::decode(kind, own),
        _ => Ok(()),
    }
}

fn decode_config_map(object: &mut Map<String, Value>) -> Result<(), String> {
    for field in ["data", "binaryData"] {
        let Some(data) = object.get_mut(field) else { continue };
        let Some(data) = data.as_object_mut() else {
            return Err(format!(
                "json: cannot unmarshal into Go struct field ConfigMap.{field} of type map[string]string"
            ));
        };
        for value in data.values_mut() {
            match value {
                Value::String(_) => {}
                Value::Null => *value = "".into(),
                Value::Bool(_) => return Err(wrong("bool", field)),
                Value::Number(_) => return Err(wrong("number", field)),
                _ => return Err(wrong("object", field)),
            }
        }
        if data.is_empty() {
            object.remove(field);
        }
    }
    Ok(())
}

fn wrong(found: &str, field: &str) -> String {
    format!("json: cannot unmarshal {found} into Go struct field ConfigMap.{field} of type string")
}

fn decode_lease(object: &mut Map<String, Value>, unknown: &mut Vec<String>) -> Result<(), String> {
    let spec = object.entry("spec").or_insert_with(|| json!({}));
    let Some(spec) = spec.as_object_mut() else {
        return Err("json: cannot unmarshal into Go struct field Lease.spec of type v1.LeaseSpec".to_owned());
    };
    spec.retain(|name, value| {
        let known = OF_LEASES.contains(&name.as_str());
        if !known {
            unknown.push(format!("spec.{name}"));
        }
        known && !value.is_null()
    });
    for field in ["holderIdentity", "strategy", "preferredHolder"] {
        if spec.get(field).is_some_and(|value| !value.is_string()) {
            return Err(format!(
                "json: cannot unmarshal number into Go struct field LeaseSpec.spec.{field} of type string"
            ));
        }
    }
    for field in ["leaseDurationSeconds", "leaseTransitions"] {
        let fits = |value: &Value| value.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
        if spec.get(field).is_some_and(|value| !fits(value)) {
            return Err(format!(
                "json: cannot unmarshal string into Go struct field LeaseSpec.spec.{field} of type int32"
            ));
        }
    }
    Ok(())
}

/// Reads the times of an object.
pub fn decode_times(kind: BuiltIn, object: &mut Map<String, Value>) -> Result<(), String> {
    match (kind, object.get_mut("spec").and_then(Value::as_object_mut)) {
        (BuiltIn::Lease, Some(spec)) => {
            micro_time(spec, "acquireTime")?;
            micro_time(spec, "renewTime")
        }
        (BuiltIn::Event, _) => micro_time(object, "eventTime"),
        _ => Ok(()),
    }
}

/// A time with six digits after the point, no more and no less.
fn micro_time(object: &mut Map<String, Value>, field: &str) -> Result<(), String> {
    let Some(value) = object.get_mut(field).filter(|value| !value.is_null()) else { return Ok(()) };
    let text = value.as_str().unwrap_or_default();
    let fraction = text.get(19..27).and_then(|rest| rest.strip_prefix('.'));
    let digits =
        fraction.is_some_and(|rest| rest.bytes().take(6).all(|b| b.is_ascii_digit()) && rest.len() == 7);
    let time = text.parse().ok().filter(|_| digits && !text.as_bytes()[26].is_ascii_digit());
    let Some(time) = time else {
        let (rest, wanted) = if text.len() > 19 { (&text[19..], ".000000") } else { (text, "2006") };
        return Err(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse {rest:?} as {wanted:?}"
        ));
    };
    *value = times::micro(time).into();
    Ok(())
}

fn decode_event(object: &mut Map<String, Value>) {
    object.entry("eventTime").or_insert(Value::Null);
    object.entry("deprecatedSource").or_insert_with(|| json!({}));
    object.entry("deprecatedFirstTimestamp").or_insert(Value::Null);
    object.entry("deprecatedLastTimestamp").or_insert(Value::Null);
    object.entry("regarding").or_insert_with(|| json!({}));
}

fn default_policy(object: &mut Map<String, Value>) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.retain(|_, value| !value.is_null());
    spec.entry("failurePolicy").or_insert_with(|| "Fail".into());
    let Some(constraints) = spec.get_mut("matchConstraints").and_then(Value::as_object_mut) else { return };
    constraints.entry("matchPolicy").or_insert_with(|| "Equivalent".into());
    constraints.entry("namespaceSelector").or_insert_with(|| json!({}));
    constraints.entry("objectSelector").or_insert_with(|| json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in constraints.get_mut(rules).and_then(Value::as_array_mut).into_iter().flatten() {
            if rule["scope"].is_null() {
                rule["scope"] = "*".into();
            }
        }
    }
}

/// An object before anything is written to it: Go's structs are always there.
pub fn empty(kind: BuiltIn) -> Value {
    match kind {
        BuiltIn::Lease | BuiltIn::PolicyBinding => json!({"spec": {}}),
        BuiltIn::Namespace
        | BuiltIn::Policy
        | BuiltIn::Pod
        | BuiltIn::Job
        | BuiltIn::ReplicaSet
        | BuiltIn::Deployment => json!({"spec": {}, "status": {}}),
        BuiltIn::Event => {
            json!({"regarding": {}, "deprecatedSource": {}, "eventTime": null, "deprecatedFirstTimestamp": null,
            "deprecatedLastTimestamp": null})
        }
        BuiltIn::RoleBinding | BuiltIn::ClusterRoleBinding => json!({"roleRef": {}}),
        BuiltIn::ConfigMap | BuiltIn::ServiceAccount | BuiltIn::Role | BuiltIn::ClusterRole => json!({}),
    }
}

/// What the server adds to a new object.
pub fn prepare(kind: BuiltIn, object: &mut Value) {
    match kind {
        BuiltIn::Namespace => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
            let name = metadata::text(object, "name").to_owned();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
        }
        BuiltIn::Policy => object["status"] = json!({}),
        kind if kind.is_workload() => workloads::prepare(kind, object),
        _ => {}
    }
}

/// Whether it is kept after its deletion for another reason than the finalizers in its metadata.
pub fn waits(definition: &Definition, object: &Value) -> bool {
    let finalizers = object["spec"]["finalizers"].as_array();
    let contents = definition.is(BuiltIn::Namespace) && finalizers.is_some_and(|list| !list.is_empty());
    // Until its containers have ended, which the kubelet tells.
    let grace = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
    contents || (definition.is(BuiltIn::Pod) && grace > 0)
}

/// Removes what keeps a namespace.
pub fn finalize(namespace: &mut Value) {
    namespace["spec"] = json!({});
}

/// What is wrong with an object.
pub fn validate(kind: BuiltIn, object: &Value, old: Option<&Value>, flaws: &mut Vec<Flaw>) {
    match kind {
        BuiltIn::Lease => validate_lease(object, flaws),
        BuiltIn::Event if old.is_none() => validate_event(object, flaws),
        BuiltIn::ConfigMap => validate_config_map(object, old, flaws),
        kind if kind.is_workload() => workloads::validate(kind, object, old, flaws),
        _ => {}
    }
}

fn validate_lease(object: &Value, flaws: &mut Vec<Flaw>) {
    let spec = &object["spec"];
    if spec["leaseDurationSeconds"].as_i64().is_some_and(|seconds| seconds <= 0) {
        let detail = "must be greater than 0";
        flaws.push(Flaw::invalid("spec.leaseDurationSeconds", &spec["leaseDurationSeconds"], detail));
    }
    if spec["leaseTransitions"].as_i64().is_some_and(|count| count < 0) {
        let detail = "must be greater than or equal to 0";
        flaws.push(Flaw::invalid("spec.leaseTransitions", &spec["leaseTransitions"], detail));
    }
}

fn validate_event(object: &Value, flaws: &mut Vec<Flaw>) {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let namespace = object["regarding"]["namespace"].as_str().unwrap_or_default();
    let own = metadata::text(object, "namespace");
    if namespace != own && !(namespace.is_empty() && own == "default") {
        let detail = "does not match event.namespace";
        flaws.push(Flaw::invalid("involvedObject.namespace", &namespace.into(), detail));
    }
    if object["eventTime"].is_null() {
        flaws.push(Flaw::required("eventTime", ""));
    }
    for (field, shown) in [
        ("reportingController", "reportingController"),
        ("reportingInstance", "reportingInstance"),
        ("action", "action"),
        ("reason", "reason"),
    ] {
        if text(field).is_empty() {
            flaws.push(Flaw::required(shown, ""));
        }
    }
    if !["Normal", "Warning"].contains(&text("type")) {
        flaws.push(Flaw::invalid("type", &text("type").into(), "has invalid value: "));
    }
    if text("note").len() > 1024 {
        flaws.push(Flaw::invalid("message", &"".into(), "can have at most 1024 bytes"));
    }
}

fn validate_config_map(object: &Value, old: Option<&Value>, flaws: &mut Vec<Flaw>) {
    let sizes = ["data", "binaryData"].map(|field| {
        object[field]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, value)| value.as_str().map_or(0, str::len))
            .sum::<usize>()
    });
    if sizes.iter().sum::<usize>() > 1 << 20 {
        flaws.push(Flaw::too_long("", 1 << 20));
    }
    for field in ["data", "binaryData"] {
        for key in object[field].as_object().into_iter().flatten().map(|(key, _)| key) {
            let valid =
                !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !valid {
                let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
                    or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                flaws.push(Flaw::invalid(format!("{field}[{key}]"), &key.as_str().into(), detail));
            }
        }
    }
    if let Some(old) = old.filter(|old| old["immutable"] == true) {
        if object["immutable"] != true {
            flaws.push(Flaw::forbidden("immutable", "field is immutable when `immutable` is set"));
        }
        for field in ["data", "binaryData"].into_iter().filter(|field| object[*field] != old[*field]) {
            flaws.push(Flaw::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}
