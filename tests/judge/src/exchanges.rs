//! Requests, as the API server received them and as the processes sent them.

use ai_api_operator::api::TargetStatus;
use serde_json::Value;

use crate::{
    facts::{Answer, Exchange, Moment, Request, Whole},
    versions::kind_of,
};

impl Request {
    /// Whether it writes to an Execution or Deployment.
    pub fn is_target_write(&self) -> bool {
        self.is_target() && is_change(&self.verb) && self.verb != "create"
    }

    /// Whether it is about Executions or Deployments.
    pub fn is_target(&self) -> bool {
        kind_of(&self.resource).is_some()
    }

    /// Whether it writes the status of a BulkUpdate.
    pub fn is_record(&self) -> bool {
        self.resource == "bulkupdates" && self.subresource == "status" && is_change(&self.verb)
    }

    /// Whether it writes the status of an Execution or Deployment that something runs for.
    pub fn is_work_record(&self) -> bool {
        matches!(&*self.resource, "work-executions" | "work-deployments")
    }

    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The resource version that guards it.
    pub fn guard(&self) -> Option<&str> {
        guard(&self.verb, &self.body)
    }

    pub fn guard_number(&self) -> Option<u64> {
        self.guard()?.parse().ok()
    }

    /// Whether promise 11 counts it among the other requests of a BulkUpdate: reads of the flag, reads and writes of the
    /// BulkUpdate.
    pub fn is_overhead(&self) -> bool {
        let counts = matches!(&*self.resource, "configmaps" | "bulkupdates" | "executions" | "deployments");
        counts && !is_stream(&self.verb) && !(self.is_target_write() && self.succeeded())
    }
}

impl Exchange {
    pub fn is_target(&self) -> bool {
        kind_of(&self.resource).is_some()
    }

    pub fn is_target_write(&self) -> bool {
        self.is_target() && is_change(&self.verb) && self.verb != "create"
    }

    pub fn is_target_read(&self) -> bool {
        self.is_target() && self.verb == "get"
    }

    pub fn is_record(&self) -> bool {
        self.resource == "bulkupdates" && self.subresource == "status" && is_change(&self.verb)
    }

    /// Whether it reads the capability flag.
    pub fn is_flag_read(&self) -> bool {
        self.resource == "configmaps" && self.verb == "get"
    }

    /// Whether an idle replica sends it: leader election and preflight checks.
    pub fn is_in_the_background(&self) -> bool {
        self.resource == "leases"
            || self.dry_run
            || self.resource.is_empty()
            || self.resource.ends_with("accessreviews")
    }

    /// Whether it is about this object.
    pub fn is_about(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.resource == resource && self.namespace == namespace && self.name == name
    }

    pub fn answer(&self) -> Option<&Whole> {
        match &self.ended {
            Some((_, Answer::Whole(whole))) => Some(whole),
            _ => None,
        }
    }

    pub fn code(&self) -> Option<u16> {
        self.answer().map(|answer| answer.code)
    }

    pub fn ended_at(&self) -> Option<Moment> {
        self.ended.as_ref().map(|(moment, _)| *moment)
    }

    pub fn succeeded(&self) -> bool {
        self.code().is_some_and(|code| (200..300).contains(&code))
    }

    /// Whether it has shown the object, or that there is none.
    pub fn has_shown(&self) -> bool {
        self.succeeded() || self.answer().is_some_and(|answer| answer.code == 404 && answer.names_object)
    }

    /// Whether the process cannot know if it was carried out.
    pub fn outcome_unknown(&self) -> bool {
        match &self.ended {
            None | Some((_, Answer::None)) => true,
            Some((_, Answer::NotSent)) => false,
            Some((_, Answer::Whole(whole))) => whole.code >= 500,
        }
    }

    pub fn guard_number(&self) -> Option<u64> {
        guard(&self.verb, &self.body)?.parse().ok()
    }

    /// In messages.
    pub fn words(&self) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!("/{}", self.name) };
        format!("{} of {}{name} by process {} at {}", self.verb, self.resource, self.life, self.sent.at)
    }
}

/// A request about a target, from either side.
pub trait ToTarget {
    /// Resource, namespace and name.
    fn target(&self) -> (&str, &str, &str);

    /// The BulkUpdate that a stop is for, by its uid.
    fn asker(&self) -> Option<&str>;
}

impl ToTarget for Request {
    fn target(&self) -> (&str, &str, &str) {
        (&self.resource, &self.namespace, &self.name)
    }

    fn asker(&self) -> Option<&str> {
        asker(&self.body)
    }
}

impl ToTarget for Exchange {
    fn target(&self) -> (&str, &str, &str) {
        (&self.resource, &self.namespace, &self.name)
    }

    fn asker(&self) -> Option<&str> {
        asker(&self.body)
    }
}

pub fn is_change(verb: &str) -> bool {
    matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection")
}

fn is_stream(verb: &str) -> bool {
    matches!(verb, "watch" | "list")
}

fn guard<'a>(verb: &str, body: &'a Value) -> Option<&'a str> {
    let at = if verb == "delete" { "/preconditions/resourceVersion" } else { "/metadata/resourceVersion" };
    body.pointer(at)?.as_str().filter(|version| !version.is_empty())
}

fn asker(body: &Value) -> Option<&str> {
    body.pointer("/status/stopRequest/uid")?.as_str()
}

/// What a write to a target does.
pub fn verb_of(verb: &str) -> TargetStatus {
    if verb == "delete" { TargetStatus::Deleted } else { TargetStatus::Stopped }
}
