//! Requests to the API server: one attempt each, within a time, and what a failed one means.
//!
//! kube's own client would send a DELETE again after a 503 or 504 (`Config::default_retry`), when the first may
//! have been carried out, and gives no access to the `Retry-After` header; so both are done here.

mod cluster;

use std::{sync::Arc, time::Duration};

pub use self::cluster::{Cluster, find_cluster};
use crate::{leadership::NotLeader, slim::Slim};
use anyhow::Chain;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper_util::client::legacy;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client,
    client::{Body, ClientBuilder, DynBody},
    core::{Status, request},
};
use serde::de::DeserializeOwned;
use tower::{
    BoxError, Layer,
    layer::{layer_fn, util::Identity},
    timeout::TimeoutLayer,
    util::BoxService,
};

/// How long one request may take, its answer's body included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a watch or a list may take to begin to answer.
const WATCH_START_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest that a server's `Retry-After` is heeded.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// How much is read of an answer that refuses, and how much is kept of its message, in bytes: what stands between here and the
/// API server may say anything.
const LONGEST_REFUSAL: usize = 64 << 10;
const LONGEST_MESSAGE: usize = 2048;

/// The longest wait between two attempts where the server doesn't say.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// The client of the operator.
///
/// # Errors
/// When the configuration's certificates or credentials can't be used.
pub fn connect(cluster: impl Into<Cluster>) -> kube::Result<Client> {
    connect_through(cluster, &Identity::new())
}

/// The way to the API server.
pub type Wire = BoxService<http::Request<Body>, http::Response<Box<DynBody>>, BoxError>;

/// The client of the operator, whose requests and answers pass through `layer` between its time-outs and the wire:
/// that is where tests make networks and servers fail.
///
/// # Errors
/// As [`connect`].
pub fn connect_through(
    cluster: impl Into<Cluster>,
    layer: &impl Layer<Wire, Service = Wire>,
) -> kube::Result<Client> {
    let cluster = cluster.into();
    let mut config = cluster.config.clone();
    config.default_retry = false;
    // Longer than any watch lasts: it ends a list whose body never comes.
    config.read_timeout = Some(Duration::from_mins(5));
    // Longer than anything waits for an answer: what is waited for then has had none, whether it has a connection or not. (With
    // the same time for both it was chance which of them it was, and a watch whose connection is refused is not silent.)
    config.connect_timeout = Some(2 * WATCH_START_TIMEOUT);
    let time_out = TimeoutLayer::new(WATCH_START_TIMEOUT);
    let with_token = layer_fn(|wire: Wire| cluster.with_token(wire));
    let slim = if cluster.is_anonymous() { Slim::ForTheAiApi } else { Slim::ForDecisions };
    Ok(ClientBuilder::try_from(config)?
        .with_layer(&with_token)
        .with_layer(layer)
        .with_layer(&slim)
        .with_layer(&time_out)
        .build())
}

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

fn with_causes(error: &kube::Error) -> String {
    let mut text = error.to_string();
    for cause in Chain::new(error).skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    // There is no answer whose date could be gone by.
    if text.contains("certificate not valid yet") || text.contains("certificate expired") {
        let now = Timestamp::now().strftime("%FT%TZ");
        text = format!("{text}; this machine's clock says {now}: if that is wrong, set it");
    }
    text
}

/// Whether nothing was sent: there was no connection, or this process may not write.
fn never_connected(error: &kube::Error) -> bool {
    Chain::new(error).any(|cause| {
        cause.is::<NotLeader>()
            || cause.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
    })
}

/// A request that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The API server refused it.
    #[error("{code}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The server's words.
        message: String,
        /// How long the server asks to wait, 30 s at most.
        retry_after: Option<Duration>,
    },
    /// There is nothing at all at that address, as where the kind is not served (any more) or a proxy answers. It says
    /// nothing about the object.
    #[error("404: {0}; this is no answer about the object")]
    NotServed(String),
    /// It was not sent, or no connection came about: the API server has not heard of it.
    #[error("not sent: {0}")]
    NotSent(String),
    /// No answer, or none that can be read: a time-out, a reset, a body cut short.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// What a failed request asks for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The object is not what it was taken for: read it, and decide anew.
    LookAgain,
    /// It may go through later.
    Retry,
    /// The operator lacks the right, perhaps only for a moment (roles take time to spread).
    RetryForbidden,
    /// The same request will never go through.
    GiveUp,
}

impl Failure {
    /// The one place that says what follows from which answer.
    #[must_use]
    pub const fn next(&self) -> Next {
        match self {
            Self::Refused { code: 404 | 409, .. } => Next::LookAgain,
            Self::Refused { code: 403, .. } => Next::RetryForbidden,
            Self::Refused { code: 401 | 408 | 429, .. }
            | Self::NotServed(_)
            | Self::NotSent(_)
            | Self::NoAnswer(_) => Next::Retry,
            Self::Refused { code: 400..=499, .. } => Next::GiveUp,
            Self::Refused { .. } => Next::Retry,
        }
    }

