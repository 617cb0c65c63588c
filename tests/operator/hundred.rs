//! The main job: requests as users apply them, up to a hundred items, and what that costs.

use ai_api_operator::api::{BulkUpdateStatus, ItemResult, Kind};
use serde_json::{Value, json};
use support::{
    World,
    audit::{Request, most_overhead},
    conditions, count, outcome,
};

const RUNNING: &str = "aa97b177-9383-4934-8543-0f91a7a0283a";
const STOPPED: &str = "qweq32131-qwee-1231-8543-0f91a7a2e2e";

#[tokio::test]
async fn a_request_with_ids_of_the_documented_form_is_carried_out() {
    let world = World::running("seed").await;
    world.own(Kind::Execution, RUNNING, "RUNNING").await;
    world.own(Kind::Execution, STOPPED, "STOPPED").await;
    let manifest = format!(
        "apiVersion: aiapi.dev/v1alpha1
kind: BulkUpdate
metadata: {{name: nightly-cleanup}}
spec:
  executions:
  - {{id: {RUNNING}, targetStatus: STOPPED}}
  - {{id: {STOPPED}, targetStatus: DELETED}}
"
    );
    world.next_second().await;
    let applied = world.kubectl_ok(&["apply", "-f", "-"], &manifest);
    assert_eq!(applied.trim(), "bulkupdate.aiapi.dev/nightly-cleanup created");
    let wait = ["wait", "--for=condition=Ready", "--timeout=30s", "bu/nightly-cleanup"];
    world.kubectl_ok(&wait, "");

    let status = world.finished("nightly-cleanup").await;
    assert_eq!(outcome(&status, Kind::Execution, RUNNING), "Settled");
    assert_eq!(outcome(&status, Kind::Execution, STOPPED), "Settled");
    assert_eq!(conditions(&status), ["Accepted True Planned", "Ready True Settled"]);
    let stopped = world.find(Kind::Execution, RUNNING).await.unwrap();
    assert_eq!(stopped.data["status"]["state"], "STOPPED");
    assert!(world.find(Kind::Execution, STOPPED).await.is_none());

    // The same manifest again changes nothing, and nothing is carried out twice.
    let again = world.kubectl_ok(&["apply", "-f", "-"], &manifest);
    assert_eq!(again.trim(), "bulkupdate.aiapi.dev/nightly-cleanup unchanged");
    let edited = manifest.replace("STOPPED}", "DELETED}");
    let (ok, message) = world.kubectl(&["apply", "-f", "-"], &edited);
    assert!(
        !ok && message.contains("the items cannot be changed after creation: create a new BulkUpdate"),
        "{message}"
    );
    let second = ["apply", "--server-side", "--field-manager=second", "--force-conflicts", "-f", "-"];
    let (ok, message) = world.kubectl(&second, &edited);
    assert!(!ok && message.contains("the items cannot be changed"), "{message}");
    assert_eq!(
        world.kubectl_ok(&second, &manifest).trim(),
        "bulkupdate.aiapi.dev/nightly-cleanup serverside-applied"
    );
    assert_eq!(writes(&world).len(), 2);
    assert_eq!(world.finished("nightly-cleanup").await, status);
}

fn writes(world: &World) -> Vec<Request> {
    world.requests().into_iter().filter(Request::is_target_write).collect()
}

/// 50 stops and 50 deletes over both kinds, all eligible.
async fn hundred_items(world: &World) -> Value {
    let mut lists = json!({});
    for kind in Kind::ALL {
        let mut items = Vec::new();
        for n in 0..50 {
            // The maximum length of an id: the largest status that such a request has.
            let id = format!("{:0>64}", format!("{}{n}", kind.plural()));
            let (state, target) = if n % 2 == 0 { ("RUNNING", "STOPPED") } else { ("STOPPED", "DELETED") };
            world.own(kind, &id, state).await;
            items.push(json!({"id": id, "targetStatus": target}));
        }
        lists[kind.plural()] = items.into();
    }
    lists
}

