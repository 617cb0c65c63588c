//! A 404 that says nothing about the object: its kind is not served for a while.

use ai_api_operator::api::Kind;
use serde_json::json;
use support::{World, operator::output, outcome, until};

use crate::alone;

#[tokio::test]
async fn what_is_not_served_is_not_gone() {
    let _alone = alone().await;
    let world = World::running("not-served").await;
    world.own(Kind::Execution, "stopped-1", "STOPPED").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    // The operator has listed both by the time it has carried something out.
    world.own(Kind::Deployment, "stopped-1", "STOPPED").await;
    let one = json!([{"id": "stopped-1", "targetStatus": "DELETED"}]);
    world.carry_out("before", json!({"deployments": one})).await;

    let serve = |served: bool| {
        let patch = format!(r#"[{{"op": "replace", "path": "/spec/versions/0/served", "value": {served}}}]"#);
        world.kubectl_ok(&["patch", "crd", "executions.aiapi.dev", "--type=json", "-p", &patch], "");
    };
    serve(false);
    until("it is not served", || async { !world.kubectl(&["get", "--raw", PATH], "").0 }).await;
    world
        .submit(
            "meanwhile",
            json!({"executions": [{"id": "stopped-1", "targetStatus": "DELETED"},
            {"id": "running-1", "targetStatus": "DELETED"}]}),
        )
        .await;
    // The refusal of one cannot be confirmed, so there is no plan and no write.
    let status = world.ready_reason("meanwhile", "Waiting").await;
    let message = &status.condition("Ready").unwrap().message;
    assert!(
        message.contains("cannot read ")
            && message.contains(": 404")
            && message.contains("no answer about the object"),
        "{message}"
    );
    // A start without it is reported as an installation error.
    let operator = output(&mut world.operator.command());
    let log = String::from_utf8(operator.stderr).unwrap();
    let last = log.lines().last().unwrap_or_default();
    assert_eq!(operator.status.code(), Some(2), "{log}");
    assert!(
        last.contains("CustomResourceDefinitions are missing: executions.aiapi.dev;")
            && last.contains("ai-api-operator crds | kubectl apply --server-side -f -"),
        "{log}"
    );
    serve(true);
    let status = world.finished("meanwhile").await;
    assert_eq!(outcome(&status, Kind::Execution, "stopped-1"), "Settled");
    assert_eq!(outcome(&status, Kind::Execution, "running-1"), "Refused WrongState");
    assert!(world.find(Kind::Execution, "stopped-1").await.is_none());
}

const PATH: &str = "/apis/aiapi.dev/v1alpha1/namespaces/not-served/executions";
