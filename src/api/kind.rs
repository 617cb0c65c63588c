//! The two kinds of target.

use kube::core::{ApiResource, GroupVersionKind};

/// The API group of all three kinds.
pub const GROUP: &str = "aiapi.dev";

/// The version of their API.
pub const VERSION: &str = "v1alpha1";

/// The two kinds of target. They differ in names and messages only, so code for both takes the kind as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A training run.
    Execution,
    /// A served model.
    Deployment,
}

impl Kind {
    /// Both, in the order in which a request lists them.
    pub const ALL: [Self; 2] = [Self::Execution, Self::Deployment];

    /// The kind, as in a manifest.
    pub fn name(self) -> &'static str {
        self.pick("Execution", "Deployment")
    }

    /// The plural: the resource in a URL, the field of a request, the field of the flag.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Execution => "executions",
            Self::Deployment => "deployments",
        }
    }

    /// The one of two values that is for this kind.
    pub fn pick<T>(self, execution: T, deployment: T) -> T {
        match self {
            Self::Execution => execution,
            Self::Deployment => deployment,
        }
    }

    /// What kube needs to know of a kind at run time.
    pub fn api_resource(self) -> ApiResource {
        let kind = GroupVersionKind::gvk(GROUP, VERSION, self.name());
        ApiResource::from_gvk_with_plural(&kind, self.plural())
    }
}
