//! What a cluster's admin sees: rights, installation errors, metrics, probes, traces.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod bad_configuration;
mod cluster;
mod rbac;
mod telemetry;
