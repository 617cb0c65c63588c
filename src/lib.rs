//! Bulk updates of the AI API on any Kubernetes cluster: `BulkUpdate` resources that stop or delete up to 100
//! Executions and Deployments each.

pub mod api;
pub mod bulk_update;
pub mod client;
pub mod controller;
pub mod index;
pub mod meta;
pub mod target;
pub mod workload;

/// The name under which the operator writes: in `managedFields`, in events, in audit logs.
pub const FIELD_MANAGER: &str = "ai-api-operator";
