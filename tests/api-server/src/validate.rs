//! Validation of a custom resource against its schema, in the words of the server.

use k8s_openapi::jiff::{Timestamp, fmt::temporal::Pieces, tz::Offset};
use serde_json::{Number, Value, json};

use crate::{
    Kubernetes,
    invalid::Flaw,
    schema::{ListType, Schema},
};

/// Where a value is: in messages, the path within what was validated; for the field of a flaw, with what comes before.
struct Place<'a> {
    kubernetes: Kubernetes,
    before: &'a str,
    path: String,
}

impl Place<'_> {
    fn field(&self) -> String {
        match (self.before, self.path.strip_prefix('.').unwrap_or(&self.path)) {
            ("", "") => "<nil>".to_owned(),
            ("", path) => path.to_owned(),
            (before, "") => before.to_owned(),
            (before, path) => format!("{before}.{path}"),
        }
    }

    fn child(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, ..*self }
    }

    fn item(&self, at: usize) -> Self {
        Self { path: format!("{}[{at}]", self.path), ..*self }
    }
}

/// Validates a value; `before` is the path of what it is part of.
pub fn validate(kubernetes: Kubernetes, value: &Value, schema: &Schema, before: &str, flaws: &mut Vec<Flaw>) {
    of_value(value, schema, &Place { kubernetes, before, path: String::new() }, flaws);
}

fn of_value(value: &Value, schema: &Schema, place: &Place, flaws: &mut Vec<Flaw>) {
    if let Err((wanted, found)) = type_of(value, schema, place.kubernetes) {
        let detail = format!("{} in body must be of type {wanted}: {found:?}", place.path);
        flaws.push(Flaw::type_invalid(place.field(), &found.into(), &detail));
    }
    match value {
        Value::String(text) => of_text(text, schema, place, flaws),
        Value::Number(number) => of_number(number, schema, place, flaws),
        Value::Array(items) => of_items(items, schema, place, flaws),
        _ => {}
    }
    if !schema.one_of.is_empty() && !schema.one_of.contains(value) {
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let supported: Vec<_> = schema.one_of.iter().map(word).collect();
        flaws.push(Flaw::not_supported(place.field(), value, &supported));
    }
    if let Value::Object(fields) = value {
        if let Some(most) = schema.most_properties.filter(|most| fields.len() > *most) {
            flaws.push(Flaw::too_many(place.field(), fields.len(), most));
        }
        for (name, value) in fields {
            if let Some(schema) = schema.field(name) {
                of_value(value, schema, &place.child(name), flaws);
            }
        }
        for name in schema.required.iter().filter(|name| !fields.contains_key(*name)) {
            flaws.push(Flaw::required(place.child(name).field(), ""));
        }
    }
}

