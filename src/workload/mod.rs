//! Executions and Deployments that run: the work behind a state.

mod conditions;
pub mod engine;
pub mod engines;
pub mod kueue;
