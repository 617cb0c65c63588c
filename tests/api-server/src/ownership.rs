//! `managedFields`: which manager has written which fields last.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::{Map, Value, json};

use crate::{
    Kubernetes,
    schema::{ListType, Schema},
};

/// A set of fields, as a tree of their paths.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fields {
    member: bool,
    below: BTreeMap<String, Fields>,
}

impl Fields {
    const LEAF: Self = Self { member: true, below: BTreeMap::new() };

    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    fn read(from: &Value) -> Self {
        let Some(fields) = from.as_object().filter(|fields| !fields.is_empty()) else { return Self::LEAF };
        let below = fields.iter().filter(|(name, _)| *name != ".");
        let below = below.map(|(name, fields)| (name.clone(), Self::read(fields))).collect();
        Self { member: fields.contains_key("."), below }
    }

    fn write(&self) -> Value {
        let mut fields = Map::new();
        if self.member && !self.below.is_empty() {
            fields.insert(".".to_owned(), json!({}));
        }
        fields.extend(self.below.iter().map(|(name, below)| (name.clone(), below.write())));
        Value::Object(fields)
    }

    fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (name, below) in &other.below {
            match self.below.get_mut(name) {
                Some(own) => own.add(below),
                None => drop(self.below.insert(name.clone(), below.clone())),
            }
        }
    }

    fn take_away(&mut self, other: &Self) {
        self.member &= !other.member;
        for (name, below) in &other.below {
            if let Some(own) = self.below.get_mut(name) {
                own.take_away(below);
                if own.is_empty() {
                    self.below.remove(name);
                }
            }
        }
    }

    fn insert(&mut self, name: String, below: Self) {
        if !below.is_empty() {
            self.below.insert(name, below);
        }
    }
}

/// What a write changes.
#[derive(Debug, Default)]
struct Changes {
    /// What is new or has another value.
    written: Fields,
    removed: Fields,
}

impl Changes {
    fn insert(&mut self, name: &str, below: Self) {
        self.written.insert(name.to_owned(), below.written);
        self.removed.insert(name.to_owned(), below.removed);
    }
}

/// The fields of an object or the items of a list map, by the names that they have in a set; none if the value counts as
/// one.
fn parts<'a>(
    value: &'a Value,
    schema: Option<&'a Schema>,
) -> Option<Vec<(String, &'a Value, Option<&'a Schema>)>> {
    match value {
        Value::Object(fields) if schema.is_none_or(|schema| !schema.atomic_map) => {
            let part = |(name, value): (&String, &'a Value)| {
                (format!("f:{name}"), value, schema.and_then(|schema| schema.field(name)))
            };
            Some(fields.iter().map(part).collect())
        }
        Value::Array(items) => match &schema?.list {
            ListType::Atomic => None,
            ListType::Set => Some(items.iter().map(|item| (format!("v:{item}"), item, None)).collect()),
            ListType::Map(key) => {
                let items_schema = schema?.items.as_deref();
                let part =
                    |item: &'a Value| (format!("k:{}", json!({key.as_str(): item[key]})), item, items_schema);
                Some(items.iter().map(part).collect())
            }
        },
        _ => None,
    }
}

fn all(value: &Value, schema: Option<&Schema>) -> Fields {
    let below = parts(value, schema).unwrap_or_default();
    Fields {
        member: true,
        below: below.into_iter().map(|(name, value, schema)| (name, all(value, schema))).collect(),
    }
}

fn compare(old: Option<&Value>, new: Option<&Value>, schema: Option<&Schema>) -> Changes {
    match (old, new) {
        (None, None) => Changes::default(),
        (None, Some(new)) => Changes { written: all(new, schema), removed: Fields::default() },
        (Some(old), None) => Changes { written: Fields::default(), removed: all(old, schema) },
        (Some(old), Some(new)) if old == new || is_same_number(old, new) => Changes::default(),
        (Some(old), Some(new)) => match (parts(old, schema), parts(new, schema)) {
            (Some(olds), Some(news)) => compare_parts(&olds, &news),
            _ => Changes { written: Fields::LEAF, removed: Fields::default() },
        },
    }
}

