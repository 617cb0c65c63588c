//! Errors as the AI API reports them: a code, from which the HTTP status follows, and a sentence.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    api::{ConditionReason, Kind, Reason},
    client::Failure,
};

/// How long to wait before another attempt, where the Kubernetes API does not say.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

const KEY_UNTIL: HeaderName = HeaderName::from_static("idempotency-key-until");

/// One request to the gateway, as its errors and its log line identify it.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// A uuid made here.
    pub id: Arc<str>,
    /// The URL, without the host.
    pub target: Arc<str>,
    /// The namespace and name of the BulkUpdate that carries it out, from before its creation on.
    pub bulk_update: Arc<OnceLock<String>>,
}

/// Why a whole request, or one item of it, did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    /// For people: what is wrong, and what to do.
    pub message: String,
    pub retry_after: Option<Duration>,
    /// How long the key of the request holds, at least, where it has one and its BulkUpdate says so.
    pub key_until: Option<Timestamp>,
}

/// The code of an error: a number of the AI API's where it has one, else Kubernetes' or the operator's reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// An HTTP status, by Kubernetes' name for it. 503 means that nothing was done, and nothing will be.
    Http(StatusCode),
    NoObject(Kind),
    /// Why an item was not carried out; or that the outcome of the whole request is not known.
    Reason(Reason),
    /// Why the operator rejected the whole BulkUpdate: the reason of its condition Accepted, as text, because a newer
    /// operator may have others.
    Rejected(String),
}

impl From<StatusCode> for Code {
    fn from(status: StatusCode) -> Self {
        Self::Http(status)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(StatusCode::PAYLOAD_TOO_LARGE) => f.write_str("RequestEntityTooLarge"),
            Self::Http(status) => {
                write!(f, "{}", status.canonical_reason().unwrap_or_default().replace(' ', ""))
            }
            Self::NoObject(Kind::Execution) => f.write_str("01010020"),
            Self::NoObject(Kind::Deployment) => f.write_str("01010016"),
            Self::Reason(Reason::WrongState) => f.write_str("01010076"),
            Self::Reason(reason) => write!(f, "{reason:?}"),
            Self::Rejected(reason) => f.write_str(reason),
        }
    }
}

impl Code {
    /// The HTTP status of an answer about the whole request, or its only item.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Http(status) => *status,
            Self::NoObject(_) => StatusCode::NOT_FOUND,
            Self::Reason(reason) => match reason {
                Reason::BulkUpdatesDisabled => StatusCode::BAD_REQUEST,
                // A right that the operator lacks, or a webhook that refuses its write, is not the caller's fault.
                Reason::Forbidden | Reason::WriteFailed | Reason::DeadlineExceeded => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                Reason::OutcomeUnknown | Reason::NotSettledInTime => StatusCode::GATEWAY_TIMEOUT,
                // The object is in the wrong state, deleted, replaced or unreadable.
                _ => StatusCode::PRECONDITION_FAILED,
            },
            Self::Rejected(reason) => match reason.parse() {
                // The operator was late; the request itself was valid.
                Ok(ConditionReason::DeadlineExceeded) => StatusCode::SERVICE_UNAVAILABLE,
                Ok(ConditionReason::NotAuthorized) => StatusCode::FORBIDDEN,
                _ => StatusCode::BAD_REQUEST,
            },
        }
    }
}

impl Problem {
    pub fn new(code: impl Into<Code>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retry_after: None, key_until: None }
    }

    pub fn outcome_unknown(message: String) -> Self {
        Self::new(Code::Reason(Reason::OutcomeUnknown), message)
    }

    /// An outcome of the only item that is not known is not known of the BulkUpdate, either.
    pub fn if_unknown_of(self, bulk_update: &str) -> Self {
        let begins = format!("the outcome of BulkUpdate {bulk_update} is not known: ");
        if self.code.status() != StatusCode::GATEWAY_TIMEOUT || self.message.starts_with(&begins) {
            return self;
        }
        Self { message: format!("{begins}{}", self.message), ..self }
    }

    pub fn unavailable(message: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub fn no_object(kind: Kind, id: &str) -> Self {
        Self::new(Code::NoObject(kind), format!("{} {id} does not exist", kind.name()))
    }

    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Of a modification that was not begun.
    pub fn nothing_was_done(self) -> Self {
        let says = "nothing was done";
        if self.message.contains(says) {
            return self;
        }
        Self { message: format!("{}; {says}", self.message), ..self }
    }

    /// The error object. The AI API's own clients need `requestId` and `target`, although its schema does not.
    pub fn json(&self, of: &Invocation) -> Value {
        json!({"code": self.code.to_string(), "message": self.message, "requestId": &*of.id,
            "target": &*of.target, "details": {}})
    }
}

/// Refuses an invalid request.
pub fn bad_request<T>(message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::new(StatusCode::BAD_REQUEST, message))
}

/// The header that says how long a key holds, at least.
pub fn key_until(until: Timestamp) -> Option<(HeaderName, HeaderValue)> {
    Some((KEY_UNTIL, HeaderValue::try_from(until.strftime("%FT%TZ").to_string()).ok()?))
}

/// What a failed read means to a caller, or a write that the Kubernetes API refused.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let unavailable = |message| Self::unavailable(message).retry_after(DEFAULT_RETRY_AFTER);
        match failure {
            Failure::Refused { code, message, retry_after } => match code {
                401 => Self::new(
                    StatusCode::UNAUTHORIZED,
                    "the Kubernetes API does not accept the bearer token: send a valid one",
                ),
                403 => Self::new(StatusCode::FORBIDDEN, message),
                404 => Self::new(StatusCode::NOT_FOUND, message),
                429 => Self::new(StatusCode::TOO_MANY_REQUESTS, message)
                    .retry_after(retry_after.unwrap_or(DEFAULT_RETRY_AFTER)),
                400..=499 => Self::new(StatusCode::BAD_REQUEST, message),
                _ => unavailable(format!("the Kubernetes API failed: {code}: {message}")),
            },
            Failure::NotServed(_) => unavailable(
                "the Kubernetes API does not serve Executions, Deployments and BulkUpdates (is the operator installed?)"
                    .into(),
            ),
            Failure::NotSent(why) => {
                unavailable(format!("cannot reach the Kubernetes API: {why}; nothing was done"))
            }
            Failure::NoAnswer(why) => unavailable(format!("the Kubernetes API does not answer: {why}")),
            Failure::Unreadable(why) => unavailable(format!("the Kubernetes API sent {why}")),
        }
    }
}

/// The body names the request, which only the middleware knows: it takes the problem from the answer and adds the body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().max(1).into());
        }
        response.headers_mut().extend(self.key_until.and_then(key_until));
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_status_has_kubernetes_name() {
        for (status, code) in [
            (400, "BadRequest"),
            (401, "Unauthorized"),
            (403, "Forbidden"),
            (404, "NotFound"),
            (405, "MethodNotAllowed"),
            (408, "RequestTimeout"),
            (413, "RequestEntityTooLarge"),
            (415, "UnsupportedMediaType"),
            (429, "TooManyRequests"),
            (503, "ServiceUnavailable"),
        ] {
            assert_eq!(Code::from(StatusCode::from_u16(status).unwrap()).to_string(), code);
        }
    }
}
