//! The bodies of requests: complete, of the right type, and not too large.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use http::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    gateway::{
        problem::{DEFAULT_RETRY_AFTER, Problem, bad_request},
        state::Gateway,
    },
    server::Connection,
};

/// How many bodies may be arriving at once; each is held in memory.
pub const MOST_ARRIVING: usize = 256;
/// The longest body, in bytes.
pub const LONGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body of a PATCH. In `BULK` it may be a merge patch, as the AI API calls it.
pub struct Body<const BULK: bool>(pub Bytes);

impl<const BULK: bool> FromRequest<Arc<Gateway>> for Body<BULK> {
    type Rejection = Problem;

    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = given.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        let taken: &[&str] =
            if BULK { &["application/merge-patch+json", "application/json"] } else { &["application/json"] };
        if !taken.iter().any(|taken| taken.eq_ignore_ascii_case(essence)) {
            let message = format!("the body's Content-Type must be {}", taken.join(" or "));
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let mut encodings = request.headers().get_all(CONTENT_ENCODING).iter();
        if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let message = "the body must not be compressed: send it without Content-Encoding";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        read(request, gateway).await.map(Self)
    }
}

/// Proof that a DELETE has no body, or an empty object.
pub struct NoBody;

impl FromRequest<Arc<Gateway>> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<Self, Problem> {
        let body = read(request, gateway).await?;
        match body.trim_ascii() {
            b"" | b"{}" => Ok(Self),
            _ => bad_request("the body of a DELETE is not read: send none; nothing was done"),
        }
    }
}

/// Reads the whole body. Until it is there it takes no place, so that those who send slowly keep nobody out.
async fn read(request: Request, gateway: &Arc<Gateway>) -> Result<Bytes, Problem> {
    let peer = request.extensions().get().map(|connection: &Connection| connection.peer);
    let evicted = CancellationToken::new();
    let _arriving = gateway.arriving.insert(peer, evicted.clone());
    let arrived = tokio::select! {
        biased;
        arrived = Bytes::from_request(request, gateway) => arrived,
        () = evicted.cancelled() => {
            let message = "too many bodies are arriving, and this one has taken the longest: nothing was done, try again";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(DEFAULT_RETRY_AFTER));
        }
        () = sleep(BODY_TIMEOUT) => {
            let message = format!("the body did not arrive within {BODY_TIMEOUT:?}");
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, message));
        }
    };
    match arrived {
        Ok(body) => Ok(body),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Problem::new(rejection.status(), format!("the body is larger than {LONGEST_BODY} bytes")))
        }
        Err(_) => bad_request("the body is incomplete"),
    }
}