    /// The word for it in metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotServed(_) => "not_served",
            Self::NotSent(_) => "not_sent",
            Self::NoAnswer(_) => "no_answer",
            Self::Refused { code: 401, .. } => "unauthorized",
            Self::Refused { code: 403, .. } => "forbidden",
            Self::Refused { code: 404, .. } => "not_found",
            Self::Refused { code: 409, .. } => "conflict",
            Self::Refused { code: 408 | 429, .. } => "throttled",
            Self::Refused { code: 400..=499, .. } => "refused",
            Self::Refused { .. } => "server_error",
        }
    }

    /// Whether a write that failed so may have been carried out, or may be yet.
    #[must_use]
    pub const fn outcome_unknown(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::NotServed(_) | Self::NotSent(_) => false,
            Self::Refused { code, .. } => *code >= 500,
        }
    }

    /// Whether there is no such object.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Whether the object has changed since it was read.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// Whether the object would be larger than what the API server, or etcd behind it, takes.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Refused { code: 413, .. } => true,
            Self::Refused { code: 500, message, .. } => message.contains("request is too large"),
            _ => false,
        }
    }

    /// How long the server asks to wait.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// How long to wait before attempt `attempt` (the first retry is 1): as the server says, else doubling from
    /// 100 ms up to 10 s.
    #[must_use]
    pub fn wait(&self, attempt: u32) -> Duration {
        self.retry_after().unwrap_or_else(|| backoff(attempt))
    }
}

/// Doubling from 100 ms up to 10 s.
#[must_use]
pub fn backoff(attempt: u32) -> Duration {
    let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
    Duration::from_millis(100).saturating_mul(doubled).min(LONGEST_BACKOFF)
}

/// `text`, cut to at most `bytes` bytes as JSON writes it, an ellipsis showing where.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> String {
    let in_json = |c: char| match c {
        '"' | '\\' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    };
    let (mut length, mut fits) = (0, 0);
    for (at, c) in text.char_indices() {
        length += in_json(c);
        if length > bytes {
            return format!("{}…", &text[..fits]);
        }
        if length + '…'.len_utf8() <= bytes {
            fits = at + c.len_utf8();
        }
    }
    text.to_owned()
}

/// The same of a text that is shared, which stays so where it is short enough.
#[must_use]
pub fn shortened(text: Arc<str>, bytes: usize) -> Arc<str> {
    match cut(&text, bytes) {
        same if *same == *text => text,
        cut => cut.into(),
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;

    use super::*;

    fn refused(code: u16) -> Failure {
        Failure::Refused { code, message: String::new(), retry_after: None }
    }

    #[test]
    fn what_follows_from_each_answer() {
        for code in [404, 409] {
            assert_eq!(refused(code).next(), Next::LookAgain, "{code}");
        }
        for code in [401, 408, 429, 500, 502, 503, 504] {
            assert_eq!(refused(code).next(), Next::Retry, "{code}");
        }
        for code in [400, 405, 410, 413, 415, 422] {
            assert_eq!(refused(code).next(), Next::GiveUp, "{code}");
        }
        assert_eq!(refused(403).next(), Next::RetryForbidden);
        let not_served = Failure::NotServed(String::new());
        assert_eq!((not_served.next(), not_served.is_not_found()), (Next::Retry, false));
        for failure in [Failure::NoAnswer(String::new()), Failure::NotSent(String::new())] {
            assert_eq!(failure.next(), Next::Retry);
        }
    }

    #[test]
    fn only_a_missing_answer_and_a_5xx_leave_the_outcome_open() {
        assert!(Failure::NoAnswer(String::new()).outcome_unknown());
        assert!(!Failure::NotSent(String::new()).outcome_unknown());
        for (code, open) in [(500, true), (504, true), (429, false), (401, false), (409, false)] {
            assert_eq!(refused(code).outcome_unknown(), open, "{code}");
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_nothing_was_sent_and_where_the_line_is_cut_that_is_not_known() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = connect(Config::new(url.parse().unwrap())).unwrap();
        let ask = || send::<()>(&client, Ok(http::Request::get("/version").body(vec![]).unwrap()));
        let cut = async { drop(listener.accept().await.unwrap()) };
        let (failure, ()) = tokio::join!(ask(), cut);
        assert!(matches!(failure, Err(Failure::NoAnswer(_))), "{failure:?}");
        drop(listener);
        let failure = ask().await;
        assert!(matches!(failure, Err(Failure::NotSent(_))), "{failure:?}");
    }

    #[test]
    fn waits_grow_up_to_ten_seconds_unless_the_server_says() {
        assert_eq!(refused(500).wait(1), Duration::from_millis(100));
        assert_eq!(refused(500).wait(3), Duration::from_millis(400));
        assert_eq!(refused(500).wait(u32::MAX), LONGEST_BACKOFF);
        let told =
            Failure::Refused { code: 429, message: String::new(), retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(told.wait(1), Duration::from_secs(7));
    }

    #[test]
    fn cutting_keeps_whole_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("too long", 6), "too…");
        assert_eq!(cut("ääää", 6), "ä…");
        assert_eq!(cut(r#""a""#, 5), r#""a""#);
        assert_eq!(cut(r#""""""""#, 7), r#"""…"#);
        assert_eq!(cut("\n\n", 11), "\n…");
        assert_eq!(cut("abc", 1), "…");
    }
}
