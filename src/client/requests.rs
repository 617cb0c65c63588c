//! Requests to the API server: one attempt each, with a time-out.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http_body_util::BodyExt;
use kube::{
    Client,
    api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    client::Body,
    core::{Request, Status, request},
};
use serde::{Serialize, de::DeserializeOwned};

use super::failure::{Failure, LONGEST_RETRY_AFTER, never_connected, with_causes};
use crate::{api::FIELD_MANAGER, decode::text::cut};

/// How long one request may take, including the body of its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How many bytes of a refusal are read: a proxy in between may send anything.
const LONGEST_REFUSAL: usize = 64 << 10;

/// How many bytes of its message are kept.
const LONGEST_MESSAGE: usize = 2048;

#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("none within {REQUEST_TIMEOUT:?}")]
    TimedOut,
    #[error("{}", with_causes(.0))]
    Failed(kube::Error),
}

impl From<Unanswered> for Failure {
    fn from(why: Unanswered) -> Self {
        match &why {
            Unanswered::Failed(error) if never_connected(error) => Self::NotSent(why.to_string()),
            _ => Self::NoAnswer(why.to_string()),
        }
    }
}

/// Sends one request, once.
///
/// # Errors
/// [`Failure`], for anything but a success whose body can be read in full.
pub async fn send<T: DeserializeOwned>(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, request::Error>,
) -> Result<T, Failure> {
    let (head, body) = attempt(client, built(request)?).await?;
    if !head.status.is_success() {
        return Err(refusal(&head, &body));
    }
    serde_json::from_slice(&body).map_err(Failure::unreadable)
}

/// Sends one request, once, whose answer may be long: returns the body of a success as it arrives.
///
/// # Errors
/// [`Failure`], for anything but a success.
pub async fn open(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, request::Error>,
) -> Result<Body, Failure> {
    let request = built(request)?;
    let answer = async {
        let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
        let success = head.status.is_success();
        Ok(if success { Ok(body) } else { Err(refusal(&head, &beginning(body).await?)) })
    };
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, answer).await;
    answer.map_err(|_| Unanswered::TimedOut)?.map_err(Unanswered::Failed)?
}

fn built(request: Result<http::Request<Vec<u8>>, request::Error>) -> Result<http::Request<Vec<u8>>, Failure> {
    request.map_err(|e| Failure::Refused { code: 400, message: e.to_string(), retry_after: None })
}

/// Sends a request, and reads the answer: in full if it is a success, else the beginning.
pub(super) async fn attempt(
    client: &Client,
    request: http::Request<Vec<u8>>,
) -> Result<(Parts, Bytes), Unanswered> {
    let answer = async {
        let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
        let whole = head.status.is_success();
        Ok((head, if whole { body.collect().await?.to_bytes() } else { beginning(body).await? }))
    };
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, answer).await;
    answer.map_err(|_| Unanswered::TimedOut)?.map_err(Unanswered::Failed)
}

/// What an answer that is no success says.
pub(super) fn refusal(head: &Parts, body: &[u8]) -> Failure {
    let status: Status = serde_json::from_slice(body).unwrap_or_default();
    let in_body = status.details.as_ref().map(|details| u64::from(details.retry_after_seconds));
    let retry_after = retry_after(&head.headers).or_else(|| bounded(in_body?));
    let text = String::from_utf8_lossy(body);
    let message = match (status.message.as_str(), text.trim()) {
        ("", "") => head.status.to_string(),
        ("", said) | (said, _) => cut(said, LONGEST_MESSAGE),
    };
    // A 404 about an object names it.
    let names_object = status.details.is_some_and(|details| !details.name.is_empty());
    if head.status == http::StatusCode::NOT_FOUND && !names_object {
        return Failure::NotServed(message);
    }
    Failure::Refused { code: head.status.as_u16(), message, retry_after }
}

/// Reads an object live: from etcd, not from the API server's cache. Here and below, `url` is that of its collection.
pub async fn get<T: DeserializeOwned>(client: &Client, url: String, name: &str) -> Result<T, Failure> {
    send(client, Request::new(url).get(name, &GetParams::default())).await
}

