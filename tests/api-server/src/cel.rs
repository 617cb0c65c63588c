//! The CEL rules of `crds/`, each by its text: there is no CEL here, so a rule that is not among them cannot be applied.

use k8s_openapi::jiff::Timestamp;
use regex::Regex;
use serde_json::Value;

use crate::{
    Kubernetes,
    invalid::Flaw,
    schema::{ListType, Schema},
    times,
};

/// A rule of a schema, and what is said when it is broken.
#[derive(Clone, Debug)]
pub struct Rule {
    check: Check,
    message: String,
}

#[derive(Clone, Debug)]
enum Check {
    /// `self == oldSelf`
    Unchanged,
    /// `self == self`: the value can be read as what its schema says.
    Readable,
    /// `has(self.x) == has(oldSelf.x)`
    SetOnce(String),
    /// `self.matches('...')`
    Matches(Regex),
    /// `!(has(self.x) && has(self.y))`
    NotBoth(String, String),
    /// `self.apiVersion + ' ' + self.kind in ['v1 Pod', ...]`
    Engine(Vec<String>),
    /// The number of items in `executions` and `deployments`, at least or at most.
    AtLeast(usize),
    AtMost(usize),
    /// The length of the object's name.
    NameLength {
        least: usize,
        most: usize,
    },
}

const ITEMS: &str = "(has(self.executions) ? size(self.executions) : 0) + (has(self.deployments) ? size(self.deployments) : 0)";

impl Rule {
    pub fn read(from: &Value) -> Self {
        let text = from["rule"].as_str().expect("a rule has a text");
        let known = ["rule", "message"];
        let unknown = from.as_object().unwrap().keys().find(|field| !known.contains(&field.as_str()));
        assert!(unknown.is_none(), "api_server does not know {unknown:?} of the rule {text}");
        let check =
            Check::read(text).unwrap_or_else(|| panic!("api_server does not know the CEL rule {text}"));
        Self { check, message: from["message"].as_str().unwrap_or_default().to_owned() }
    }
}

impl Check {
    fn read(text: &str) -> Option<Self> {
        match text {
            "self == oldSelf" => return Some(Self::Unchanged),
            "self == self" => return Some(Self::Readable),
            "size(self.metadata.name) >= 4 && size(self.metadata.name) <= 64" => {
                return Some(Self::NameLength { least: 4, most: 64 });
            }
            _ => {}
        }
        if let Some(bound) = text.strip_prefix(ITEMS) {
            return match bound.trim().split_once(' ')? {
                (">=", least) => Some(Self::AtLeast(least.parse().ok()?)),
                ("<=", most) => Some(Self::AtMost(most.parse().ok()?)),
                _ => None,
            };
        }
        if let Some(known) = text.strip_prefix("self.apiVersion + ' ' + self.kind in ['") {
            let known = known.strip_suffix("']")?.split("', '");
            return Some(Self::Engine(known.map(ToOwned::to_owned).collect()));
        }
        if let Some(pattern) = text.strip_prefix("self.matches('") {
            return Some(Self::Matches(Regex::new(pattern.strip_suffix("')")?).ok()?));
        }
        if let Some(both) = text.strip_prefix("!(has(self.") {
            let (one, other) = both.strip_suffix("))")?.split_once(") && has(self.")?;
            return Some(Self::NotBoth(one.to_owned(), other.to_owned()));
        }
        let field = text.strip_prefix("has(self.")?.split(')').next()?;
        (text == format!("has(self.{field}) == has(oldSelf.{field})"))
            .then(|| Self::SetOnce(field.to_owned()))
    }

    const fn is_about_changes(&self) -> bool {
        matches!(self, Self::Unchanged | Self::SetOnce(_))
    }

