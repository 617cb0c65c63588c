//! Label and field selectors.

use serde_json::Value;

use crate::{
    kinds::{BuiltIn, Definition},
    refusal::{Outcome, Refusal},
};

/// What a list or watch selects.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    fields: Vec<FieldTerm>,
    labels: Vec<LabelTerm>,
}

#[derive(Clone, Debug)]
struct FieldTerm {
    /// Where it is in the object.
    pointer: &'static str,
    value: String,
    equal: bool,
}

#[derive(Clone, Debug)]
struct LabelTerm {
    key: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    pub fn read(fields: Option<&str>, labels: Option<&str>, of: &Definition) -> Outcome<Self> {
        let terms = fields.unwrap_or_default().split(',').filter(|term| !term.is_empty());
        let fields = terms.map(|term| FieldTerm::read(term, of)).collect::<Outcome<_>>()?;
        let labels = split(labels.unwrap_or_default());
        let labels = labels.iter().map(|term| LabelTerm::read(term)).collect::<Outcome<_>>()?;
        Ok(Self { fields, labels })
    }

    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.labels.is_empty()
    }

    /// Whether it selects an object.
    pub fn takes(&self, object: &Value) -> bool {
        self.is_empty() || {
            self.fields.iter().all(|term| {
                let value = object.pointer(term.pointer).and_then(Value::as_str).unwrap_or_default();
                (value == term.value) == term.equal
            }) && self.labels.iter().all(|term| term.takes(&object["metadata"]["labels"]))
        }
    }
}

impl FieldTerm {
    fn read(term: &str, of: &Definition) -> Outcome<Self> {
        let parts = term
            .split_once("!=")
            .map(|parts| (parts, false))
            .or_else(|| term.split_once("==").or_else(|| term.split_once('=')).map(|parts| (parts, true)));
        let Some(((field, value), equal)) = parts else {
            let message = format!("invalid selector: '{term}'; can't understand '{term}'");
            return Err(Refusal::bad_request(message));
        };
        let pointer = match field {
            "metadata.name" => "/metadata/name",
            "metadata.namespace" => "/metadata/namespace",
            "status.phase" if of.is(BuiltIn::Pod) => "/status/phase",
            "spec.nodeName" if of.is(BuiltIn::Pod) => "/spec/nodeName",
            other => return Err(unsupported(other, of)),
        };
        Ok(Self { pointer, value: value.to_owned(), equal })
    }
}

fn unsupported(field: &str, of: &Definition) -> Refusal {
    if of.is_custom() || of.is(BuiltIn::Event) {
        Refusal::bad_request(format!("field label not supported: {field}"))
    } else {
        let message = format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
        Refusal::bad_request(message)
    }
}

impl LabelTerm {
    fn read(term: &str) -> Outcome<Self> {
        let (key, test) = if let Some(key) = term.strip_prefix('!') {
            (key, Test::Absent)
        } else if let Some((key, values)) = set(term, "notin") {
            (key, Test::NotIn(values))
        } else if let Some((key, values)) = set(term, "in") {
            (key, Test::In(values))
        } else if let Some((key, value)) = term.split_once("!=") {
            (key, Test::NotIn(vec![value.trim().to_owned()]))
        } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (key, Test::In(vec![value.trim().to_owned()]))
        } else {
            (term, Test::Exists)
        };
        let key = key.trim();
        let valid = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if key.is_empty() || !key.chars().all(valid) {
            let message = format!("unable to parse requirement: <nil>: Invalid value: {key:?}");
            return Err(Refusal::bad_request(message));
        }
        Ok(Self { key: key.to_owned(), test })
    }

    fn takes(&self, labels: &Value) -> bool {
        let value = labels.get(&self.key).and_then(Value::as_str);
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
        }
    }
}

/// The key and the values of `key in (a, b)`.
fn set<'a>(term: &'a str, operator: &str) -> Option<(&'a str, Vec<String>)> {
    let (head, values) = term.strip_suffix(')')?.split_once('(')?;
    let key = head.trim_end().strip_suffix(operator)?;
    key.ends_with(' ').then(|| (key, values.split(',').map(|value| value.trim().to_owned()).collect()))
}

/// The terms of a label selector: commas in parentheses separate values.
fn split(selector: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut depth = 0;
    for c in selector.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(String::new());
                continue;
            }
            _ => {}
        }
        terms.last_mut().unwrap().push(c);
    }
    terms.into_iter().map(|term| term.trim().to_owned()).filter(|term| !term.is_empty()).collect()
}
