//! What `kubectl aiapi` says where the custom resources or the admission policy are missing.

use std::process::Command;

use ai_api_operator::api::Kind;
use support::{World, until};

use crate::alone;

/// Runs the plugin as an administrator; returns its exit code and all that it says.
fn plugin(world: &World, line: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-aiapi"));
    command.args(line.split(' ')).args(["-n", &world.namespace, "--operator-namespace", &world.home]);
    command
        .arg("--kubeconfig")
        .arg(world.plane.admin_kubeconfig())
        .env("XDG_STATE_HOME", &world.plane.folder);
    let ended = command.output().unwrap();
    let text = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (ended.status.code().unwrap(), text)
}

#[tokio::test]
async fn custom_resources_that_are_missing_are_named_before_anything_is_sent() {
    let _alone = alone().await;
    let world = World::new("plugin-not-served").await;
    let patch = r#"[{"op": "replace", "path": "/spec/versions/0/served", "value": false}]"#;
    world.kubectl_ok(&["patch", "crd", "executions.aiapi.dev", "--type=json", "-p", patch], "");
    let url = "/apis/aiapi.dev/v1alpha1/executions";
    until("it is not served", || async { !world.kubectl(&["get", "--raw", url], "").0 }).await;
    let (code, said) = plugin(&world, "stop execution --all --yes");
    assert!(
        code == 1 && said.contains("this cluster does not serve") && said.contains("check"),
        "{code}: {said}"
    );
    until("the check notices", || async {
        let (code, said) = plugin(&world, "check");
        code == 1 && said.contains("does not serve executions: install the CRDs of this version")
    })
    .await;
}

#[tokio::test]
async fn while_the_admission_policy_is_missing_it_says_what_it_waits_for() {
    let _alone = alone().await;
    let mut world = World::new("plugin-no-policy").await;
    world.operator.shipped = true;
    world.operator.start(&[]);
    world.operator.until_ready().await;
    world.own(Kind::Execution, "run-1", "RUNNING").await;
    world.kubectl_ok(&["delete", "validatingadmissionpolicybinding", "bulkupdates.aiapi.dev"], "");
    let (code, said) = plugin(&world, "check");
    assert!(
        code == 1 && said.contains("ValidatingAdmissionPolicyBinding bulkupdates.aiapi.dev does not exist"),
        "{said}"
    );
    let (code, said) = plugin(&world, "stop execution --all --yes --timeout 13s");
    assert!(
        code == 3 && said.contains("is waiting: ") && said.contains("ValidatingAdmissionPolicyBinding"),
        "{said}"
    );
    world.operator.stop();
}
