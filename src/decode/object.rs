//! Objects of which the operator needs a few fields, and whose other content must not be able to break it.
//!
//! Kubernetes' own types refuse a whole object for one odd value, and with it the list or the event that brought it: a time of
//! the year 9999 in `managedFields` is enough. These take any JSON, and leave `managedFields` out unread.

use std::{borrow::Cow, fmt};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{
    Resource,
    core::{ApiResource, DynamicResourceScope},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// An object as the API server sends it: `metadata`, but for `managedFields`, and `spec`.
///
/// Written back, it keeps what others have put there. (The API server keeps the `managedFields` of an object that is written
/// without any.)
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Lenient {
    /// Absent where the API server says so itself.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[serde(rename = "apiVersion")]
    api_version: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    kind: Value,
    #[serde(default)]
    metadata: Metadata,
    /// `spec`, null where there is none.
    #[serde(default)]
    pub spec: Value,
}

impl Lenient {
    /// A new object of this kind, without a spec.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, name: &str) -> Self {
        let mut metadata = Metadata::default();
        metadata.fields.insert("name".into(), name.into());
        metadata.typed.name = Some(name.into());
        Self { api_version: api_version.into(), kind: kind.into(), metadata, spec: Value::Null }
    }

    /// A text in its metadata, if there is one under this name.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.metadata.fields.get(field)?.as_str()
    }

    /// `metadata.generation`, if it is a number.
    #[must_use]
    pub fn generation(&self) -> Option<i64> {
        self.metadata.fields.get("generation")?.as_i64()
    }

    /// `metadata.creationTimestamp`, if it can be read.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        self.text("creationTimestamp")?.parse().ok()
    }

    /// Whether it has a deletionTimestamp, whatever that says.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.metadata.fields.get("deletionTimestamp").is_some_and(|time| !time.is_null())
    }

    /// The annotation of this name.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.fields.get("annotations")?.get(name)?.as_str()
    }

    /// Sets an annotation, or removes it. The others stay as they are.
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
    /// What kube asks an object for.
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
                // Skipped on the wire, however deep it is.
                map.next_value::<IgnoredAny>()?;
            } else {
                fields.insert(field, map.next_value()?);
            }
        }
        Ok(fields)
    }
}

/// The kind is known at run time only, as with kube's own `DynamicObject`.
impl Resource for Lenient {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dt: &ApiResource) -> Cow<'_, str> {
        dt.kind.as_str().into()
    }
    fn group(dt: &ApiResource) -> Cow<'_, str> {
        dt.group.as_str().into()
    }
    fn version(dt: &ApiResource) -> Cow<'_, str> {
        dt.version.as_str().into()
    }
    fn plural(dt: &ApiResource) -> Cow<'_, str> {
        dt.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata.typed
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata.typed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What the API server sends of an object whose `managedFields` an adversary has written.
    fn hostile() -> String {
        let deep = format!("{}{}", "{\"f:a\":".repeat(5000), "{}") + &"}".repeat(5000);
        let fields = format!(r#"[{{"time":"9999-12-31T23:59:59Z","fieldsV1":{deep}}},{{"time":7}}]"#);
        format!(
            r#"{{"kind":"Lease","metadata":{{"name":"a","uid":"u","resourceVersion":"7","generation":3,
                "creationTimestamp":"9999-12-31T23:59:59Z","managedFields":{fields},
                "labels":{{"of":"others"}},"annotations":{{"of":"others"}},"finalizers":["of/others"]}},
                "spec":{{"renewTime":"9999-12-31T23:59:59.999999Z","new":{{"field":1}}}},"status":{deep}}}"#
        )
    }

    #[test]
    fn nothing_in_an_object_fails_it() {
        let object: Lenient = serde_json::from_str(&hostile()).unwrap();
        assert_eq!((object.text("uid"), object.generation(), object.created()), (Some("u"), Some(3), None));
        assert_eq!(object.meta().resource_version.as_deref(), Some("7"));
        assert!(!object.is_terminating());
        for text in [
            json!({}),
            json!({"metadata": {"generation": "x", "creationTimestamp": 7, "annotations": 7, "uid": [1]}}),
            json!({"metadata": {"creationTimestamp": "-009999-01-01T00:00:00Z", "annotations": null}}),
            json!({"metadata": {"deletionTimestamp": "9999-12-31T23:59:59Z"}, "spec": [1], "status": 1}),
        ] {
            let object: Lenient = serde_json::from_str(&text.to_string()).unwrap();
            assert_eq!((object.text("uid"), object.generation()), (None, None), "{text}");
            assert_eq!(object.is_terminating(), text["metadata"]["deletionTimestamp"].is_string());
            assert_eq!(object.annotation("a"), None);
        }
    }

    #[test]
    fn written_back_it_keeps_what_is_of_others() {
        let mut object: Lenient = serde_json::from_str(&hostile()).unwrap();
        object.annotate("own", Some("1"));
        object.annotate("away", None);
        assert_eq!((object.annotation("own"), object.annotation("away")), (Some("1"), None));
        let written = serde_json::to_value(&object).unwrap();
        assert_eq!(
            written,
            json!({"kind": "Lease", "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "9999-12-31T23:59:59Z", "labels": {"of": "others"},
                "annotations": {"of": "others", "own": "1"}, "finalizers": ["of/others"]},
                "spec": {"renewTime": "9999-12-31T23:59:59.999999Z", "new": {"field": 1}}})
        );
        object.annotate("own", None);
        assert_eq!(object.annotation("own"), None);
        let mut odd: Lenient = serde_json::from_value(json!({"metadata": {"annotations": [1]}})).unwrap();
        odd.annotate("own", Some("1"));
        assert_eq!(odd.annotation("own"), Some("1"));
        let mut new = Lenient::new("v1", "ConfigMap", "new");
        new.annotate("away", None);
        assert_eq!(new.meta().name.as_deref(), Some("new"));
    }
}
