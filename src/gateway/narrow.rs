//! What would narrow a modification. It is honoured, or refused by its name: never skipped, for what is done without it cannot be
//! undone.

use std::fmt;

use axum::extract::{FromRequestParts, Query};
use http::{HeaderName, header, request::Parts};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

use crate::{
    decode::text::cut,
    gateway::problem::{Problem, bad_request},
};

/// The names of the fields of a body that are not read at their place. Those that this version does not know are valid, says the
/// AI API. (Besides, without this serde would accept a list in place of an object, by the order of its fields.)
#[derive(Debug, Default)]
pub struct Others {
    names: Vec<String>,
    /// The path of what would narrow the request, at any depth in their values.
    narrowing: Option<String>,
}

impl<'de> Deserialize<'de> for Others {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Others;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Others, A::Error> {
                let mut others = Others::default();
                while let Some((name, value)) = fields.next_entry::<String, Value>()? {
                    if others.narrowing.is_none() {
                        others.narrowing = narrowing(&value).map(|path| format!("{name}{path}"));
                    }
                    others.names.push(name);
                }
                Ok(others)
            }
        }
        value.deserialize_map(Names)
    }
}

/// The fields of a BulkUpdate and its items.
const FIELDS: [&str; 12] = [
    "spec",
    "metadata",
    "executions",
    "deployments",
    "dryRun",
    "notAfter",
    "startingDeadlineSeconds",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "id",
    "targetStatus",
    "uid",
];

/// Those that narrow a request wherever they are meant to apply, as [`plain`] has them.
const NARROWING: [&str; 5] =
    ["dryrun", "uid", "notafter", "startingdeadlineseconds", "activedeadlineseconds"];

/// The headers with which HTTP makes a request depend on something.
const CONDITIONS: [HeaderName; 5] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
];

/// The longest name in a message, in bytes.
const LONGEST_NAME: usize = 64;
/// The longest path.
const LONGEST_PATH: usize = 256;

/// Refuses fields of a BulkUpdate that are not read at this place, also in another spelling, and in the values of unknown fields
/// what would narrow the request.
pub fn refuse_fields(place: &str, others: &Others) -> Result<(), Problem> {
    for name in &others.names {
        let Some(field) = FIELDS.iter().find(|field| plain(field) == plain(name)) else { continue };
        let name = cut(name, LONGEST_NAME);
        return bad_request(if name == *field {
            format!("{place}{field} cannot be set here; nothing was done")
        } else {
            format!("{place}{name} is unknown: did you mean {field}? Nothing was done")
        });
    }
    match &others.narrowing {
        Some(path) => {
            let path = cut(path, LONGEST_PATH);
            bad_request(format!(
                "{place}{path} is not known here, and would narrow the request; nothing was done"
            ))
        }
        None => Ok(()),
    }
}

/// The path within a value of the first field that narrows a request.
fn narrowing(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if NARROWING.contains(&&*plain(name)) {
                return Some(format!(".{name}"));
            }
            narrowing(value).map(|path| format!(".{name}{path}"))
        }),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .find_map(|(at, value)| narrowing(value).map(|path| format!("[{at}]{path}"))),
        _ => None,
    }
}

/// Without what differs between the usual spellings of a name.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Proof that a PATCH or DELETE depends on nothing but its path and body.
pub struct Unconditional;

impl<S: Send + Sync> FromRequestParts<S> for Unconditional {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(parameters) = match Query::<Vec<(String, String)>>::from_request_parts(parts, state).await {
            Ok(query) => query,
            Err(error) => return bad_request(format!("the query is invalid: {error}; nothing was done")),
        };
        if let Some((name, _)) = parameters.first() {
            let name = cut(name, LONGEST_NAME);
            return bad_request(format!(
                "the query parameter {name} is not known here: a modification has none; nothing was done"
            ));
        }
        match CONDITIONS.iter().find(|name| parts.headers.contains_key(*name)) {
            Some(name) => bad_request(format!("the header {name} is not supported here; nothing was done")),
            None => Ok(Self),
        }
    }
}

#[cfg(test)]
mod tests;