/// Whether both are the same number, written as a whole one or not.
fn is_same_number(old: &Value, new: &Value) -> bool {
    (old.is_f64() || new.is_f64()) && old.is_number() && old.as_f64() == new.as_f64()
}

type Part<'a> = (String, &'a Value, Option<&'a Schema>);

fn compare_parts(olds: &[Part], news: &[Part]) -> Changes {
    let mut changes = Changes::default();
    for (name, new, schema) in news {
        let old = olds.iter().find(|(other, ..)| other == name).map(|(_, old, _)| *old);
        changes.insert(name, compare(old, Some(new), *schema));
    }
    for (name, old, schema) in olds {
        if !news.iter().any(|(other, ..)| other == name) {
            changes.insert(name, compare(Some(old), None, *schema));
        }
    }
    changes
}

/// The metadata that managers can own. All others belong to the server.
const OWNED: [&str; 7] = [
    "annotations",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "labels",
    "ownerReferences",
];

/// The schema of metadata, as far as lists and maps go.
fn metadata_changes(old: &Value, new: &Value) -> Changes {
    let set = Schema { list: ListType::Set, ..Schema::default() };
    let owner = Schema { atomic_map: true, ..Schema::default() };
    let list = ListType::Map("uid".to_owned());
    let owners = Schema { list, items: Some(Box::new(owner)), ..Schema::default() };
    let mut changes = Changes::default();
    for field in OWNED {
        let schema = match field {
            "finalizers" => Some(&set),
            "ownerReferences" => Some(&owners),
            _ => None,
        };
        changes.insert(&format!("f:{field}"), compare(old.get(field), new.get(field), schema));
    }
    changes
}

/// Who writes, and what.
pub struct Write<'a> {
    pub manager: &'a str,
    pub subresource: &'a str,
    pub api_version: &'a str,
    pub time: &'a str,
    /// The schema of the kind, if it is a custom one.
    pub schema: Option<&'a Schema>,
    /// Whether the status is a part of its own, which only writes of the subresource change.
    pub has_status: bool,
    pub kubernetes: Kubernetes,
    /// Whether managers are noted.
    pub is_tracked: bool,
}

impl Write<'_> {
    fn changes(&self, old: &Value, new: &Value) -> Changes {
        let empty = Value::Null;
        let mut changes = Changes::default();
        let is_status = !self.subresource.is_empty();
        for (name, schema) in self.fields(old, new) {
            if !self.has_status || (name == "status") == is_status {
                changes.insert(&format!("f:{name}"), compare(old.get(name), new.get(name), schema));
            }
        }
        // In 1.33, writes of the status take over the metadata that are sent along.
        if !is_status || self.kubernetes == Kubernetes::V1_33 {
            let metadata = metadata_changes(
                old.get("metadata").unwrap_or(&empty),
                new.get("metadata").unwrap_or(&empty),
            );
            changes.insert("f:metadata", metadata);
        }
        changes
    }

    /// The fields of both, without what no manager owns.
    fn fields<'a>(&'a self, old: &'a Value, new: &'a Value) -> Vec<(&'a str, Option<&'a Schema>)> {
        let names = |of: &'a Value| of.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let mut all: Vec<_> = names(old).chain(names(new)).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|name| !matches!(*name, "apiVersion" | "kind" | "metadata"));
        all.into_iter().map(|name| (name, self.part(name))).collect()
    }

    /// The schema of a field: of built-in kinds, as far as it matters.
    fn part(&self, name: &str) -> Option<&Schema> {
        static REFERENCE: LazyLock<Schema> =
            LazyLock::new(|| Schema { atomic_map: true, ..Schema::default() });
        match self.schema {
            Some(schema) => schema.field(name),
            None => ["regarding", "related", "roleRef"].contains(&name).then(|| &*REFERENCE),
        }
    }

    fn is_own(&self, entry: &Value) -> bool {
        entry["manager"] == self.manager
            && entry["operation"] == "Update"
            && entry["apiVersion"] == self.api_version
            && entry["subresource"].as_str().unwrap_or_default() == self.subresource
    }

    fn entry(&self, fields: &Fields) -> Value {
        let mut entry = json!({
            "manager": self.manager, "operation": "Update", "apiVersion": self.api_version, "time": self.time,
            "fieldsType": "FieldsV1", "fieldsV1": fields.write(),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.into();
        }
        entry
    }
}

