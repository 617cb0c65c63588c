//! The operator is absent, paused or killed while a request is in progress: what the answer says, and that nothing else
//! happens afterwards.

use ai_api_operator::api::{ItemResult, Kind};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use support::{
    World, audit, count,
    gateway::{Answer, Caller, Gateway},
    until,
};

const KIND: Kind = Kind::Execution;
const PATH: &str = "/v2/lm/executions";

fn stop(ids: &[String]) -> Value {
    let items: Vec<_> = ids.iter().map(|id| json!({"id": id, "targetStatus": "STOPPED"})).collect();
    json!({"executions": items})
}

async fn running(world: &World, count: usize) -> Vec<String> {
    let mut ids = vec![];
    for n in 0..count {
        ids.push(format!("running-{n}"));
        world.own(KIND, &ids[n], "RUNNING").await;
    }
    ids
}

/// Sends it in the background, in a later second than the targets that there are, and waits until it has become a BulkUpdate;
/// returns its name.
async fn begin(world: &World, caller: &Caller, body: Value) -> (tokio::task::JoinHandle<Answer>, String) {
    world.next_second().await;
    let caller = caller.clone();
    let answer = tokio::spawn(async move { caller.patch(PATH, &body).await });
    (answer, only(world).await)
}

/// The name of the only BulkUpdate, when it is there.
async fn only(world: &World) -> String {
    let mut name = String::new();
    until("a BulkUpdate", || {
        let list = world.bulk_updates();
        async move { !list.list(&ListParams::default()).await.unwrap().items.is_empty() }
    })
    .await;
    for bulk in world.bulk_updates().list(&ListParams::default()).await.unwrap() {
        assert!(name.is_empty(), "there are two");
        name = bulk.name_any();
    }
    name
}

async fn state(world: &World, name: &str) -> Value {
    world.find(KIND, name).await.unwrap().data["status"]["state"].clone()
}

/// Waits until the operator has reconciled everything that was created before.
async fn canary(world: &World) {
    world.own(KIND, "canary", "RUNNING").await;
    world.carry_out("canary", stop(&["canary".into()])).await;
}

#[tokio::test]
async fn without_an_operator_it_is_503_and_leaves_no_bulk_update() {
    let mut world = World::new("gw-away").await;
    let ids = running(&world, 2).await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    let (body, of_one) = (stop(&ids), json!({"targetStatus": "STOPPED"}));
    let one = caller.patch("/v2/lm/executions/running-0", &of_one);
    let (one, bulk) = tokio::join!(one, caller.patch(PATH, &body));
    for answer in [one, bulk] {
        let (code, message) = answer.error(503);
        assert_eq!(code, "ServiceUnavailable");
        let says = "the operator did not start the request within 20s (is it running?): nothing was done, and \
                    nothing will be";
        assert_eq!(message, says);
    }
    assert!(world.bulk_updates().list(&ListParams::default()).await.unwrap().items.is_empty());
    let deletes = world.plane.requests(&caller.user).into_iter().filter(|r| r.verb == "delete");
    for delete in deletes {
        assert!(
            delete.guard().is_some() && delete.body.pointer("/preconditions/uid").is_some(),
            "{delete:?}"
        );
    }
    world.operator.start(&[]);
    canary(&world).await;
    assert_eq!(
        (state(&world, "running-0").await, state(&world, "running-1").await),
        ("RUNNING".into(), "RUNNING".into())
    );
}

#[tokio::test]
async fn killed_between_accept_and_plan_it_is_503_and_nothing_happens() {
    let mut world = World::running("gw-killed").await;
    let ids = running(&world, 1).await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    canary(&world).await;
    world.bulk_updates().delete("canary", &kube::api::DeleteParams::default()).await.unwrap();
    world.operator.signal("STOP");
    let (answer, name) = begin(&world, &caller, stop(&ids)).await;
    world.operator.kill();
    answer.await.unwrap().error(503);
    assert!(world.bulk_updates().get_opt(&name).await.unwrap().is_none());
    world.operator.start(&[]);
    let last = json!({"executions": [{"id": "running-9", "targetStatus": "STOPPED"}]});
    world.carry_out("last", last).await;
    assert_eq!(state(&world, "running-0").await, "RUNNING");
}

