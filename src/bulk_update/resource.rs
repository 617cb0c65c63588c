//! A BulkUpdate on the API server: what names it in one version, and the requests about it.

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

/// Writes a status under the guard of the resource version in `named`; gives back the new version. It replaces the status and
/// leaves all else: the API server takes that from what stands there, so that the spec need not be sent.
///
/// To Kubernetes 1.33, whoever owns a label (or an annotation, and so on) that is missing where a status is replaced does not own it
/// any more, and could not take it away again. Users may fill those as they like, so that they are not kept to be sent along:
/// where there are any, the status is patched instead. Elsewhere a patch would cost the API server a third more time, and
/// statuses are the most that a BulkUpdate adds to the writes it asks for.
///
/// # Errors
/// [`Failure`].
pub async fn replace(
    ctx: &Context,
    identity: &Identity,
    status: &BulkUpdateStatus,
) -> Result<Box<str>, Failure> {
    if identity.shared {
        return patch(ctx, identity, &whole(status)).await;
    }
    let metadata = Metadata {
        name: Some(&identity.name),
        namespace: Some(&identity.namespace),
        uid: Some(&identity.uid),
        resource_version: &identity.resource_version,
    };
    let object = Body { types: TypeMeta::resource::<BulkUpdate>(), metadata, status };
    let Written(version) =
        requests::replace(&ctx.client, url(&identity.namespace), &identity.name, Some("status"), &object)
            .await?;
    Ok(version)
}

/// Changes a part of a status, under the same guard; gives back the new version. What is null in `status` is removed.
///
/// # Errors
/// [`Failure`].
pub async fn patch(ctx: &Context, identity: &Identity, status: &Value) -> Result<Box<str>, Failure> {
    let metadata = Metadata { resource_version: &identity.resource_version, ..Metadata::default() };
    let object = Body { types: TypeMeta::resource::<BulkUpdate>(), metadata, status };
    let Written(version) =
        requests::patch_status(&ctx.client, url(&identity.namespace), &identity.name, &object).await?;
    Ok(version)
}

/// Deletes it.
///
/// # Errors
/// [`Failure`].
pub async fn delete(ctx: &Context, identity: &Identity) -> Result<(), Failure> {
    let (uid, version) = (&identity.uid, &identity.resource_version);
    let url = url(&identity.namespace);
    requests::delete::<IgnoredAny>(&ctx.client, url, &identity.name, uid, version).await.map(drop)
}

fn url(namespace: &str) -> String {
    BulkUpdate::url_path(&(), Some(namespace))
}

/// A status as a patch that leaves nothing of what stood there before: what it does not have is removed.
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

/// A BulkUpdate as its status is written.
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

/// The version that a write has left, of an answer that may hold anything else. An answer without one is none: the next write
/// would go out without a guard.
struct Written(Box<str>);

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

/// Reads a BulkUpdate from the API server.
///
/// # Errors
/// [`Failure`].
pub async fn get(ctx: &Context, request: &Request) -> Result<Stored, Failure> {
    requests::get(&ctx.client, url(&request.namespace), &request.name).await
}
