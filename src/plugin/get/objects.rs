//! Whole objects, as manifests.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use crate::plugin::{
    arguments::{GetArguments, GetKind, ManifestFormat},
    problem::Problem,
    session::{Parts, Selectors, Session},
    show::{list, manifests},
};

/// An object as the API server sent it, in text: what is nested too deeply to be decoded is printed all the same.
struct Whole(BTreeMap<String, Box<RawValue>>);

impl Whole {
    /// The object without what only the API server needs; `kind` is what it is, which the items of a list do not say.
    fn new(raw: &RawValue, kind: GetKind) -> Result<Self, serde_json::Error> {
        let resource = kind.resource();
        let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(raw.get())?;
        members.insert("apiVersion".into(), serde_json::value::to_raw_value(&resource.api_version)?);
        members.insert("kind".into(), serde_json::value::to_raw_value(&resource.kind)?);
        if let Some(metadata) = members.get_mut("metadata") {
            let mut own: BTreeMap<String, Box<RawValue>> = serde_json::from_str(metadata.get())?;
            own.remove("managedFields");
            *metadata = serde_json::value::to_raw_value(&own)?;
        }
        Ok(Self(members))
    }
}

impl Serialize for Whole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, Text(value))))
    }
}

/// A part of an object: indented like the rest, or in one line if it is nested too deeply for that.
struct Text<'a>(&'a RawValue);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<Value>(self.0.get()) {
            Ok(value) => value.serialize(serializer),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

pub async fn print(
    session: &Session,
    kinds: &[GetKind],
    arguments: &GetArguments,
    format: ManifestFormat,
) -> Result<(), Problem> {
    let mut objects = Vec::new();
    for kind in kinds {
        let (labels, plural) = (arguments.selector.as_deref(), kind.resource().plural);
        let selectors = Selectors { labels, parts: Parts::All, ..Selectors::default() };
        let found: Vec<Box<RawValue>> =
            session.list_all(&plural, &kind.url(session.namespace.as_deref()), selectors).await?;
        for raw in found {
            let whole = Whole::new(&raw, *kind);
            objects
                .push(whole.map_err(|error| Problem::Failed(format!("an answer cannot be read: {error}")))?);
        }
    }
    match format {
        // Always, as with kubectl: what reads it need not know how many there are.
        ManifestFormat::Json => list(&session.console, &objects),
        ManifestFormat::Yaml => manifests(&session.console, &objects, format),
    }
}
