//! Objects that this version cannot decode, stored by means of a loosened CRD: one bad object harms only itself.

use ai_api_operator::api::{BulkUpdate, BulkUpdateStatus, Kind};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use support::{World, conditions, item, outcome, until};

use crate::alone;

#[tokio::test]
async fn the_others_are_served_and_the_bad_one_is_reported() {
    let _alone = alone().await;
    let mut world = World::new("unreadable").await;
    world.loosen("executions.aiapi.dev", &["spec", "status"]);
    world.loosen("bulkupdates.aiapi.dev", &["spec", "status"]);
    for (name, status) in [
        ("newer-state", json!({"state": "PAUSED"})),
        ("no-object", json!("STOPPED")),
        ("lower-case", json!({"state": "stopped"})),
        ("number", json!({"state": 7})),
    ] {
        world.own(Kind::Execution, name, "STOPPED").await;
        // The schema in force changes a moment after the CRD has.
        let patch = Patch::Merge(json!({"status": status}));
        until("the loosened schema", || async {
            world.targets(Kind::Execution).patch_status(name, &PatchParams::default(), &patch).await.is_ok()
        })
        .await;
    }
    world.own(Kind::Execution, "good-1", "STOPPED").await;
    let managed = json!({"managedBy": "example.com/other"});
    world.target(Kind::Execution, "managed-1", managed, json!({"state": "RUNNING"})).await;
    world.next_second().await;
    let bulk_updates = submit_bad(&world).await;
    world.operator.start(&[]);

    let ids = ["newer-state", "no-object", "lower-case", "number", "good-1"];
    let items: Vec<_> = ids.iter().map(|id| json!({"id": id, "targetStatus": "DELETED"})).collect();
    let status = world.carry_out("mixed", json!({"executions": items})).await;
    for id in &ids[..4] {
        assert_eq!(outcome(&status, Kind::Execution, id), "Refused Unreadable");
        assert!(world.find(Kind::Execution, id).await.is_some(), "{id}");
    }
    assert_eq!(outcome(&status, Kind::Execution, "good-1"), "Settled");
    let message = item(&status, Kind::Execution, "newer-state").message.clone().unwrap();
    assert!(message.starts_with("status.state: unknown variant `PAUSED`"), "{message}");
    let log = world.operator.log();
    for id in &ids[..4] {
        assert!(log.contains(&format!("target=Execution/unreadable/{id}")), "{id}: {log}");
    }

    conditions_say_so(&world, &bulk_updates).await;
}

/// Creates a BulkUpdate that cannot be read.
async fn submit_bad(world: &World) -> Api<DynamicObject> {
    let bad: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate", "metadata": {"name": "bad"},
        "spec": {"executions": [{"id": "good-1", "targetStatus": "EXPLODED"}]}
    }))
    .unwrap();
    let resource = ApiResource::erase::<BulkUpdate>(&());
    let bulk_updates = Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    until("the loosened schema", || async {
        bulk_updates.create(&PostParams::default(), &bad).await.is_ok()
    })
    .await;
    bulk_updates
}

/// Found by the simulation: conditions that were refused once were never written.
#[tokio::test]
async fn its_conditions_are_tried_until_they_are_accepted() {
    let _alone = alone().await;
    let mut world = World::new("unreadable-refused").await;
    world.loosen("bulkupdates.aiapi.dev", &["spec", "status"]);
    let bulk_updates = submit_bad(&world).await;
    let [policy, binding] = refuses_every_status(&world.namespace);
    for manifest in [&policy, &binding] {
        world.kubectl_ok(&["create", "-f", "-"], &manifest.to_string());
    }
    let patch = r#"{"status": {"observedGeneration": 1}}"#;
    until("the policy is in force", || async {
        let arguments = ["patch", "bu/bad", "--subresource=status", "--type=merge", "--dry-run=server", "-p"];
        !world.kubectl(&[&arguments[..], &[patch]].concat(), "").0
    })
    .await;
    world.operator.start(&[]);
    until("its conditions are refused", || async {
        let log = world.operator.log();
        log.contains("cannot write the status; retrying") && log.contains("no status for now")
    })
    .await;
    assert_eq!(bulk_updates.get("bad").await.unwrap().data.get("status"), None);
    for manifest in [&binding, &policy] {
        world.kubectl_ok(&["delete", "-f", "-"], &manifest.to_string());
    }
    until("its conditions are accepted", || async {
        bulk_updates.get("bad").await.unwrap().data["status"]["completionTime"].is_string()
    })
    .await;
}

