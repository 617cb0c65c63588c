//! What a failed request means, and what to do next: the one place that maps answers to retries and labels.

use std::{fmt::Display, time::Duration};

use anyhow::Chain;
use hyper_util::client::legacy;
use k8s_openapi::jiff::Timestamp;

/// The longest wait that a server's `Retry-After` can ask for.
pub(super) const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The longest wait between two attempts without `Retry-After`.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// A write was not sent, because this process is not the leader (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not hold the Lease any more")]
pub struct NotLeader;

/// A request that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("{code}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        message: String,
        /// How long the server asks to wait, 30 s at most.
        retry_after: Option<Duration>,
    },
    /// A 404 without an object's name: the kind is not served (any more), or a proxy answers. It says nothing about the object.
    #[error("404: {0}; this is no answer about the object")]
    NotServed(String),
    /// It was not sent, or there was no connection: the API server has not seen it.
    #[error("not sent: {0}")]
    NotSent(String),
    /// No answer, or not all of it: a time-out, a reset, a body cut short.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// An answer that cannot be decoded, or is not what it has to be, as a proxy in between may send.
    #[error("{0}")]
    Unreadable(String),
}

/// What to do after a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The object has changed, or is gone: read it live, and decide again.
    ReadAgain,
    /// It may succeed later.
    Retry,
    /// The operator lacks a permission, perhaps only for a moment: roles take time to propagate.
    RetryForbidden,
    /// The same request never succeeds.
    GiveUp,
}

impl Failure {
    pub(crate) fn unreadable(why: impl Display) -> Self {
        Self::Unreadable(format!("an answer that cannot be read: {why}"))
    }

    /// What to do next.
    pub const fn next(&self) -> Next {
        match self {
            Self::Refused { code: 404 | 409, .. } => Next::ReadAgain,
            Self::Refused { code: 403, .. } => Next::RetryForbidden,
            Self::Refused { code: 401 | 408 | 429, .. }
            | Self::NotServed(_)
            | Self::NotSent(_)
            | Self::NoAnswer(_)
            | Self::Unreadable(_) => Next::Retry,
            Self::Refused { code: 400..=499, .. } => Next::GiveUp,
            Self::Refused { .. } => Next::Retry,
        }
    }

    /// The label in metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotServed(_) => "not_served",
            Self::NotSent(_) => "not_sent",
            Self::NoAnswer(_) | Self::Unreadable(_) => "no_answer",
            Self::Refused { code: 401, .. } => "unauthorized",
            Self::Refused { code: 403, .. } => "forbidden",
            Self::Refused { code: 404, .. } => "not_found",
            Self::Refused { code: 409, .. } => "conflict",
            Self::Refused { code: 408 | 429, .. } => "throttled",
            Self::Refused { code: 400..=499, .. } => "refused",
            Self::Refused { .. } => "server_error",
        }
    }

    /// Whether a write that failed like this may have been carried out, or may still be.
    pub const fn outcome_unknown(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::Unreadable(_) => true,
            Self::NotServed(_) | Self::NotSent(_) => false,
            Self::Refused { code, .. } => *code >= 500,
        }
    }

    /// Whether a webhook that could not be called kept the request from being carried out, although the answer is a 500.
    pub fn never_admitted(&self) -> bool {
        matches!(self, Self::Refused { code: 500, message, .. } if message.contains("failed calling webhook"))
    }

    /// Whether the API server has answered a write, and has not carried it out.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. }) && (!self.outcome_unknown() || self.never_admitted())
    }

    /// Whether there is no such object.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Whether the object has changed since it was read.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// Whether the object would be larger than what the API server, or etcd behind it, takes.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Refused { code: 413, .. } => true,
            Self::Refused { code: 500, message, .. } => message.contains("request is too large"),
            _ => false,
        }
    }

    /// How long the server asks to wait.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// How long to wait before attempt `attempt` (the first retry is 1): what the server asks for, else the back-off.
    pub fn wait(&self, attempt: u32) -> Duration {
        self.retry_after().unwrap_or_else(|| backoff(attempt))
    }
}

/// The back-off before attempt `attempt`: it doubles from 100 ms to 10 s.
pub fn backoff(attempt: u32) -> Duration {
    let doubled = 2u32.saturating_pow(attempt.saturating_sub(1));
    Duration::from_millis(100).saturating_mul(doubled).min(LONGEST_BACKOFF)
}

/// An error and its causes, in one sentence.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in Chain::new(error).skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    // Without a connection there is no answer whose date would show that this machine's clock is off.
    if text.contains("certificate not valid yet") || text.contains("certificate expired") {
        text = format!("{text}; this machine's clock says {}: if that is wrong, set it", own_time());
    }
    text
}

pub(super) fn own_time() -> impl Display {
    Timestamp::now().strftime("%FT%TZ")
}

/// Whether nothing was sent: there was no connection, or this process may not write.
pub(super) fn never_connected(error: &kube::Error) -> bool {
    Chain::new(error).any(|cause| {
        cause.is::<NotLeader>()
            || cause.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
    })
}

#[cfg(test)]
mod tests;
