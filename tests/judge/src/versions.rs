//! Objects at one time, and the rules of the AI API about them.

use ai_api_operator::api::{BulkUpdate, Kind, Reason, TargetStatus};
use serde_json::Value;

use crate::facts::{Settings, Version};

const STATES: [&str; 7] = ["UNKNOWN", "PENDING", "RUNNING", "COMPLETED", "DEAD", "STOPPING", "STOPPED"];
const DESIRED: [&str; 4] = ["COMPLETED", "RUNNING", "STOPPED", "DELETED"];

impl Version {
    pub fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn state(&self) -> &str {
        match self.text("/status/state") {
            "" => "UNKNOWN",
            state => state,
        }
    }

    pub fn stop_pending(&self) -> bool {
        self.text("/status/targetStatus") == "STOPPED"
    }

    /// The uid of the BulkUpdate that requested the stop.
    pub fn stopped_by(&self) -> &str {
        self.text("/status/stopRequest/uid")
    }

    pub fn terminating(&self) -> bool {
        !self.text("/metadata/deletionTimestamp").is_empty()
    }

    /// RFC 3339 in whole seconds, which sorts by time.
    pub fn created(&self) -> &str {
        self.text("/metadata/creationTimestamp")
    }

    pub fn generation(&self) -> i64 {
        self.object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default()
    }

    /// Whether it is an Execution or a Deployment.
    pub fn is_target(&self) -> bool {
        kind_of(&self.plural).is_some()
    }

    /// Whether it is the operator's to run something for it.
    pub fn runs_something(&self) -> bool {
        let spec = &self.object["spec"];
        let asks = |field: &str| spec[field].is_object();
        self.is_target() && spec["managedBy"].is_null() && (asks("template") || asks("workloadRef"))
    }

    /// Whether it has ended, or nothing is left of it.
    pub fn has_ended(&self) -> bool {
        self.deleted || ["STOPPED", "COMPLETED", "DEAD"].contains(&self.state())
    }

    /// Whether its spec or status has anything that the schema does not allow.
    pub fn is_unreadable(&self) -> bool {
        let not = |pointer: &str, words: &[&str]| {
            let value = self.object.pointer(pointer).filter(|value| !value.is_null());
            value.is_some_and(|value| value.as_str().is_none_or(|word| !words.contains(&word)))
        };
        let no_object = |pointer: &str| {
            self.object.pointer(pointer).is_some_and(|value| !(value.is_object() || value.is_null()))
        };
        let no_text =
            |pointer: &str| self.object.pointer(pointer).is_some_and(|v| !(v.is_string() || v.is_null()));
        not("/status/state", &STATES)
            || not("/status/targetStatus", &DESIRED)
            || no_object("/spec")
            || no_object("/status")
            || no_object("/status/stopRequest")
            || no_text("/spec/managedBy")
            || self
                .object
                .pointer("/status/stopRequest")
                .is_some_and(|request| request.is_object() && !request["uid"].is_string())
    }

    /// Of a BulkUpdate: typed. None if it cannot be read.
    pub fn bulk(&self) -> Option<BulkUpdate> {
        serde::Deserialize::deserialize(&*self.object).ok()
    }
}

/// The kind of target with this plural.
pub fn kind_of(plural: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.plural() == plural)
}

/// What the AI API's rules say about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Eligible,
    Not(Reason),
}

/// Whether this may be done to the object as it is, whichever object was meant; the first reason against it.
pub fn verdict(version: &Version, verb: TargetStatus, settings: &Settings) -> Verdict {
    let state = version.state();
    if version.terminating() {
        return Verdict::Not(Reason::Terminating);
    }
    if version.is_unreadable() {
        return Verdict::Not(Reason::Unreadable);
    }
    let fits = match verb {
        TargetStatus::Stopped => ["PENDING", "RUNNING"].contains(&state),
        TargetStatus::Deleted => {
            let completed =
                settings.delete_completed && version.plural == "executions" && state == "COMPLETED";
            ["STOPPED", "DEAD", "UNKNOWN"].contains(&state) || completed
        }
    };
    match verb {
        _ if !fits => Verdict::Not(Reason::WrongState),
        TargetStatus::Stopped if version.stop_pending() => Verdict::Not(Reason::StopPending),
        _ => Verdict::Eligible,
    }
}

/// The rules of the AI API.
pub fn may(version: &Version, verb: TargetStatus, settings: &Settings) -> bool {
    verdict(version, verb, settings) == Verdict::Eligible
}