#[tokio::test]
async fn a_hundred_items_cost_a_hundred_guarded_writes_and_five_other_requests() {
    let world = World::running("hundred").await;
    let spec = hundred_items(&world).await;
    let status = world.carry_out("hundred", spec).await;
    assert_eq!(count(&status, ItemResult::Settled), 100);
    assert_eq!(conditions(&status), ["Accepted True Planned", "Ready True Settled"]);

    let all = world.requests();
    let writes = writes(&world);
    assert_eq!(writes.iter().filter(|w| w.succeeded()).count(), 100);
    for write in &writes {
        assert!(write.guard().is_some_and(|rv| !rv.is_empty()), "unguarded: {write:?}");
        if write.verb == "delete" {
            assert!(write.body.pointer("/preconditions/uid").is_some(), "{write:?}");
        } else {
            assert_eq!((write.verb.as_str(), write.subresource.as_str()), ("patch", "status"));
        }
    }
    let mut touched: Vec<_> = writes.iter().map(|w| (&w.resource, &w.name)).collect();
    touched.sort();
    touched.dedup();
    assert_eq!(touched.len(), 100, "each object is written to once");

    let overhead: Vec<_> = all.iter().filter(|r| r.is_overhead()).collect();
    let accepted: Vec<_> = writes.iter().filter(|w| w.succeeded()).collect();
    assert!(overhead.len() <= most_overhead(&accepted), "{overhead:#?}");
    let plan = all.iter().find(|r| r.is_record()).unwrap();
    assert_eq!(plan.body["status"]["summary"]["planned"], 100);
    for entry in Kind::ALL.iter().flat_map(|k| plan.body["status"][k.plural()].as_array().unwrap()) {
        assert_eq!(entry["result"], "Planned");
        assert!(entry["uid"].is_string());
    }
    let first = writes.iter().map(|w| &w.received).min().unwrap();
    assert!(plan.answered < *first, "the plan is on record before the first write");

    let largest = largest_status(&status);
    assert!(largest < 40_000, "{largest} bytes");
    println!("other requests: {}, status: {largest} bytes", overhead.len());
}

fn largest_status(status: &BulkUpdateStatus) -> usize {
    serde_json::to_string(status).unwrap().len()
}

#[tokio::test]
async fn an_item_of_each_refusal() {
    let mut world = World::new("refusals").await;
    let kind = Kind::Execution;
    world.own(kind, "wrong-state", "RUNNING").await;
    world
        .target(kind, "stop-pending", json!({}), json!({"state": "RUNNING", "targetStatus": "STOPPED"}))
        .await;
    world.own(kind, "replaced-0", "STOPPED").await;
    world.own(kind, "terminating", "STOPPED").await;
    world.kubectl_ok(
        &[
            "patch",
            "aiexec/terminating",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":["example.com/keep"]}}"#,
        ],
        "",
    );
    world.kubectl_ok(&["delete", "aiexec/terminating", "--wait=false"], "");
    let bulk = world
        .submit("refusals", json!({"executions": [
            {"id": "not-there", "targetStatus": "DELETED"},
            {"id": "Not_A_Name", "targetStatus": "STOPPED"},
            {"id": "wrong-state", "targetStatus": "DELETED"},
            {"id": "stop-pending", "targetStatus": "STOPPED"},
            {"id": "replaced-0", "targetStatus": "DELETED", "uid": "00000000-0000-0000-0000-000000000000"},
            {"id": "terminating", "targetStatus": "DELETED"},
            {"id": "created-later", "targetStatus": "DELETED"},
        ]}))
        .await;
    let created = bulk.metadata.creation_timestamp.unwrap().0;
    support::until("the next second", || async {
        k8s_openapi::jiff::Timestamp::now().as_second() > created.as_second()
    })
    .await;
    world.own(kind, "created-later", "STOPPED").await;
    world.operator.start(&[]);
    let status = world.finished("refusals").await;
    for (id, expected) in [
        ("not-there", "Refused NotFound"),
        ("Not_A_Name", "Refused NotFound"),
        ("wrong-state", "Refused WrongState"),
        ("stop-pending", "Refused StopPending"),
        ("replaced-0", "Refused Replaced"),
        ("terminating", "Refused Terminating"),
        ("created-later", "Refused CreatedLater"),
    ] {
        assert_eq!(outcome(&status, kind, id), expected);
    }
    assert_eq!(
        conditions(&status),
        ["Accepted True Planned", "Ready False ItemsRefused", "Stalled True ItemsRefused"]
    );
    assert_eq!(
        status.condition("Ready").unwrap().message,
        "of 7 items: 0 settled, 7 refused (NotFound 2, Replaced, CreatedLater, Terminating, StopPending, WrongState)"
    );
    assert!(writes(&world).is_empty());
    // Each item that the index suggests was confirmed by one read; an invalid name needs none.
    let reads = world.requests().into_iter().filter(|r| r.is_target() && r.verb == "get");
    let mut read: Vec<_> = reads.map(|r| r.name).collect();
    read.sort();
    assert_eq!(
        read,
        ["created-later", "not-there", "replaced-0", "stop-pending", "terminating", "wrong-state"]
    );
}

#[tokio::test]
async fn a_dry_run_writes_to_nothing() {
    let world = World::running("dry-run").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    world.own(Kind::Deployment, "stopped-1", "STOPPED").await;
    let good = json!({"dryRun": true, "executions": [{"id": "running-1", "targetStatus": "STOPPED"}],
        "deployments": [{"id": "stopped-1", "targetStatus": "DELETED"}]});
    let status = world.carry_out("all-eligible", good).await;
    assert_eq!(count(&status, ItemResult::Eligible), 2);
    assert_eq!(conditions(&status), ["Accepted True Planned", "Ready True DryRun"]);
    let mixed = json!({"dryRun": true, "executions": [{"id": "running-1", "targetStatus": "DELETED"},
        {"id": "nothing-1", "targetStatus": "DELETED"}], "deployments": [{"id": "stopped-1", "targetStatus": "DELETED"}]});
    let status = world.carry_out("some-refused", mixed).await;
    assert_eq!(outcome(&status, Kind::Execution, "running-1"), "Refused WrongState");
    assert_eq!(outcome(&status, Kind::Deployment, "stopped-1"), "Eligible");
    assert_eq!(
        conditions(&status),
        ["Accepted True Planned", "Ready False ItemsRefused", "Stalled True ItemsRefused"]
    );
    assert!(writes(&world).is_empty());
}

