//! What the process reports about itself: log lines, metrics, liveness, traces.
//!
//! It is handed times and counts, and never the state of a BulkUpdate.

pub mod health;
pub mod log;
pub mod metrics;
pub mod traces;
pub(crate) mod watch_progress;
