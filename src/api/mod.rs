//! The custom resources of the group `aiapi.dev`, as users write them.

mod bulk_update;
mod crds;
mod lenient;
mod workload;

pub use bulk_update::{
    BulkUpdate, BulkUpdateItem, BulkUpdateSpec, BulkUpdateStatus, ItemResult, ItemStatus, MAX_ITEMS, Reason,
    Summary, TargetStatus,
};
pub use crds::crds;
pub use workload::{
    Deployment, DeploymentSpec, Execution, ExecutionSpec, OPERATOR, State, StopRequest, WorkloadStatus,
    WorkloadTargetStatus,
};

use kube::{Resource, core::ApiResource};

/// The API group of all three kinds.
pub const GROUP: &str = "aiapi.dev";

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

/// Whether `id` can be the name of a Kubernetes object (an RFC 1123 subdomain).
///
/// AI API ids may hold capitals and underscores, which names cannot: such an id names nothing here.
#[must_use]
pub fn can_be_a_name(id: &str) -> bool {
    let label = |l: &str| {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(l.as_bytes().first())
            && edge(l.as_bytes().last())
            && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    id.len() <= 253 && id.split('.').all(label)
}

/// Whether it can be the name of a namespace (an RFC 1123 label).
#[must_use]
pub fn can_be_a_namespace(name: &str) -> bool {
    name.len() <= 63 && !name.contains('.') && can_be_a_name(name)
}

/// The version of the API that the kinds are served under.
#[must_use]
pub fn api_version() -> String {
    BulkUpdate::api_version(&()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::can_be_a_name;

    #[test]
    fn ids_that_can_be_names() {
        for id in ["aa97b177-9383-4934-8543-0f91a7a0283a", "a.b-c.d", "0000"] {
            assert!(can_be_a_name(id), "{id}");
        }
        for id in ["", "Abcd", "ab_cd", "-abc", "abc-", "ab..cd", ".abc", "abc.", "ab.-c", "äbcd"] {
            assert!(!can_be_a_name(id), "{id}");
        }
        assert!(!can_be_a_name(&"a".repeat(254)));
    }
}
