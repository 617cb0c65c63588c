//! Executions and Deployments: one piece of work each, and its state.

#![allow(clippy::duplicated_attributes, reason = "it takes the columns of a CRD for attributes that repeat")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use crate::api::{
    kind::Kind,
    rules::{as_created, engines, immutable},
    work::{Template, WorkloadInUse, WorkloadReference},
};

/// `spec.managedBy` of what this operator runs itself; an absent one means the same.
pub const OPERATOR: &str = "aiapi.dev/operator";

/// What the messages about a field that cannot be changed advise.
const AGAIN: &str = "delete the object and create it again";

/// One kind of target. A macro, because kube derives the resource from the spec, and both kinds have the same one.
macro_rules! workload {
    ($kind:literal, $of:ident, $spec:ident, $plural:literal, $short:literal, $doc:literal, $scenario:literal, $template:literal $(, $fixed:expr)?) => {
        #[doc = $doc]
        #[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
        #[kube(
            group = "aiapi.dev", version = "v1alpha1", kind = $kind, plural = $plural, shortname = $short,
            category = "ai", namespaced, status = "WorkloadStatus", derive = "PartialEq", doc = $doc,
            printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
            printcolumn(name = "Target", type_ = "string", json_path = ".status.targetStatus"),
            printcolumn(name = "Engine", type_ = "string", json_path = ".status.workload.kind", priority = 1),
            printcolumn(name = "Managed By", type_ = "string", json_path = ".spec.managedBy", priority = 1),
            printcolumn(name = "Scenario", type_ = "string", json_path = ".spec.scenarioId", priority = 1),
            printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
            printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
            selectable = ".status.state", selectable = ".spec.scenarioId", selectable = ".spec.configurationId",
            selectable = ".spec.executableId",
            validation = Rule::new("size(self.metadata.name) >= 4 && size(self.metadata.name) <= 64")
                .message("the name is the AI API id: it must have 4 to 64 characters")
        )]
        #[x_kube(
            validation = as_created("managedBy", AGAIN),
            validation = as_created("template", AGAIN),
            validation = as_created("workloadRef", AGAIN),
            validation = Rule::new("!(has(self.template) && has(self.workloadRef))")
                .message("template and workloadRef exclude each other: a template is for work that is to be created, a workloadRef for work that exists; leave one of them out")
        )]
        #[serde(rename_all = "camelCase")]
        pub struct $spec {
            #[doc = $scenario]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 256))]
            pub scenario_id: Option<String>,

            /// The configuration that it was created from, as the AI API reports it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 256))]
            pub configuration_id: Option<String>,

            /// The name of that configuration, as the AI API reports it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 256))]
            pub configuration_name: Option<String>,

            /// The executable that it runs, as the AI API reports it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 256))]
            pub executable_id: Option<String>,

            /// The controller that runs it. aiapi.dev/operator, or absent: this operator. Any other value:
            /// only that controller writes status.state, and stopping means asking it to; template and workloadRef are for
            /// it to read, and this operator creates, adopts and stops nothing for them. Immutable.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(min = 1, max = 253))]
            #[x_kube(validation = immutable("managedBy", AGAIN))]
            pub managed_by: Option<String>,

            #[doc = $template]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[x_kube(validation = engines(Kind::$of) $(, validation = $fixed)?)]
            pub template: Option<Template>,

            /// An object that exists already and does the work: the operator adopts it if it has this uid and no other owner,
            /// and from then on it ends with this object. Excludes template. Immutable.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[x_kube(validation = engines(Kind::$of), validation = immutable("workloadRef", AGAIN))]
            pub workload_ref: Option<WorkloadReference>,
        }
    };
}

workload! {
    "Execution", Execution, ExecutionSpec, "executions", "aiexec",
    "An Execution is one training run of an AI platform, named by its AI API id, and its state.",
    "The scenario that the Execution belongs to, as the AI API reports it.",
    "The manifest of the object that does the work. The operator creates it once, under the name of the Execution and owned by it; what is gone is never created again. Without template and workloadRef nothing runs. Its author needs permission to create that object. Immutable.",
    immutable("template", AGAIN)
}
workload! {
    "Deployment", Deployment, DeploymentSpec, "deployments", "aideploy",
    "A Deployment is one model that an AI platform serves, named by its AI API id, and its state. With kubectl, use deployments.aiapi.dev or aideploy: plain deployments means apps/v1.",
    "The scenario that the Deployment belongs to, as the AI API reports it.",
    "The manifest of the object that serves the model. The operator creates it under the name of the Deployment and owned by it, creates it again if it is gone, and applies changes, unless a stop was requested. Without template and workloadRef nothing runs. Its author, and the author of a change of the template, need permission to create that object. Its apiVersion and kind cannot be changed."
}

/// The state of an Execution or Deployment, written by the operator and by the controller that runs it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// UNKNOWN, PENDING, RUNNING, COMPLETED, DEAD, STOPPING or STOPPED. A BulkUpdate can stop only what is PENDING or
    /// RUNNING, and delete only what is STOPPED, DEAD or UNKNOWN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,

    /// The desired state: COMPLETED or RUNNING at first, STOPPED once a stop was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_status: Option<WorkloadTargetStatus>,

    /// Since when the state is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_time: Option<Time>,

    /// A sentence for people about the current state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,

    /// When it was submitted to the controller that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission_time: Option<Time>,

    /// When it started to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions set by the controller that runs it, in the usual Kubernetes form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The object that does the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadInUse>,

    /// The address at which the model is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub url: Option<String>,

    /// Which BulkUpdate requested the stop, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_request: Option<StopRequest>,
}

/// Who requested a stop. A restarted operator recognizes its own stops by it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StopRequest {
    /// The name of the BulkUpdate, in the same namespace.
    #[schemars(length(max = 253))]
    pub bulk_update: String,
    /// The uid of that BulkUpdate.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// When the stop was written.
    pub time: Time,
}

/// The states of the AI API.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the words are the AI API's own; documented variants would change the CRD")]
#[derive(VariantArray)]
pub enum State {
    Unknown,
    Pending,
    Running,
    Completed,
    Dead,
    Stopping,
    Stopped,
}

impl State {
    /// All of them.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word in `status.state`.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// The desired states of the AI API.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs, reason = "the words are the AI API's own; documented variants would change the CRD")]
pub enum WorkloadTargetStatus {
    Completed,
    Running,
    Stopped,
    Deleted,
}
