//! An Execution that runs something: created, stopped, and at its end.

use serde_json::{Value, json};

use super::{History, code, second, shows};

/// The Execution, and the Job that runs for it.
pub const RUN: &str = "train";
pub const JOB: &str = "train-job";

/// Who owns the Job.
pub fn owner() -> Value {
    json!([{"kind": "Execution", "uid": format!("uid-of-{RUN}"), "controller": true, "blockOwnerDeletion": true}])
}

impl History {
    /// Its life, from revision 60 to 68.
    pub fn runs(&mut self) {
        // This is more than one BulkUpdate may cost.
        self.facts.calm = None;
        let old =
            json!({"metadata": {"creationTimestamp": second(-100_000)}, "spec": {"validations": ["create"]}});
        self.version(4, "work-validatingadmissionpolicies", "work", -100_000, old.clone());
        self.version(5, "work-validatingadmissionpolicybindings", "work-binding", -100_000, old);
        let template = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {}});
        let created = json!({"metadata": {"creationTimestamp": second(22_000)}, "spec": {"template": template},
            "status": {"state": "UNKNOWN"}});
        self.version(60, "executions", RUN, 22_000, created);
        self.tells(61, 60, 22_050, &json!({"state": "PENDING", "workload": {"kind": "Job", "name": JOB}}));
        self.creates(62, [22_080, 22_090]);
        self.pod(63, "pod", 22_200);
        self.tells(64, 61, 22_300, &json!({"state": "RUNNING"}));
        self.changes(65, 64, 23_000, json!({"status": {"state": "STOPPING", "targetStatus": "STOPPED"}}));
        self.sends(
            "get",
            "configmaps",
            "ai-api-meta",
            Value::Null,
            [23_050, 23_060],
            shows("ai-api-meta", 3),
        );
        let guard = json!({"uid": format!("uid-of-{JOB}"), "resourceVersion": "62"});
        let stop = json!({"metadata": guard, "spec": {"suspend": true}});
        self.sends("patch", "jobs", JOB, stop, [23_070, 23_080], shows(JOB, 66));
        self.made(66);
        self.changes(66, 62, 23_075, json!({"spec": {"suspend": true}}));
        self.changes(67, 63, 24_000, json!({}));
        self.latest().deleted = true;
        self.sends("get", "jobs", JOB, Value::Null, [24_100, 24_110], shows(JOB, 66));
        self.tells(68, 65, 24_200, &json!({"state": "STOPPED"}));
    }

    /// The operator tells how far it is.
    pub fn tells(&mut self, revision: u64, of: u64, millis: i64, status: &Value) {
        let patch = json!({"metadata": {"resourceVersion": of.to_string()}, "status": status});
        let when = [millis - 10, millis + 10];
        self.sends("patch", "work-executions/status", RUN, patch, when, shows(RUN, revision));
        self.made(revision);
        self.changes(revision, of, millis, json!({"status": status}));
    }

    /// The operator creates the Job.
    pub fn creates(&mut self, revision: u64, when: [i64; 2]) {
        let metadata =
            json!({"ownerReferences": owner(), "labels": {"aiapi.dev/owner-uid": format!("uid-of-{RUN}")}});
        let job = json!({"metadata": metadata, "spec": {"suspend": false}});
        self.sends("create", "jobs", JOB, job.clone(), when, code(201));
        self.made(revision);
        self.version(revision, "jobs", JOB, when[0] + 5, job);
    }

    /// A Pod of the Job.
    pub fn pod(&mut self, revision: u64, name: &str, millis: i64) {
        let owner = json!([{"kind": "Job", "uid": format!("uid-of-{JOB}"), "controller": true}]);
        let pod = json!({"metadata": {"ownerReferences": owner}, "status": {"phase": "Running"}});
        self.version(revision, "pods", name, millis, pod);
    }
}
