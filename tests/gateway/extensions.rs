//! Headers that the AI API does not have: to be answered early, and to send a request again.

use ai_api_operator::api::Kind;
use kube::ResourceExt;
use serde_json::{Value, json};
use support::{gateway::Answer, until};

use crate::{all, bulk_updates, gateway, item, made, state};

const KIND: Kind = Kind::Execution;
const TYPE: (&str, &str) = ("Content-Type", "application/json");

fn entries(answer: &Answer) -> Vec<Value> {
    answer.ok(202)["executions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn who_does_not_want_to_wait_is_answered_when_it_is_planned() {
    let (world, _gateway, caller) = gateway("gw-async").await;
    world.own(KIND, "running-1", "RUNNING").await;
    world.own(KIND, "completed-1", "COMPLETED").await;
    let body = json!({"executions": [item("running-1", "STOPPED"), item("completed-1", "STOPPED")]});
    let headers = [TYPE, ("Prefer", "wait=1, respond-async")];
    world.next_second().await;
    let answer = caller.send("PATCH", &all(KIND), &headers, &body.to_string()).await;
    let entries = entries(&answer);
    // It may have been written to by then.
    let message = entries[0]["message"].as_str().unwrap();
    assert!(
        ["planned", "scheduled"]
            .map(|word| format!("Execution modification {word}"))
            .contains(&message.to_owned())
    );
    assert_eq!(entries[1]["error"]["code"], "01010076");
    assert_eq!(
        (answer.header("preference-applied"), answer.header("idempotency-key-until")),
        ("respond-async", "")
    );
    let bulk = made(&world, answer.id()).await;
    let not_after = bulk.spec.not_after.as_ref().unwrap().0.as_second();
    let seconds = not_after - bulk.creation_timestamp().unwrap().0.as_second();
    assert!((595..=605).contains(&seconds), "{seconds}");
    until("it is stopped", || async { state(&world, KIND, "running-1").await.as_deref() == Some("STOPPED") })
        .await;
}

#[tokio::test]
async fn the_same_request_with_the_same_key_is_carried_out_once() {
    let (world, _gateway, caller) = gateway("gw-again").await;
    world.own(KIND, "running-1", "RUNNING").await;
    world.own(KIND, "dead-1", "DEAD").await;
    world.own(KIND, "dead-2", "DEAD").await;
    world.own(KIND, "completed-1", "COMPLETED").await;
    let body = json!({"executions": [item("running-1", "STOPPED"), item("dead-1", "DELETED")]}).to_string();
    let with = |key: &'static str| [TYPE, ("Idempotency-Key", key)];
    let key = with("8e03978e-40d5-43dd-bc93-6894a57f9324");
    world.next_second().await;
    let first = caller.send("PATCH", &all(KIND), &key, &body).await;
    let message = "Execution modification scheduled";
    assert!(entries(&first).iter().all(|entry| entry["message"] == message), "{}", first.text);
    let again = caller.send("PATCH", &all(KIND), &key, &body).await;
    assert_eq!(entries(&again), entries(&first));
    assert_ne!(again.id(), first.id());
    assert!(again.header("idempotency-key-until") >= first.header("idempotency-key-until"));
    assert!(!first.header("idempotency-key-until").is_empty());

    // With another body, for another object, or on another path, it is another request.
    let other = json!({"executions": [item("dead-2", "DELETED")]}).to_string();
    for (method, path, body) in [
        ("PATCH", all(KIND), &*other),
        ("DELETE", format!("{}/dead-2", all(KIND)), ""),
        ("PATCH", all(Kind::Deployment), &*body.replace("executions", "deployments")),
    ] {
        let (code, message) = caller.send(method, &path, &key, body).await.error(409);
        assert_eq!(code, "Conflict");
        assert!(message.contains("gw-again/request-8e03978e-40d5-43dd-bc93-6894a57f9324"), "{message}");
    }
    assert_eq!(state(&world, KIND, "dead-2").await.as_deref(), Some("DEAD"));
    assert_eq!(bulk_updates(&world).await, 1);

    // A deletion whose response was lost does not get 404 for what it has deleted itself.
    let key = with("11111111-1111-4111-8111-111111111111");
    for _ in 0..2 {
        let answer = caller.send("DELETE", &format!("{}/dead-2", all(KIND)), &key, "").await;
        assert_eq!(answer.ok(202)["message"], "Execution deletion scheduled");
    }
    // Nor does one that is refused get another answer, for as long.
    let key = with("22222222-2222-4222-8222-222222222222");
    let path = format!("{}/completed-1", all(KIND));
    for _ in 0..2 {
        let answer = caller.send("PATCH", &path, &key, r#"{"targetStatus":"STOPPED"}"#).await;
        assert_eq!(answer.error(412).0, "01010076");
        assert!(!answer.header("idempotency-key-until").is_empty());
    }
    let (_, message) = caller.send("PATCH", &all(KIND), &with("mine"), &other).await.error(400);
    assert_eq!(message, "the header Idempotency-Key is not a UUID; nothing was done");
    assert_eq!(bulk_updates(&world).await, 3);
}