/// The managed fields after a write: `old` is the object before it (`null` if it is new), `new` as it was sent.
pub fn after(old: &Value, new: &Value, write: &Write) -> Vec<Value> {
    if !write.is_tracked {
        return Vec::new();
    }
    let known = known(old, new, write);
    if known.is_empty() && old["metadata"]["uid"].is_string() {
        // What was never managed, or is not any more, is not from now on.
        return Vec::new();
    }
    let fit = |schema| fits(new, schema) && fits(old, schema);
    if !write.schema.is_none_or(fit) {
        // What does not fit into the schema, before or after, changes no owners; in 1.33 it has none any more.
        return match write.kubernetes {
            Kubernetes::V1_33 => Vec::new(),
            Kubernetes::V1_37 => managers(old),
        };
    }
    let changes = write.changes(old, new);
    let mut own = Fields::default();
    let mut entries = Vec::new();
    let mut kept = None;
    for entry in known {
        let mut fields = Fields::read(&entry["fieldsV1"]);
        fields.take_away(&changes.written);
        fields.take_away(&changes.removed);
        if write.is_own(&entry) {
            own = fields;
            kept = Some(entry);
        } else if !fields.is_empty() {
            let mut entry = entry;
            entry["fieldsV1"] = fields.write();
            entries.push(entry);
        }
    }
    own.add(&changes.written);
    match kept {
        // Who has written nothing new has not written now.
        _ if own.is_empty() => {}
        Some(mut entry) if changes.written.is_empty() => {
            entry["fieldsV1"] = own.write();
            entries.push(entry);
        }
        _ => entries.push(write.entry(&own)),
    }
    entries.sort_by(|a, b| order(a).cmp(&order(b)));
    entries
}

/// Whether the types of all values are those of the schema.
fn fits(value: &Value, schema: &Schema) -> bool {
    match (schema.kind.as_str(), value) {
        (_, Value::Null) => true,
        ("object", Value::Object(fields)) => {
            fields.iter().all(|(name, value)| schema.field(name).is_none_or(|schema| fits(value, schema)))
        }
        ("array", Value::Array(items)) => {
            let has_key = |item: &Value| match &schema.list {
                ListType::Map(key) => !item[key].is_null(),
                _ => true,
            };
            let fits = |item: &Value| schema.items.as_deref().is_none_or(|schema| fits(item, schema));
            items.iter().all(|item| has_key(item) && fits(item))
        }
        // The owners of a time are found whatever it is, as long as it has no parts.
        ("string", value) if schema.format == "date-time" => !value.is_array() && !value.is_object(),
        ("string", value) => value.is_string(),
        ("integer" | "number", value) => value.is_number(),
        ("boolean", value) => value.is_boolean(),
        ("object" | "array", _) => false,
        _ => true,
    }
}

fn order(entry: &Value) -> [&str; 5] {
    let field = |name: &str| entry[name].as_str().unwrap_or_default();
    [field("operation"), field("time"), field("manager"), field("apiVersion"), field("subresource")]
}

/// Who has managed it so far: a write of the object may say so itself.
fn known(old: &Value, new: &Value, write: &Write) -> Vec<Value> {
    if !write.subresource.is_empty() {
        return managers(old);
    }
    match new["metadata"]["managedFields"].as_array() {
        // An empty list, or one with an empty entry, resets it.
        Some(given) if given.is_empty() || *given == [json!({})] => Vec::new(),
        Some(given) => given.clone(),
        None => managers(old),
    }
}

fn managers(of: &Value) -> Vec<Value> {
    of["metadata"]["managedFields"].as_array().cloned().unwrap_or_default()
}
