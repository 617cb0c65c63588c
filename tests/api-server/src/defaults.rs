//! What is done to a custom resource when it is decoded: unknown fields and nulls are dropped, defaults are filled in.

use serde_json::{Map, Value};

use crate::schema::Schema;

/// Fills in defaults, in place of absent fields and of nulls.
pub fn fill_in(value: &mut Value, schema: &Schema) {
    if !schema.has_defaults {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                let absent = fields.get(name).is_none_or(|value| value.is_null() && !property.nullable);
                if absent {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields {
                if let Some(schema) = schema.field(name) {
                    fill_in(value, schema);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            for item in items {
                fill_in(item, schema);
            }
        }
        _ => {}
    }
}

/// Drops the nulls of fields that may not be null.
pub fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| {
                !value.is_null() || schema.field(name).is_none_or(|property| property.nullable)
            });
            for (name, value) in fields {
                if let Some(schema) = schema.field(name) {
                    drop_nulls(value, schema);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.items.as_deref() else { return };
            for item in items {
                drop_nulls(item, schema);
            }
        }
        _ => {}
    }
}

/// Drops unknown fields; adds their paths to `unknown`.
pub fn prune(value: &mut Value, schema: &Schema, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => prune_fields(fields, schema, path, unknown),
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                match schema.items.as_deref() {
                    Some(schema) => prune(item, schema, &format!("{path}[{at}]"), unknown),
                    None if schema.preserves_unknown => {}
                    None => prune(item, &Schema::default(), &format!("{path}[{at}]"), unknown),
                }
            }
        }
        _ => {}
    }
}

fn prune_fields(fields: &mut Map<String, Value>, schema: &Schema, path: &str, unknown: &mut Vec<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if !schema.preserves_unknown {
        fields.retain(|name, _| {
            let known = schema.field(name).is_some() || is_meta(path, name);
            if !known {
                unknown.push(below(name));
            }
            known
        });
    }
    for (name, value) in fields {
        if let Some(schema) = schema.field(name).filter(|_| value.is_object() || value.is_array()) {
            prune(value, schema, &below(name), unknown);
        }
    }
}

/// Whether it is one of the fields that every object has.
fn is_meta(path: &str, name: &str) -> bool {
    path.is_empty() && matches!(name, "apiVersion" | "kind" | "metadata")
}
