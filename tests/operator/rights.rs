//! Requests that the API server refuses: missing rights, policies, and what the status says then.

use ai_api_operator::api::{ItemResult, Kind};
use serde_json::{Value, json};
use support::{World, conditions, count, item, outcome, until};

/// Gives the operator the shipped role without this verb on these resources of the group.
fn revoke(world: &World, verb: &str, resource: &str) {
    let role = world.kubectl_ok(&["get", "clusterrole", "ai-api-operator", "-o", "json"], "");
    let role: Value = serde_json::from_str(&role).unwrap();
    let mut rules = Vec::new();
    for shipped in role["rules"].as_array().unwrap() {
        for of in shipped["resources"].as_array().unwrap() {
            let mut left = shipped.clone();
            left["resources"] = json!([of]);
            if of == resource {
                left["verbs"].as_array_mut().unwrap().retain(|v| v != verb);
            }
            if !left["verbs"].as_array().unwrap().is_empty() {
                rules.push(left);
            }
        }
    }
    let name = format!("test-{}", world.namespace);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name}, "rules": rules});
    world.kubectl_ok(&["apply", "-f", "-"], &role.to_string());
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "ai-api-operator", "namespace": world.namespace}]});
    world.kubectl_ok(&["replace", "--force", "-f", "-"], &binding.to_string());
}

/// Waits until the authorizer has seen it.
async fn until_revoked(world: &World, verb: &str, resource: &str) {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let resource = format!("{resource}.aiapi.dev");
    let subresource = format!("--subresource={subresource}");
    let can = ["auth", "can-i", verb, &resource, &subresource, "--as", &world.operator.user];
    until("the right is revoked", || async { !world.kubectl(&can, "").0 }).await;
}

async fn restore(world: &World) {
    let binding = format!("test-{}", world.namespace);
    world.kubectl_ok(&["delete", "clusterrolebinding", &binding], "");
    let plane = support::control_plane::ControlPlane::get();
    plane.install_operator(&world.client, &world.namespace).await;
}

#[tokio::test]
async fn a_write_that_stays_forbidden_fails_and_the_others_are_carried_out() {
    let world = World::running("forbidden").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    world.own(Kind::Execution, "stopped-1", "STOPPED").await;
    revoke(&world, "delete", "executions");
    until_revoked(&world, "delete", "executions").await;
    let spec = json!({"executions": [
        {"id": "running-1", "targetStatus": "STOPPED"}, {"id": "stopped-1", "targetStatus": "DELETED"},
        {"id": "not-there", "targetStatus": "DELETED"}]});
    let status = world.carry_out("forbidden", spec.clone()).await;
    assert_eq!(outcome(&status, Kind::Execution, "running-1"), "Settled");
    assert_eq!(outcome(&status, Kind::Execution, "stopped-1"), "Failed Forbidden");
    assert_eq!(outcome(&status, Kind::Execution, "not-there"), "Refused NotFound");
    let message = item(&status, Kind::Execution, "stopped-1").message.clone().unwrap();
    assert!(
        message.starts_with("403: executions.aiapi.dev \"stopped-1\" is forbidden") && message.len() <= 120,
        "{message}"
    );
    // Failed outranks refused.
    let expected = ["Accepted True Planned", "Ready False ItemsFailed", "Stalled True ItemsFailed"];
    assert_eq!(conditions(&status), expected);

    // A deadline that is nearer than the 10 s of retries comes first.
    let mut hurried = spec;
    hurried["executions"] = json!([{"id": "stopped-1", "targetStatus": "DELETED"}]);
    hurried["activeDeadlineSeconds"] = json!(1);
    let status = world.carry_out("hurried", hurried).await;
    assert_eq!(outcome(&status, Kind::Execution, "stopped-1"), "Failed DeadlineExceeded");
    let message = item(&status, Kind::Execution, "stopped-1").message.clone();
    assert_eq!(message.as_deref(), Some("activeDeadlineSeconds had passed"));
    assert!(world.find(Kind::Execution, "stopped-1").await.is_some());
}

