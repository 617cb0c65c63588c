//! What is wrong with an object, field by field: the causes of a 422.

use serde_json::{Value, json};

use crate::refusal::{Refusal, details, qualified};

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Flaw {
    kind: FlawKind,
    pub field: String,
    /// What comes after the field's name.
    body: String,
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
    fn new(kind: FlawKind, field: impl Into<String>, value: Option<&Value>, detail: &str) -> Self {
        let mut body = kind.words().to_owned();
        if let Some(value) = value {
            body += &format!(": {value}");
        }
        if !detail.is_empty() {
            body += ": ";
            body += detail;
        }
        Self { kind, field: field.into(), body }
    }

    pub fn invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(FlawKind::Invalid, field, Some(value), detail)
    }

    /// One whose value is shown in another way than as JSON.
    pub fn invalid_shown(field: impl Into<String>, shown: &str, detail: &str) -> Self {
        let body = format!("Invalid value: {shown}: {detail}");
        Self { kind: FlawKind::Invalid, field: field.into(), body }
    }

    pub fn type_invalid(field: impl Into<String>, value: &Value, detail: &str) -> Self {
        Self::new(FlawKind::TypeInvalid, field, Some(value), detail)
    }

    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new(FlawKind::Required, field, None, detail)
    }

    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::new(FlawKind::Forbidden, field, None, detail)
    }

    pub fn duplicate(field: impl Into<String>, shown: &str) -> Self {
        Self { kind: FlawKind::Duplicate, field: field.into(), body: format!("Duplicate value: {shown}") }
    }

    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[String]) -> Self {
        let quoted: Vec<_> = supported.iter().map(|value| format!("{value:?}")).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        Self::new(FlawKind::NotSupported, field, Some(value), &detail)
    }

    pub fn too_long(field: impl Into<String>, most: usize) -> Self {
        let unit = if most == 1 { "byte" } else { "bytes" };
        Self::new(FlawKind::TooLong, field, None, &format!("may not be more than {most} {unit}"))
    }

    pub fn too_many(field: impl Into<String>, actual: usize, most: usize) -> Self {
        let unit = if most == 1 { "item" } else { "items" };
        let detail = format!("must have at most {most} {unit}");
        Self::new(FlawKind::TooMany, field, Some(&actual.into()), &detail)
    }

    fn cause(&self) -> Value {
        json!({"reason": self.kind.reason(), "message": self.body, "field": self.field})
    }
}

/// Whether the CEL rules are not checked because of these.
pub fn block_rules(flaws: &[Flaw]) -> bool {
    flaws.iter().any(|flaw| flaw.kind.blocks_rules())
}

/// The refusal of an object for all that is wrong with it.
pub fn refusal(group: &str, kind: &str, name: &str, flaws: &[Flaw]) -> Box<Refusal> {
    // The server repeats no message.
    let mut texts: Vec<String> = Vec::new();
    for text in flaws.iter().map(|flaw| format!("{}: {}", flaw.field, flaw.body)) {
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
    details["causes"] = flaws.iter().map(Flaw::cause).collect();
    refusal.details = Some(details);
    refusal
}
