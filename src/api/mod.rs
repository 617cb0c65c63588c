//! The custom resources of the group `aiapi.dev`, as users write them.

// The other modules are for this crate alone; the doc comments of these are also the descriptions in the CRDs.
#![deny(missing_docs)]

mod bulk_update;
mod conditions;
mod crds;
mod engines;
mod kind;
mod lenient;
mod metadata;
mod names;
mod rules;
pub mod time;
mod work;
mod workload;

pub use bulk_update::{
    BulkUpdate, BulkUpdateItem, BulkUpdateSpec, BulkUpdateStatus, ItemResult, ItemStatus, MAX_ITEMS, Summary,
    TargetStatus,
};
pub use conditions::{ACCEPTED, ConditionReason, READY, RECONCILING, Reason, STALLED};
pub use crds::crds;
pub use engines::EngineKind;
pub use kind::{GROUP, Kind};
pub use metadata::{REQUESTER, bare_metadata};
pub use names::{is_dns_label, is_dns_subdomain};
pub use work::{Template, TemplateMetadata, WorkloadInUse, WorkloadReference};
pub use workload::{
    Deployment, DeploymentSpec, Execution, ExecutionSpec, OPERATOR, State, StopRequest, WorkloadStatus,
    WorkloadTargetStatus,
};

use kube::Resource;

/// The field manager of the operator's writes, and its name in events and audit logs.
pub const FIELD_MANAGER: &str = "ai-api-operator";

/// The API version of all three kinds.
pub fn api_version() -> String {
    BulkUpdate::api_version(&()).into_owned()
}
