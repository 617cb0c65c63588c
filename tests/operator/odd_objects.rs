//! Odd but valid objects that users can store: no list, watch or answer fails because of them, and every BulkUpdate
//! gets its answer.

use ai_api_operator::api::{BulkUpdateStatus, ItemResult, Kind};
use serde_json::{Value, json};
use support::{World, conditions, count, item, until, until_ok};

const OTHER: &str = "pipelines.example.com/runner";

fn path(world: &World, plural: &str, name: &str) -> String {
    format!("/apis/aiapi.dev/v1alpha1/namespaces/{}/{plural}/{name}", world.namespace)
}

/// Changes fields that anybody who may patch the object can change.
async fn patch(world: &World, plural: &str, name: &str, patch: &Value) {
    let request = http::Request::patch(path(world, plural, name))
        .header("content-type", "application/merge-patch+json")
        .body(patch.to_string().into_bytes());
    world.client.request::<Value>(request.unwrap()).await.unwrap();
}

/// Its status, whatever its metadata contain.
async fn status(world: &World, name: &str) -> BulkUpdateStatus {
    let request = http::Request::get(path(world, "bulkupdates", name)).body(Vec::new()).unwrap();
    let object: Value = world.client.request(request).await.unwrap();
    serde_json::from_value(object["status"].clone()).unwrap()
}

/// Its status at the end. Earlier content need not be readable.
async fn over(world: &World, name: &str) -> BulkUpdateStatus {
    let request = || http::Request::get(path(world, "bulkupdates", name)).body(Vec::new()).unwrap();
    until(&format!("{name} is finished"), || async {
        world.client.request::<Value>(request()).await.unwrap()["status"]["completionTime"].is_string()
    })
    .await;
    status(world, name).await
}

/// Waits until it says so. Other content need not be readable.
async fn is_ready(world: &World, name: &str, reason: &str) {
    let request = || http::Request::get(path(world, "bulkupdates", name)).body(Vec::new()).unwrap();
    until_ok(&format!("{name} is {reason}"), || async {
        let object: Value = world.client.request(request()).await.unwrap();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is = |condition: &Value| condition["type"] == "Ready" && condition["reason"] == reason;
        if conditions.iter().any(is) { Ok(()) } else { Err(object["status"].to_string()) }
    })
    .await;
}

async fn ready(world: &World, name: &str, reason: &str) -> BulkUpdateStatus {
    is_ready(world, name, reason).await;
    status(world, name).await
}

fn stop(id: &str) -> Value {
    json!({"executions": [{"id": id, "targetStatus": "STOPPED"}]})
}

/// Metadata that the client library cannot decode, or that would fill up the operator.
fn odd() -> Value {
    let entry = |n: usize, time: &str| {
        json!({"manager": format!("m{n}"), "operation": "Update", "apiVersion": "aiapi.dev/v1alpha1", "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:note{n}"): {}}}}})
    };
    let times = ["9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"];
    json!({"metadata": {
        "managedFields": times.iter().enumerate().map(|(n, time)| entry(n, time)).collect::<Vec<_>>(),
        "annotations": {"note0": "x".repeat(200_000), "note1": "\u{0}\u{2028}\u{fffd}<&>\"\\", "note2": ""},
        "labels": {"label": "value"},
        "finalizers": ["example.com/keep"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "none", "uid": "none"}],
    }})
}

#[tokio::test]
async fn odd_metadata_blocks_nothing_while_it_runs_and_after_a_restart() {
    let mut world = World::running("odd-metadata").await;
    let managed = json!({"managedBy": OTHER});
    for id in ["settles-1", "settles-2"] {
        world.target(Kind::Execution, id, managed.clone(), json!({"state": "RUNNING"})).await;
    }
    world.submit("settling", stop("settles-1")).await;
    ready(&world, "settling", "Settling").await;
    patch(&world, "bulkupdates", "settling", &odd()).await;
    patch(&world, "executions", "settles-1", &odd()).await;
    patch(&world, "executions", "settles-2", &odd()).await;
    // Odd objects are served, and ordinary ones as well.
    world.submit("odd-target", stop("settles-2")).await;
    ready(&world, "odd-target", "Settling").await;
    world.own(Kind::Execution, "plain-1", "RUNNING").await;
    world.submit("plain-1", stop("plain-1")).await;
    ready(&world, "plain-1", "Settled").await;
    // A watch shows it, and the odd BulkUpdate's status is written.
    world.set_status(Kind::Execution, "settles-1", json!({"state": "STOPPED"})).await;
    assert_eq!(count(&ready(&world, "settling", "Settled").await, ItemResult::Settled), 1);

    // The same from a list.
    world.operator.stop();
    world.set_status(Kind::Execution, "settles-2", json!({"state": "STOPPED"})).await;
    world.own(Kind::Execution, "plain-2", "RUNNING").await;
    world.submit("unseen", stop("plain-2")).await;
    patch(&world, "bulkupdates", "unseen", &odd()).await;
    world.operator.start(&[]);
    for name in ["odd-target", "unseen"] {
        assert_eq!(count(&ready(&world, name, "Settled").await, ItemResult::Settled), 1, "{name}");
    }
    // Other field managers still own their metadata.
    let request = http::Request::get(path(&world, "bulkupdates", "unseen")).body(Vec::new()).unwrap();
    let object: Value = world.client.request(request).await.unwrap();
    assert_eq!(object["metadata"]["annotations"], odd()["metadata"]["annotations"]);
    assert_eq!(object["metadata"]["labels"], odd()["metadata"]["labels"]);
    assert!(!world.operator.log().contains("a watch failed"), "{}", world.operator.log());
}

