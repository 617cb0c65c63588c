//! The metadata of objects: decoded as the server does, and validated.

use serde_json::{Map, Value};

use crate::{
    Kubernetes,
    delete::{FOREGROUND, ORPHAN},
    invalid::Flaw,
    kinds::{BuiltIn, Definition},
    names,
    state::State,
};

/// The type of a field, in Go's words.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Number,
    Time,
    Texts,
    Map,
    Owners,
    Managers,
}

const FIELDS: [(&str, Type); 15] = [
    ("name", Type::Text),
    ("generateName", Type::Text),
    ("namespace", Type::Text),
    ("selfLink", Type::Text),
    ("uid", Type::Text),
    ("resourceVersion", Type::Text),
    ("generation", Type::Number),
    ("creationTimestamp", Type::Time),
    ("deletionTimestamp", Type::Time),
    ("deletionGracePeriodSeconds", Type::Number),
    ("labels", Type::Map),
    ("annotations", Type::Map),
    ("ownerReferences", Type::Owners),
    ("finalizers", Type::Texts),
    ("managedFields", Type::Managers),
];

/// Drops what metadata do not have, and what is empty; adds unknown fields to `unknown`. The error is Go's.
pub fn decode(
    metadata: &mut Map<String, Value>,
    is_custom: bool,
    unknown: &mut Vec<String>,
) -> Result<(), String> {
    metadata.retain(|name, _| {
        let known = FIELDS.iter().any(|(field, _)| field == name);
        if !known {
            unknown.push(format!("metadata.{name}"));
        }
        known
    });
    for (field, type_) in FIELDS {
        let Some(value) = metadata.get_mut(field) else { continue };
        check(value, field, type_)?;
        let empty = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Number(number) => field == "generation" && number.as_i64() == Some(0),
            // An empty list of managers means something, where it gets through.
            Value::Array(items) => items.is_empty() && (is_custom || field != "managedFields"),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) => false,
        };
        if empty {
            metadata.remove(field);
        }
    }
    Ok(())
}

fn check(value: &mut Value, field: &str, type_: Type) -> Result<(), String> {
    let wrong = |value: &Value, at: &str, type_: &str| {
        let found = match value {
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            _ => "object",
        };
        Err(format!("json: cannot unmarshal {found} into Go struct field ObjectMeta.{at} of type {type_}"))
    };
    match (type_, &mut *value) {
        (_, Value::Null) | (Type::Text, Value::String(_)) => Ok(()),
        (Type::Number, Value::Number(number)) if number.is_i64() => Ok(()),
        (Type::Number, value) => wrong(value, field, "int64"),
        (Type::Time, Value::String(text)) => match text.parse::<k8s_openapi::jiff::Timestamp>() {
            Ok(time) => {
                *text = crate::times::rfc3339(time);
                Ok(())
            }
            Err(_) => Err(format!(
                "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
            )),
        },
        (Type::Text | Type::Time, value) => wrong(value, field, "string"),
        (Type::Map, Value::Object(map)) => {
            for value in map.values_mut() {
                match value {
                    Value::String(_) => {}
                    Value::Null => *value = "".into(),
                    other => return wrong(other, field, "string"),
                }
            }
            Ok(())
        }
        (Type::Map, value) => wrong(value, field, "map[string]string"),
        (Type::Texts, Value::Array(items)) => match items.iter().find(|item| !item.is_string()) {
            Some(item) => wrong(item, field, "string"),
            None => Ok(()),
        },
        (Type::Texts, value) => wrong(value, field, "[]string"),
        (Type::Owners | Type::Managers, Value::Array(items)) => {
            match items.iter().find(|item| !item.is_object()) {
                Some(item) => wrong(
                    item,
                    field,
                    if field == "ownerReferences" { "v1.OwnerReference" } else { "v1.ManagedFieldsEntry" },
                ),
                None => Ok(()),
            }
        }
        (Type::Owners, value) => wrong(value, field, "[]v1.OwnerReference"),
        (Type::Managers, value) => wrong(value, field, "[]v1.ManagedFieldsEntry"),
    }
}

/// A text of the metadata; empty if there is none.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// The finalizers.
pub fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether it is being deleted.
pub fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Warns of new finalizers without a domain.
pub fn warn(state: &mut State, of: &Definition, object: &Value, old: Option<&Value>) {
    if !of.is_custom() {
        return;
    }
    let known = old.map(finalizers).unwrap_or_default();
    let mut added: Vec<_> = finalizers(object).into_iter().filter(|name| !known.contains(name)).collect();
    added.sort_unstable();
    added.dedup();
    for name in added {
        if state.kubernetes == Kubernetes::V1_37 {
            let wrong = names::qualified(name, state.kubernetes);
            state.warnings.extend(wrong.iter().map(|why| format!("metadata.finalizers: {name:?}: {why}")));
        }
        if name.contains('/') || [ORPHAN, FOREGROUND, "kubernetes"].contains(&name) {
            continue;
        }
        let path = if name.contains('.') { " including a path (/)" } else { "" };
        state.warnings.push(format!(
            "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts \
             with other finalizer writers"
        ));
    }
}

/// What is wrong with the name of an object of this kind.
fn name_flaws(name: &str, of: &Definition) -> Vec<String> {
    match of.shape {
        crate::kinds::Shape::BuiltIn(BuiltIn::Namespace) => names::label(name),
        crate::kinds::Shape::BuiltIn(
            BuiltIn::Role | BuiltIn::ClusterRole | BuiltIn::RoleBinding | BuiltIn::ClusterRoleBinding,
        ) => names::path_segment(name),
        _ => names::subdomain(name),
    }
}

