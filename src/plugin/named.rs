//! The name of an object, whatever else is in it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{api::bare_metadata, decode::json};

/// Which object it is. Reading it cannot fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub namespace: String,
    pub name: String,
    /// Its resourceVersion.
    pub version: String,
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = json::anything(deserializer)?;
        let metadata = bare_metadata(json::member(&raw, "metadata"));
        let parts = [metadata.namespace, metadata.name, metadata.resource_version];
        let [namespace, name, version] = parts.map(Option::unwrap_or_default);
        Ok(Self { namespace, name, version })
    }
}
