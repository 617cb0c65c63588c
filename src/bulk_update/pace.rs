//! How often a status is written.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::Failure;

/// When status writes are due that only report progress: after 1 s, then ever more rarely up to every 10 s; and when
/// one that failed is tried again.
#[derive(Debug, Default)]
pub struct Pace {
    due: Option<Instant>,
    interval: Duration,
    failed: u32,
    not_before: Option<Instant>,
}

impl Pace {
    /// When the next one may go out.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.held_back()).or(self.due)
    }

    /// Whether progress may be reported now.
    #[must_use]
    pub fn due(&self) -> bool {
        self.due.is_none_or(|due| due <= Instant::now())
    }

    /// Whether a failed write has to wait still.
    #[must_use]
    pub fn held_back(&self) -> bool {
        self.not_before.is_some_and(|time| time > Instant::now())
    }

    /// One was written.
    pub fn written(&mut self) {
        self.interval = (self.interval * 2).clamp(Duration::from_secs(1), Duration::from_secs(10));
        self.due = Some(Instant::now() + self.interval);
        self.failed = 0;
        self.not_before = None;
    }

    /// One failed.
    pub fn failed(&mut self, failure: &Failure) {
        self.failed += 1;
        self.not_before = Some(Instant::now() + failure.wait(self.failed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Failure {
        Failure::Refused { code, message: "no".into(), retry_after: None }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_is_reported_after_a_second_and_then_ever_more_rarely() {
        let mut pace = Pace::default();
        assert!(pace.due() && !pace.held_back() && pace.next().is_none());
        for seconds in [1, 2, 4, 8, 10, 10] {
            pace.written();
            assert_eq!(pace.next(), Some(Instant::now() + Duration::from_secs(seconds)));
            tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
            assert!(!pace.due());
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(pace.due());
        }
        for millis in [100, 200] {
            pace.failed(&refused(500));
            assert_eq!(pace.next(), Some(Instant::now() + Duration::from_millis(millis)));
            assert!(pace.held_back());
            tokio::time::advance(Duration::from_millis(millis)).await;
            assert!(!pace.held_back());
        }
        pace.written();
        pace.failed(&refused(500));
        assert_eq!(
            pace.next(),
            Some(Instant::now() + Duration::from_millis(100)),
            "it counts from the start again"
        );
        tokio::time::advance(Duration::from_millis(101)).await;
        assert!(!pace.held_back() && !pace.due());
        assert!(pace.next() > Some(Instant::now()), "what has passed is no time to wait for");
    }
}
