//! What is wrong with an object, field by field: the causes of a 422.

use serde_json::{Value, json};

use crate::{
    Kubernetes,
    refusal::{Refusal, details, qualified},
    state::whole_numbers,
};

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Flaw {
    kind: FlawKind,
    pub field: String,
    value: Shown,
    detail: String,
}

/// The value of a field, as it is shown.
#[derive(Clone, Debug, PartialEq)]
enum Shown {
    Nothing,
    Value(Value),
    /// Texts, which Go knows to be texts.
    Texts(Value),
    /// A time, which an older server shows in another way.
    Time(String),
    /// An unsigned zero, which Go can also show in hexadecimal.
    Unset,
    /// What an older server shows in place of a value that the newest leaves out.
    Formerly(String),
}

impl Shown {
    /// With the words before it, as far as this server shows it.
    fn text(&self, kubernetes: Kubernetes) -> Option<String> {
        let is_old = kubernetes == Kubernetes::V1_33;
        match self {
            Self::Nothing => None,
            Self::Value(value) => {
                let mut value = value.clone();
                whole_numbers(&mut value);
                Some(if is_old { in_go(&value) } else { value.to_string() })
            }
            Self::Texts(value) if is_old => {
                let texts: Vec<_> = value.as_array().into_iter().flatten().map(ToString::to_string).collect();
                Some(format!("[]string{{{}}}", texts.join(", ")))
            }
            Self::Texts(value) => Some(value.to_string()),
            Self::Time(text) if is_old => {
                Some(format!("{} +0000 UTC", text.replace('T', " ").trim_end_matches('Z')))
            }
            Self::Time(text) => Some(format!("{text:?}")),
            Self::Unset => Some(if is_old { "0x0" } else { "0" }.to_owned()),
            Self::Formerly(text) => is_old.then(|| format!("{text:?}")),
        }
    }
}

/// A value as Go's `%#v` prints it, which 1.33 shows.
fn in_go(value: &Value) -> String {
    let inner = |value: &Value| if value.is_null() { "interface {}(nil)".to_owned() } else { in_go(value) };
    match value {
        Value::Null => "\"null\"".to_owned(),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(inner).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name:?}:{}", inner(value))).collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlawKind {
    Invalid,
    TypeInvalid,
    Required,
    Duplicate,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
}

impl FlawKind {
    const fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
        }
    }

    /// Whether the CEL rules are not checked because of it.
    const fn blocks_rules(self) -> bool {
        matches!(
            self,
            Self::NotSupported | Self::Required | Self::TooLong | Self::TooMany | Self::TypeInvalid
        )
    }
}

impl Flaw {
    fn new(kind: FlawKind, field: impl Into<String>, value: Shown, detail: impl Into<String>) -> Self {
        Self { kind, field: field.into(), value, detail: detail.into() }
    }

    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(FlawKind::Invalid, field, Shown::Value(value.clone()), detail)
    }

    /// One whose value is not shown: an older server shows this text.
    pub fn invalid_without(field: impl Into<String>, formerly: &str, detail: &str) -> Self {
        Self::new(FlawKind::Invalid, field, Shown::Formerly(formerly.to_owned()), detail)
    }

    pub fn invalid_texts(field: impl Into<String>, texts: &Value, detail: &str) -> Self {
        Self::new(FlawKind::Invalid, field, Shown::Texts(texts.clone()), detail)
    }

    pub fn invalid_time(field: impl Into<String>, time: &str, detail: &str) -> Self {
        Self::new(FlawKind::Invalid, field, Shown::Time(time.to_owned()), detail)
    }

    /// Texts where there may be others only.
    pub fn texts_not_supported(field: impl Into<String>, texts: &Value, supported: &str) -> Self {
        let detail = format!("supported values: {supported:?}");
        Self::new(FlawKind::NotSupported, field, Shown::Texts(texts.clone()), detail)
    }

    pub fn unset(field: impl Into<String>, detail: &str) -> Self {
        Self::new(FlawKind::Invalid, field, Shown::Unset, detail)
    }

    pub fn type_invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(FlawKind::TypeInvalid, field, Shown::Value(value.clone()), detail)
    }

    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new(FlawKind::Required, field, Shown::Nothing, detail)
    }

    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new(FlawKind::Forbidden, field, Shown::Nothing, detail)
    }

    pub fn duplicate(field: impl Into<String>, value: Value) -> Self {
        Self::new(FlawKind::Duplicate, field, Shown::Value(value), "")
    }

    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[String]) -> Self {
        let quoted: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        Self::new(FlawKind::NotSupported, field, Shown::Value(value.clone()), detail)
    }

    pub fn too_long(field: impl Into<String>, most: usize) -> Self {
        Self::new(FlawKind::TooLong, field, Shown::Nothing, format!("may not be more than {most} bytes"))
    }

    pub fn too_many(field: impl Into<String>, actual: usize, most: usize) -> Self {
        let detail = format!("must have at most {most} items");
        Self::new(FlawKind::TooMany, field, Shown::Value(actual.into()), detail)
    }

    /// What comes after the field's name.
    fn body(&self, kubernetes: Kubernetes) -> String {
        let mut body = self.kind.words().to_owned();
        if let Some(value) = self.value.text(kubernetes) {
            body += ": ";
            body += &value;
        }
        if !self.detail.is_empty() {
            body += ": ";
            body += &self.detail;
        }
        body
    }
}

/// Whether the CEL rules are not checked because of these.
pub fn block_rules(flaws: &[Flaw]) -> bool {
    flaws.iter().any(|flaw| flaw.kind.blocks_rules())
}

/// The refusal of an object for all that is wrong with it.
pub fn refusal(kubernetes: Kubernetes, (group, kind): (&str, &str), name: &str, flaws: &[Flaw]) -> Refusal {
    // The server repeats no message.
    let mut texts: Vec<String> = Vec::new();
    for text in flaws.iter().map(|flaw| format!("{}: {}", flaw.field, flaw.body(kubernetes))) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    let what = match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let message = format!("{} {name:?} is invalid: {what}", qualified(kind, group));
    let mut refusal = Refusal::new(422, "Invalid", message);
    let mut details = details(name, group, kind);
    let cause = |flaw: &Flaw| json!({"reason": flaw.kind.reason(), "message": flaw.body(kubernetes), "field": flaw.field});
    details["causes"] = flaws.iter().map(cause).collect();
    refusal.details = Some(details);
    refusal
}