#[tokio::test]
async fn a_refusal_that_can_not_be_confirmed_waits() {
    let world = World::running("unconfirmed").await;
    revoke(&world, "get", "executions");
    until_revoked(&world, "get", "executions").await;
    world.own(Kind::Execution, "stopped-1", "STOPPED").await;
    let spec = json!({"executions": [
        {"id": "not-there", "targetStatus": "DELETED"}, {"id": "stopped-1", "targetStatus": "DELETED"}]});
    world.submit("waits", spec).await;
    let status = world.ready_reason("waits", "Waiting").await;
    let expected = ["Accepted Unknown Waiting", "Ready False Waiting", "Reconciling True Waiting"];
    assert_eq!(conditions(&status), expected);
    let message = &status.condition("Ready").unwrap().message;
    assert!(message.starts_with("cannot read Execution not-there: 403"), "{message}");
    assert!(world.find(Kind::Execution, "stopped-1").await.is_some(), "nothing is written without a plan");
    restore(&world).await;
    let status = world.finished("waits").await;
    assert_eq!(outcome(&status, Kind::Execution, "not-there"), "Refused NotFound");
    assert_eq!(outcome(&status, Kind::Execution, "stopped-1"), "Settled");
}

#[tokio::test]
async fn nothing_is_written_while_the_status_can_not_be() {
    let world = World::running("no-status").await;
    world.own(Kind::Execution, "stopped-1", "STOPPED").await;
    revoke(&world, "update", "bulkupdates/status");
    until_revoked(&world, "update", "bulkupdates/status").await;
    world.submit("waits", json!({"executions": [{"id": "stopped-1", "targetStatus": "DELETED"}]})).await;
    // It is retried, and logged once.
    until("a plan that is refused again", || async {
        world.requests().iter().filter(|r| r.is_record() && r.code == 403).count() >= 3
    })
    .await;
    assert_eq!(world.operator.log().matches("cannot write the status; retrying").count(), 1);
    assert!(world.requests().iter().all(|r| !r.is_target_write()));
    restore(&world).await;
    assert_eq!(count(&world.finished("waits").await, ItemResult::Settled), 1);
}

#[tokio::test]
async fn a_write_refused_by_a_policy_fails_with_the_servers_message() {
    let world = World::running("policy").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    world.own(Kind::Execution, "running-2", "RUNNING").await;
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "keep-running"},
        "spec": {"matchConstraints": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "policy"}},
            "resourceRules": [{"apiGroups": ["aiapi.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
                "resources": ["executions/status"]}]},
            "validations": [{"expression": "object.metadata.name != 'running-1' || object.status.state == 'RUNNING'",
                "message": "running-1 must keep running, whatever anybody says, because this message has to be longer than fits"}]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "keep-running"}, "spec": {"policyName": "keep-running", "validationActions": ["Deny"]}});
    for manifest in [policy, binding] {
        world.kubectl_ok(&["apply", "-f", "-"], &manifest.to_string());
    }
    until("the policy is in force", || async {
        let patch =
            ["patch", "aiexec/running-1", "--subresource=status", "--type=merge", "--dry-run=server", "-p"];
        !world.kubectl(&[patch.as_slice(), &[r#"{"status":{"state":"STOPPED"}}"#]].concat(), "").0
    })
    .await;
    let items: Value =
        ["running-1", "running-2"].iter().map(|id| json!({"id": id, "targetStatus": "STOPPED"})).collect();
    let status = world.carry_out("refused", json!({"executions": items})).await;
    assert_eq!(outcome(&status, Kind::Execution, "running-1"), "Failed WriteFailed");
    assert_eq!(outcome(&status, Kind::Execution, "running-2"), "Settled");
    let message = item(&status, Kind::Execution, "running-1").message.clone().unwrap();
    assert!(message.starts_with("422: ") && message.len() <= 120 && message.ends_with('…'), "{message}");
    assert!(
        world.operator.log().contains("because this message has to be longer than fits"),
        "the log has the full message"
    );
}
