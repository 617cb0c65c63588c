//! `BulkUpdate`: a request to stop or delete up to 100 Executions and Deployments, and the outcome of each.

#![allow(clippy::duplicated_attributes, reason = "it takes the columns of a CRD for attributes that repeat")]

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::api::{
    conditions::Reason,
    kind::Kind,
    lenient,
    rules::{as_created, immutable},
    workload::State,
};

/// The most items in one request, both lists together (a limit of the AI API).
pub const MAX_ITEMS: usize = 100;
/// What a BulkUpdate tells its users to do where a field cannot be changed.
const ANOTHER: &str = "create a new BulkUpdate";

/// A BulkUpdate asks for up to 100 Executions and Deployments of its namespace to be stopped or deleted, once,
/// and reports the outcome of each.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "aiapi.dev",
    version = "v1alpha1",
    kind = "BulkUpdate",
    plural = "bulkupdates",
    shortname = "bu",
    category = "ai",
    namespaced,
    status = "BulkUpdateStatus",
    derive = "PartialEq",
    doc = "A BulkUpdate asks for up to 100 Executions and Deployments of its namespace to be stopped or deleted, once, and reports the outcome of each.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.summary.total"),
    printcolumn(name = "Settled", type_ = "integer", json_path = ".status.summary.settled"),
    printcolumn(name = "Refused", type_ = "integer", json_path = ".status.summary.refused"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.summary.failed"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new(
        "(has(self.executions) ? size(self.executions) : 0) + (has(self.deployments) ? size(self.deployments) : 0) >= 1")
        .message("a BulkUpdate needs at least one item in executions or deployments"),
    validation = Rule::new(
        "(has(self.executions) ? size(self.executions) : 0) + (has(self.deployments) ? size(self.deployments) : 0) <= 100")
        .message("a BulkUpdate takes at most 100 items, executions and deployments together: split it"),
    validation = as_created("executions", ANOTHER), validation = as_created("deployments", ANOTHER),
    validation = as_created("dryRun", ANOTHER), validation = as_created("notAfter", ANOTHER),
    validation = as_created("startingDeadlineSeconds", ANOTHER),
    validation = as_created("activeDeadlineSeconds", ANOTHER)
)]
#[serde(rename_all = "camelCase")]
pub struct BulkUpdateSpec {
    /// The Executions to stop or delete, each id once. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]), validation = immutable("the items", ANOTHER))]
    pub executions: Option<Vec<BulkUpdateItem>>,

    /// The Deployments (deployments.aiapi.dev) to stop or delete, each id once. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]), validation = immutable("the items", ANOTHER))]
    pub deployments: Option<Vec<BulkUpdateItem>>,

    /// Only decide and report what would be done to each item; write nothing to the targets. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = immutable("dryRun", ANOTHER))]
    pub dry_run: Option<bool>,

    /// A point in time (RFC 3339, such as 2026-12-31T00:00:00Z) after which nothing is planned or written.
    /// For requests that live in Git or a backup: created again, they cannot affect objects of a later time.
    /// 9999-12-30T22:00:00Z and later mean never. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::time")]
    #[schemars(extend(
        "pattern" = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
        "maxLength" = 35
    ))]
    // The API server accepts a list in place of a string with a format, and then rejects every write of the status, unless a rule
    // has evaluated the field at creation.
    #[x_kube(validation = Rule::new("self == self").message("notAfter must be a string such as 2026-12-31T00:00:00Z"),
        validation = immutable("notAfter", ANOTHER))]
    pub not_after: Option<Time>,

    /// How many seconds after its creation the BulkUpdate may be planned; later it is rejected and never carried
    /// out. 3600 if absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::seconds")]
    #[schemars(range(min = 1, max = i32::MAX))]
    #[x_kube(validation = immutable("startingDeadlineSeconds", ANOTHER))]
    pub starting_deadline_seconds: Option<i32>,

    /// How many seconds after status.startTime the items have to settle; those that have not settled by then fail. No
    /// limit if absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::seconds")]
    #[schemars(range(min = 1, max = i32::MAX))]
    #[x_kube(validation = immutable("activeDeadlineSeconds", ANOTHER))]
    pub active_deadline_seconds: Option<i32>,

    /// How many seconds after it has finished the BulkUpdate itself is deleted (which does not touch its targets). If
    /// absent, it is kept. May be changed at any time; setting or lowering it needs permission to delete BulkUpdates.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::seconds")]
    #[schemars(range(min = 0, max = i32::MAX))]
    pub ttl_seconds_after_finished: Option<i32>,
}

impl BulkUpdateSpec {
    /// The list of one kind; empty if it is absent.
    pub fn items(&self, kind: Kind) -> &[BulkUpdateItem] {
        kind.pick(&self.executions, &self.deployments).as_deref().unwrap_or_default()
    }

