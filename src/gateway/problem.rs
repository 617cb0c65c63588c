//! What went wrong, as the AI API tells it: a status, a code and a sentence.

use std::{borrow::Cow, time::Duration};

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{api::Kind, client::Failure, gateway::invocation::Invocation};

/// Why a whole request did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A word for programs: a number of the AI API's where it has one, else Kubernetes' or the operator's reason.
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
    /// How long to wait before another attempt.
    pub retry_after: Option<Duration>,
}

impl Problem {
    /// One with a status, a code and a sentence.
    #[must_use]
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), retry_after: None }
    }

    /// The request itself is wrong: 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// There is no such object: 404, with the AI API's number for that.
    #[must_use]
    pub fn no_object(kind: Kind, id: &str) -> Self {
        let code = match kind {
            Kind::Execution => "01010020",
            Kind::Deployment => "01010016",
        };
        Self::new(StatusCode::NOT_FOUND, code, format!("{} {id} does not exist", kind.name()))
    }

    /// Nothing was done, and nothing will be: 503.
    #[must_use]
    pub fn nothing_done(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// Too much is under way: 429, to be tried again after a second.
    #[must_use]
    pub fn too_many(message: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        Self { retry_after: Some(Duration::from_secs(1)), ..problem }
    }

    /// It can't be known what was done: 504.
    #[must_use]
    pub fn not_known(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "OutcomeUnknown", message)
    }

    /// The error object of the whole request.
    #[must_use]
    pub fn body(&self, of: &Invocation) -> Value {
        json!({"error": error(&self.code, &self.message, of)})
    }
}

/// An error object. The AI API's own clients need `requestId` and `target`, although its schema does not.
#[must_use]
pub fn error(code: &str, message: &str, of: &Invocation) -> Value {
    json!({"code": code, "message": message, "requestId": &*of.id, "target": &*of.target, "details": {}})
}

/// What the Kubernetes API's refusal means to a caller who has asked for nothing but to read, or whose write it has
/// refused.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let unavailable =
            |why: String| Self { retry_after: Some(Duration::from_secs(1)), ..Self::nothing_done(why) };
        match failure {
            Failure::Refused { code, message, retry_after } => match code {
                401 => Self::new(
                    StatusCode::UNAUTHORIZED,
                    "Unauthorized",
                    "the Kubernetes API does not accept the bearer token",
                ),
                403 => Self::new(StatusCode::FORBIDDEN, "Forbidden", message),
                404 => Self::new(StatusCode::NOT_FOUND, "NotFound", message),
                429 => {
                    let problem = Self::too_many(message);
                    Self { retry_after: retry_after.or(problem.retry_after), ..problem }
                }
                400..=499 => Self::bad_request(message),
                _ => unavailable(format!("the Kubernetes API can't answer: {code}: {message}")),
            },
            Failure::NotServed(_) => unavailable(
                "the Kubernetes API does not serve Executions, Deployments and BulkUpdates: is the operator installed?"
                    .into(),
            ),
            Failure::NotSent(why) => unavailable(format!("the Kubernetes API can't be reached: {why}")),
            Failure::NoAnswer(why) => unavailable(format!("the Kubernetes API does not answer: {why}")),
        }
    }
}

/// Only the frame knows the request that the body has to name: it makes it from what is left here.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
