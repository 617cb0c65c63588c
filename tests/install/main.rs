//! What a cluster's admin sees: rights, installation errors, metrics, probes, traces.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod bad_configuration;
mod cluster;
mod rbac;
mod telemetry;
