//! The words for kinds on the command line.

use clap::ValueEnum;
use kube::{
    Resource,
    core::{ApiResource, DynamicObject},
};

use crate::api::{BulkUpdate, Kind};

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindArgument {
    /// Executions.
    #[value(
        alias = "executions",
        alias = "aiexec",
        alias = "executions.aiapi.dev",
        alias = "execution.aiapi.dev"
    )]
    Execution,
    /// Deployments of aiapi.dev.
    #[value(
        alias = "deployments",
        alias = "aideploy",
        alias = "deployments.aiapi.dev",
        alias = "deployment.aiapi.dev"
    )]
    Deployment,
}

impl From<KindArgument> for Kind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Execution => Self::Execution,
            KindArgument::Deployment => Self::Deployment,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GetKind {
    #[value(alias = "executions", alias = "aiexec")]
    Execution,
    #[value(alias = "deployments", alias = "aideploy")]
    Deployment,
    #[value(name = "bulkupdate", alias = "bulkupdates", alias = "bu")]
    BulkUpdate,
}

impl GetKind {
    pub const ALL: [Self; 3] = [Self::Execution, Self::Deployment, Self::BulkUpdate];

    /// What kube needs to know of it.
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Execution => Kind::Execution.api_resource(),
            Self::Deployment => Kind::Deployment.api_resource(),
            Self::BulkUpdate => ApiResource::erase::<BulkUpdate>(&()),
        }
    }

    /// The URL of the collection; of all namespaces, if none is given.
    pub fn url(self, namespace: Option<&str>) -> String {
        DynamicObject::url_path(&self.resource(), namespace)
    }

    /// One of them as an argument of kubectl, such as `execution.aiapi.dev/name`.
    pub fn qualified(self, name: &str) -> String {
        let resource = self.resource();
        format!("{}.{}/{name}", resource.kind.to_lowercase(), resource.group)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetaKind {
    #[value(alias = "execution")]
    Executions,
    #[value(alias = "deployment")]
    Deployments,
}

impl From<MetaKind> for Kind {
    fn from(kind: MetaKind) -> Self {
        match kind {
            MetaKind::Executions => Self::Execution,
            MetaKind::Deployments => Self::Deployment,
        }
    }
}
