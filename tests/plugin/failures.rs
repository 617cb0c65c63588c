//! The exit code and the sentence of each failure.

use std::process::Command;

use ai_api_operator::api::Kind;
use serde_json::json;
use support::World;

use crate::plugin::{Plugin, ended, sent};

#[tokio::test]
async fn what_cannot_work_is_said_before_anything_is_sent() {
    let world = World::running("plugin-fails").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Execution, "run-1", "RUNNING").await;
    let fails = |line: &str, code: i32, words: &[&str]| {
        let ended = plugin.run(line);
        assert_eq!(ended.code, code, "{line}: {ended:?}");
        for word in words {
            assert!(ended.said().contains(word), "{line}: {word}: {ended:?}");
        }
    };
    fails("stop execution", 2, &["--all"]);
    fails("stop pod --all", 2, &["pod"]);
    fails("stop execution --all", 2, &["must be a terminal", "--yes"]);
    fails("stop execution --all --context nowhere", 2, &["nowhere"]);
    fails("stop execution -l a=b,,c --yes", 2, &["expected: identifier"]);
    fails("stop execution --field-selector spec.nothing=x --yes", 2, &["field label not supported"]);
    fails("stop execution no-such-run --yes", 1, &["not found: no-such-run"]);
    fails("stop execution ../executions/run-1 --yes", 1, &["not found"]);
    fails("stop execution --state DEAD --yes", 0, &["0 Executions eligible"]);
    fails("delete execution --all --stop-first --wait=false --yes", 2, &["--stop-first"]);
    fails("resume 20260101-000000-abcd", 1, &["no BulkUpdates of run"]);
    fails("resume nonsense", 2, &["not the name of a run"]);
    fails("cancel no-such --yes", 1, &["there is no BulkUpdate no-such"]);
    fails("status no-such", 1, &["kubectl aiapi get bulkupdate"]);
    fails("explain Nonsense", 2, &["CreatedLater"]);
    // On different sides of the subcommand, too.
    let mut apart = plugin.command("-n plugin-fails");
    apart.args(["stop", "execution", "--all", "-A", "--yes"]);
    let apart = ended(apart.output().unwrap());
    assert!(apart.code == 2 && apart.err.contains("leave one of them out"), "{apart:?}");
    let mut spaces = plugin.command("stop execution");
    let spaces = ended(spaces.args(["-l", " ", "--yes"]).output().unwrap());
    assert!(spaces.code == 2 && spaces.err.contains("it must select something"), "{spaces:?}");
    fails("stop execution --all --as-group admins --yes", 2, &["--as"]);
    fails("stop execution --all --dry-run=server --wait=false", 2, &["--wait=false"]);
    // Another user's cluster: no right to list there.
    fails("stop execution --all -A --yes", 1, &["you are not permitted to"]);
    assert!(sent(&world).await.is_empty());
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let world = World::running("plugin-denied").await;
    let viewer = Plugin::with_role(&world, "viewer", "aiapi-viewer").await;
    world.own(Kind::Execution, "run-1", "RUNNING").await;
    let denied = viewer.run("stop execution --all --yes");
    assert_eq!(denied.code, 1, "{denied:?}");
    assert!(denied.err.contains("you are not permitted to create bulkupdates.aiapi.dev"), "{denied:?}");
    // Who may create BulkUpdates and not stop.
    let rules = json!([{"apiGroups": ["aiapi.dev"], "resources": ["bulkupdates", "executions"],
        "verbs": ["get", "list", "watch", "create", "delete"]}]);
    let deleting = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "plugin-denied-deleter"}, "rules": rules});
    support::control_plane::apply(&world.client, deleting).await;
    let deleter = Plugin::with_role(&world, "deleter", "plugin-denied-deleter").await;
    let denied = deleter.run("stop execution --all --yes");
    assert!(denied.err.contains("you are not permitted to stop executions.aiapi.dev"), "{denied:?}");
    assert!(sent(&world).await.is_empty());
}

#[tokio::test]
async fn a_flag_that_is_off_is_named_if_its_user_may_read_it_and_else_by_the_operator() {
    let world = World::running("plugin-flag-off").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Execution, "run-1", "RUNNING").await;
    world.flag(Some(r#"{"deployments": true}"#)).await;
    let rejected = plugin.run("stop execution --all --yes");
    assert_eq!(rejected.code, 1, "{rejected:?}");
    assert!(
        rejected.out.contains("Rejected") && rejected.out.contains("BulkUpdatesDisabled"),
        "{rejected:?}"
    );
    assert_eq!(sent(&world).await.len(), 1);
    let mut admin = Plugin::of_editor(&world).await;
    admin.kubeconfig = world.plane.admin_kubeconfig();
    let known = admin.run("stop execution --all --yes");
    assert_eq!(known.code, 1, "{known:?}");
    assert!(known.err.contains("kubectl aiapi meta enable executions"), "{known:?}");
    assert_eq!(sent(&world).await.len(), 1);
    // An administrator switches it on, and the other kind stays as it is.
    let on = admin.ok("meta enable executions");
    assert!(on.out.contains("executions        true") && on.out.contains("deployments       true"), "{on:?}");
    admin.ok("meta disable deployments executions");
    assert!(admin.ok("meta").out.contains("executions        false"));
    let denied = plugin.run("meta enable executions");
    assert!(denied.code == 1 && denied.err.contains("not permitted"), "{denied:?}");
    // What cannot be understood is not written over, except to switch both off.
    world.flag(Some("{executions: yes please}")).await;
    let unclear = admin.run("meta enable executions");
    assert!(unclear.code == 1 && unclear.err.contains("correct it by hand"), "{unclear:?}");
    admin.ok("meta disable executions deployments");
}

#[tokio::test]
async fn an_operator_that_is_down_is_waited_for_and_said_so() {
    let world = World::new("plugin-operator-down").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Execution, "run-1", "RUNNING").await;
    let waits = plugin.run("stop execution --all --yes --timeout 12s");
    assert_eq!(waits.code, 3, "{waits:?}");
    assert!(waits.err.contains("the operator has not taken it up yet"), "{waits:?}");
    assert!(waits.err.contains("kubectl aiapi cancel"), "{waits:?}");
}

#[test]
fn without_a_cluster_it_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-aiapi"));
    command.args(["get"]).env_clear().env("HOME", "/nonexistent");
    let nothing = ended(command.output().unwrap());
    assert_eq!(nothing.code, 2, "{nothing:?}");
    assert!(nothing.err.contains("kubeconfig"), "{nothing:?}");
}
