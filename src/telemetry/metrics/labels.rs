//! The labels of the metrics, and all values that they can have.

use std::borrow::Cow;

use crate::{
    api::{ItemResult, Kind, TargetStatus},
    client::Failure,
};

/// The names and values of the labels of one series.
pub(super) type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// The results with which an item can end.
pub(super) const RESULTS: [ItemResult; 4] =
    [ItemResult::Eligible, ItemResult::Settled, ItemResult::Refused, ItemResult::Failed];

/// What can be written to a target.
pub(super) const VERBS: [TargetStatus; 2] = [TargetStatus::Stopped, TargetStatus::Deleted];

/// The outcomes of a write.
pub(super) const OUTCOMES: [&str; 5] = ["accepted", "conflict", "refused", "unanswered", "not_sent"];

/// Why a request is retried, or looked up.
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
pub(super) const WATCHED_BESIDES: [&str; 3] =
    ["configmaps", "validatingadmissionpolicies", "validatingadmissionpolicybindings"];

/// One of [`OUTCOMES`].
pub(super) const fn outcome<T>(outcome: &Result<T, Failure>) -> &'static str {
    match outcome {
        Ok(_) => "accepted",
        Err(failure) if failure.is_conflict() => "conflict",
        Err(Failure::NotSent(_)) => "not_sent",
        Err(failure) if failure.outcome_unknown() => "unanswered",
        Err(_) => "refused",
    }
}

/// The value of the label `verb`.
pub const fn verb(target: TargetStatus) -> &'static str {
    match target {
        TargetStatus::Stopped => "stop",
        TargetStatus::Deleted => "delete",
    }
}

pub(super) fn of_resource(resource: impl Into<Cow<'static, str>>) -> Labels<1> {
    [("resource", resource.into())]
}

pub(super) fn of_verb(kind: Kind, target: TargetStatus) -> Labels<2> {
    [("kind", kind.name().into()), ("verb", verb(target).into())]
}

pub(super) fn of_write(kind: Kind, target: TargetStatus, outcome: &'static str) -> Labels<3> {
    let [kind, verb] = of_verb(kind, target);
    [kind, verb, ("outcome", outcome.into())]
}

pub(super) fn of_item(kind: Kind, target: TargetStatus, result: ItemResult) -> Labels<3> {
    let [kind, verb] = of_verb(kind, target);
    [kind, verb, ("result", <&str>::from(result).into())]
}
