//! Whether two answers are the same, apart from what each server chooses itself.

use std::collections::BTreeMap;

use http::HeaderMap;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{differences, edits::Chosen};

/// What differs: where, and both values.
pub type Difference = (String, String, String);

/// How far the times of both are apart at most that were set at the same moment: they are in whole seconds.
const ROUNDED: SignedDuration = SignedDuration::from_secs(1);

pub struct Comparison<'a> {
    pub chosen: &'a mut Chosen,
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

impl Comparison<'_> {
    /// Compares two documents; takes in what the servers have chosen.
    pub fn documents(&mut self, simulated: &Value, real: &Value) -> Result<(), Difference> {
        let (mut simulated, mut real) = (simulated.clone(), real.clone());
        self.tidy(&mut simulated, 0);
        self.tidy(&mut real, 1);
        self.values("", Some(&simulated), Some(&real))
    }

    /// Takes in the resource versions of lists. Those of lists that may come from a cache are not the newest ones in the
    /// real server, which asks the cache of one kind.
    pub fn lists(&mut self, uri: &str, simulated: &Value, real: &Value) {
        let version = |value: &Value| {
            let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
            value["metadata"]["resourceVersion"].as_str().filter(|_| is_list).map(ToOwned::to_owned)
        };
        let is_newest = !uri.contains("resourceVersion=") && !uri.contains("continue=");
        if let (true, Some(simulated), Some(real)) = (is_newest, version(simulated), version(real)) {
            pair(&mut self.chosen.lists, &simulated, &real, false);
        }
    }

    /// Replaces uids in texts, and sorts what has no order.
    fn tidy(&self, value: &mut Value, side: usize) {
        differences::excuse(value);
        let text = value.to_string();
        if text.contains("k:{\\\"uid\\\"") {
            *value = serde_json::from_str(&self.plain_uids(text, side)).unwrap();
        }
        if value["kind"] == "Status" && value["status"] == "Failure" {
            if let Some(causes) = value.pointer_mut("/details/causes").and_then(Value::as_array_mut) {
                causes.sort_by_key(ToString::to_string);
                causes.dedup();
                let texts = causes.iter().map(|cause| format!("{}: {}", cause["field"], cause["message"]));
                let texts: Vec<_> = texts.collect();
                if value["reason"] == "Invalid"
                    && let Some((start, _)) =
                        value["message"].as_str().unwrap_or_default().split_once(" is invalid: ")
                {
                    value["message"] = format!("{start} is invalid: {}", texts.join(", ")).into();
                }
            }
            let plain = |said: &mut Value| {
                let text = self.plain_uids(said.as_str().unwrap_or_default().to_owned(), side);
                *said = plain_versions(&text, &self.chosen.versions, side).into();
            };
            plain(&mut value["message"]);
            let causes = value.pointer_mut("/details/causes").and_then(Value::as_array_mut);
            causes.into_iter().flatten().for_each(|cause| plain(&mut cause["message"]));
        }
    }

    fn plain_uids(&self, mut text: String, side: usize) -> String {
        for (at, pair) in self.chosen.uids.iter().enumerate() {
            text = text.replace(&pair[side], &format!("(uid {at})"));
        }
        text
    }

    fn values(
        &mut self,
        path: &str,
        simulated: Option<&Value>,
        real: Option<&Value>,
    ) -> Result<(), Difference> {
        let differs = || Err((path.to_owned(), shown(simulated), shown(real)));
        let name = path.rsplit('/').next().unwrap_or_default();
        match (simulated, real) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => {
                let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for name in names {
                    self.values(&format!("{path}/{name}"), a.get(name), b.get(name))?;
                }
                Ok(())
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) if name == "managedFields" => {
                let (a, b) = (by_manager(a), by_manager(b));
                let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
                for name in names {
                    self.values(&format!("{path}/({name})"), a.get(name).copied(), b.get(name).copied())?;
                }
                Ok(())
            }
            (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
                for (at, (a, b)) in a.iter().zip(b).enumerate() {
                    self.values(&format!("{path}/{at}"), Some(a), Some(b))?;
                }
                Ok(())
            }
            (Some(Value::String(a)), Some(Value::String(b))) => {
                if self.texts(path, name, a, b) {
                    Ok(())
                } else {
                    differs()
                }
            }
            (a, b) if a == b => Ok(()),
            _ => differs(),
        }
    }

    fn texts(&mut self, path: &str, name: &str, simulated: &str, real: &str) -> bool {
        match name {
            "resourceVersion" if path.contains("metadata") => {
                // A dry run shows what was sent, whatever it was.
                let chosen = [simulated, real].iter().all(|text| text.parse::<u64>().is_ok());
                (!chosen && simulated == real)
                    || (chosen && pair(&mut self.chosen.versions, simulated, real, true))
            }
            "uid" if path.contains("metadata") || path.contains("details") => {
                let chosen = !simulated.is_empty() && !real.is_empty();
                simulated == real || (chosen && pair(&mut self.chosen.uids, simulated, real, true))
            }
            "continue" if !simulated.is_empty() && !real.is_empty() => {
                pair(&mut self.chosen.tokens, simulated, real, false)
            }
            _ if simulated == real => true,
            _ => match (simulated.parse::<Timestamp>(), real.parse::<Timestamp>()) {
                (Ok(a), Ok(b)) => {
                    a.duration_since(b).abs() <= self.chosen.slowest + ROUNDED
                        && simulated.len() == real.len()
                }
                _ => false,
            },
        }
    }

    /// Compares the headers that say something about the answer to a request that `is_large` or not.
    pub fn headers(simulated: &HeaderMap, real: &HeaderMap, is_large: bool) -> Result<(), Difference> {
        for name in ["content-type", "cache-control", "retry-after", "warning"] {
            if name == "warning" && is_large {
                continue;
            }
            let values = |headers: &HeaderMap| {
                let mut all: Vec<_> =
                    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect();
                all.sort();
                all
            };
            let (simulated, real) = (values(simulated), values(real));
            if simulated != real {
                return Err((format!("header {name}"), format!("{simulated:?}"), format!("{real:?}")));
            }
        }
        for name in ["date", "audit-id"] {
            if simulated.contains_key(name) != real.contains_key(name) {
                return Err((format!("header {name}"), String::new(), String::new()));
            }
        }
        Ok(())
    }

    /// Remembers an object, and its last version.
    pub fn remember(&mut self, path: &str, simulated: &Value, real: &Value) {
        let is_object = |value: &Value| value["metadata"]["uid"].is_string();
        if is_object(simulated) && is_object(real) && simulated["metadata"]["resourceVersion"].is_string() {
            let place = path.split('?').next().unwrap().trim_end_matches("/status");
            let name = simulated["metadata"]["name"].as_str().unwrap();
            let place = if place.ends_with(name) { place.to_owned() } else { format!("{place}/{name}") };
            self.chosen.objects.insert(place, [simulated.clone(), real.clone()]);
        }
    }
}

