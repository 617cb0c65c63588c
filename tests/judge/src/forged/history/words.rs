//! What a status says.

use serde_json::{Value, json};

use super::second;

/// The status of the BulkUpdate with these results.
pub fn status(results: [&str; 3], over: bool) -> Value {
    let item = |id: &str, verb: &str, result: &str, state: &str| {
        let (result, reason) = result.split_once(' ').unwrap_or((result, ""));
        let mut item = json!({"id": id, "targetStatus": verb, "result": result, "uid": format!("uid-of-{id}"),
            "observedState": state});
        if !reason.is_empty() {
            item["reason"] = reason.into();
        }
        item
    };
    let count = |word: &str| results.iter().filter(|result| result.starts_with(word)).count();
    let stopped = if results[0] == "Settled" { "STOPPED" } else { "RUNNING" };
    let ready = match (over, count("Failed"), count("Refused")) {
        (false, ..) if count("Planned") > 0 => "Applying",
        (false, ..) => "Settling",
        (_, 1.., _) => "ItemsFailed",
        (_, _, 1..) => "ItemsRefused",
        _ if count("Eligible") > 0 => "DryRun",
        _ => "Settled",
    };
    let ok = ["Settled", "DryRun"].contains(&ready);
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({"type": type_, "status": status, "reason": reason, "message": format!("it is {ready}"),
            "observedGeneration": 1, "lastTransitionTime": second(20_000)})
    };
    let mut conditions = vec![
        condition("Accepted", "True", "Planned"),
        condition("Ready", if ok { "True" } else { "False" }, ready),
    ];
    match (over, ok) {
        (false, _) => conditions.push(condition("Reconciling", "True", ready)),
        (true, false) => conditions.push(condition("Stalled", "True", ready)),
        (true, true) => {}
    }
    let mut status = json!({"observedGeneration": 1, "conditions": conditions, "startTime": second(20_000),
        "summary": {"total": 3, "planned": count("Planned"), "eligible": count("Eligible"),
            "scheduled": count("Scheduled"), "settled": count("Settled"), "refused": count("Refused"),
            "failed": count("Failed")},
        "executions": [item("stop-me", "STOPPED", results[0], stopped),
            item("delete-me", "DELETED", results[1], "STOPPED"), item("refuse-me", "DELETED", results[2], "RUNNING")]});
    if over {
        status["completionTime"] = second(20_000).into();
    }
    status
}

/// The conditions of a status without a plan.
pub fn unplanned(accepted: &str, reason: &str) -> Value {
    let condition = |type_: &str, status: &str| {
        json!({"type": type_, "status": status, "reason": reason, "message": "", "observedGeneration": 1,
            "lastTransitionTime": second(20_000)})
    };
    let last = if accepted == "False" { "Stalled" } else { "Reconciling" };
    let conditions = [condition("Accepted", accepted), condition("Ready", "False"), condition(last, "True")];
    let mut status = json!({"observedGeneration": 1, "conditions": conditions});
    if accepted == "False" {
        status["completionTime"] = second(20_000).into();
    }
    status
}
