//! The documented wait after an upgrade that changes the policy is sufficient.

use std::process::Command;

use ai_api_operator::api::Kind;
use serde_json::json;
use support::{World, control_plane::PROJECT, outcome, until};

use super::{POLICY, bulk, create_as, grant, in_force, patch, says_accepted};
use crate::alone;

/// The command of docs/install.md that waits for the Lease.
fn documented() -> String {
    let text = std::fs::read_to_string(format!("{PROJECT}/docs/install.md")).unwrap();
    let upgrading = text.split("\n## Upgrading\n").nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let blocks = upgrading.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.into_iter().find(|block| block.contains("kubectl wait")).unwrap().to_owned()
}

/// Runs the documented commands.
fn waits(world: &World) {
    let wait = documented().replace("ai-api-system", &world.namespace);
    // Nobody runs this Deployment here.
    let wait: Vec<_> = wait.lines().filter(|line| !line.contains("rollout status")).collect();
    assert!(wait.len() >= 2, "{wait:?}");
    let path = format!("{}:{}", world.plane.tools().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-euc", &wait.join("\n")])
        .env("PATH", path)
        .env("KUBECONFIG", world.plane.admin_kubeconfig())
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.contains("condition met"), "{said}\n{}", world.operator.log());
}

#[tokio::test]
async fn after_an_upgrade_the_documented_wait_waits_until_bulk_updates_are_carried_out() {
    let _alone = alone().await;
    let mut world = World::new("admission-upgrade").await;
    grant(&world, "does-all", &[("create get", "bulkupdates"), ("stop delete", "executions")]);
    in_force(&world, true).await;
    world.own(Kind::Execution, "exec-1", "STOPPED").await;
    let delete = json!({"executions": [{"id": "exec-1", "targetStatus": "DELETED"}]});

    // After the installation. (After the rollout there is a Lease.)
    world.operator.start(&["--require-admission-policy"]);
    until("it leads", || async { world.operator.log().contains(" leads identity=") }).await;
    waits(&world);
    // The next version's policy has more rules.
    let spec = world.kubectl_ok(&["get", POLICY, "-o", "jsonpath={.spec.validations}"], "");
    let mut validations: Vec<serde_json::Value> = serde_json::from_str(&spec).unwrap();
    validations.push(json!({"expression": "object.metadata.name != 'forbidden'"}));
    assert!(world.operator.stop().success());
    let before = says_accepted(&world);
    patch(&world, POLICY, &json!({"validations": validations}));
    world.operator.start(&["--require-admission-policy"]);
    // A request that does not wait is rejected, which shows that there was something to wait for.
    let early = create_as(&world, "does-all", &bulk("early", &delete));
    assert!(early.0, "{}", early.1);
    waits(&world);
    assert_ne!(says_accepted(&world), before);
    let (taken, said) = create_as(&world, "does-all", &bulk("in-time", &delete));
    assert!(taken, "{said}");
    assert_eq!(outcome(&world.finished("in-time").await, Kind::Execution, "exec-1"), "Settled");
    assert_eq!(world.finished("early").await.condition("Ready").unwrap().reason, "NotAuthorized");
    // A standby is ready too, and waiting again takes no time.
    waits(&world);
}