/// Whether both have chosen these for the same thing. Only if they are `unique`, one means the other.
fn pair(pairs: &mut Vec<[String; 2]>, simulated: &str, real: &str, unique: bool) -> bool {
    let known = pairs.iter().find(|pair| pair[0] == simulated || pair[1] == real);
    match known {
        Some(known) if unique => *known == [simulated, real],
        Some(known) if *known == [simulated, real] => true,
        _ => {
            pairs.push([simulated.to_owned(), real.to_owned()]);
            true
        }
    }
}

/// Entries of managed fields, by who has made them.
fn by_manager(entries: &[Value]) -> BTreeMap<String, &Value> {
    let key = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}", text("manager"), text("operation"), text("subresource"))
    };
    entries.iter().map(|entry| (key(entry), entry)).collect()
}

/// Replaces resource versions in what is said about them.
fn plain_versions(text: &str, versions: &[[String; 2]], side: usize) -> String {
    if !text.contains("ResourceVersion") && !text.contains("resource version") {
        return text.to_owned();
    }
    let mut plain = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_alphanumeric() || c == '-' {
            word.push(c);
            continue;
        }
        match versions.iter().position(|pair| pair[side] == word) {
            Some(at) => plain.extend(["(version ", &at.to_string(), ")"]),
            // One that was in no answer.
            None if word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_digit()) => plain += "(version)",
            None => plain += &word,
        }
        word.clear();
        plain.push(c);
    }
    plain.trim_end_matches('\0').to_owned()
}
