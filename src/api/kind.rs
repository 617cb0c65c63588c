//! The two kinds of target.

use kube::core::ApiResource;

use crate::api::workload::{Deployment, Execution};

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
