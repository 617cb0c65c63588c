//! The operator as a process: preflight checks, leader election, informers, graceful shutdown.
//!
//! Nothing about a BulkUpdate is decided here.

mod election;
mod feeds;
pub mod operator;
mod preflight;
pub mod replica;
mod watches;

pub use self::{election::Timing, operator::Settings};
