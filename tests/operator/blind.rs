//! Policy and binding cannot be watched any more: what was seen last expires.

use std::time::Duration;

use ai_api_operator::api::Kind;
use serde_json::json;
use support::{World, conditions, control_plane::ControlPlane, within};

/// The text in the log and in the conditions.
const BLIND: &str = "cannot be watched any more";

/// A watch lasts a minute and then is refused, and the next attempt may be as long after; between these come the thirty
/// seconds.
const TIMEOUT: Duration = Duration::from_mins(4);

#[tokio::test]
async fn an_operator_that_may_no_longer_watch_the_policy_plans_nothing() {
    let mut world = World::new("admission-blind").await;
    world.operator.start(&["--require-admission-policy"]);
    world.operator.until_ready().await;
    assert!(!world.operator.log().contains(BLIND));
    world.kubectl_ok(&["delete", "clusterrolebinding", "test-admission-blind-admission"], "");
    let blind = within(TIMEOUT, Duration::from_secs(1), || async { world.operator.log().contains(BLIND) });
    assert!(blind.await, "{}", world.operator.log());

    world.own(Kind::Execution, "exec-1", "STOPPED").await;
    world.submit("waits", json!({"executions": [{"id": "exec-1", "targetStatus": "DELETED"}]})).await;
    let status = world.ready_reason("waits", "Waiting").await;
    let expected = ["Accepted Unknown Waiting", "Ready False Waiting", "Reconciling True Waiting"];
    assert_eq!(conditions(&status), expected);
    let message = &status.condition("Ready").unwrap().message;
    assert!(message.contains(BLIND) && message.contains("bulkupdates.aiapi.dev"), "{message}");

    ControlPlane::get().install_operator(&world.client, &world.namespace).await;
    let sees = within(TIMEOUT, Duration::from_secs(1), || async {
        let bulk = world.bulk_updates().get("waits").await.unwrap();
        let ready = bulk.status.and_then(|status| status.condition("Ready").cloned());
        ready.is_some_and(|ready| !ready.message.contains(BLIND))
    });
    assert!(sees.await, "{}", world.operator.log());
}
