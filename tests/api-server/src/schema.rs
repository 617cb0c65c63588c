//! The structural schema of a custom resource.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::cel::Rule;

/// What a value has to be like.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "they are the fields of a schema")]
pub struct Schema {
    /// The type, such as `object`; empty for any.
    pub kind: String,
    pub properties: BTreeMap<String, Schema>,
    pub additional: Option<Box<Schema>>,
    pub items: Option<Box<Schema>>,
    pub required: Vec<String>,
    pub default: Option<Value>,
    pub nullable: bool,
    pub preserves_unknown: bool,
    pub one_of: Vec<Value>,
    pub format: String,
    pub pattern: Option<Regex>,
    pub lengths: Bounds,
    pub items_bounds: Bounds,
    pub most_properties: Option<usize>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub list: ListType,
    pub atomic_map: bool,
    pub rules: Vec<Rule>,
    /// Whether there is a default or a list with unique items in it, or a rule, anywhere below.
    pub has_defaults: bool,
    pub has_unique: bool,
    pub has_rules: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    pub least: Option<usize>,
    pub most: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    #[default]
    Atomic,
    Set,
    /// With unique values in this field.
    Map(String),
}

/// The fields of a schema that are known. Another one would not be enforced.
const KNOWN: [&str; 26] = [
    "type",
    "properties",
    "additionalProperties",
    "items",
    "required",
    "default",
    "nullable",
    "enum",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "minimum",
    "maximum",
    "description",
    "title",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
    "$schema",
    "example",
];

impl Schema {
    /// Reads it as a `CustomResourceDefinition` has it.
    ///
    /// # Panics
    /// If it has what this server does not enforce.
    pub fn read(from: &Value) -> Self {
        let fields = from.as_object().expect("a schema is an object");
        for field in fields.keys() {
            assert!(KNOWN.contains(&field.as_str()), "api_server does not enforce {field} of a schema");
        }
        let text = |field: &str| from[field].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| from[field].as_u64().map(|n| usize::try_from(n).unwrap());
        let boxed = |field: &str| from[field].is_object().then(|| Box::new(Self::read(&from[field])));
        let list = |field: &str| from[field].as_array().cloned().unwrap_or_default();
        let properties = from["properties"].as_object().into_iter().flatten();
        let mut schema = Self {
            kind: text("type"),
            properties: properties.map(|(name, schema)| (name.clone(), Self::read(schema))).collect(),
            additional: boxed("additionalProperties"),
            items: boxed("items"),
            required: list("required")
                .iter()
                .filter_map(|name| name.as_str().map(ToOwned::to_owned))
                .collect(),
            default: from.get("default").cloned(),
            nullable: from["nullable"] == true,
            preserves_unknown: from["x-kubernetes-preserve-unknown-fields"] == true,
            one_of: list("enum"),
            format: text("format"),
            pattern: from["pattern"].as_str().map(|pattern| Regex::new(pattern).unwrap()),
            lengths: Bounds { least: number("minLength"), most: number("maxLength") },
            items_bounds: Bounds { least: number("minItems"), most: number("maxItems") },
            most_properties: number("maxProperties"),
            minimum: from["minimum"].as_f64(),
            maximum: from["maximum"].as_f64(),
            list: list_type(from),
            atomic_map: from["x-kubernetes-map-type"] == "atomic",
            rules: list("x-kubernetes-validations").iter().map(Rule::read).collect(),
            ..Self::default()
        };
        schema.look_below();
        schema
    }

    fn look_below(&mut self) {
        let below: Vec<&Self> = self.below().collect();
        let has_defaults =
            below.iter().any(|schema| schema.default.is_some() || schema.has_defaults || !schema.nullable);
        let has_unique = below.iter().any(|schema| schema.has_unique) || self.list != ListType::Atomic;
        let has_rules = below.iter().any(|schema| schema.has_rules) || !self.rules.is_empty();
        (self.has_defaults, self.has_unique, self.has_rules) = (has_defaults, has_unique, has_rules);
    }

    fn below(&self) -> impl Iterator<Item = &Self> {
        self.properties.values().chain(self.additional.as_deref()).chain(self.items.as_deref())
    }

    /// The schema of a field, if it is known.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }
}

fn list_type(from: &Value) -> ListType {
    match from["x-kubernetes-list-type"].as_str() {
        Some("map") => {
            let keys = from["x-kubernetes-list-map-keys"].as_array().expect("a list map has keys");
            assert_eq!(keys.len(), 1, "api_server knows list maps with one key only");
            ListType::Map(keys[0].as_str().unwrap().to_owned())
        }
        Some("set") => ListType::Set,
        _ => ListType::Atomic,
    }
}