    /// How many items it has, both lists together.
    pub fn total(&self) -> usize {
        Kind::ALL.iter().map(|kind| self.items(*kind).len()).sum()
    }
}

// An item is owned as a whole: it cannot be changed after creation, and ownership of single fields would be most of what the
// API server reads and compares at each write of the status.
/// One Execution or Deployment, and what to do with it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Hash)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct BulkUpdateItem {
    /// The AI API id, which is the name of the object: 4 to 64 letters, digits, dots, dashes and underscores.
    #[schemars(length(min = 4, max = 64), regex(pattern = r"^[A-Za-z0-9_.-]{4,64}$"))]
    pub id: String,
    /// STOPPED stops it, if it is PENDING or RUNNING; DELETED deletes it, if it is STOPPED, DEAD or UNKNOWN.
    pub target_status: TargetStatus,
    /// The metadata.uid of the object. If absent, the item means the object that existed when the BulkUpdate was
    /// created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub uid: Option<String>,
}

/// What an item asks for, in the words of the AI API.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the words are the AI API's own; documented variants would change the CRD")]
pub enum TargetStatus {
    Stopped,
    Deleted,
}

impl TargetStatus {
    /// The word in a request.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// The progress and outcome of a BulkUpdate. Only the operator writes it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BulkUpdateStatus {
    /// The generation of the spec that this status is about; -1 until the operator has seen the BulkUpdate.
    #[serde(default = "unseen")]
    pub observed_generation: i64,

    /// Accepted (planned or rejected), Ready (every item settled), and, only while they are True, Reconciling (in
    /// progress) and Stalled (finished, but not everything was done as asked).
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// When it was planned; absent until then, and if it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When it finished, successfully or not. Once this is set, nothing more is done to any target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// How many items have each result; absent if it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,

    /// The outcome of each Execution, in the order of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub executions: Option<Vec<ItemStatus>>,

    /// The outcome of each Deployment, in the order of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub deployments: Option<Vec<ItemStatus>>,
}

const fn unseen() -> i64 {
    -1
}

impl Default for BulkUpdateStatus {
    fn default() -> Self {
        Self {
            observed_generation: unseen(),
            conditions: Vec::new(),
            start_time: None,
            completion_time: None,
            summary: None,
            executions: None,
            deployments: None,
        }
    }
}

impl BulkUpdateStatus {
    /// The entries of one kind; empty if there are none.
    pub fn items(&self, kind: Kind) -> &[ItemStatus] {
        kind.pick(&self.executions, &self.deployments).as_deref().unwrap_or_default()
    }

    /// The same, mutable.
    pub fn items_mut(&mut self, kind: Kind) -> &mut [ItemStatus] {
        kind.pick(&mut self.executions, &mut self.deployments).as_deref_mut().unwrap_or_default()
    }

    /// How many items are still to be written to; `None` before there is a plan.
    pub fn planned(&self) -> Option<usize> {
        self.summary.and_then(|summary| usize::try_from(summary.planned).ok())
    }

    /// The condition of this type, if it is present.
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.type_ == type_)
    }
}

/// How many items have each result. The other fields add up to `total`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// All items of the request.
    pub total: i32,
    /// To be written to: it is not their turn yet, or the API server has not accepted the write yet.
    pub planned: i32,
    /// What a dry run would have carried out.
    pub eligible: i32,
    /// Written to; not yet seen to be stopped or gone.
    pub scheduled: i32,
    /// Done: stopped or gone.
    pub settled: i32,
    /// Not eligible when planned, and never written to.
    pub refused: i32,
    /// Planned, and then not done as asked (or not known to be).
    pub failed: i32,
}

// Its texts are shared, because the operator keeps each of them in several places for every item in progress.
/// The progress or outcome of one item.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ItemStatus {
    /// The id, as in the request.
    #[schemars(length(max = 64))]
    pub id: Arc<str>,
    /// What was asked for, as in the request.
    pub target_status: TargetStatus,
    /// Planned, Eligible (dry run), Scheduled, Settled, Refused or Failed.
    pub result: ItemResult,
    /// Why it was refused or failed, or how it settled if not through this BulkUpdate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// A sentence for people, if it says more than the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub message: Option<Arc<str>>,
    /// The uid of the object that was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<Arc<str>>,
    /// The state in which the object was last seen; absent if it was not seen or its state cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_state: Option<State>,
}

/// How far an item is, or how it ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[allow(missing_docs, reason = "Summary describes each; documented variants would change the CRD")]
pub enum ItemResult {
    Planned,
    Eligible,
    Scheduled,
    Settled,
    Refused,
    Failed,
}
