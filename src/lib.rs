//! Bulk updates of the AI API on any Kubernetes cluster: `BulkUpdate` resources that stop or delete up to 100
//! Executions and Deployments each.

// Printing macros panic if the output cannot be written: a full disk, a closed pipe.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]
// Tests may be long.
#![cfg_attr(not(test), deny(clippy::too_many_lines))]

pub mod api;
pub mod bulk_update;
pub mod client;
pub mod controller;
mod decode;
pub mod gateway;
pub mod misconfigured;
pub mod observed;
pub mod plugin;
pub mod server;
mod tasks;
pub mod telemetry;
pub mod workload;
