//! The kinds of object that Executions and Deployments can run on. This is the one table of them: the rules of the CRDs, the
//! admission policy, the roles and the documentation follow from it.

use std::fmt::{self, Display, Formatter};

use kube::core::{ApiResource, GroupVersionKind};
use strum::VariantArray;

use crate::api::kind::Kind;

/// A kind of object that can run what an Execution or Deployment asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, VariantArray)]
#[allow(missing_docs, reason = "each is the kind of its name")]
pub enum EngineKind {
    Job,
    JobSet,
    RayJob,
    Workflow,
    Deployment,
    InferenceService,
}

/// A row of the table.
struct Row {
    of: Kind,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

impl Row {
    const fn new(of: Kind, group: &'static str, version: &'static str, names: [&'static str; 2]) -> Self {
        let [kind, plural] = names;
        Self { of, group, version, kind, plural }
    }
}

impl Display for EngineKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl EngineKind {
    /// All of them.
    pub const ALL: &[Self] = Self::VARIANTS;

    const fn row(self) -> Row {
        use Kind::{Deployment, Execution};
        match self {
            Self::Job => Row::new(Execution, "batch", "v1", ["Job", "jobs"]),
            Self::JobSet => Row::new(Execution, "jobset.x-k8s.io", "v1alpha2", ["JobSet", "jobsets"]),
            Self::RayJob => Row::new(Execution, "ray.io", "v1", ["RayJob", "rayjobs"]),
            Self::Workflow => Row::new(Execution, "argoproj.io", "v1alpha1", ["Workflow", "workflows"]),
            Self::Deployment => Row::new(Deployment, "apps", "v1", ["Deployment", "deployments"]),
            Self::InferenceService => {
                let names = ["InferenceService", "inferenceservices"];
                Row::new(Deployment, "serving.kserve.io", "v1beta1", names)
            }
        }
    }

    /// Whether it runs Executions or Deployments.
    pub const fn of(self) -> Kind {
        self.row().of
    }

    /// Its API group.
    pub const fn group(self) -> &'static str {
        self.row().group
    }

    /// The version of its API that is used.
    pub const fn version(self) -> &'static str {
        self.row().version
    }

    /// The kind, as in a manifest.
    pub const fn kind(self) -> &'static str {
        self.row().kind
    }

    /// The plural: the resource in a URL, in roles and in policies.
    pub const fn plural(self) -> &'static str {
        self.row().plural
    }

    /// `apiVersion`, as in a manifest.
    pub fn api_version(self) -> String {
        format!("{}/{}", self.group(), self.version())
    }

    /// What kube needs to know of it at run time.
    pub fn api_resource(self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group(), self.version(), self.kind());
        ApiResource::from_gvk_with_plural(&kind, self.plural())
    }

    /// The ones that run this kind.
    pub fn all_of(kind: Kind) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |engine| engine.of() == kind)
    }

    /// The one with this `apiVersion` and `kind`.
    pub fn find(api_version: &str, kind: &str) -> Option<Self> {
        let is_it = |engine: &&Self| engine.kind() == kind && engine.api_version() == api_version;
        Self::ALL.iter().find(is_it).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_api_version_and_kind() {
        for &engine in EngineKind::ALL {
            assert_eq!(EngineKind::find(&engine.api_version(), engine.kind()), Some(engine));
            assert_eq!(EngineKind::find("v1", engine.kind()), None);
        }
    }
}