/// A policy of somebody else, and its binding, by which no status of a BulkUpdate in this namespace can be written: 422.
fn refuses_every_status(namespace: &str) -> [Value; 2] {
    let group = "admissionregistration.k8s.io";
    let statuses = json!({"apiGroups": ["aiapi.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
        "resources": ["bulkupdates/status"]});
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let policy = json!({"apiVersion": format!("{group}/v1"), "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {"matchConstraints": {"namespaceSelector": here, "resourceRules": [statuses]},
            "validations": [{"expression": "false", "message": "no status for now"}]}});
    let binding = json!({"apiVersion": format!("{group}/v1"), "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace}, "spec": {"policyName": namespace, "validationActions": ["Deny"]}});
    [policy, binding]
}

/// The conditions of an unreadable BulkUpdate: one that was never planned, and one that was.
async fn conditions_say_so(world: &World, bulk_updates: &Api<DynamicObject>) {
    // Its conditions say so, and waiting for its end does not time out.
    let output =
        world.kubectl_ok(&["wait", "bu/bad", "--for=jsonpath={.status.completionTime}", "--timeout=30s"], "");
    assert!(output.contains("condition met"), "{output}");
    let bad = bulk_updates.get("bad").await.unwrap();
    let status: BulkUpdateStatus = serde_json::from_value(bad.data["status"].clone()).unwrap();
    let expected = ["Accepted False Unreadable", "Ready False Unreadable", "Stalled True Unreadable"];
    assert_eq!(conditions(&status), expected);
    assert!(status.condition("Ready").unwrap().message.contains("EXPLODED"), "{status:?}");
    assert!(status.start_time.is_none() && status.executions.is_none(), "{status:?}");
    let events_of = |name: &str| {
        let items =
            format!(r#"{{range .items[?(@.regarding.name=="{name}")]}}{{.reason}} {{.note}}{{"\n"}}{{end}}"#);
        world.kubectl_ok(&["get", "events.events.k8s.io", "-o", &format!("jsonpath={items}")], "")
    };
    until("the event about the bad BulkUpdate", || async {
        let events = events_of("bad");
        events.contains("it cannot be read, so nothing is done for it") && events.contains("EXPLODED")
    })
    .await;
    let edit = async |name: &str, target_status: &str| {
        let spec = json!({"executions": [{"id": "managed-1", "targetStatus": target_status}]});
        bulk_updates
            .patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec})))
            .await
            .unwrap();
    };
    // A correction is another request: this one has finished.
    edit("bad", "STOPPED").await;
    world
        .bulk_until("bad", "the new generation is acknowledged", |b| {
            b.status.as_ref().is_some_and(|s| Some(s.observed_generation) == b.metadata.generation)
        })
        .await;
    let untouched = world.find(Kind::Execution, "managed-1").await.unwrap();
    assert_eq!(untouched.data["status"]["targetStatus"], json!(null));

    // A planned one keeps its record while it is unreadable, and continues when it is readable again.
    world.submit("midway", json!({"executions": [{"id": "managed-1", "targetStatus": "STOPPED"}]})).await;
    world.ready_reason("midway", "Settling").await;
    for _ in 0..3 {
        edit("midway", "EXPLODED").await;
        until("its conditions say so", || async {
            let status = bulk_updates.get("midway").await.unwrap().data["status"].clone();
            let ready = status["conditions"]
                .as_array()
                .unwrap()
                .iter()
                .find(|c| c["type"] == "Ready")
                .unwrap()
                .clone();
            assert_eq!(status["executions"][0]["result"], "Scheduled", "{status}");
            assert!(status.get("completionTime").is_none(), "{status}");
            ready["reason"] == "Unreadable" && ready["status"] == "False"
        })
        .await;
        edit("midway", "STOPPED").await;
        world.ready_reason("midway", "Settling").await;
    }
    // All three times are one event (or two, if five minutes passed in between).
    until("the event about it", || async { events_of("midway").contains("Unreadable ") }).await;
    let events = events_of("midway");
    assert!(events.matches("Unreadable ").count() <= 2, "{events}");
    world.set_status(Kind::Execution, "managed-1", json!({"state": "STOPPED"})).await;
    let status = world.finished("midway").await;
    assert_eq!(outcome(&status, Kind::Execution, "managed-1"), "Settled");
}
