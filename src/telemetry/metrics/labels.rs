//! The labels of the metrics, and all the words that they can have.

use prometheus_client::encoding::EncodeLabelSet;

use crate::api::{ItemResult, Kind, TargetStatus};

/// The results with which an item can end.
pub(super) const RESULTS: [ItemResult; 4] =
    [ItemResult::Eligible, ItemResult::Settled, ItemResult::Refused, ItemResult::Failed];

pub(super) const VERBS: [TargetStatus; 2] = [TargetStatus::Stopped, TargetStatus::Deleted];

/// What comes of a write.
pub(super) const OUTCOMES: [&str; 5] = ["accepted", "conflict", "refused", "unanswered", "not_sent"];

/// Why a request is tried again, or looked up.
pub(super) const RETRIES: [&str; 9] = [
    "conflict",
    "forbidden",
    "no_answer",
    "not_found",
    "not_sent",
    "not_served",
    "server_error",
    "throttled",
    "unauthorized",
];

/// What the operator reads and writes of its own group.
pub(super) const RESOURCES: [&str; 3] = ["bulkupdates", Kind::Execution.plural(), Kind::Deployment.plural()];

/// What it watches besides.
pub(super) const ASIDE: [&str; 3] =
    ["configmaps", "validatingadmissionpolicies", "validatingadmissionpolicybindings"];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Outcome {
    pub(super) outcome: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Item {
    pub(super) kind: &'static str,
    pub(super) verb: &'static str,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Write {
    pub(super) kind: &'static str,
    pub(super) verb: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Verb {
    pub(super) kind: &'static str,
    pub(super) verb: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Reason {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Resource {
    pub(super) resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfKind {
    pub(super) kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Election {
    pub(super) name: &'static str,
}

/// The word of the `verb` label.
#[must_use]
pub const fn verb(target: TargetStatus) -> &'static str {
    match target {
        TargetStatus::Stopped => "stop",
        TargetStatus::Deleted => "delete",
    }
}
