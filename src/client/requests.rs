//! Requests to the API server: one attempt each, within a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::{
    Client,
    api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions},
    client::Body,
    core::{Request, Status, request},
};
use serde::{Serialize, de::DeserializeOwned};

use super::failure::{Failure, LONGEST_RETRY_AFTER, never_connected, with_causes};
use crate::{api::FIELD_MANAGER, decode::text::cut};

/// How long one request may take, its answer's body included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How much is read of an answer that refuses, and how much is kept of its message, in bytes: what stands between here and the
/// API server may say anything.
const LONGEST_REFUSAL: usize = 64 << 10;
const LONGEST_MESSAGE: usize = 2048;

/// Sends one request, once.
///
/// # Errors
/// [`Failure`], for all that is not a success with a body that can be read in whole.
pub async fn send<T: DeserializeOwned>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, request::Error>,
) -> Result<T, Failure> {
    let request =
        request.map_err(|e| Failure::Refused { code: 400, message: e.to_string(), retry_after: None })?;
    let answer = async {
        let response = client.send(request.map(Body::from)).await?;
        let (head, body) = response.into_parts();
        let body =
            if head.status.is_success() { body.collect().await?.to_bytes() } else { beginning(body).await? };
        Ok::<_, kube::Error>((head, body))
    };
    let (head, body) = match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Err(_) => return Err(Failure::NoAnswer(format!("none within {REQUEST_TIMEOUT:?}"))),
        Ok(Err(error)) if never_connected(&error) => return Err(Failure::NotSent(with_causes(&error))),
        Ok(Err(error)) => return Err(Failure::NoAnswer(with_causes(&error))),
        Ok(Ok(answer)) => answer,
    };
    if head.status.is_success() {
        return serde_json::from_slice(&body)
            .map_err(|e| Failure::NoAnswer(format!("an answer that can't be read: {e}")));
    }
    let status: Option<Status> = serde_json::from_slice(&body).ok();
    let in_body = || Some(u64::from(status.as_ref()?.details.as_ref()?.retry_after_seconds));
    let asked = retry_after(&head.headers)
        .or_else(|| in_body().filter(|seconds| *seconds > 0).map(Duration::from_secs));
    // An object that does not exist is named in the answer.
    let names_an_object =
        status.as_ref().and_then(|s| s.details.as_ref()).is_some_and(|details| !details.name.is_empty());
    let message = match status {
        Some(status) if !status.message.is_empty() => status.message,
        _ => String::from_utf8_lossy(&body).trim().to_owned(),
    };
    let message = if message.is_empty() { head.status.to_string() } else { cut(&message, LONGEST_MESSAGE) };
    if head.status == http::StatusCode::NOT_FOUND && !names_an_object {
        return Err(Failure::NotServed(message));
    }
    Err(Failure::Refused {
        code: head.status.as_u16(),
        message,
        retry_after: asked.map(|wait| wait.min(LONGEST_RETRY_AFTER)),
    })
}

/// Reads an object: a quorum read, not one from the API server's cache. `url` is that of the collection it is in, here and below.
///
/// # Errors
/// [`Failure`].
pub async fn get<T: DeserializeOwned>(client: &Client, url: String, name: &str) -> Result<T, Failure> {
    send(client, Request::new(url).get(name, &GetParams::default())).await
}

/// Creates an object.
///
/// # Errors
/// [`Failure`].
pub async fn create<T: DeserializeOwned>(
    client: &Client,
    url: String,
    object: &impl Serialize,
    params: &PostParams,
) -> Result<T, Failure> {
    send(client, body(object).and_then(|body| Request::new(url).create(params, body))).await
}

/// Replaces an object, or its `subresource`. The guard is the resource version in it.
///
/// # Errors
/// [`Failure`].
pub async fn replace<T: DeserializeOwned>(
    client: &Client,
    url: String,
    name: &str,
    subresource: Option<&str>,
    object: &impl Serialize,
) -> Result<T, Failure> {
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let request = body(object).and_then(|body| match subresource {
        Some(subresource) => Request::new(url).replace_subresource(subresource, name, &params, body),
        None => Request::new(url).replace(name, &params, body),
    });
    send(client, request).await
}

/// Changes a part of the status by a merge patch. The guard is the resource version in it: the API server does not check a uid
/// there, and a resource version is never the same for an object made anew.
///
/// # Errors
/// [`Failure`].
pub async fn patch_status<T: DeserializeOwned>(
    client: &Client,
    url: String,
    name: &str,
    patch: &impl Serialize,
) -> Result<T, Failure> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    send(client, Request::new(url).patch_subresource("status", name, &params, &Patch::Merge(patch))).await
}

/// Deletes the object of this uid in this version. A uid alone would not do: the API server would read the object again and delete it
/// as it is now.
///
/// # Errors
/// [`Failure`].
pub async fn delete<T: DeserializeOwned>(
    client: &Client,
    url: String,
    name: &str,
    uid: &str,
    resource_version: &str,
) -> Result<T, Failure> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.into()),
            resource_version: Some(resource_version.into()),
        }),
        // Which is in the background. An API server that is told so in words first takes the finalizers `orphan` and
        // `foregroundDeletion` away, and then refuses to delete what has no others: its version is another one by then (1.37.2).
        propagation_policy: None,
        ..DeleteParams::default()
    };
    send(client, Request::new(url).delete(name, &params)).await
}

fn body(object: &impl Serialize) -> Result<Vec<u8>, request::Error> {
    serde_json::to_vec(object).map_err(request::Error::SerializeBody)
}

/// What a body begins with.
async fn beginning(mut body: Body) -> kube::Result<Bytes> {
    let mut beginning = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            beginning.extend_from_slice(&piece[..piece.len().min(LONGEST_REFUSAL - beginning.len())]);
        }
        if beginning.len() == LONGEST_REFUSAL {
            break;
        }
    }
    Ok(beginning.freeze())
}

/// How long an answer's `Retry-After` asks to wait, in whole seconds; a date, which the API server never sends, is passed over.
#[must_use]
pub fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.parse().ok();
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
}