    /// Whether it holds; a rule about changes does if there is no old value. The error is that of CEL.
    fn holds(&self, value: &Value, old: Option<&Value>, schema: &Schema) -> Result<bool, String> {
        read(value, schema)?;
        let count = |list: &str| -> Result<usize, String> {
            let items = field(value, schema, list)?;
            Ok(items.and_then(Value::as_array).map_or(0, Vec::len))
        };
        let items = || Ok::<_, String>(count("executions")? + count("deployments")?);
        Ok(match self {
            Self::Unchanged => old.is_none_or(|old| is_same(value, old, schema)),
            Self::Readable => true,
            Self::SetOnce(name) => {
                let is_set = field(value, schema, name)?.is_some();
                old.is_none_or(|old| old.get(name).is_some() == is_set)
            }
            Self::Matches(pattern) => value.as_str().is_some_and(|text| pattern.is_match(text)),
            Self::NotBoth(one, other) => {
                field(value, schema, one)?.is_none() || field(value, schema, other)?.is_none()
            }
            Self::Engine(known) => {
                let text = |name: &str| {
                    let text = field(value, schema, name)?.and_then(Value::as_str);
                    text.ok_or_else(|| format!("no such key: {name}"))
                };
                known.contains(&format!("{} {}", text("apiVersion")?, text("kind")?))
            }
            Self::AtLeast(least) => items()? >= *least,
            Self::AtMost(most) => items()? <= *most,
            Self::NameLength { least, most } => {
                let name =
                    value.pointer("/metadata/name").and_then(Value::as_str).ok_or("no such key: name")?;
                (*least..=*most).contains(&name.chars().count())
            }
        })
    }
}

/// Whether CEL can read a value as what its schema says. The schema has been checked before, but it takes a list in place
/// of a text with a format, and what is of another kind is not checked at all.
fn read(value: &Value, schema: &Schema) -> Result<(), String> {
    let found = match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    let wanted = match (schema.kind.as_str(), value) {
        (_, Value::Null) if schema.nullable => return Ok(()),
        (_, Value::Null) => return Err("invalid data, got null for schema with nullable=false".to_owned()),
        ("string", Value::String(text)) if schema.format == "date-time" => {
            let why = times::unreadable(text);
            return why
                .map_or(Ok(()), |why| Err(format!("Invalid date-time formatted string {text}: {why}")));
        }
        ("object", Value::Object(_)) | ("array", Value::Array(_)) => return Ok(()),
        ("object", _) => "a map for the provided schema with type=object",
        ("array", _) => "an array for the provided schema with type=array",
        ("string", _) if found != "string" => "string, got",
        ("boolean", _) if found != "bool" => "bool, got",
        ("integer", _) if found != "int64" => "int, got",
        ("number", _) if !value.is_number() => "float, got",
        _ => return Ok(()),
    };
    let found = if wanted.ends_with("got") { format!(" {found}") } else { String::new() };
    Err(format!("invalid data, expected {wanted}{found}"))
}

/// A field of an object, if it has it. CEL reads it even to see whether it is there.
fn field<'a>(value: &'a Value, schema: &Schema, name: &str) -> Result<Option<&'a Value>, String> {
    let Some(field) = value.get(name).filter(|field| !field.is_null()) else { return Ok(None) };
    schema.field(name).map_or(Ok(()), |schema| read(field, schema))?;
    Ok(Some(field))
}

/// Whether two values are equal: times if they are the same moment, list maps in any order.
fn is_same(new: &Value, old: &Value, schema: &Schema) -> bool {
    match (new, old, &schema.list) {
        (Value::Array(new), Value::Array(old), ListType::Map(_)) => {
            new.len() == old.len() && old.iter().all(|item| new.contains(item))
        }
        (Value::String(new), Value::String(old), _) if schema.format == "date-time" => {
            let time = |text: &str| text.parse::<Timestamp>().ok();
            new == old || (time(new).is_some() && time(new) == time(old))
        }
        _ => new == old,
    }
}

/// Checks the rules of a value and of what is in it; `old` is its value before an update.
pub fn check(
    kubernetes: Kubernetes,
    (value, old): (&Value, Option<&Value>),
    schema: &Schema,
    path: &str,
    flaws: &mut Vec<Flaw>,
) {
    // What is null has no rules.
    if !schema.has_rules || value.is_null() {
        return;
    }
    let place = || if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() };
    let applies = |rule: &&Rule| old.is_some() || !rule.check.is_about_changes();
    for rule in schema.rules.iter().filter(applies) {
        match rule.check.holds(value, old, schema) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(why) => {
                let detail = format!("{why} evaluating rule: {}", rule.message);
                flaws.push(Flaw::invalid(place(), &schema.kind.as_str().into(), &detail));
                continue;
            }
        }
        // The newest server shows what is no object or list; older ones show the type.
        flaws.push(match schema.kind.as_str() {
            kind @ ("object" | "array") => Flaw::invalid_without(place(), kind, &rule.message),
            kind if kubernetes == Kubernetes::V1_33 => Flaw::invalid(place(), &kind.into(), &rule.message),
            _ => Flaw::invalid(place(), value, &rule.message),
        });
    }
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        if let Some(schema) = schema.field(name) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let old = old.and_then(|old| old.get(name));
            check(kubernetes, (value, old), schema, &path, flaws);
        }
    }
}
