//! The identity of a BulkUpdate.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The identity of a BulkUpdate at one resource version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    /// The resource version: the guard of the next write.
    pub resource_version: Box<str>,
    /// Whether others may own parts of its metadata: labels, annotations, finalizers, owners or `generateName`.
    pub shared: bool,
}

impl From<&ObjectMeta> for Identity {
    fn from(metadata: &ObjectMeta) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default().into();
        Self {
            namespace: text(&metadata.namespace),
            name: text(&metadata.name),
            uid: text(&metadata.uid),
            resource_version: text(&metadata.resource_version),
            shared: metadata.labels.is_some()
                || metadata.annotations.is_some()
                || metadata.finalizers.is_some()
                || metadata.owner_references.is_some()
                || metadata.generate_name.is_some(),
        }
    }
}

impl Identity {
    /// Whether all four could be read: without them no request can be addressed to it.
    pub fn is_complete(&self) -> bool {
        [&self.namespace, &self.name, &self.uid, &self.resource_version].iter().all(|text| !text.is_empty())
    }

    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}
