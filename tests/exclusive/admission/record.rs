//! The operator's own record of policy and binding: what was created while they did not check everybody is not carried
//! out, even if they were changed while no operator was watching.

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::{World, outcome, until};

use super::{BINDING, POLICY, accepted, bulk, create_as, grant, in_force, patch, put};
use crate::alone;

/// A user who may create BulkUpdates, and stop or delete nothing.
const UNCHECKED: &str = "creator";

fn delete(id: &str) -> Value {
    json!({"executions": [{"id": id, "targetStatus": "DELETED"}]})
}

/// Creates a BulkUpdate as a user who must not, as soon as the policy does not check.
async fn rejected_if_unchecked(world: &World, name: &str) {
    let bulk = bulk(name, &delete("exec-1"));
    until("authors are not checked", || async { create_as(world, UNCHECKED, &bulk).0 }).await;
}

/// It is rejected, and the target still exists.
async fn is_rejected(world: &World, name: &str) {
    let status = world.finished(name).await;
    assert_eq!(status.condition("Ready").unwrap().reason, "NotAuthorized", "{name}");
    assert!(world.find(Kind::Execution, "exec-1").await.is_some(), "{name}");
}

/// Exempts somebody from the policy, or reverts that: an update that only removes fields adds no new entry to
/// managedFields.
fn exempt(world: &World, exempted: bool) {
    let expression = format!("request.userInfo.username != '{UNCHECKED}'");
    let conditions = json!([{"name": "exempted", "expression": expression}]);
    patch(world, POLICY, &json!({"matchConditions": exempted.then_some(conditions)}));
}

#[tokio::test]
async fn an_unchecked_authors_bulk_update_is_rejected_after_the_policy_is_restored() {
    let _alone = alone().await;
    let mut world = World::new("admission-record").await;
    for (user, targets) in [(UNCHECKED, "nothings"), ("does-all", "executions")] {
        grant(&world, user, &[("create get", "bulkupdates"), ("stop delete", targets)]);
    }
    in_force(&world, true).await;
    world.own(Kind::Execution, "exec-1", "STOPPED").await;
    world.operator.start(&["--require-admission-policy"]);
    accepted(&world).await;

    // While the operator is watching.
    exempt(&world, true);
    rejected_if_unchecked(&world, "looked-on").await;
    let status = world.ready_reason("looked-on", "Waiting").await;
    let message = &status.condition("Ready").unwrap().message;
    assert!(message.contains("it has matchConditions"), "{message}");
    exempt(&world, false);
    is_rejected(&world, "looked-on").await;

    // From beginning to end while the operator is stopped.
    assert!(world.operator.stop().success());
    exempt(&world, true);
    rejected_if_unchecked(&world, "away").await;
    exempt(&world, false);
    in_force(&world, true).await;
    world.operator.start(&["--require-admission-policy"]);
    is_rejected(&world, "away").await;

    // It stops while somebody is exempted.
    exempt(&world, true);
    rejected_if_unchecked(&world, "went-away").await;
    world.ready_reason("went-away", "Waiting").await;
    assert!(world.operator.stop().success());
    exempt(&world, false);
    world.operator.start(&["--require-admission-policy"]);
    is_rejected(&world, "went-away").await;

    // The same with the binding, changed or created again.
    assert!(world.operator.stop().success());
    patch(&world, BINDING, &json!({"validationActions": ["Audit"]}));
    rejected_if_unchecked(&world, "audited").await;
    patch(&world, BINDING, &json!({"validationActions": ["Deny"]}));
    world.operator.start(&["--require-admission-policy"]);
    is_rejected(&world, "audited").await;
    assert!(world.operator.stop().success());
    world.kubectl_ok(&["delete", BINDING], "");
    rejected_if_unchecked(&world, "unbound").await;
    put(&world);
    world.operator.start(&["--require-admission-policy"]);
    is_rejected(&world, "unbound").await;

    // What was accepted once is recorded: neither a restart nor another replica waits ten seconds again.
    accepted(&world).await;
    assert!(world.operator.stop().success());
    let (taken, said) = create_as(&world, "does-all", &bulk("over-a-restart", &delete("exec-1")));
    assert!(taken, "{said}");
    world.operator.start(&["--require-admission-policy"]);
    assert_eq!(outcome(&world.finished("over-a-restart").await, Kind::Execution, "exec-1"), "Settled");
    accepted(&world).await;

    world.own(Kind::Execution, "exec-2", "STOPPED").await;
    let mut second = world.operator.another(&world.client).await;
    second.start(&["--require-admission-policy"]);
    until("the second waits", || async { second.log().contains("waiting to lead") }).await;
    assert!(world.operator.stop().success());
    until("the second leads", || async { second.log().contains(" leads identity=") }).await;
    let (taken, said) = create_as(&world, "does-all", &bulk("of-another-replica", &delete("exec-2")));
    assert!(taken, "{said}");
    assert_eq!(outcome(&world.finished("of-another-replica").await, Kind::Execution, "exec-2"), "Settled");
    accepted(&world).await;

    // A Lease that was deleted, or whose record is garbage, only causes a delay.
    let lease =
        ["annotate", "--overwrite", "lease/ai-api-operator", "aiapi.dev/admission-record={\"policy\": 7"];
    let generations = [POLICY, BINDING]
        .map(|object| world.kubectl_ok(&["get", object, "-o", "jsonpath={.metadata.generation}"], ""));
    assert_ne!(generations[0], "1", "such a policy would count since its creation");
    assert!(second.stop().success());
    world.kubectl_ok(&lease, "");
    world.own(Kind::Execution, "exec-1", "STOPPED").await;
    let (taken, said) = create_as(&world, "does-all", &bulk("without-a-record", &delete("exec-1")));
    assert!(taken, "{said}");
    world.operator.start(&["--require-admission-policy"]);
    is_rejected(&world, "without-a-record").await;
}
