//! The conditions of a BulkUpdate, and every reason in its status: those of conditions and those of items.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The condition that says whether it was planned.
pub const ACCEPTED: &str = "Accepted";
/// The condition that is True once every item has settled.
pub const READY: &str = "Ready";
/// The condition that is present while it is in progress.
pub const RECONCILING: &str = "Reconciling";
/// The condition that is present when it has finished and not all was done as asked.
pub const STALLED: &str = "Stalled";

/// The reason of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, IntoStaticStr, VariantArray)]
#[allow(missing_docs, reason = "docs/api.md describes each")]
pub enum ConditionReason {
    FlagUnreadable,
    Waiting,
    BulkUpdatesDisabled,
    MetaInvalid,
    DeadlineExceeded,
    NotAuthorized,
    Planned,
    Applying,
    Settling,
    Settled,
    ItemsRefused,
    ItemsFailed,
    DryRun,
    Unreadable,
}

impl ConditionReason {
    /// Those of the condition Ready with which a BulkUpdate that could be read finishes.
    pub const FINAL: [Self; 8] = [
        Self::Settled,
        Self::ItemsRefused,
        Self::ItemsFailed,
        Self::DryRun,
        Self::BulkUpdatesDisabled,
        Self::MetaInvalid,
        Self::DeadlineExceeded,
        Self::NotAuthorized,
    ];
}

/// Why an item was refused or failed, or how it settled.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "docs/api.md describes each; documented variants would change the CRD")]
#[derive(Display, IntoStaticStr, VariantArray)]
pub enum Reason {
    NotFound,
    Replaced,
    CreatedLater,
    Terminating,
    Unreadable,
    StopPending,
    WrongState,
    Gone,
    BulkUpdatesDisabled,
    DeadlineExceeded,
    WriteFailed,
    Forbidden,
    NotSettledInTime,
    OutcomeUnknown,
}
