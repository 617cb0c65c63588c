//! The field reference of docs/api.md, made from the CRDs.

use std::fmt::Write as _;

use ai_api_operator::api::crds;
use serde_json::Value;

/// A section for each kind.
pub fn field_reference() -> String {
    let mut text = String::new();
    for crd in crds().unwrap().iter().map(|crd| serde_json::to_value(crd).unwrap()) {
        let names = &crd["spec"]["names"];
        let version = &crd["spec"]["versions"][0];
        let schema = &version["schema"]["openAPIV3Schema"];
        let plain = |value: &Value| value.as_str().unwrap().to_owned();
        write!(
            text,
            "\n## {kind}\n\n{about}\n\n`apiVersion: {group}/{version}`, `kind: {kind}`; namespaced; short name `{short}`.\n",
            kind = plain(&names["kind"]),
            about = plain(&schema["description"]),
            group = plain(&crd["spec"]["group"]),
            version = plain(&version["name"]),
            short = plain(&names["shortNames"][0]),
        )
        .unwrap();
        for rule in whole_rules(schema) {
            write!(text, "\nChecked by the API server: {rule}.\n").unwrap();
        }
        for (property, required) in [("spec", true), ("status", false)] {
            let part = &schema["properties"][property];
            assert_eq!(is_required(schema, property), required, "{property}");
            write!(text, "\n### {property}\n\n").unwrap();
            if property == "status" {
                write!(text, "Default: `{}`.\n\n", part["default"]).unwrap();
            }
            text += "| field | type | bounds | meaning |\n|---|---|---|---|\n";
            rows(&mut text, "", part);
            for rule in whole_rules(part) {
                write!(text, "\nChecked by the API server: {rule}.\n").unwrap();
            }
        }
    }
    text + "\n"
}

/// The messages of the rules about several fields together. Those about setting and unsetting belong to "immutable",
/// which the fields' rows say.
fn whole_rules(schema: &Value) -> impl Iterator<Item = String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let messages = rules.filter(|rule| !rule["rule"].as_str().unwrap().contains("oldSelf"));
    messages.map(|rule| rule["message"].as_str().unwrap().to_owned())
}

/// A row for each field, and for each field of the objects in it.
fn rows(text: &mut String, path: &str, schema: &Value) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        let item = &field["items"];
        let bounds = bounds(field, is_required(schema, name));
        let about = field["description"].as_str().unwrap_or_default();
        let immutable = about.ends_with(" Immutable.");
        assert_eq!(immutable, bounds.iter().any(|bound| bound == "immutable"), "{path}");
        let row =
            [&format!("`{path}`"), type_of(field), &bounds.join("; "), about.trim_end_matches(" Immutable.")];
        writeln!(text, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | ")).unwrap();
        // Conditions are Kubernetes' own type.
        if name != "conditions" {
            rows(text, &format!("{path}[]."), item);
            rows(text, &format!("{path}."), field);
        }
    }
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|required| required.contains(&name.into()))
}

fn type_of(field: &Value) -> &str {
    match (field["type"].as_str().unwrap(), field["format"].as_str()) {
        ("array", _) => "list",
        ("string", Some("date-time")) => "time",
        (type_, _) => type_,
    }
}

fn bounds(field: &Value, required: bool) -> Vec<String> {
    let mut bounds = Vec::new();
    if required {
        bounds.push("required".to_owned());
    }
    if let Some(words) = field["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`"));
        bounds.push(format!("one of {}", words.collect::<Vec<_>>().join(", ")));
    }
    for (unit, least, most) in [
        ("characters", "minLength", "maxLength"),
        ("items", "minItems", "maxItems"),
        ("fields", "minProperties", "maxProperties"),
        ("", "minimum", "maximum"),
    ] {
        let range = match (field[least].as_f64(), field[most].as_f64()) {
            (None, None) => continue,
            (Some(least), Some(most)) => format!("{least} to {most} {unit}"),
            (Some(least), None) => format!("at least {least} {unit}"),
            (None, Some(most)) => format!("at most {most} {unit}"),
        };
        bounds.push(range.trim().to_owned());
    }
    if let Some(pattern) = field["pattern"].as_str().filter(|_| type_of(field) != "time") {
        bounds.push(format!("`{pattern}`"));
    }
    for key in field["x-kubernetes-list-map-keys"].as_array().into_iter().flatten() {
        bounds.push(format!("each `{}` once", key.as_str().unwrap()));
    }
    let rules = field["x-kubernetes-validations"].as_array().into_iter().flatten();
    // A rule that holds for every value only makes the API server check the type, which is in the reference.
    for rule in rules.filter(|rule| rule["rule"] != "self == self") {
        let (expression, message) = (rule["rule"].as_str().unwrap(), rule["message"].as_str().unwrap());
        bounds.push(match expression {
            "self == oldSelf" => "immutable".to_owned(),
            // The message lists the engines.
            _ if expression.starts_with("self.apiVersion + ' ' + self.kind in [") => message.to_owned(),
            _ if expression.starts_with("self.matches('") => {
                format!("`{}`", expression.trim_start_matches("self.matches('").trim_end_matches("')"))
            }
            _ => panic!("say in the reference what the rule {expression} means"),
        });
    }
    bounds
}
