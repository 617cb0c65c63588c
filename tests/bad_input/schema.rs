//! Values made from a CRD's schema, with a bias to its bounds.

use std::collections::HashSet;

use proptest::{collection::vec, option, prelude::*, sample::select, string::string_regex};
use serde_json::{Map, Value, json};

use super::hostile::{anything, odd, odd_names, texts};

/// How closely values match the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Completely.
    Keeps,
    /// Occasionally a value is out of bounds, missing, or of another type.
    Strays,
}

/// Makes strategies from schemas.
pub struct Schemas {
    pub care: Care,
    /// Used for an `id`: mostly of existing objects.
    pub ids: BoxedStrategy<String>,
}

/// The schema of `part` (spec or status) of a CRD.
pub fn part(crd: &str, part: &str) -> Value {
    let crd: Value = serde_saphyr::from_str(crd).unwrap();
    let place = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}");
    crd.pointer(&place).unwrap().clone()
}

impl Schemas {
    /// Values of a schema.
    pub fn values(&self, schema: &Value) -> BoxedStrategy<Value> {
        let fit = match schema["type"].as_str() {
            Some("object") if schema["properties"].is_null() => self.maps(schema),
            Some("object") => self.objects(schema),
            Some("array") => self.lists(schema),
            Some("string") => self.strings(schema),
            Some("integer") => self.integers(schema),
            Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
            None if schema["x-kubernetes-preserve-unknown-fields"] == true => anything(),
            other => panic!("unknown type in a schema: {other:?}"),
        };
        match self.care {
            Care::Keeps => fit,
            Care::Strays => prop_oneof![40 => fit, 1 => odd()].boxed(),
        }
    }

    fn objects(&self, schema: &Value) -> BoxedStrategy<Value> {
        let required: HashSet<_> = schema["required"].as_array().into_iter().flatten().collect();
        let fields = schema["properties"].as_object().unwrap().iter().map(|(name, schema)| {
            let value = match name.as_str() {
                "id" => self.ids(),
                _ => self.values(schema),
            };
            let value = match (required.contains(&json!(name)), self.care, name.as_str()) {
                (true, Care::Keeps, _) => value.prop_map(Some).boxed(),
                (true, Care::Strays, _) => option::weighted(0.97, value).boxed(),
                // An item with an unknown uid can only be refused; a request without items has no items to report.
                // And what has work neither stops nor goes here, where nothing runs.
                (false, _, "uid" | "template" | "workloadRef") => option::weighted(0.1, value).boxed(),
                (false, _, "executions" | "deployments") => option::weighted(0.7, value).boxed(),
                _ => option::weighted(0.4, value).boxed(),
            };
            let name = name.clone();
            value.prop_map(move |value| value.map(|value| (name.clone(), value))).boxed()
        });
        let unknown = match self.care {
            Care::Keeps => Just(None).boxed(),
            Care::Strays => option::weighted(0.04, (texts(0, 20), odd())).boxed(),
        };
        let (care, engines) = (self.care, engines(schema));
        (fields.collect::<Vec<_>>(), unknown, any::<prop::sample::Index>())
            .prop_map(move |(fields, unknown, index)| {
                let mut object: Map<_, _> = fields.into_iter().flatten().chain(unknown).collect();
                if care == Care::Keeps {
                    // As the rules of the schema demand.
                    if object.contains_key("template") {
                        object.remove("workloadRef");
                    }
                    if !engines.is_empty() {
                        let (api_version, kind) = index.get(&engines).split_once(' ').unwrap();
                        object.insert("apiVersion".into(), api_version.into());
                        object.insert("kind".into(), kind.into());
                    }
                }
                Value::Object(object)
            })
            .boxed()
    }

    fn maps(&self, schema: &Value) -> BoxedStrategy<Value> {
        let max = usize::try_from(schema["maxProperties"].as_u64().unwrap()).unwrap();
        let strays = u32::from(self.care == Care::Strays);
        let length = prop_oneof![30 => 0..=3.min(max), 1 => Just(max), strays => Just(max + 1)];
        let value = self.values(&schema["additionalProperties"]);
        length
            .prop_flat_map(move |length| vec((texts(1, 20), value.clone()), length))
            .prop_map(|fields| {
                let named =
                    fields.into_iter().enumerate().map(|(n, (name, value))| (format!("{n}{name}"), value));
                Value::Object(named.collect())
            })
            .boxed()
    }

    fn ids(&self) -> BoxedStrategy<Value> {
        let ids = self.ids.clone().prop_map(Value::from);
        match self.care {
            Care::Keeps => ids.boxed(),
            Care::Strays => prop_oneof![30 => ids, 1 => odd_names()].boxed(),
        }
    }

