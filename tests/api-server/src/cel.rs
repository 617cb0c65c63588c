//! The CEL rules of `crds/`, each by its text: there is no CEL here, so a rule that is not among them cannot be applied.

use serde_json::Value;

use crate::{Kubernetes, invalid::Flaw, schema::Schema};

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
        let field = text.strip_prefix("has(self.")?.split(')').next()?;
        (text == format!("has(self.{field}) == has(oldSelf.{field})"))
            .then(|| Self::SetOnce(field.to_owned()))
    }

    const fn is_about_changes(&self) -> bool {
        matches!(self, Self::Unchanged | Self::SetOnce(_))
    }

    /// Whether it holds; a rule about changes does if there is no old value.
    fn holds(&self, value: &Value, old: Option<&Value>) -> bool {
        let items = || {
            let count = |list: &str| value[list].as_array().map_or(0, Vec::len);
            count("executions") + count("deployments")
        };
        match self {
            Self::Unchanged => old.is_none_or(|old| old == value),
            Self::Readable => true,
            Self::SetOnce(field) => {
                old.is_none_or(|old| old.get(field).is_some() == value.get(field).is_some())
            }
            Self::AtLeast(least) => items() >= *least,
            Self::AtMost(most) => items() <= *most,
            Self::NameLength { least, most } => {
                let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                (*least..=*most).contains(&name.chars().count())
            }
        }
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
    if !schema.has_rules {
        return;
    }
    let field = || if path.is_empty() { "<nil>".to_owned() } else { path.to_owned() };
    let unreadable = value.is_array() && schema.kind == "string";
    let applies = |rule: &&Rule| old.is_some() || !rule.check.is_about_changes();
    let broken = |rule: &&Rule| unreadable || !rule.check.holds(value, old);
    for rule in schema.rules.iter().filter(applies).filter(broken) {
        // A list can be where a text with a format has to be, as far as the schema goes.
        if unreadable {
            let message = &rule.message;
            let detail =
                format!("invalid data, expected string, got []interface {{}} evaluating rule: {message}");
            flaws.push(Flaw::invalid(field(), &"string".into(), &detail));
            continue;
        }
        // The newest server shows what is no object or list; older ones show the type.
        flaws.push(match schema.kind.as_str() {
            kind @ ("object" | "array") => Flaw::invalid_without(field(), kind, &rule.message),
            kind if kubernetes == Kubernetes::V1_33 => Flaw::invalid(field(), &kind.into(), &rule.message),
            _ => Flaw::invalid(field(), value, &rule.message),
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
