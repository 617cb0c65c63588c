//! What the process says of itself: log lines, metrics, liveness, traces.
//!
//! It is handed times and counts, and never the state of a BulkUpdate.

pub mod health;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod traces;
