//! What a request that did not succeed means, and what follows from that.

use std::time::Duration;

use anyhow::Chain;
use hyper_util::client::legacy;
use k8s_openapi::jiff::Timestamp;

/// The longest that a server's `Retry-After` is heeded.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The longest wait between two attempts where the server doesn't say.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// That a write was not sent, because this process may not write (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not hold the Lease any more")]
pub struct NotLeader;

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
    ReadAgain,
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
            Self::Refused { code: 404 | 409, .. } => Next::ReadAgain,
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

/// An error and all that has caused it, in one sentence.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
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
pub(super) fn never_connected(error: &kube::Error) -> bool {
    Chain::new(error).any(|cause| {
        cause.is::<NotLeader>()
            || cause.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Failure {
        Failure::Refused { code, message: String::new(), retry_after: None }
    }

    #[test]
    fn what_follows_from_each_answer() {
        for code in [404, 409] {
            assert_eq!(refused(code).next(), Next::ReadAgain, "{code}");
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

    #[test]
    fn waits_grow_up_to_ten_seconds_unless_the_server_says() {
        assert_eq!(refused(500).wait(1), Duration::from_millis(100));
        assert_eq!(refused(500).wait(3), Duration::from_millis(400));
        assert_eq!(refused(500).wait(u32::MAX), LONGEST_BACKOFF);
        let told =
            Failure::Refused { code: 429, message: String::new(), retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(told.wait(1), Duration::from_secs(7));
    }
}
