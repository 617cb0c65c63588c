//! Deployments that serve as `apps/v1` Deployments.

use ai_api_operator::api::{ItemResult, Kind};
use k8s_openapi::api::apps::v1;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use support::{World, item, until};

use crate::on_nodes::{self, pods};

const MODEL: &str = "model-1";

fn template(replicas: &Value, image: &str) -> Value {
    let labels = json!({"app": MODEL});
    let mut spec = json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": image}]}}});
    if !replicas.is_null() {
        spec["replicas"] = replicas.clone();
    }
    json!({"template": {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}})
}

fn served(world: &World) -> Api<v1::Deployment> {
    Api::namespaced(world.client.clone(), &world.namespace)
}

async fn status(world: &World) -> Value {
    on_nodes::status(world, Kind::Deployment, MODEL).await
}

async fn state(world: &World, wanted: &str) {
    on_nodes::state(world, Kind::Deployment, MODEL, wanted).await;
}

#[tokio::test]
async fn it_serves_stops_and_is_deleted() {
    let world = on_nodes::world("model-stops").await;
    world.target(Kind::Deployment, MODEL, template(&json!(2), "none"), json!({})).await;
    state(&world, "RUNNING").await;
    assert_eq!(pods(&world).await, 2);
    let stopped =
        world.carry_out("stop", json!({"deployments": [{"id": MODEL, "targetStatus": "STOPPED"}]})).await;
    assert_eq!(item(&stopped, Kind::Deployment, MODEL).result, ItemResult::Settled);
    assert_eq!((status(&world).await["state"].as_str(), pods(&world).await), (Some("STOPPED"), 0));
    // An autoscaler, or somebody, starts it again.
    let scale = Patch::Merge(json!({"spec": {"replicas": 1}}));
    served(&world).patch(MODEL, &PatchParams::default(), &scale).await.unwrap();
    until("it is scaled to 0 again", || async {
        let replicas = served(&world).get(MODEL).await.unwrap().spec.unwrap().replicas;
        replicas == Some(0) && pods(&world).await == 0
    })
    .await;
    world.carry_out("delete", json!({"deployments": [{"id": MODEL, "targetStatus": "DELETED"}]})).await;
    assert!(served(&world).get_opt(MODEL).await.unwrap().is_none());
}

#[tokio::test]
async fn a_changed_template_is_applied_and_keeps_what_an_autoscaler_has_set() {
    let world = on_nodes::world("model-changes").await;
    world.target(Kind::Deployment, MODEL, template(&Value::Null, "one"), json!({})).await;
    state(&world, "RUNNING").await;
    let scale = Patch::Merge(json!({"spec": {"replicas": 3}}));
    served(&world).patch(MODEL, &PatchParams::default(), &scale).await.unwrap();
    let changed = Patch::Merge(json!({"spec": template(&Value::Null, "two")}));
    world.targets(Kind::Deployment).patch(MODEL, &PatchParams::default(), &changed).await.unwrap();
    let image = |model: &v1::Deployment| {
        let containers = &model.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers;
        containers[0].image.clone()
    };
    until("it has the new image", || async {
        image(&served(&world).get(MODEL).await.unwrap()).as_deref() == Some("two")
    })
    .await;
    assert_eq!(served(&world).get(MODEL).await.unwrap().spec.unwrap().replicas, Some(3));
    until("the status is about the new generation", || async {
        let object = world.find(Kind::Deployment, MODEL).await.unwrap();
        object.data["status"]["observedGeneration"].as_i64() == object.metadata.generation
    })
    .await;
    // One that the API refuses.
    let mut refused = template(&Value::Null, "three");
    refused["template"]["spec"]["selector"]["matchLabels"]["app"] = "other".into();
    let refused = Patch::Merge(json!({"spec": refused}));
    world.targets(Kind::Deployment).patch(MODEL, &PatchParams::default(), &refused).await.unwrap();
    until("a condition says so", || async {
        let status = status(&world).await;
        let message = status["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
        status["conditions"][0]["reason"] == "Refused"
            && message.contains("immutable")
            && status["state"] == "RUNNING"
    })
    .await;
}

#[tokio::test]
async fn one_that_is_deleted_is_created_again_unless_it_is_to_stop() {
    let world = on_nodes::world("model-again").await;
    world.target(Kind::Deployment, MODEL, template(&json!(1), "none"), json!({})).await;
    state(&world, "RUNNING").await;
    let first = served(&world).get(MODEL).await.unwrap().metadata.uid;
    served(&world).delete(MODEL, &DeleteParams::foreground()).await.unwrap();
    until("another one", || async {
        let now = served(&world).get_opt(MODEL).await.unwrap().map(|model| model.metadata.uid);
        now.is_some_and(|uid| uid != first) && status(&world).await["state"] == "RUNNING"
    })
    .await;
    world.carry_out("stop", json!({"deployments": [{"id": MODEL, "targetStatus": "STOPPED"}]})).await;
    served(&world).delete(MODEL, &DeleteParams::foreground()).await.unwrap();
    until("it is gone", || async { served(&world).get_opt(MODEL).await.unwrap().is_none() }).await;
    assert_eq!(status(&world).await["state"], "STOPPED");
}