/// Validates the metadata of a new object.
pub fn validate_new(metadata: &Value, of: &Definition, kubernetes: Kubernetes, flaws: &mut Vec<Flaw>) {
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let generate = text("generateName");
    if !generate.is_empty() {
        // The end of a prefix may be what a name may not end with. (The server takes away one letter more.)
        let masked = generate.strip_suffix('-').and_then(|start| start.get(..start.len().checked_sub(1)?));
        let prefix = masked.map_or(generate.to_owned(), |start| format!("{start}a"));
        let wrong = name_flaws(&prefix, of);
        flaws.extend(wrong.iter().map(|why| Flaw::invalid("metadata.generateName", &generate.into(), why)));
    }
    let name = text("name");
    if name.is_empty() {
        flaws.push(Flaw::required("metadata.name", "name or generateName is required"));
    } else {
        let wrong = name_flaws(name, of);
        flaws.extend(wrong.iter().map(|why| Flaw::invalid("metadata.name", &name.into(), why)));
    }
    if of.namespaced {
        let namespace = text("namespace");
        let wrong = names::label(namespace);
        flaws.extend(wrong.iter().map(|why| Flaw::invalid("metadata.namespace", &namespace.into(), why)));
    }
    validate(metadata, kubernetes, flaws);
    validate_finalizers(metadata, of, kubernetes, flaws);
}

/// Validates the metadata of a changed object.
pub fn validate_changed(
    of: &Definition,
    (new, old): (&Value, &Value),
    kubernetes: Kubernetes,
    flaws: &mut Vec<Flaw>,
) {
    if old["deletionTimestamp"].is_string() {
        let list = |of: &Value| -> Vec<String> {
            of["finalizers"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|f| f.as_str().map(ToOwned::to_owned))
                .collect()
        };
        let known = list(old);
        let mut added: Vec<_> = list(new).into_iter().filter(|name| !known.contains(name)).collect();
        added.sort_unstable();
        added.dedup();
        if !added.is_empty() {
            let shown: Vec<_> = added.iter().map(|name| format!("{name:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                shown.join(", ")
            );
            flaws.push(Flaw::forbidden("metadata.finalizers", &detail));
        }
    }
    for field in ["name", "namespace", "uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if new[field] != old[field] {
            let why = "field is immutable";
            flaws.push(match &new[field] {
                Value::String(time) if field == "deletionTimestamp" => {
                    Flaw::invalid_time(format!("metadata.{field}"), time, why)
                }
                value => Flaw::invalid(format!("metadata.{field}"), value, why),
            });
        }
    }
    validate(new, kubernetes, flaws);
    validate_finalizers(new, of, kubernetes, flaws);
}

fn validate(metadata: &Value, kubernetes: Kubernetes, flaws: &mut Vec<Flaw>) {
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let wrong = names::qualified(key, kubernetes);
        flaws.extend(wrong.iter().map(|why| Flaw::invalid("metadata.labels", &key.as_str().into(), why)));
        let wrong = names::label_value(value.as_str().unwrap_or_default(), kubernetes);
        flaws.extend(wrong.iter().map(|why| Flaw::invalid("metadata.labels", value, why)));
    }
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        let wrong = names::qualified(&key.to_lowercase(), kubernetes);
        flaws
            .extend(wrong.iter().map(|why| Flaw::invalid("metadata.annotations", &key.as_str().into(), why)));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > 256 << 10 {
        flaws.push(Flaw::too_long("metadata.annotations", 256 << 10));
    }
    let owners = || metadata["ownerReferences"].as_array().into_iter().flatten();
    let mut controllers = owners().filter(|owner| owner["controller"] == true);
    if let (Some(one), Some(other)) = (controllers.next(), controllers.next()) {
        let shown = |owner: &Value| {
            let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("kind"), text("name"))
        };
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
            shown(one),
            shown(other)
        );
        flaws.push(Flaw::invalid("metadata.ownerReferences", &metadata["ownerReferences"], &detail));
    }
    for (at, owner) in owners().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if !owner[field].as_str().unwrap_or_default().is_empty() {
                continue;
            }
            flaws.push(match kubernetes {
                Kubernetes::V1_33 => {
                    let what = if field == "apiVersion" { "version" } else { field };
                    let detail = format!("{what} must not be empty");
                    Flaw::invalid(format!("metadata.ownerReferences.{field}"), &"".into(), &detail)
                }
                Kubernetes::V1_37 => {
                    Flaw::required(format!("metadata.ownerReferences[{at}].{field}"), "must not be empty")
                }
            });
        }
    }
}

fn validate_finalizers(metadata: &Value, of: &Definition, kubernetes: Kubernetes, flaws: &mut Vec<Flaw>) {
    let names = metadata["finalizers"].as_array().into_iter().flatten();
    for (at, name) in names.clone().enumerate() {
        let text = name.as_str().unwrap_or_default();
        let wrong = names::qualified(text, kubernetes);
        flaws.extend(wrong.iter().map(|why| Flaw::invalid("metadata.finalizers", name, why)));
        let is_core = of.is(BuiltIn::ConfigMap) || of.is(BuiltIn::Event) || of.is(BuiltIn::Namespace);
        if is_core && !text.contains('/') && !["kubernetes", ORPHAN, FOREGROUND].contains(&text) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            flaws.push(Flaw::invalid(format!("metadata.finalizers[{at}]"), name, why));
        }
    }
    let has = |wanted: &str| names.clone().any(|name| name == wanted);
    if has(ORPHAN) && has(FOREGROUND) {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        flaws.push(Flaw::invalid_texts("metadata.finalizers", &metadata["finalizers"], why));
    }
}
