//! Bulk updates of the AI API on any Kubernetes cluster: `BulkUpdate` resources that stop or delete up to 100
//! Executions and Deployments each.

// A printing macro ends the process where its output is gone: a full disk, a closed pipe.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod admission;
pub mod api;
pub mod bulk_update;
pub mod client;
pub mod clock;
pub mod controller;
pub mod election;
pub mod gateway;
pub mod health;
pub mod http_server;
pub mod index;
pub mod leadership;
pub mod lenient;
pub mod log;
pub mod meta;
pub mod metrics;
pub mod preflight;
pub mod raw;
pub mod replica;
pub mod slim;
pub mod slots;
pub mod target;
pub mod telemetry;
pub mod traces;
pub mod watches;

/// The name under which the operator writes: in `managedFields`, in events, in audit logs.
pub const FIELD_MANAGER: &str = "ai-api-operator";

/// What a task of the operator's has returned. None is aborted and then waited for, so that one which did not end by
/// itself has panicked: the panic goes on here, and ends the process.
fn unpanicked<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
