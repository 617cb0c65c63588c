//! The Job controller.

use api_server::Kubernetes;
use serde_json::{Value, json};

use super::{Key, has_ended, is_terminating, text};
use crate::world::World;

/// The Pods of a Job.
struct Pods {
    active: Vec<Value>,
    terminating: usize,
    succeeded: usize,
    failed: usize,
}

impl Pods {
    fn of(pods: Vec<Value>) -> Self {
        let in_phase = |phase: &str| pods.iter().filter(|pod| text(pod, "/status/phase") == phase).count();
        let (succeeded, failed) = (in_phase("Succeeded"), in_phase("Failed"));
        let (ending, active): (Vec<_>, Vec<_>) =
            pods.into_iter().filter(|pod| !has_ended(pod)).partition(is_terminating);
        Self { active, terminating: ending.len(), succeeded, failed }
    }

    const fn are_gone(&self) -> bool {
        self.active.is_empty() && self.terminating == 0
    }
}

/// What it does with the Pods.
enum Does {
    Nothing,
    /// Lets so many run.
    Runs(usize),
    Ends,
}

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default()
}

/// The conditions of a status.
struct Conditions<'a> {
    all: Vec<Value>,
    now: &'a Value,
}

impl Conditions<'_> {
    fn has(&self, type_: &str) -> bool {
        self.all.iter().any(|condition| condition["type"] == type_ && condition["status"] == "True")
    }

    fn set(&mut self, type_: &str, status: &str, [reason, message]: [&str; 2]) {
        let known = self.all.iter().position(|condition| condition["type"] == type_);
        if known.is_some_and(|at| self.all[at]["status"] == status) {
            return;
        }
        let condition = json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastProbeTime": self.now, "lastTransitionTime": self.now});
        match known {
            Some(at) => self.all[at] = condition,
            None => self.all.push(condition),
        }
    }
}

impl World {
    /// One sync of a Job as it was seen. Returns its status.
    pub fn run_job(&mut self, (_, namespace, _): &Key, job: &Value) -> Value {
        let now = self.second();
        let uid = text(job, "/metadata/uid");
        let pods = Pods::of(self.pods_of(namespace, uid));
        let (spec, mut status) = (&job["spec"], job["status"].clone());
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        let mut conditions = Conditions { all, now: &now };
        let suspends = spec["suspend"] == true;
        let completions = number(&spec["completions"]).max(1);
        let over = conditions.has("Complete") || conditions.has("Failed");
        let fails = conditions.has("FailureTarget") || pods.failed > number(&spec["backoffLimit"]);
        let succeeds = pods.succeeded >= completions;
        let does = if is_terminating(job) {
            Does::Nothing
        } else if over {
            Does::Ends
        } else if fails {
            let why = ["BackoffLimitExceeded", "Job has reached the specified backoff limit"];
            conditions.set("FailureTarget", "True", why);
            if pods.are_gone() {
                conditions.set("Failed", "True", why);
            }
            Does::Ends
        } else if succeeds {
            let why = ["CompletionsReached", "Reached expected number of succeeded pods"];
            conditions.set("SuccessCriteriaMet", "True", why);
            if pods.are_gone() {
                conditions.set("Complete", "True", why);
                status["completionTime"] = now.clone();
            }
            Does::Ends
        } else if suspends {
            conditions.set("Suspended", "True", ["JobSuspended", "Job suspended"]);
            // Before Kubernetes 1.36 it stays.
            if self.story.setup.kubernetes == Kubernetes::V1_37 {
                status["startTime"] = Value::Null;
            }
            Does::Ends
        } else {
            let resumes = conditions.has("Suspended");
            if resumes {
                conditions.set("Suspended", "False", ["JobResumed", "Job resumed"]);
            }
            if resumes || status["startTime"].is_null() {
                status["startTime"] = now.clone();
            }
            Does::Runs(number(&spec["parallelism"]).min(completions - pods.succeeded))
        };
        self.carry_out(namespace, job, &pods, &does);
        // What it has asked for, it counts.
        let (active, terminating) = match does {
            Does::Nothing => (pods.active.len(), pods.terminating),
            Does::Runs(wanted) => (wanted.max(pods.active.len()), pods.terminating),
            Does::Ends => (0, pods.terminating + pods.active.len()),
        };
        let counted = |count: usize| if count == 0 { Value::Null } else { count.into() };
        status["active"] = counted(active);
        status["succeeded"] = counted(pods.succeeded);
        status["failed"] = counted(pods.failed);
        status["terminating"] = terminating.into();
        status["conditions"] = conditions.all.into();
        if let Some(fields) = status.as_object_mut() {
            fields.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty()));
        }
        status
    }

    fn carry_out(&mut self, namespace: &str, job: &Value, pods: &Pods, does: &Does) {
        match does {
            Does::Nothing => {}
            Does::Ends => pods.active.iter().for_each(|pod| self.delete_pod(namespace, pod)),
            Does::Runs(wanted) => {
                let metadata = &job["metadata"];
                let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"],
                    "uid": metadata["uid"], "controller": true, "blockOwnerDeletion": true});
                for _ in pods.active.len()..*wanted {
                    self.create_pod(namespace, &owner, &job["spec"]["template"]);
                }
            }
        }
    }
}
