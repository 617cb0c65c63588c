//! The capability flag: off, missing, malformed, unreadable, switched off on the way.

use ai_api_operator::api::{ItemResult, Kind, Reason};
use serde_json::json;
use support::{World, audit::Request, conditions, count, until};

async fn world_with_one(name: &str) -> World {
    let world = World::running(name).await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    world.own(Kind::Deployment, "running-1", "RUNNING").await;
    world
}

#[tokio::test]
async fn anything_but_true_rejects_permanently_and_says_why() {
    let world = world_with_one("flag-off").await;
    let executions = json!({"executions": [{"id": "running-1", "targetStatus": "STOPPED"}]});
    let both = json!({"executions": [{"id": "running-1", "targetStatus": "STOPPED"}],
        "deployments": [{"id": "running-1", "targetStatus": "STOPPED"}]});
    let place = "bulkUpdates of ConfigMap flag-off/ai-api-meta";
    let off = |kind: &str| {
        (
            "BulkUpdatesDisabled",
            format!("bulk updates of {kind} are disabled in ConfigMap flag-off/ai-api-meta"),
        )
    };
    let invalid = |why: &str| ("MetaInvalid", format!("invalid {place}: {why}"));
    let typo = invalid("unknown field `execution`, expected `executions` or `deployments`");
    for (n, (text, spec, (reason, message))) in [
        (r#"{"executions": false, "deployments": true}"#, &executions, off("executions")),
        (r#"{"deployments": true}"#, &executions, off("executions")),
        (r#"{"executions": true, "deployments": false}"#, &both, off("deployments")),
        ("{}", &both, off("executions")),
        ("execution: true\ndeployments: true", &both, typo),
        ("executions: yes", &executions, invalid(r#"invalid type: string "yes", expected a boolean"#)),
        ("", &executions, invalid("it is empty")),
    ]
    .into_iter()
    .enumerate()
    {
        world.flag(Some(text)).await;
        let name = format!("rejected-{n}");
        let status = world.carry_out(&name, spec.clone()).await;
        let expected = ["Accepted False", "Ready False", "Stalled True"].map(|c| format!("{c} {reason}"));
        assert_eq!(conditions(&status), expected, "{text}");
        assert_eq!(status.condition("Ready").unwrap().message, message, "{text}");
        assert_eq!((status.start_time, status.summary, status.executions), (None, None, None), "{text}");
    }
    // Text that is not YAML at all; the library's message for it is not ours to pin.
    world.flag(Some("{executions: ")).await;
    let status = world.carry_out("no-yaml", executions.clone()).await;
    assert_eq!(status.condition("Ready").unwrap().reason, "MetaInvalid");
    // No such key, no such ConfigMap.
    world.flags().delete("ai-api-meta", &kube::api::DeleteParams::default()).await.unwrap();
    world.config_map(json!({"bulkupdates": support::ON})).await;
    let status = world.carry_out("no-key", executions.clone()).await;
    assert_eq!(status.condition("Ready").unwrap().message, off("executions").1);
    world.flag(None).await;
    let status = world.carry_out("no-map", executions.clone()).await;
    assert_eq!(status.condition("Ready").unwrap().message, off("executions").1);

    // Switching it on later wakes none of them; a new one is carried out.
    world.flag(Some("executions: true")).await;
    let status = world.carry_out("woken", executions).await;
    assert_eq!(count(&status, ItemResult::Settled), 1);
    let writes = world.requests().into_iter().filter(Request::is_target_write);
    assert_eq!(
        writes.map(|w| w.body["status"]["stopRequest"]["bulkUpdate"].clone()).collect::<Vec<_>>(),
        ["woken"]
    );
}

#[tokio::test]
async fn an_unreadable_flag_is_waited_for_and_the_conditions_say_so() {
    let world = world_with_one("flag-unreadable").await;
    // It also needs the right for its Lease.
    world.operator.until_ready().await;
    world.kubectl_ok(&["delete", "rolebinding", "ai-api-operator"], "");
    let plane = support::control_plane::ControlPlane::get();
    until("the right is revoked", || async {
        let can = [
            "auth",
            "can-i",
            "get",
            "configmap/ai-api-meta",
            "-n",
            "flag-unreadable",
            "--as",
            &world.operator.user,
        ];
        !plane.kubectl(&can, "").0
    })
    .await;
    world.submit("waits", json!({"executions": [{"id": "running-1", "targetStatus": "STOPPED"}]})).await;
    let status = world.ready_reason("waits", "FlagUnreadable").await;
    assert_eq!(
        conditions(&status),
        ["Accepted Unknown FlagUnreadable", "Ready False FlagUnreadable", "Reconciling True FlagUnreadable"]
    );
    let message = &status.condition("Ready").unwrap().message;
    assert!(
        message.starts_with("cannot read bulkUpdates of ConfigMap flag-unreadable/ai-api-meta: 403"),
        "{message}"
    );
    plane.install_operator(&world.client, "flag-unreadable").await;
    let status = world.finished("waits").await;
    assert_eq!(count(&status, ItemResult::Settled), 1);
}

/// One write at a time, so that it can be switched off in the middle.
#[tokio::test]
async fn switching_the_flag_off_midway_stops_the_writes() {
    let mut world = World::new("flag-mid-way").await;
    let mut items = Vec::new();
    for n in 0..100 {
        let id = format!("running-{n}");
        world.own(Kind::Execution, &id, "RUNNING").await;
        items.push(json!({"id": id, "targetStatus": "STOPPED"}));
    }
    world.operator.start(&["--max-in-flight", "2"]);
    world.submit("stopped", json!({"executions": items})).await;
    until("some writes", || async { world.writes().len() >= 5 }).await;
    world.flag(Some("{}")).await;
    let status = world.finished("stopped").await;
    let flag = world.requests_of_all().into_iter().rfind(|r| r.resource == "configmaps" && r.verb == "patch");
    let switched = flag.unwrap().answered;
    let late = world.writes().iter().filter(|w| w.received > switched).count();
    let (settled, failed) = (count(&status, ItemResult::Settled), count(&status, ItemResult::Failed));
    println!("{settled} settled, {failed} failed, {late} writes after the answer to the switch");
    assert_eq!(settled, world.writes().len());
    assert_eq!(settled + failed, 100);
    assert!(settled < 100, "it was not in the middle of the work");
    for item in status.items(Kind::Execution).iter().filter(|i| i.result == ItemResult::Failed) {
        assert_eq!(item.reason, Some(Reason::BulkUpdatesDisabled));
        assert_eq!(
            item.message.as_deref(),
            Some("bulk updates of executions are disabled in ConfigMap flag-mid-way/ai-api-meta")
        );
    }
    assert_eq!(
        conditions(&status),
        ["Accepted True Planned", "Ready False ItemsFailed", "Stalled True ItemsFailed"]
    );
    // Writes in flight when it was seen may still arrive, and the watch sees it at once.
    assert!(late <= 8, "{late}");
}
