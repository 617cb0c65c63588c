//! Objects of which the operator needs a few fields, and whose other content must not break it.
//!
//! Kubernetes' own types reject a whole object for one odd value, and with it the list or the event that brought it: a time in
//! the year 9999 in `managedFields` is enough. These take any JSON, and skip `managedFields`.

use std::fmt;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// Implements kube's `Resource` for a type whose kind is only known at run time, as kube's own `DynamicObject` does.
macro_rules! dynamic_resource {
    ($type:ty, $($metadata:ident).+) => {
        impl kube::Resource for $type {
            type DynamicType = kube::core::ApiResource;
            type Scope = kube::core::DynamicResourceScope;

            fn kind(resource: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                resource.kind.as_str().into()
            }
            fn group(resource: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                resource.group.as_str().into()
            }
            fn version(resource: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                resource.version.as_str().into()
            }
            fn plural(resource: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                resource.plural.as_str().into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.$($metadata).+
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.$($metadata).+
            }
        }
    };
}
pub(crate) use dynamic_resource;

/// An object as the API server sends it: `metadata` without `managedFields`, and `spec`.
///
/// Written back, it keeps what others have put there. (The API server keeps the `managedFields` of an object that is written
/// without any.)
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Lenient {
    /// Absent in the items of a list.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[serde(rename = "apiVersion")]
    api_version: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    kind: Value,
    #[serde(default)]
    metadata: Metadata,
    /// `spec`; null if there is none.
    #[serde(default)]
    pub spec: Value,
}

impl Lenient {
    /// A new object of this kind, without a spec.
    pub fn new(api_version: &str, kind: &str, name: &str) -> Self {
        let mut metadata = Metadata::default();
        metadata.fields.insert("name".into(), name.into());
        metadata.typed.name = Some(name.into());
        Self { api_version: api_version.into(), kind: kind.into(), metadata, spec: Value::Null }
    }

    /// The string in this field of its metadata, if it is one.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.metadata.fields.get(field)?.as_str()
    }

    /// `metadata.generation`, if it is a number.
    pub fn generation(&self) -> Option<i64> {
        self.metadata.fields.get("generation")?.as_i64()
    }

    /// `metadata.creationTimestamp`, if it can be read.
    pub fn created(&self) -> Option<Timestamp> {
        self.text("creationTimestamp")?.parse().ok()
    }

    /// Whether it has a deletionTimestamp, whatever that says.
    pub fn is_terminating(&self) -> bool {
        self.metadata.fields.get("deletionTimestamp").is_some_and(|time| !time.is_null())
    }

    /// The annotation with this name.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.fields.get("annotations")?.get(name)?.as_str()
    }

    /// Sets an annotation, or removes it. Others are left alone.
    pub fn annotate(&mut self, name: &str, value: Option<&str>) {
        let annotations = self.metadata.fields.entry("annotations").or_insert(Value::Null);
        match (value, annotations) {
            (Some(value), Value::Object(annotations)) => {
                annotations.insert(name.into(), value.into());
            }
            (Some(value), annotations) => *annotations = Map::from_iter([(name.into(), value.into())]).into(),
            (None, Value::Object(annotations)) => {
                annotations.remove(name);
            }
            (None, _) => {}
        }
    }
}

/// `metadata` without `managedFields`.
#[derive(Clone, Debug, Default)]
struct Metadata {
    fields: Map<String, Value>,
    /// What kube needs of it.
    typed: ObjectMeta,
}

impl Serialize for Metadata {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = deserializer.deserialize_map(WithoutManagedFields)?;
        let text = |field: &str| fields.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
        let typed = ObjectMeta {
            name: text("name"),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Ok(Self { fields, typed })
    }
}

struct WithoutManagedFields;

impl<'de> Visitor<'de> for WithoutManagedFields {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object's metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Map::new();
        while let Some(field) = map.next_key::<String>()? {
            if field == "managedFields" {
                // Not decoded, because its depth has no limit.
                map.next_value::<IgnoredAny>()?;
            } else {
                fields.insert(field, map.next_value()?);
            }
        }
        Ok(fields)
    }
}

dynamic_resource!(Lenient, metadata.typed);

#[cfg(test)]
mod tests;
