//! Executions of Jobs that exist.

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::World;

use crate::plugin::Plugin;

fn job(name: &str, labels: &Value, owners: &Value) -> String {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.com/train"}]}});
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "labels": labels, "ownerReferences": owners}, "spec": {"template": template, "suspend": true}})
    .to_string()
}

#[tokio::test]
async fn jobs_are_adopted_by_uid_and_what_belongs_to_others_is_left_alone() {
    let world = World::running("plugin-adopts").await;
    let labels = json!({"team": "churn"});
    let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "u-1"}]);
    for job in [
        job("train-1", &labels, &json!([])),
        job("train-2", &labels, &json!([])),
        job("owned-1", &labels, &owner),
        job("abc", &labels, &json!([])),
        job("other-1", &json!({}), &json!([])),
    ] {
        world.kubectl_ok(&["create", "-f", "-"], &job);
    }
    let rules = json!([
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list", "patch", "delete"]},
        {"apiGroups": ["aiapi.dev"], "resources": ["executions", "deployments", "bulkupdates"], "verbs": ["get", "list", "create"]},
    ]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "plugin-adopts"}, "rules": rules});
    support::control_plane::apply(&world.client, role).await;
    let plugin = Plugin::with_role(&world, "adopter", "plugin-adopts").await;

    let shown = plugin.ok("adopt job -l team=churn --dry-run");
    for part in
        ["2 Executions of jobs to adopt", "train-1", "it belongs to another object", "4 to 64 characters"]
    {
        assert!(shown.out.contains(part), "{part}: {shown:?}");
    }
    assert_eq!(plugin.run("adopt job -l team=churn").code, 2, "nobody can answer");
    let made = plugin.ok("adopt job -l team=churn --scenario churn --yes");
    assert!(made.out.contains("2 Executions created, 0 existed already, 0 failed"), "{made:?}");
    for name in ["train-1", "train-2"] {
        let execution = world.find(Kind::Execution, name).await.unwrap();
        let job = world.kubectl_ok(&["get", "job", name, "-o", "jsonpath={.metadata.uid}"], "");
        assert_eq!(execution.data["spec"]["workloadRef"]["uid"], job.trim());
        assert_eq!(execution.data["spec"]["scenarioId"], "churn");
    }
    assert!(world.find(Kind::Execution, "owned-1").await.is_none());
    assert!(world.find(Kind::Execution, "other-1").await.is_none());
    let again = plugin.ok("adopt job -l team=churn --yes");
    assert!(again.out.contains("0 Executions created, 2 existed already"), "{again:?}");
    let adopted = json!([{"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "name": "train-1", "uid": "u-2", "controller": true}]);
    world.kubectl_ok(&["create", "-f", "-"], &job("mine-1", &json!({}), &adopted));
    let mine = plugin.ok("adopt job mine-1 --yes");
    assert!(mine.out.contains("it was adopted already"), "{mine:?}");
    // One that exists and runs something else is not what was asked for.
    world.own(Kind::Execution, "taken-1", "UNKNOWN").await;
    world.kubectl_ok(&["create", "-f", "-"], &job("taken-1", &json!({}), &json!([])));
    let taken = plugin.run("adopt job taken-1 --yes");
    assert!(taken.code == 1 && taken.out.contains("1 failed"), "{taken:?}");
    // Printed, they apply.
    let printed = plugin.ok("adopt job other-1 -o yaml");
    world.kubectl_ok(&["apply", "-f", "-"], &printed.out);
    let missing = plugin.run("adopt job no-such-job --yes");
    assert!(missing.code == 1 && missing.out.contains("not found"), "{missing:?}");
}