#[tokio::test]
async fn what_the_schema_takes_is_answered_and_the_rest_is_refused_by_the_api_server() {
    let world = World::running("odd-values").await;
    let manifest = |name: &str, field: &str, value: &Value| {
        let mut spec = stop("nobody");
        spec[field] = value.clone();
        json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "metadata": {"name": name}, "spec": spec})
            .to_string()
    };
    let (never, past) = ("ItemsRefused", "DeadlineExceeded");
    for (n, (field, value, reason)) in [
        ("notAfter", json!("9999-12-31T23:59:59Z"), never),
        ("notAfter", json!("9999-12-31T23:59:59.999999999-23:59"), never),
        ("notAfter", json!("9999-12-30T22:00:00.5+00:00"), never),
        ("notAfter", json!("0000-01-01T00:00:00Z"), past),
        ("notAfter", json!("0000-01-01T00:00:00+23:59"), past),
        ("notAfter", json!("0001-01-01T00:00:00Z"), past),
        ("notAfter", json!("1969-12-31T23:59:59.1-01:00"), past),
        ("startingDeadlineSeconds", json!(i32::MAX), never),
        ("activeDeadlineSeconds", json!(i32::MAX), never),
        ("activeDeadlineSeconds", json!(60.0), never),
        ("ttlSecondsAfterFinished", json!(i32::MAX), never),
        ("dryRun", json!(null), never),
        ("deployments", json!([]), never),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("taken-{n}");
        let (ok, message) = world.kubectl(&["create", "-f", "-"], &manifest(&name, field, &value));
        assert!(ok, "{field} {value}: {message}");
        let status = world.finished(&name).await;
        assert_eq!(
            status.condition("Ready").unwrap().reason,
            reason,
            "{field} {value}: {:?}",
            conditions(&status)
        );
    }
    let beyond = i64::from(i32::MAX) + 1;
    for (field, value) in [
        ("notAfter", json!("2026-02-30T00:00:00Z")),
        ("notAfter", json!("2026-13-01T00:00:00Z")),
        ("notAfter", json!("2026-13-45T99:99:99Z")),
        ("notAfter", json!("2026-00-01T00:00:00Z")),
        ("notAfter", json!("2027-02-29T00:00:00Z")),
        ("notAfter", json!("2026-01-01T24:00:00Z")),
        ("notAfter", json!("2026-06-30T23:59:60Z")),
        ("notAfter", json!("2026-01-01T00:00:00+24:00")),
        ("notAfter", json!("2026-01-01T00:00:00+00:60")),
        ("notAfter", json!("2026-01-01T00:00:00")),
        ("notAfter", json!("10000-01-01T00:00:00Z")),
        ("notAfter", json!("")),
        ("notAfter", json!([])),
        ("notAfter", json!(["2999-01-01T00:00:00Z"])),
        ("notAfter", json!({"time": "2999-01-01T00:00:00Z"})),
        ("notAfter", json!(4_102_444_800_u32)),
        ("dryRun", json!([true])),
        ("startingDeadlineSeconds", json!([60])),
        ("ttlSecondsAfterFinished", json!([])),
        ("executions", json!([[{"id": "nobody", "targetStatus": "STOPPED"}]])),
        ("deployments", json!([{"id": ["nobody"], "targetStatus": "STOPPED"}])),
        ("deployments", json!([{"id": "nobody", "targetStatus": ["STOPPED"]}])),
        ("deployments", json!([{"id": "nobody", "targetStatus": "STOPPED", "uid": ["u"]}])),
        ("startingDeadlineSeconds", json!(0)),
        ("startingDeadlineSeconds", json!(beyond)),
        ("activeDeadlineSeconds", json!(0)),
        ("activeDeadlineSeconds", json!(beyond)),
        ("activeDeadlineSeconds", json!(1.5)),
        ("ttlSecondsAfterFinished", json!(-1)),
        ("ttlSecondsAfterFinished", json!(beyond)),
        ("ttlSecondsAfterFinished", json!(i64::MAX)),
    ] {
        let (ok, message) =
            world.kubectl(&["create", "--validate=false", "-f", "-"], &manifest("refused", field, &value));
        assert!(!ok && message.contains(&format!("spec.{field}")), "{field} {value}: {message}");
    }
}

