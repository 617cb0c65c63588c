//! Requests about a BulkUpdate itself.

use std::ops::Deref;

use kube::{Client, Resource, core::TypeMeta};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny},
};
use serde_json::{Value, json};

use crate::{
    api::{BulkUpdate, BulkUpdateStatus, bare_metadata},
    bulk_update::{identity::Identity, request::Request, stored::Stored},
    client::{
        Failure,
        requests::{self, Only},
    },
    decode,
};

/// A BulkUpdate as a live read showed it: only an answer makes one.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Live(Stored);

impl Live {
    /// Why it cannot be carried out, if so.
    pub fn flaw(&self) -> Option<&str> {
        self.0.flaw.as_deref()
    }

    #[cfg(test)]
    pub(super) const fn of(bulk: BulkUpdate) -> Self {
        Self(Stored { bulk, flaw: None })
    }
}

impl Deref for Live {
    type Target = BulkUpdate;

    fn deref(&self) -> &BulkUpdate {
        &self.0.bulk
    }
}

/// Writes the status, guarded by the resource version in `identity`. A PUT replaces the status and nothing else: the API
/// server keeps the stored spec, so it need not be sent.
///
/// On Kubernetes 1.33 a PUT of the status without the object's labels (annotations, and so on) takes the ownership of
/// these fields away from their managers. They may be large, so they are not kept in memory to be sent along: where
/// there are any, the status is patched instead. Elsewhere PUT is used because a patch takes the API server a third
/// more time, and status writes are most of a BulkUpdate's overhead.
pub async fn replace(
    client: &Client,
    identity: &Identity,
    status: &BulkUpdateStatus,
) -> Result<Written, Failure> {
    if identity.shared {
        return patch(client, identity, &whole(status)).await;
    }
    let metadata = Metadata {
        name: Some(&identity.name),
        namespace: Some(&identity.namespace),
        uid: Some(&identity.uid),
        resource_version: &identity.resource_version,
    };
    let object = Body { types: TypeMeta::resource::<BulkUpdate>(), metadata, status };
    requests::replace(client, url(&identity.namespace), &identity.name, Some("status"), &object).await
}

/// Patches a part of the status, with the same guard. Fields that are null in `status` are removed.
pub async fn patch(client: &Client, identity: &Identity, status: &Value) -> Result<Written, Failure> {
    let metadata = Metadata { resource_version: &identity.resource_version, ..Metadata::default() };
    let object = Body { types: TypeMeta::resource::<BulkUpdate>(), metadata, status };
    requests::patch_status(client, url(&identity.namespace), &identity.name, &object).await
}

/// Deletes it, guarded by its uid and resource version.
pub async fn delete(client: &Client, identity: &Identity) -> Result<(), Failure> {
    let only = Only { uid: &identity.uid, resource_version: &identity.resource_version };
    let url = url(&identity.namespace);
    requests::delete::<IgnoredAny>(client, url, &identity.name, only, false).await.map(drop)
}

fn url(namespace: &str) -> String {
    BulkUpdate::url_path(&(), Some(namespace))
}

/// The status as a merge patch that removes every field it does not have.
pub(super) fn whole(status: &BulkUpdateStatus) -> Value {
    let mut whole = json!({
        "conditions": null, "startTime": null, "completionTime": null, "summary": null, "executions": null,
        "deployments": null,
    });
    if let (Value::Object(whole), Ok(Value::Object(status))) = (&mut whole, serde_json::to_value(status)) {
        whole.extend(status);
    }
    whole
}

/// The body of a status write.
#[derive(Debug, Serialize)]
struct Body<'a, S> {
    #[serde(flatten)]
    types: TypeMeta,
    metadata: Metadata<'a>,
    status: &'a S,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
    resource_version: &'a str,
}

/// The resource version in the answer to a write of the status, whatever else the answer holds: only an answer makes
/// one. An answer without one is an error, or the next write would have no guard.
#[derive(Debug)]
pub struct Written(Box<str>);

impl Written {
    pub fn into_version(self) -> Box<str> {
        self.0
    }

    #[cfg(test)]
    pub(super) fn at(version: &str) -> Self {
        Self(version.into())
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = decode::json::anything(deserializer)?;
        let version = bare_metadata(decode::json::member(&raw, "metadata")).resource_version;
        let version = version.filter(|version| !version.is_empty());
        version
            .map(|version| Self(version.into()))
            .ok_or_else(|| D::Error::custom("it has no resourceVersion"))
    }
}

/// Reads it: a quorum read.
pub async fn get(client: &Client, request: &Request) -> Result<Live, Failure> {
    requests::get(client, url(&request.namespace), &request.name).await
}