/// The wanted type and the found one, if they differ.
fn type_of(value: &Value, schema: &Schema, kubernetes: Kubernetes) -> Result<(), (String, &'static str)> {
    // 1.33 does not know the formats of integers.
    let is_known = kubernetes == Kubernetes::V1_37 || !schema.format.starts_with("int");
    let wanted_format = if is_known { schema.format.as_str() } else { "" };
    let wanted = schema.kind.as_str();
    if wanted.is_empty() && wanted_format.is_empty() {
        return Ok(());
    }
    let (found, format) = match value {
        Value::Null => {
            let nullable = schema.nullable || wanted.is_empty();
            return if nullable { Ok(()) } else { Err((wanted.to_owned(), "null")) };
        }
        Value::Bool(_) => ("boolean", ""),
        Value::Number(number) if number.is_f64() => ("number", "float64"),
        Value::Number(_) => ("integer", "int64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    };
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let converts =
        (found == "number" && wanted == "integer" && whole) || (found, wanted) == ("integer", "number");
    let fits = found == wanted || converts;
    let has_format = !wanted_format.is_empty();
    if matches!(value, Value::String(_) | Value::Array(_)) {
        // The server's own way: a format makes it accept a list in place of a string.
        let numeric = matches!(wanted, "number" | "integer");
        return if fits || (has_format && !numeric) { Ok(()) } else { Err((wanted.to_owned(), found)) };
    }
    match fits {
        true => Ok(()),
        false if has_format && format != wanted_format => Err((wanted_format.to_owned(), format)),
        false => Err((wanted.to_owned(), found)),
    }
}

fn of_text(text: &str, schema: &Schema, place: &Place, flaws: &mut Vec<Flaw>) {
    let length = text.chars().count();
    let path = &place.path;
    if let Some(most) = schema.lengths.most.filter(|most| length > *most) {
        flaws.push(Flaw::too_long(place.field(), most));
    } else if let Some(least) = schema.lengths.least.filter(|least| length < *least) {
        let detail = format!("{path} in body should be at least {least} chars long");
        flaws.push(Flaw::invalid(place.field(), &text.into(), &detail));
    } else if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        let detail = format!("{path} in body should match '{pattern}'");
        flaws.push(Flaw::invalid(place.field(), &text.into(), &detail));
    }
    if schema.kind == "string" && schema.format == "date-time" && !is_date_time(text) {
        let detail = format!("{path} in body must be of type date-time: {text:?}");
        flaws.push(Flaw::type_invalid(place.field(), &text.into(), &detail));
    }
}

/// Whether the server takes it for a time: RFC 3339, with a comma or a point.
fn is_date_time(text: &str) -> bool {
    // jiff takes a blank in place of the T, and offsets without a colon.
    let shape = text.len() >= 20 && text.is_ascii() && text.as_bytes()[10].eq_ignore_ascii_case(&b't');
    let end = text.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
    let offset = text.ends_with(['Z', 'z']) || (end.ends_with(['+', '-']) && text.len() - end.len() == 5);
    // jiff knows leap seconds.
    shape && offset && !text[17..].starts_with("60") && (text.parse::<Timestamp>().is_ok() || is_last(text))
}

/// Whether it is in the last hours of the year 9999, which a [`Timestamp`] does not hold.
fn is_last(text: &str) -> bool {
    let Ok(pieces) = Pieces::parse(text) else { return false };
    let in_a_day = |offset: Offset| offset.seconds().abs() < 24 * 60 * 60;
    pieces.date().year() == 9999
        && pieces.time().is_some()
        && pieces.to_numeric_offset().is_some_and(in_a_day)
}

fn of_number(number: &Number, schema: &Schema, place: &Place, flaws: &mut Vec<Flaw>) {
    let path = &place.path;
    let value = number.as_f64().unwrap_or_default();
    let (format, range) = (schema.format.as_str(), -2_147_483_648.0..=2_147_483_647.0);
    let has_format = matches!(format, "int32" | "int64")
        && schema.kind == "integer"
        && place.kubernetes == Kubernetes::V1_37;
    if has_format && (value.fract() != 0.0 || (format == "int32" && !range.contains(&value))) {
        let detail = format!("Checked value must be of type integer with format {format} in {path}");
        let field = if place.before.is_empty() { "<nil>" } else { place.before };
        flaws.push(Flaw::invalid(field, &"".into(), &detail));
    }
    let value_json = Value::Number(number.clone());
    if let Some(maximum) = schema.maximum.filter(|maximum| value > *maximum) {
        let detail = format!("{path} in body should be less than or equal to {}", bound(maximum));
        flaws.push(Flaw::invalid(place.field(), &value_json, &detail));
    }
    if let Some(minimum) = schema.minimum.filter(|minimum| value < *minimum) {
        let detail = format!("{path} in body should be greater than or equal to {}", bound(minimum));
        flaws.push(Flaw::invalid(place.field(), &value_json, &detail));
    }
}

fn bound(bound: f64) -> String {
    format!("{bound}")
}

fn of_items(items: &[Value], schema: &Schema, place: &Place, flaws: &mut Vec<Flaw>) {
    if let Some(schema) = schema.items.as_deref() {
        for (at, item) in items.iter().enumerate() {
            of_value(item, schema, &place.item(at), flaws);
        }
    }
    if let Some(least) = schema.items_bounds.least.filter(|least| items.len() < *least) {
        let detail = format!("{} in body should have at least {least} items", place.path);
        flaws.push(Flaw::invalid(place.field(), &items.len().into(), &detail));
    }
    if let Some(most) = schema.items_bounds.most.filter(|most| items.len() > *most) {
        flaws.push(Flaw::too_many(place.field(), items.len(), most));
    }
}

/// Checks that the items of sets and list maps are unique.
pub fn uniqueness(value: &Value, schema: &Schema, path: &str, flaws: &mut Vec<Flaw>) {
    if !schema.has_unique {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(schema) = schema.field(name) {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    uniqueness(value, schema, &path, flaws);
                }
            }
        }
        Value::Array(items) => {
            of_list_type(items, schema, path, flaws);
            if let Some(schema) = schema.items.as_deref() {
                for (at, item) in items.iter().enumerate() {
                    uniqueness(item, schema, &format!("{path}[{at}]"), flaws);
                }
            }
        }
        _ => {}
    }
}

fn of_list_type(items: &[Value], schema: &Schema, path: &str, flaws: &mut Vec<Flaw>) {
    let keys: Vec<Option<&Value>> = match &schema.list {
        ListType::Atomic => return,
        ListType::Set => items.iter().map(Some).collect(),
        ListType::Map(key) => {
            if let Some((at, item)) = items.iter().enumerate().find(|(_, i)| !i.is_object() && !i.is_null()) {
                let detail = "must be an object for an array of list-type map";
                flaws.push(Flaw::invalid(format!("{path}[{at}]"), item, detail));
                return;
            }
            items.iter().map(|item| item.get(key)).collect()
        }
    };
    for (at, key) in keys.iter().enumerate() {
        // The first repetition is reported, not the others.
        if keys[..at].iter().filter(|other| *other == key).count() == 1 {
            let shown = match (&schema.list, key) {
                (ListType::Map(name), Some(key)) => json!({name.as_str(): key}),
                (ListType::Map(_), None) => json!({}),
                (_, key) => key.map(Value::clone).unwrap_or_default(),
            };
            flaws.push(Flaw::duplicate(format!("{path}[{at}]"), shown));
        }
    }
}
