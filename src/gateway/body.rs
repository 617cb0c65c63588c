//! The bodies of requests: complete, of the right type, and not too large.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use http::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use tokio::time::timeout;

use crate::gateway::problem::{Problem, bad_request};

/// The longest body, in bytes.
pub const LONGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body of a PATCH. In `BULK` it may be a merge patch, as the AI API calls it.
pub struct Body<const BULK: bool>(pub Bytes);

impl<const BULK: bool, S: Send + Sync> FromRequest<S> for Body<BULK> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
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
        read(request, state).await.map(Self)
    }
}

/// Proof that a DELETE has no body, or an empty object.
pub struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = read(request, state).await?;
        match body.trim_ascii() {
            b"" | b"{}" => Ok(Self),
            _ => bad_request("the body of a DELETE is not read: send none; nothing was done"),
        }
    }
}

/// Reads the whole body.
async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let (status, message) = match timeout(BODY_TIMEOUT, Bytes::from_request(request, state)).await {
        Ok(Ok(body)) => return Ok(body),
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            (rejection.status(), format!("the body is larger than {LONGEST_BODY} bytes"))
        }
        Ok(Err(_)) => return bad_request("the body is incomplete"),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {BODY_TIMEOUT:?}")),
    };
    Err(Problem::new(status, message))
}
