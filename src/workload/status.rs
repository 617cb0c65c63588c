//! The status of an Execution or Deployment that something runs for: what it is to say, and the patch that makes it say so.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use serde_json::{Map, Value, json};
use strum::IntoStaticStr;

use crate::{
    api::{READY, RECONCILING, STALLED, State, WorkloadTargetStatus},
    decode::text::cut,
    workload::owner::{Recorded, Reference},
};

/// The longest message, in bytes: the schema allows 1024 characters.
const LONGEST_MESSAGE: usize = 1000;

/// Why an Execution or Deployment is where it is: the reason of its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum Reason {
    /// It has not started to run.
    Pending,
    Running,
    Completed,
    Dead,
    /// A stop was requested and has not taken hold.
    Stopping,
    Stopped,
    /// What runs cannot be understood, or the spec asks for what this operator cannot run.
    Unreadable,
    /// The name is taken by an object that does not belong to it.
    NameTaken,
    /// The engine's objects cannot have such a name.
    NameInvalid,
    /// The cluster does not serve the engine's API.
    EngineNotServed,
    /// The operator's permissions for this engine are missing, or a quota is used up.
    Forbidden,
    /// The engine's API refuses the object.
    Refused,
    /// Nobody has checked whether its author may run this.
    NotAuthorized,
    /// It cannot be adopted: another controller owns it, or it is not the object that was meant.
    NotAdoptable,
    /// Something that has to be known first cannot be read.
    Waiting,
    /// The stop waits until bulk updates are enabled.
    BulkUpdatesDisabled,
    /// A stop was requested a while ago, and nothing happens.
    StopOverdue,
    /// It cannot be stopped.
    StopImpossible,
}

/// How kstatus is to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// As it should be.
    Ready,
    /// On its way.
    Reconciling,
    /// It needs somebody.
    Stalled,
    /// Nothing more happens, and nothing is wrong: it was stopped.
    Idle,
}

/// What the status is to say.
#[allow(clippy::struct_field_names, reason = "the names are those of the fields")]
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub state: State,
    pub target_status: Option<WorkloadTargetStatus>,
    pub workload: Option<Reference>,
    pub submitted: Option<Timestamp>,
    pub started: Option<Timestamp>,
    pub completed: Option<Timestamp>,
    pub url: Option<String>,
    pub observed_generation: Option<i64>,
    pub progress: Progress,
    pub reason: Reason,
    pub message: String,
}

impl Status {
    /// What is recorded, with this reason.
    pub fn of(recorded: &Recorded, progress: Progress, reason: Reason, message: impl AsRef<str>) -> Self {
        Self {
            state: recorded.state.unwrap_or(State::Unknown),
            target_status: recorded.target_status,
            workload: recorded.workload.clone(),
            submitted: recorded.submitted,
            started: recorded.started,
            completed: recorded.completed,
            url: recorded.url.clone(),
            observed_generation: recorded.observed_generation,
            progress,
            reason,
            message: cut(message.as_ref(), LONGEST_MESSAGE),
        }
    }

    /// The conditions that it has; those that are not here are removed.
    fn conditions(&self) -> Vec<(&'static str, &'static str)> {
        match self.progress {
            Progress::Ready => vec![(READY, "True")],
            Progress::Reconciling => vec![(READY, "False"), (RECONCILING, "True")],
            Progress::Stalled => vec![(READY, "False"), (STALLED, "True")],
            Progress::Idle => vec![],
        }
    }

    /// The merge patch of the status that makes `recorded` say this; `None` if it does. Conditions of other types are kept.
    pub fn patch(&self, recorded: &Recorded, now: Timestamp) -> Option<Value> {
        let mut patch = Map::new();
        let mut set = |field: &str, differs: bool, value: Value| {
            if differs {
                patch.insert(field.into(), value);
            }
        };
        let time = |time: Option<Timestamp>| time.map_or(Value::Null, |time| json!(Time(time)));
        let new_state = recorded.state != Some(self.state);
        set("state", new_state, json!(self.state));
        set("stateTime", new_state || recorded.state_time.is_none(), json!(Time(now)));
        set("targetStatus", recorded.target_status != self.target_status, json!(self.target_status));
        set(
            "workload",
            recorded.workload != self.workload,
            json!(self.workload.as_ref().map(Reference::to_json)),
        );
        set("submissionTime", recorded.submitted != self.submitted, time(self.submitted));
        set("startTime", recorded.started != self.started, time(self.started));
        set("completionTime", recorded.completed != self.completed, time(self.completed));
        set("url", recorded.url != self.url, json!(self.url));
        set("message", recorded.message.as_deref() != Some(&*self.message), json!(self.message));
        let generation = self.observed_generation;
        set("observedGeneration", recorded.observed_generation != generation, json!(generation));
        if let Some(conditions) = self.new_conditions(recorded, now) {
            set("conditions", true, conditions);
        }
        (!patch.is_empty()).then_some(Value::Object(patch))
    }

    /// All conditions, if they are not the recorded ones.
    fn new_conditions(&self, recorded: &Recorded, now: Timestamp) -> Option<Value> {
        let of_type = |r#type: &str| {
            recorded.conditions.iter().find(move |c| c.get("type").and_then(Value::as_str) == Some(r#type))
        };
        let own = self.conditions().into_iter().map(|(r#type, status)| {
            let before = of_type(r#type);
            let same = before.is_some_and(|c| c.get("status").and_then(Value::as_str) == Some(status));
            let since = before.filter(|_| same).and_then(|c| c.get("lastTransitionTime").cloned());
            json!({
                "type": r#type, "status": status, "reason": <&str>::from(self.reason), "message": self.message,
                "observedGeneration": self.observed_generation.unwrap_or_default(),
                "lastTransitionTime": since.unwrap_or_else(|| json!(Time(now))),
            })
        });
        let is_own = |c: &Map<String, Value>| {
            let r#type = c.get("type").and_then(Value::as_str);
            r#type.is_some_and(|r#type| [READY, RECONCILING, STALLED].contains(&r#type))
        };
        let others = recorded.conditions.iter().filter(|c| !is_own(c)).cloned().map(Value::Object);
        let all: Vec<Value> = others.chain(own).collect();
        let same = all.len() == recorded.conditions.len()
            && all.iter().all(|new| recorded.conditions.iter().any(|old| new.as_object() == Some(old)));
        (!same).then_some(Value::Array(all))
    }
}

impl Reference {
    fn to_json(&self) -> Value {
        let Self { api_version, kind, name, uid } = self;
        // In a merge patch, null removes the uid of an earlier one.
        json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid})
    }
}