#[tokio::test]
async fn completed_executions_are_deleted_only_if_the_admin_allows_it() {
    let mut world = World::new("completed").await;
    world.operator.start(&["--delete-completed"]);
    world.own(Kind::Execution, "completed", "COMPLETED").await;
    world.own(Kind::Deployment, "completed", "COMPLETED").await;
    let item = json!([{"id": "completed", "targetStatus": "DELETED"}]);
    let status = world.carry_out("clean-up", json!({"executions": item, "deployments": item})).await;
    assert_eq!(outcome(&status, Kind::Execution, "completed"), "Settled");
    assert_eq!(outcome(&status, Kind::Deployment, "completed"), "Refused WrongState");
}

#[tokio::test]
async fn events_report_acceptance_rejection_and_the_end() {
    let world = World::running("events").await;
    world.own(Kind::Execution, "running-1", "RUNNING").await;
    let spec = json!({"executions": [{"id": "running-1", "targetStatus": "STOPPED"}]});
    world.carry_out("good", spec.clone()).await;
    world.flag(Some("{}")).await;
    world.carry_out("off", spec).await;
    let list = || {
        world.kubectl_ok(
            &[
                "get",
                "events.events.k8s.io",
                "-o",
                r#"jsonpath={range .items[*]}{.regarding.name} {.type} {.reason}: {.note}{"\n"}{end}"#,
            ],
            "",
        )
    };
    support::until("three events", || async { list().lines().count() >= 3 }).await;
    let mut events: Vec<_> = list().lines().map(ToOwned::to_owned).collect();
    events.sort();
    assert_eq!(
        events,
        [
            "good Normal Accepted: 1 item: 1 planned, 0 eligible, 0 refused",
            "good Normal Finished: 1 item settled",
            "off Warning Rejected: bulk updates of executions are disabled in ConfigMap events/ai-api-meta",
        ]
    );
    let log = world.operator.log();
    for line in [
        "accepted bulk_update=events/good",
        "finished bulk_update=events/good",
        "rejected bulk_update=events/off",
        "wrote to a target bulk_update=events/good",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
}

/// It has no workload, and no BulkUpdate asked for it: that is up to the writer of the STOPPING.
#[tokio::test]
async fn a_target_without_work_that_is_stopping_is_left_alone() {
    let mut world = World::new("left-alone").await;
    for kind in Kind::ALL {
        world.own(kind, "stopping", "STOPPING").await;
    }
    let version = async |world: &World, kind| {
        world.find(kind, "stopping").await.unwrap().metadata.resource_version.unwrap()
    };
    let before = [version(&world, Kind::Execution).await, version(&world, Kind::Deployment).await];
    let named = |verb: &str| {
        let items = json!([{"id": "stopping", "targetStatus": verb}]);
        json!({"executions": items, "deployments": items})
    };
    // It exists at the start, and is seen with the flag off, and with the flag on.
    world.flag(None).await;
    world.operator.start(&[]);
    let status = world.carry_out("off", named("STOPPED")).await;
    assert_eq!(conditions(&status)[0], "Accepted False BulkUpdatesDisabled");
    world.flag(Some(support::ON)).await;
    for verb in ["STOPPED", "DELETED"] {
        let status = world.carry_out(&verb.to_lowercase(), named(verb)).await;
        for kind in Kind::ALL {
            assert_eq!(outcome(&status, kind, "stopping"), "Refused WrongState");
        }
    }
    // It gets into this state while the operator runs, which has seen it by then.
    for kind in Kind::ALL {
        world.own(kind, "stopping-later", "STOPPING").await;
        world.own(kind, "last", "RUNNING").await;
    }
    let items = json!([{"id": "stopping-later", "targetStatus": "DELETED"}, {"id": "last", "targetStatus": "STOPPED"}]);
    let status = world.carry_out("last", json!({"executions": items, "deployments": items})).await;
    for kind in Kind::ALL {
        assert_eq!(outcome(&status, kind, "stopping-later"), "Refused WrongState");
        assert_eq!(outcome(&status, kind, "last"), "Settled");
    }
    assert!(world.operator.stop().success());
    let written: Vec<_> =
        world.requests().into_iter().filter(Request::is_target_write).map(|r| r.name).collect();
    assert_eq!(written, ["last", "last"]);
    assert_eq!([version(&world, Kind::Execution).await, version(&world, Kind::Deployment).await], before);
}