pub async fn create<T: DeserializeOwned>(
    client: &Client,
    url: String,
    object: &impl Serialize,
    params: &PostParams,
) -> Result<T, Failure> {
    send(client, body(object).and_then(|body| Request::new(url).create(params, body))).await
}

/// Replaces an object or its `subresource`. The guard is the resourceVersion in `object`.
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

/// What a read has found: `None` if there is no object of that name.
pub fn if_any<T>(read: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match read {
        Err(failure) if failure.is_not_found() => Ok(None),
        read => read.map(Some),
    }
}

/// Reads an object live, and all that it holds.
pub async fn get_whole<T: DeserializeOwned>(client: &Client, url: String, name: &str) -> Result<T, Failure> {
    send(client, Request::new(url).get(name, &GetParams::default()).map(whole)).await
}

/// Changes a part of an object or its `subresource` by a merge patch. The guard is the resourceVersion in `patch`: in the status of a
/// custom resource, the API server does not check a uid, and an object that is created again never has the same resourceVersion.
pub async fn patch<T: DeserializeOwned>(
    client: &Client,
    url: String,
    name: &str,
    subresource: Option<&str>,
    patch: &impl Serialize,
) -> Result<T, Failure> {
    send(client, merge(url, name, subresource, patch)).await
}

/// As [`patch`], of the status.
pub async fn patch_status<T: DeserializeOwned>(
    client: &Client,
    url: String,
    name: &str,
    change: &impl Serialize,
) -> Result<T, Failure> {
    patch(client, url, name, Some("status"), change).await
}

/// As [`patch_status`], with all of the object in the answer.
pub async fn patch_status_whole<T: DeserializeOwned>(
    client: &Client,
    url: String,
    name: &str,
    change: &impl Serialize,
) -> Result<T, Failure> {
    send(client, merge(url, name, Some("status"), change).map(whole)).await
}

fn merge(
    url: String,
    name: &str,
    subresource: Option<&str>,
    patch: &impl Serialize,
) -> Result<http::Request<Vec<u8>>, request::Error> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    match subresource {
        Some(subresource) => {
            Request::new(url).patch_subresource(subresource, name, &params, &Patch::Merge(patch))
        }
        None => Request::new(url).patch(name, &params, &Patch::Merge(patch)),
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Whole;

/// Marks a request whose answer is not stripped of anything.
pub fn whole(mut request: http::Request<Vec<u8>>) -> http::Request<Vec<u8>> {
    request.extensions_mut().insert(Whole);
    request
}

/// The object as it was seen: what has changed since is not meant.
#[derive(Clone, Copy, Debug)]
pub struct Only<'a> {
    pub uid: &'a str,
    pub resource_version: &'a str,
}

/// Deletes the object with this uid and resourceVersion, either in the background or, in the `foreground`, after what it owns. The
/// uid alone is not enough: the API server would delete the object even if it has changed since.
pub async fn delete<T: DeserializeOwned>(
    client: &Client,
    url: String,
    name: &str,
    only: Only<'_>,
    foreground: bool,
) -> Result<T, Failure> {
    let Only { uid, resource_version } = only;
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.into()),
            resource_version: Some(resource_version.into()),
        }),
        // None is in the background. If `Background` is written out, the API server first removes the finalizers `orphan` and
        // `foregroundDeletion`, which changes the resourceVersion, and then refuses the delete (1.37.2).
        propagation_policy: foreground.then_some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    send(client, Request::new(url).delete(name, &params)).await
}

fn body(object: &impl Serialize) -> Result<Vec<u8>, request::Error> {
    serde_json::to_vec(object).map_err(request::Error::SerializeBody)
}

/// The first [`LONGEST_REFUSAL`] bytes of a body.
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

/// How long an answer's `Retry-After` asks to wait, at most 30 seconds. A date, which the API server never sends, is ignored.
pub fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    bounded(headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?)
}

fn bounded(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}
