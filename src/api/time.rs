//! Times as the API keeps them: whole seconds, between the year 1 and the end of the year 9999.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// `time`, without its fraction.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `seconds` after `time`, or the end of time.
#[must_use]
pub fn later(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(time.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}

/// How long it is from `now` to `time`; zero if that is past.
#[must_use]
pub fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default()
}
