//! Times as the API server stores them: whole seconds, from the year 1 to the end of the year 9999.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// `time`, without its fraction.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `time`, or the first whole second after it.
pub fn next_second(time: Timestamp) -> Timestamp {
    later(time, i64::from(time.subsec_nanosecond() > 0))
}

/// `seconds` after `time`, or the latest time that there is.
pub fn later(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(time.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}

/// How long it is from `now` until `time`; zero if that has passed.
pub fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default()
}
