//! What people do to what runs: they take its label off, resume it while no operator looks, forbid its stop, and delete it without
//! its Pods.

use ai_api_operator::api::Kind;
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use support::{World, control_plane::apply, until, until_ok};

use crate::on_nodes::{self, pods, state, status};

const RUN: &str = "train-1";
const MODEL: &str = "model-1";

fn jobs(world: &World) -> Api<Job> {
    Api::namespaced(world.client.clone(), &world.namespace)
}

/// A world in which an Execution runs as a Job.
async fn running(name: &str) -> World {
    let world = on_nodes::world(name).await;
    let template = json!({"template": {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}}}});
    world.target(Kind::Execution, RUN, template, json!({})).await;
    state(&world, Kind::Execution, RUN, "RUNNING").await;
    world
}

async fn change(world: &World, patch: Value) {
    jobs(world).patch(RUN, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn stop(world: &World) {
    world.submit("stop", json!({"executions": [{"id": RUN, "targetStatus": "STOPPED"}]})).await;
}

/// Waits until Ready has this reason.
async fn reason(world: &World, kind: Kind, name: &str, wanted: &str) -> Value {
    until_ok(&format!("{name} says {wanted}"), || async {
        let status = status(world, kind, name).await;
        if status["conditions"][0]["reason"] == wanted { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    status(world, kind, name).await
}

#[tokio::test]
async fn a_label_that_is_taken_off_is_put_back() {
    let world = running("job-label").await;
    let uid = world.find(Kind::Execution, RUN).await.unwrap().metadata.uid;
    let label = || async {
        let labels = jobs(&world).get(RUN).await.unwrap().metadata.labels.unwrap_or_default();
        labels.get("aiapi.dev/owner-uid").cloned()
    };
    change(&world, json!({"metadata": {"labels": {"aiapi.dev/owner-uid": null}}})).await;
    until("the label is back", || async { label().await == uid }).await;
    stop(&world).await;
    state(&world, Kind::Execution, RUN, "STOPPED").await;
}

#[tokio::test]
async fn one_that_is_resumed_while_no_operator_runs_is_stopped_again() {
    let mut world = running("job-unseen").await;
    stop(&world).await;
    state(&world, Kind::Execution, RUN, "STOPPED").await;
    world.finished("stop").await;
    world.operator.stop();
    change(&world, json!({"spec": {"suspend": false}})).await;
    until("it runs", || async { pods(&world).await == 1 }).await;
    world.operator.start(&[]);
    until("it is suspended again", || async {
        jobs(&world).get(RUN).await.unwrap().spec.unwrap().suspend == Some(true) && pods(&world).await == 0
    })
    .await;
    assert_eq!(status(&world, Kind::Execution, RUN).await["state"], "STOPPED");
}

#[tokio::test]
async fn a_stop_that_a_policy_refuses_is_reported_in_its_words() {
    let world = running("job-kept").await;
    let (namespace, name) = (&world.namespace, format!("{}-keeps-jobs", world.namespace));
    apply(
        &world.client,
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "validations": [{"expression": "!object.spec.suspend", "message": "this one runs to its end"}],
                "matchConstraints": {"resourceRules": [{"apiGroups": ["batch"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["jobs"]}]}}}),
    )
    .await;
    apply(
        &world.client,
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}}),
    )
    .await;
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    let try_out = PatchParams { dry_run: true, ..PatchParams::default() };
    until("the policy is in force", || async { jobs(&world).patch(RUN, &try_out, &suspend).await.is_err() })
        .await;
    stop(&world).await;
    let reported = reason(&world, Kind::Execution, RUN, "Refused").await;
    assert_eq!(reported["state"], "STOPPING");
    let message = reported["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("this one runs to its end"), "{message}");
    world.kubectl_ok(&["delete", "validatingadmissionpolicybinding", &name], "");
    state(&world, Kind::Execution, RUN, "STOPPED").await;
}

#[tokio::test]
async fn pods_that_outlive_what_serves_keep_it_from_being_stopped() {
    let world = on_nodes::world("model-orphans").await;
    let labels = json!({"app": MODEL});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": "none"}]}}});
    let template = json!({"template": {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}});
    world.target(Kind::Deployment, MODEL, template, json!({})).await;
    state(&world, Kind::Deployment, MODEL, "RUNNING").await;
    // The stop is requested, and waits.
    world.flag(Some(r#"{"deployments": false}"#)).await;
    world.set_status(Kind::Deployment, MODEL, json!({"state": "STOPPING", "targetStatus": "STOPPED"})).await;
    reason(&world, Kind::Deployment, MODEL, "BulkUpdatesDisabled").await;
    world.kubectl_ok(&["delete", "deployments.apps", MODEL, "--cascade=orphan"], "");
    let reported = until_ok("it says that Pods are left", || async {
        let status = status(&world, Kind::Deployment, MODEL).await;
        let message = status["message"].as_str().unwrap_or_default().to_owned();
        if message.contains("has left behind") && status["state"] == "STOPPING" {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    reported.await;
    let served = Api::<Deployment>::namespaced(world.client.clone(), &world.namespace);
    assert!(served.get_opt(MODEL).await.unwrap().is_none());
    assert_eq!(pods(&world).await, 1);
    world.kubectl_ok(&["delete", "replicasets.apps", "--all"], "");
    state(&world, Kind::Deployment, MODEL, "STOPPED").await;
    assert_eq!(pods(&world).await, 0);
}