    fn lists(&self, schema: &Value) -> BoxedStrategy<Value> {
        let max = usize::try_from(schema["maxItems"].as_u64().unwrap()).unwrap();
        let strays = u32::from(self.care == Care::Strays);
        let length = prop_oneof![
            70 => 1..=3.min(max),
            18 => 4..=12.min(max),
            1 => Just(max - 1),
            1 => Just(max),
            strays => Just(max + 1),
            2 * strays => Just(0),
        ];
        let item = self.values(&schema["items"]);
        let keys = schema["x-kubernetes-list-map-keys"].as_array().cloned().unwrap_or_default();
        let care = self.care;
        length
            // A few more, because duplicate keys are dropped.
            .prop_flat_map(move |length| (Just(length), vec(item.clone(), length..=length + length / 8)))
            .prop_map(move |(length, mut list)| {
                let mut seen = HashSet::new();
                if let Some(key) = keys.first().and_then(Value::as_str)
                    && care == Care::Keeps
                {
                    list.retain(|item| seen.insert(item[key].to_string()));
                }
                list.truncate(length);
                Value::from(list)
            })
            .boxed()
    }

    fn strings(&self, schema: &Value) -> BoxedStrategy<Value> {
        let strays = u32::from(self.care == Care::Strays);
        let bound = |field: &str| schema[field].as_u64().map(|n| usize::try_from(n).unwrap());
        let (min, max) = (bound("minLength").unwrap_or(0), bound("maxLength").unwrap_or(64));
        if let Some(words) = schema["enum"].as_array() {
            let words = select(words.clone());
            return prop_oneof![40 => words, strays => texts(0, 20).prop_map(Value::from)].boxed();
        }
        let fit = if schema["format"] == "date-time" {
            let pattern = schema["pattern"].as_str().map(|p| p.trim_matches(['^', '$']).to_owned());
            let by_pattern =
                pattern.map_or(Just("soon".to_owned()).boxed(), |p| string_regex(&p).unwrap().boxed());
            prop_oneof![30 => dates(), strays => by_pattern].boxed()
        } else if let Some(pattern) = pattern_of_a_rule(schema) {
            let fits = string_regex(&pattern).unwrap().prop_filter("too long", move |text| text.len() <= max);
            prop_oneof![30 => fits, strays => texts(min, max)].boxed()
        } else {
            assert!(schema["pattern"].is_null(), "unknown pattern: {schema}");
            texts(min, max)
        };
        let over = prop_oneof![Just(String::new()), texts(max + 1, max + 1)];
        prop_oneof![40 => fit, strays => over].prop_map(Value::from).boxed()
    }

    fn integers(&self, schema: &Value) -> BoxedStrategy<Value> {
        let (low, high) = match schema["format"].as_str() {
            Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        };
        #[allow(clippy::cast_possible_truncation, reason = "the schemas' bounds are small whole numbers")]
        let low = schema["minimum"].as_f64().map_or(low, |low| low as i64);
        let fit = prop_oneof![
            2 => Just(low),
            2 => Just(high),
            1 => Just(low.saturating_add(1)),
            3 => low.max(0)..=low.max(0) + 4000,
            1 => low..=high,
        ];
        let over = vec![
            json!(low.saturating_sub(1)),
            json!(1.0),
            json!(60.5),
            json!(6e1),
            json!(1e10),
            json!(1e300),
        ];
        let strays = u32::from(self.care == Care::Strays);
        prop_oneof![30 => fit.prop_map(Value::from), strays => select(over)].boxed()
    }
}

/// The pattern that a rule of the schema demands.
fn pattern_of_a_rule(schema: &Value) -> Option<String> {
    let rule = schema["x-kubernetes-validations"][0]["rule"].as_str()?;
    let pattern = rule.strip_prefix("self.matches('^")?.strip_suffix("$')")?;
    Some(pattern.to_owned())
}

/// Each `apiVersion kind` that a rule of the schema accepts; empty if it has no such rule.
fn engines(schema: &Value) -> Vec<String> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut texts = rules.filter_map(|rule| {
        rule["rule"].as_str()?.strip_prefix("self.apiVersion + ' ' + self.kind in ['")?.strip_suffix("']")
    });
    texts.next().map(|list| list.split("', '").map(ToOwned::to_owned).collect()).unwrap_or_default()
}

/// Timestamps over the full range; some are accepted as dates by the API server only.
fn dates() -> BoxedStrategy<String> {
    let known = vec![
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "2000-02-29T23:59:59Z",
        "2038-01-19T03:14:08Z",
        "2096-12-31T00:00:00.000000001+14:00",
        "9999-12-31T23:59:59.999999999Z",
        "9999-12-31T23:59:59-23:59",
        "0000-01-01T00:00:00+23:59",
        "2100-01-01T00:00:00+99:99",
        "2101-02-30T00:00:00Z",
        "2030-06-30T23:59:60Z",
    ];
    prop_oneof![
        2 => select(known).prop_map(str::to_owned),
        3 => (2090..2999u32, 1..13u32).prop_map(|(year, month)| format!("{year}-{month:02}-01T00:00:00Z")),
    ]
    .boxed()
}
