//! Requests about a BulkUpdate itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::TypeMeta};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny},
};
use serde_json::{Value, json};

use crate::{
    api::{BulkUpdate, BulkUpdateStatus, bare_metadata},
    bulk_update::{context::Context, identity::Identity, request::Request, stored::Stored},
    client::{Failure, requests},
    decode,
};

/// Writes the status, guarded by the resource version in `identity`, and returns the new resource version. A PUT
/// replaces the status and nothing else: the API server keeps the stored spec, so it need not be sent.
///
/// On Kubernetes 1.33 a PUT of the status without the object's labels (annotations, and so on) takes the ownership of
/// these fields away from their managers. They may be large, so they are not kept in memory to be sent along: where
/// there are any, the status is patched instead. Elsewhere PUT is used because a patch takes the API server a third
/// more time, and status writes are most of a BulkUpdate's overhead.
pub async fn replace(
    ctx: &Context,
    identity: &Identity,
    status: &BulkUpdateStatus,
) -> Result<Box<str>, Failure> {
    if identity.shared {
        return patch(ctx, identity, &whole(status)).await;
    }
    let metadata = ObjectMeta {
        name: Some(identity.name.to_string()),
        namespace: Some(identity.namespace.to_string()),
        uid: Some(identity.uid.to_string()),
        ..guard(identity)
    };
    let object = Body { types: TypeMeta::resource::<BulkUpdate>(), metadata, status };
    let url = url(&identity.namespace);
    let written = requests::replace(&ctx.client, url, &identity.name, Some("status"), &object).await;
    written.map(|Written(version)| version)
}

/// Patches a part of the status, with the same guard, and returns the new resource version. Fields that are null in
/// `status` are removed.
pub async fn patch(ctx: &Context, identity: &Identity, status: &Value) -> Result<Box<str>, Failure> {
    let object = Body { types: TypeMeta::resource::<BulkUpdate>(), metadata: guard(identity), status };
    let url = url(&identity.namespace);
    let written = requests::patch_status(&ctx.client, url, &identity.name, &object).await;
    written.map(|Written(version)| version)
}

/// Deletes it, guarded by its uid and resource version.
pub async fn delete(ctx: &Context, identity: &Identity) -> Result<(), Failure> {
    let (uid, version) = (&identity.uid, &identity.resource_version);
    let url = url(&identity.namespace);
    requests::delete::<IgnoredAny>(&ctx.client, url, &identity.name, uid, version).await.map(drop)
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

#[derive(Debug, Serialize)]
struct Body<'a, S> {
    #[serde(flatten)]
    types: TypeMeta,
    metadata: ObjectMeta,
    status: &'a S,
}

fn guard(identity: &Identity) -> ObjectMeta {
    ObjectMeta { resource_version: Some(identity.resource_version.to_string()), ..ObjectMeta::default() }
}

/// The resource version in the answer to a write, whatever else the answer holds. An answer without one is an error,
/// or the next write would have no guard.
struct Written(Box<str>);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = decode::json::anything(deserializer)?;
        let version = bare_metadata(decode::json::member(&raw, "metadata")).resource_version;
        let version = version.filter(|version| !version.is_empty());
        let version = version.ok_or_else(|| D::Error::custom("it has no resourceVersion"))?;
        Ok(Self(version.into()))
    }
}

/// Reads it: a quorum read.
pub async fn get(ctx: &Context, request: &Request) -> Result<Stored, Failure> {
    requests::get(&ctx.client, url(&request.namespace), &request.name).await
}
