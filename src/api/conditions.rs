//! The conditions of a BulkUpdate and every reason in its status: that of a condition, that of an item.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The condition that says whether it was planned.
pub const ACCEPTED: &str = "Accepted";
/// The condition that is True when every item has settled.
pub const READY: &str = "Ready";
/// The condition that stands there while work is under way.
pub const RECONCILING: &str = "Reconciling";
/// The condition that stands there when it is over and not all was done as asked.
pub const STALLED: &str = "Stalled";

/// The reason of the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr, strum::VariantArray)]
pub enum ConditionReason {
    /// It can't be planned yet, for the flag can't be read.
    FlagUnreadable,
    /// It can't be planned yet, for something else can't be read.
    Waiting,
    /// The flag is off for a kind that it names.
    BulkUpdatesDisabled,
    /// The flag's text can't be understood.
    MetaInvalid,
    /// `startingDeadlineSeconds` or `notAfter` has passed.
    DeadlineExceeded,
    /// Nobody has checked whether its author may.
    NotAuthorized,
    /// The plan is on record.
    Planned,
    /// Items are still to be written to.
    Applying,
    /// What was accepted has yet to take hold.
    Settling,
    /// Every item has settled.
    Settled,
    /// Every item that was not refused has settled.
    ItemsRefused,
    /// An item has failed.
    ItemsFailed,
    /// A dry run, in which every item is eligible.
    DryRun,
    /// It can't be read.
    Unreadable,
}

impl ConditionReason {
    /// Those of the condition Ready with which one that could be read ends.
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
