//! What this operator does for Executions and Deployments that it runs itself.

pub mod leftover;
