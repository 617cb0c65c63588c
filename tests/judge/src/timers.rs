//! How exact the timers of the processes are, and what an answer asks them to wait.

use k8s_openapi::jiff::SignedDuration;

use crate::facts::Whole;

/// The longest wait that a `Retry-After` can ask for, in seconds.
const LONGEST_RETRY_AFTER: u64 = 30;

/// How far timers may be off after so long.
pub fn drift(time: SignedDuration) -> SignedDuration {
    time / 1000
}

/// The least that a process waits for so long: its timers may be somewhat fast.
pub fn at_least(wait: SignedDuration) -> SignedDuration {
    wait - drift(wait)
}

/// The back-off after so many failures: it doubles, from the shortest to the longest.
pub fn backs_off([shortest, longest]: [SignedDuration; 2], failed: u32) -> SignedDuration {
    let doubled = shortest.checked_mul(2i32.saturating_pow(failed.saturating_sub(1)));
    doubled.map_or(longest, |wait| wait.min(longest))
}

impl Whole {
    /// How long it asks to wait, as far as that is followed.
    pub fn asks_to_wait(&self) -> Option<SignedDuration> {
        let seconds = self.retry_after?.min(LONGEST_RETRY_AFTER);
        Some(SignedDuration::from_secs(seconds.cast_signed()))
    }
}
