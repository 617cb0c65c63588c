//! The conditions of a BulkUpdate, and every reason in its status: those of conditions and those of items.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The condition that says whether it was planned.
pub const ACCEPTED: &str = "Accepted";
/// The condition that is True once every item has settled.
pub const READY: &str = "Ready";
/// The condition that is present while it is in progress.
pub const RECONCILING: &str = "Reconciling";
/// The condition that is present when it has finished and not all was done as asked.
pub const STALLED: &str = "Stalled";

/// The reason of a condition.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
pub enum ConditionReason {
    /// It cannot be planned yet, because the flag cannot be read.
    FlagUnreadable,
    /// It cannot be planned yet, because something else cannot be read.
    Waiting,
    /// The flag is off for a kind that it names.
    BulkUpdatesDisabled,
    /// The flag's text cannot be parsed.
    MetaInvalid,
    /// `startingDeadlineSeconds` or `notAfter` has passed.
    DeadlineExceeded,
    /// Its author's permissions were never checked.
    NotAuthorized,
    /// The plan is on record.
    Planned,
    /// Some items have not been written to yet.
    Applying,
    /// Every item was written to, and some have not settled yet.
    Settling,
    /// Every item has settled.
    Settled,
    /// Some items were refused, and every other one has settled.
    ItemsRefused,
    /// An item has failed.
    ItemsFailed,
    /// A dry run in which every item is eligible.
    DryRun,
    /// It cannot be read.
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
#[derive(
    JsonSchema,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
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