#[tokio::test]
async fn an_operator_that_comes_back_in_time_carries_it_out() {
    let mut world = World::running("gw-back").await;
    let ids = running(&world, 1).await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    world.operator.signal("STOP");
    let (answer, name) = begin(&world, &caller, stop(&ids)).await;
    world.operator.kill();
    world.operator.start(&[]);
    let answer = answer.await.unwrap();
    assert_eq!(answer.ok(202)["executions"][0]["message"], "Execution modification scheduled");
    assert_eq!(name, format!("request-{}", answer.id()));
    assert_eq!(state(&world, "running-0").await, "STOPPED");
    assert_eq!(world.writes().len(), 1);
}

#[tokio::test]
async fn killed_after_the_plan_each_item_says_whether_its_outcome_is_known_and_its_status_tells_the_rest() {
    let mut world = World::new("gw-mid-way").await;
    let ids = running(&world, 100).await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    world.operator.start(&["--max-in-flight", "1"]);
    let (answer, name) = begin(&world, &caller, stop(&ids)).await;
    until("some writes", || async { world.writes().len() >= 5 }).await;
    world.operator.kill();
    let answer = answer.await.unwrap().ok(202);
    let entries = answer["executions"].as_array().unwrap();
    let errors: Vec<_> =
        entries.iter().map(|entry| &entry["error"]).filter(|error| !error.is_null()).collect();
    // What was reported by then is known.
    assert!(entries.len() == 100 && !errors.is_empty());
    let message = errors[0]["message"].as_str().unwrap();
    let begins =
        format!("the outcome of BulkUpdate gw-mid-way/{name} is not known: it is still being carried out.");
    assert!(message.starts_with(&begins), "{message}");
    assert!(errors.iter().all(|error| error["code"] == "OutcomeUnknown" && error["message"] == message));
    // The API server may complete a request whose client has disconnected; it then logs a 504.
    let sent = |world: &World| world.requests().into_iter().filter(audit::Request::is_target_write).count();
    let (written, before) = (world.writes().len(), sent(&world));
    assert!(before < 100, "it was not in the middle of the work");
    // After the time in the answer nothing is started: what was not written by then fails.
    world.operator.start(&[]);
    let status = world.finished(&name).await;
    assert_eq!(sent(&world), before);
    let settled = count(&status, ItemResult::Settled);
    assert!((written..=before).contains(&settled), "{settled} of {written} to {before}");
    assert_eq!(settled + count(&status, ItemResult::Failed), 100);
    let not_after = world.bulk_updates().get(&name).await.unwrap().spec.not_after.unwrap().0;
    assert!(
        message.contains(&not_after.strftime("nothing is started after %FT%TZ").to_string()),
        "{message}"
    );
}

#[tokio::test]
async fn deleting_the_bulk_update_before_the_plan_prevents_it() {
    let mut world = World::new("gw-deleted").await;
    let ids = running(&world, 1).await;
    let gateway = Gateway::start(&world).await;
    let caller = gateway.caller(&world, "caller").await;
    let (answer, name) = begin(&world, &caller, stop(&ids)).await;
    world.bulk_updates().delete(&name, &kube::api::DeleteParams::default()).await.unwrap();
    let (_, message) = answer.await.unwrap().error(503);
    assert!(message.ends_with("before it was planned: nothing was done"), "{message}");
    world.operator.start(&[]);
    canary(&world).await;
    assert_eq!(state(&world, "running-0").await, "RUNNING");
}

#[tokio::test]
async fn without_the_right_to_withdraw_or_watch_the_answer_is_still_true() {
    let mut world = World::new("gw-few-rights").await;
    let ids = running(&world, 1).await;
    let gateway = Gateway::start(&world).await;
    // It polls instead.
    let caller = gateway.caller_with(&world, "caller", "create get").await;
    let (answer, name) = begin(&world, &caller, stop(&ids)).await;
    let (code, message) = answer.await.unwrap().error(504);
    assert!(code == "OutcomeUnknown" && message.contains(&name) && message.contains("403"), "{message}");
    // An irrelevant change does not make it planned.
    let label = Patch::Merge(json!({"metadata": {"labels": {"seen": "yes"}}}));
    world.bulk_updates().patch(&name, &PatchParams::default(), &label).await.unwrap();
    world.operator.start(&[]);
    let status = world.finished(&name).await;
    assert_eq!(state(&world, "running-0").await == "STOPPED", count(&status, ItemResult::Settled) == 1);
    let ids = vec!["running-1".to_owned()];
    world.own(KIND, "running-1", "RUNNING").await;
    caller.patch(PATH, &stop(&ids)).await.ok(202);
    assert_eq!(state(&world, "running-1").await, "STOPPED");
}
