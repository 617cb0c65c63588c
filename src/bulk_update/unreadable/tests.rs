//! The status of a BulkUpdate that cannot be read.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::bulk_update::fixtures::{answering, at};

fn stored(status: &Value) -> Stored {
    let object = json!({
        "metadata": {"name": "nightly", "namespace": "team-a", "uid": "u", "resourceVersion": "7", "generation": 3},
        "spec": {"executions": [{"id": "exec-1", "targetStatus": "EXPLODED"}]}, "status": status,
    });
    serde_json::from_value(object).unwrap()
}

fn written(status: &Value) -> Option<Value> {
    let stored = stored(status);
    patch(&stored, stored.flaw.as_deref().unwrap(), at(5))
}

fn conditions_in(patch: &Value) -> Vec<String> {
    let conditions = patch["conditions"].as_array().unwrap().iter();
    conditions
        .map(|c| {
            let word = |field: &str| c[field].as_str().unwrap().to_owned();
            assert_eq!(c["observedGeneration"], 3);
            format!("{} {} {}", word("type"), word("status"), word("reason"))
        })
        .collect()
}

/// The status as the API server would have it after the patch.
fn merged(status: &Value, patch: &Value) -> Value {
    let (Value::Object(patch), Value::Object(mut merged)) =
        (patch, if status.is_object() { status.clone() } else { json!({}) })
    else {
        unreachable!()
    };
    merged.extend(patch.clone());
    Value::Object(merged)
}

#[test]
fn one_that_was_never_planned_is_over_and_says_why() {
    for before in [json!({"observedGeneration": -1}), json!({}), json!(null)] {
        let patch = written(&before).unwrap();
        let expected = ["Accepted False Unreadable", "Ready False Unreadable", "Stalled True Unreadable"];
        assert_eq!(conditions_in(&patch), expected);
        assert_eq!(patch["observedGeneration"], 3);
        assert_eq!(patch["completionTime"], at(5).to_string());
        let message = patch["conditions"][1]["message"].as_str().unwrap();
        assert!(message.contains("spec.executions[0].targetStatus: unknown variant `EXPLODED`"), "{message}");
    }
}

#[test]
fn one_that_was_planned_keeps_its_items_and_has_no_end() {
    let accepted = json!({"type": "Accepted", "status": "True", "reason": "Planned", "message": "it was planned",
        "observedGeneration": 1, "lastTransitionTime": at(1).to_string()});
    let reconciling = json!({"type": "Reconciling", "status": "True", "reason": "Applying", "message": "m",
        "observedGeneration": 1, "lastTransitionTime": at(1).to_string()});
    let before = json!({"observedGeneration": 1, "startTime": at(1).to_string(), "conditions": [accepted, reconciling],
        "executions": [{"id": "exec-1", "targetStatus": "DELETED", "result": "Planned", "uid": "v"}]});
    let patch = written(&before).unwrap();
    assert_eq!(
        conditions_in(&patch),
        ["Accepted True Planned", "Ready False Unreadable", "Stalled True Unreadable"]
    );
    assert!(patch.get("completionTime").is_none() && patch.get("executions").is_none());
    // If the conditions cannot be read either, no claim is made.
    let patch = written(&json!({"startTime": at(1).to_string(), "conditions": 5})).unwrap();
    assert_eq!(conditions_in(&patch)[0], "Accepted Unknown Unreadable");
    let patch = written(&json!("garbage")).unwrap();
    assert!(patch.get("completionTime").is_none() && patch["startTime"].is_string());
}

#[test]
fn nothing_is_written_again_that_the_schema_refuses() {
    let other = |type_: usize| json!({"type": format!("Other{type_}"), "message": "", "lastTransitionTime": at(1).to_string()});
    let accepted = |field: &str, value: &str| {
        let mut accepted = json!({"type": "Accepted", "status": "True", "reason": "Planned", "message": "it was planned",
            "lastTransitionTime": at(1).to_string()});
        accepted[field] = value.into();
        accepted
    };
    let others: Vec<_> = (0..8).map(other).collect();
    let patch = written(&json!({"conditions": others})).unwrap();
    assert_eq!(
        conditions_in(&patch),
        ["Accepted False Unreadable", "Ready False Unreadable", "Stalled True Unreadable"]
    );
    for (field, value) in [("reason", ""), ("status", "Yes"), ("status", "")] {
        let before = json!({"startTime": at(1).to_string(), "conditions": [accepted(field, value)]});
        let patch = written(&before).unwrap();
        assert_eq!(conditions_in(&patch)[0], "Accepted Unknown Unreadable", "{field}");
    }
}

#[test]
fn it_is_written_once() {
    let begun = json!({"observedGeneration": 1, "startTime": at(1).to_string()});
    for before in [json!({"observedGeneration": -1}), begun, json!("garbage")] {
        let after = merged(&before, &written(&before).unwrap());
        // Nor later.
        let stored = stored(&after);
        assert_eq!(patch(&stored, stored.flaw.as_deref().unwrap(), at(500)), None, "{after}");
    }
}

/// The requests to an API server that answers like this, until there are no more.
async fn asked(answer: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Vec<String> {
    let count = Arc::new(Mutex::new(0));
    let (ctx, asked) = answering(move |_, _| {
        let mut count = count.lock().unwrap();
        *count += 1;
        (
            answer(*count),
            json!({"kind": "Status", "message": "m", "details": {"name": "nightly"}, "metadata": {"resourceVersion": "8"}}),
        )
    });
    let stored = stored(&json!({}));
    let _report = Report::begin(&ctx, &stored, "it is odd", at(5), 0);
    ctx.tracker.close();
    ctx.tracker.wait().await;
    asked.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn it_is_tried_until_it_is_written_or_gone() {
    let path = "PATCH /apis/aiapi.dev/v1alpha1/namespaces/team-a/bulkupdates/nightly/status";
    for (codes, requests) in [
        (&[200][..], 1),
        (&[500, 429, 403, 503, 200], 5),
        (&[503, 409, 200], 3),
        (&[404, 200], 1),
        (&[422, 400, 413, 200], 4),
    ] {
        let asked = asked(|nth| codes[nth - 1]).await;
        assert_eq!(asked, vec![path; requests], "{codes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_without_a_name_or_while_it_is_being_deleted() {
    let (ctx, asked) = answering(|_, _| (200, json!({})));
    for (field, value) in
        [("name", json!(5)), ("resourceVersion", json!(null)), ("deletionTimestamp", json!("at any time"))]
    {
        let mut object =
            json!({"metadata": {"name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "7"}});
        object["metadata"][field] = value;
        let stored: Stored = serde_json::from_value(object).unwrap();
        drop(Report::begin(&ctx, &stored, "it is odd", at(5), 0));
    }
    ctx.tracker.close();
    ctx.tracker.wait().await;
    assert!(asked.lock().unwrap().is_empty());
}
