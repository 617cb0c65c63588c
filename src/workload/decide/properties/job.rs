//! A Job, and what its controller does with it.

use serde_json::{Value, json};

/// Whether it has completed or failed.
pub fn is_over(job: &Value) -> bool {
    job["status"]["conditions"].to_string().contains("Complete")
        || job["status"]["conditions"].to_string().contains("Failed")
}

/// How many Pods it has.
pub fn pods(job: &Value) -> u64 {
    job["status"]["active"].as_u64().unwrap_or(0) + job["status"]["terminating"].as_u64().unwrap_or(0)
}

/// The Job controller: it starts the Pods, or ends them.
pub fn job_goes_on(job: &mut Value) {
    if is_over(job) {
        return;
    }
    if job["spec"]["suspend"] == true {
        let active = job["status"]["active"].as_u64().unwrap_or(0);
        job["status"] = json!({"terminating": active.max(job["status"]["terminating"].as_u64().unwrap_or(0)),
            "conditions": [{"type": "Suspended", "status": "True"}]});
    } else {
        job["status"] = json!({"active": 1, "startTime": "2026-11-30T12:00:00Z", "conditions": []});
    }
}

/// It completes, or fails, if it runs.
pub fn end(job: &mut Value, how: &str) {
    if pods(job) > 0 && job["status"]["active"] == 1 && job["spec"]["suspend"] == false {
        job["status"] =
            json!({"startTime": "2026-11-30T12:00:00Z", "conditions": [{"type": how, "status": "True"}]});
    }
}

/// A JSON merge patch (RFC 7386).
pub fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let Value::Object(fields) = value else { unreachable!() };
    for (name, change) in patch {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}
