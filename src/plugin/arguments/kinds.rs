//! The words for kinds on the command line.

use clap::ValueEnum;

use crate::api::Kind;

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

    pub const fn plural(self) -> &'static str {
        match self {
            Self::Execution => "executions",
            Self::Deployment => "deployments",
            Self::BulkUpdate => "bulkupdates",
        }
    }

    pub const fn singular(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::Deployment => "deployment",
            Self::BulkUpdate => "bulkupdate",
        }
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