#[tokio::test]
async fn any_content_of_a_status_leads_to_an_end() {
    let mut world = World::new("odd-status").await;
    let managed = json!({"managedBy": OTHER});
    let planned = json!({"id": "held", "targetStatus": "STOPPED", "result": "Planned"});
    let times = ["9999-12-31T23:59:59Z", "0000-01-01T00:00:00+12:00", "2026-01-01T00:00:00.123456789Z"];
    for (n, time) in times.iter().enumerate() {
        // Two, because a stop of one BulkUpdate is StopPending for the other.
        for id in ["held", "asked"] {
            world.target(Kind::Execution, id, managed.clone(), json!({"state": "RUNNING"})).await;
        }
        for (name, status) in [
            ("started", json!({"startTime": time})),
            ("recorded", json!({"startTime": time, "executions": [planned]})),
            (
                "reported",
                json!({"conditions": [{"type": "Ready", "status": "False", "reason": "r", "message": "",
                "lastTransitionTime": time}], "observedGeneration": i64::MAX}),
            ),
        ] {
            let id = if name == "reported" { "asked" } else { "held" };
            let name = format!("{name}-{n}");
            world.submit(&name, stop(id)).await;
            patch(&world, "bulkupdates", &format!("{name}/status"), &json!({"status": status})).await;
        }
        world.operator.start(&[]);
        // Without a record nothing is claimed, and nothing is written.
        let status = over(&world, &format!("started-{n}")).await;
        let reason = item(&status, Kind::Execution, "held").reason.map(|reason| format!("{reason:?}"));
        assert_eq!(reason.as_deref(), Some("OutcomeUnknown"), "{time}: {status:?}");
        // One without a uid is corrected: the object is older than the request, and is decided on again.
        for name in ["recorded", "reported"] {
            is_ready(&world, &format!("{name}-{n}"), "Settling").await;
        }
        world.operator.stop();
        for id in ["held", "asked"] {
            world.targets(Kind::Execution).delete(id, &kube::api::DeleteParams::default()).await.unwrap();
        }
    }
}

/// This many labels, and a note of this length, on a BulkUpdate.
fn with_labels(count: usize, note: usize) -> Value {
    let label = |n: usize| (format!("{}.example.com/l{n}", "x".repeat(40)), "v".repeat(60).into());
    let labels: serde_json::Map<_, Value> = (0..count).map(label).collect();
    let metadata = json!({"name": "large", "labels": labels, "annotations": {"note": "n".repeat(note)}});
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "metadata": metadata, "spec": stop("exec-1")})
}

/// The largest number for which it holds, given that it holds for 0 and for none above the largest.
async fn largest(mut beyond: usize, holds: impl AsyncFn(usize) -> bool) -> usize {
    let mut known = 0;
    while beyond - known > 1 {
        let middle = usize::midpoint(known, beyond);
        if holds(middle).await {
            known = middle;
        } else {
            beyond = middle;
        }
    }
    known
}

#[tokio::test]
async fn an_object_too_large_for_a_status_is_reported_in_an_event() {
    let mut world = World::new("large").await;
    world.own(Kind::Execution, "exec-1", "RUNNING").await;
    world.next_second().await;
    let create = async |labels, note| {
        let uri = path(&world, "bulkupdates", "");
        let request =
            http::Request::post(uri.trim_end_matches('/')).header("content-type", "application/json");
        let request = request.body(with_labels(labels, note).to_string().into_bytes()).unwrap();
        world.client.request::<Value>(request).await.is_ok()
    };
    let remove = async || {
        let request = http::Request::delete(path(&world, "bulkupdates", "large")).body(Vec::new()).unwrap();
        world.client.request::<Value>(request).await.unwrap();
    };
    let fits = async |labels, note| {
        let fits = create(labels, note).await;
        if fits {
            remove().await;
        }
        fits
    };
    let labels = largest(20_000, async |labels| fits(labels, 0).await).await;
    let note = largest(1000, async |note| fits(labels, note).await).await;
    assert!(labels > 1000 && create(labels, note).await, "{labels} {note}");
    world.operator.start(&[]);
    let events = [
        "get",
        "events.events.k8s.io",
        "-o",
        "jsonpath={range .items[*]}{.regarding.name} {.reason} {.note}{end}",
    ];
    until("an event says so", || async {
        let events = world.kubectl_ok(&events, "");
        events.contains("large FailedUpdateStatus the object is too large for a status")
            && events.contains("too large")
    })
    .await;
    assert_eq!(world.operator.log().matches("cannot write the status").count(), 1);
    assert!(world.writes().is_empty(), "nothing is written without a plan on record");
    // The others are served, and it is too, once there is space.
    world.carry_out("small", stop("exec-1")).await;
    patch(&world, "bulkupdates", "large", &json!({"metadata": {"labels": null}})).await;
    let status = over(&world, "large").await;
    assert_eq!(status.summary.unwrap().total, 1, "{status:?}");
}
