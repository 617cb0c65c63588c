//! What others may write into the Lease, the policy and the binding in addition to the operator's data: it must neither
//! blind nor end the operator, and it stays in the Lease.

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::{World, outcome, until};

use super::{BINDING, POLICY, accepted, in_force};
use crate::alone;

const LEASE: &str = "lease/ai-api-operator";

/// The operator runs, leads and has accepted policy and binding: a new BulkUpdate is carried out.
async fn serves(world: &World, name: &str) {
    world.own(Kind::Execution, name, "STOPPED").await;
    let status =
        world.carry_out(name, json!({"executions": [{"id": name, "targetStatus": "DELETED"}]})).await;
    assert_eq!(outcome(&status, Kind::Execution, name), "Settled", "{name}: {status:?}");
}

/// When the Lease was last renewed.
fn renewed(world: &World) -> String {
    world.kubectl_ok(&["get", LEASE, "-o", "jsonpath={.spec.renewTime}"], "")
}

/// Adds metadata that do not concern the operator.
fn fill(world: &World, object: &str, room: usize) {
    let file = world.plane.folder.join("fill.json");
    let patch = |metadata: &Value| {
        std::fs::write(&file, json!({"metadata": metadata}).to_string()).unwrap();
        world.kubectl_ok(&["patch", object, "--type=merge", "--patch-file", file.to_str().unwrap()], "");
    };
    // The operator's own annotations would take a part of the space.
    let annotations = json!({"of": "x".repeat(room), "aiapi.dev/admission-record": null,
        "aiapi.dev/admission-accepted": null,
        "aiapi.dev/work-admission-record": null, "aiapi.dev/work-admission-accepted": null,
        "aiapi.dev/backlog": null, "aiapi.dev/backlog-by-namespace": null,
        "aiapi.dev/backlog-resource-version": null, "aiapi.dev/rate": null});
    patch(
        &json!({"labels": {"of": "others"}, "annotations": annotations, "finalizers": ["of.others/forever"]}),
    );
    let group = if object == LEASE { "coordination.k8s.io" } else { "admissionregistration.k8s.io" };
    // An owner who changes nothing keeps its timestamp.
    patch(&json!({"managedFields": [{"manager": "a", "operation": "Update", "time": "9999-12-31T23:59:59Z",
        "apiVersion": format!("{group}/v1"), "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {"f:of": {}}}}}]}));
    let kept = world.kubectl_ok(
        &["get", object, "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields}"],
        "",
    );
    assert!(kept.contains("9999-12-31T23:59:59Z"), "{object}: {kept}");
}

#[tokio::test]
async fn metadata_of_others_neither_blinds_nor_ends_it() {
    let _alone = alone().await;
    let mut world = World::new("admission-lease").await;
    in_force(&world, true).await;
    world.operator.start(&["--require-admission-policy"]);
    accepted(&world).await;
    serves(&world, "unfilled").await;

    // There is still space for its own annotations beside those of others on the Lease.
    for (object, room) in [(POLICY, 250_000), (BINDING, 250_000), (LEASE, 250_000)] {
        fill(&world, object, room);
    }
    serves(&world, "filled-1").await;
    let before = renewed(&world);
    until("it renews the Lease", || async { renewed(&world) != before }).await;
    let metadata: Value =
        serde_json::from_str(&world.kubectl_ok(&["get", LEASE, "-o", "jsonpath={.metadata}"], "")).unwrap();
    assert_eq!(metadata["labels"]["of"], "others");
    assert_eq!(metadata["finalizers"], json!(["of.others/forever"]));
    assert_eq!(metadata["annotations"]["of"].as_str().unwrap().len(), 250_000);
    accepted(&world).await;

    // A restart with all of that.
    assert!(world.operator.stop().success());
    world.operator.start(&["--require-admission-policy"]);
    serves(&world, "filled-2").await;
    accepted(&world).await;

    // Odd values in the spec, as far as the API server accepts them; and no space for anything else.
    let spec = json!({"spec": {"leaseDurationSeconds": i32::MAX, "leaseTransitions": i32::MAX,
        "renewTime": "9999-12-31T23:59:59.999999Z", "acquireTime": "0001-01-01T00:00:00.000000Z"}});
    world.kubectl_ok(&["patch", LEASE, "--type=merge", "-p", &spec.to_string()], "");
    serves(&world, "odd-1").await;
    until("it renews the Lease", || async { !renewed(&world).starts_with("9999") }).await;
    assert!(world.operator.stop().success());
    world.kubectl_ok(&["patch", LEASE, "--type=merge", "-p", &spec.to_string()], "");
    world.operator.start(&["--require-admission-policy"]);
    serves(&world, "odd-2").await;
    fill(&world, LEASE, (256 << 10) - "of".len());
    let before = renewed(&world);
    until("it renews the Lease", || async { renewed(&world) != before }).await;
    serves(&world, "full-1").await;
    assert!(world.operator.is_running());
    assert!(world.operator.log().contains("the Lease is written without the record of the admission policy"));
    assert!(world.operator.stop().success());
    world.operator.start(&["--require-admission-policy"]);
    // Policy and binding were never changed, so they count from their creation.
    serves(&world, "full-2").await;

    for object in [POLICY, BINDING, LEASE] {
        world.kubectl_ok(
            &["patch", object, "--type=merge", "-p", r#"{"metadata": {"finalizers": null}}"#],
            "",
        );
    }
}
