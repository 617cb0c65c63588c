//! What the process reports about itself: log lines, metrics, liveness, traces.
//!
//! It is handed times, counts and recorded statuses, and never the work on a BulkUpdate.

pub(crate) mod health;
pub(crate) mod load;
mod log;
pub(crate) mod metrics;
mod traces;
pub(crate) mod watch_progress;

pub use self::{
    health::{Health, LONGEST_SILENCE, NotReady},
    log::OneLine,
    metrics::Metrics,
    traces::Traces,
};
