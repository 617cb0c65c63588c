//! What the process says of itself: metrics, liveness, traces.
//!
//! It is handed times and counts, and never the state of a BulkUpdate.

pub mod health;
pub mod listen;
pub mod metrics;
pub mod traces;
