//! The custom resources of the group `aiapi.dev`, as users write them.

mod bulk_update;
mod conditions;
mod crds;
mod lenient;
mod metadata;
mod names;
pub mod time;
mod workload;

pub use bulk_update::{
    BulkUpdate, BulkUpdateItem, BulkUpdateSpec, BulkUpdateStatus, ItemResult, ItemStatus, MAX_ITEMS, Summary,
    TargetStatus,
};
pub use conditions::{ACCEPTED, ConditionReason, READY, RECONCILING, Reason, STALLED};
pub use crds::crds;
pub use metadata::{REQUESTER, bare_metadata};
pub use names::{can_be_a_name, can_be_a_namespace};
pub use workload::{
    Deployment, DeploymentSpec, Execution, ExecutionSpec, OPERATOR, State, StopRequest, WorkloadStatus,
    WorkloadTargetStatus,
};

use kube::{Resource, core::ApiResource};

/// The API group of all three kinds.
pub const GROUP: &str = "aiapi.dev";

/// The name under which the operator writes: in `managedFields`, in events, in audit logs.
pub const FIELD_MANAGER: &str = "ai-api-operator";

/// The two kinds of target: they differ in names and messages only, so code that serves both takes
/// this as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A training run.
    Execution,
    /// A model that is served.
    Deployment,
}

impl Kind {
    /// Both, in the order in which a request lists them.
    pub const ALL: [Self; 2] = [Self::Execution, Self::Deployment];

    /// The kind as it stands in a manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Execution => "Execution",
            Self::Deployment => "Deployment",
        }
    }

    /// The plural: the resource in a URL, the field of a request, the field of the flag.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Execution => "executions",
            Self::Deployment => "deployments",
        }
    }

    /// What the client needs to reach objects of this kind.
    #[must_use]
    pub fn api_resource(self) -> ApiResource {
        match self {
            Self::Execution => ApiResource::erase::<Execution>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
        }
    }
}

/// The version of the API that the kinds are served under.
#[must_use]
pub fn api_version() -> String {
    BulkUpdate::api_version(&()).into_owned()
}
