//! Sends bytes to the API server as they are: no client of a type would let them through.

use futures::{StreamExt, stream};
use http::Request;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::Value;

use super::{
    inputs::{Input, Sort},
    tally::Tally,
};
use crate::support::World;

/// How many requests are under way at once.
const IN_FLIGHT: usize = 24;

#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

async fn send(client: &Client, method: &str, path: &str, media_type: &str, body: Vec<u8>) -> Answer {
    let request = Request::builder().method(method).uri(path).header("Content-Type", media_type);
    let response = client.send(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    // What is no JSON has no message, which is looked for.
    Answer { code: head.status.as_u16(), body: serde_json::from_slice(&body).unwrap_or_default() }
}

pub async fn post(client: &Client, path: &str, body: Vec<u8>) -> Answer {
    send(client, "POST", path, "application/json", body).await
}

pub async fn patch(client: &Client, path: &str, body: Vec<u8>) -> Answer {
    send(client, "PATCH", path, "application/merge-patch+json", body).await
}

/// A refusal says why.
pub fn refusal(answer: &Answer, sent: &[u8]) {
    let sent = String::from_utf8_lossy(sent).chars().take(2000).collect::<String>();
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(message.trim().len() > 5, "{}: {}, to {sent}", answer.code, answer.body);
}

/// Where the objects of a sort are.
pub fn path(world: &World, sort: Sort) -> String {
    format!("/apis/aiapi.dev/v1alpha1/namespaces/{}/{}", world.namespace, sort.plural)
}

/// What there is of a sort, a page at a time.
pub async fn list(world: &World, path: &str, selector: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let page = format!("{path}?limit=500&fieldSelector={selector}&continue={next}");
        let mut answer = send(&world.client, "GET", &page, "application/json", Vec::new()).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
        if let Value::Array(items) = answer.body["items"].take() {
            all.extend(items);
        }
        answer.body["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut next);
        if next.is_empty() {
            return all;
        }
    }
}

/// What was created, as the API server gave it back, and what it took as its status, if it took one.
pub type Created = (Sort, Value, Option<Value>);

/// Creates them side by side, and writes the status of those that have one.
pub async fn create(world: &World, inputs: Vec<Input>, tally: &mut Tally) -> Vec<Created> {
    let answers = stream::iter(inputs.into_iter().enumerate()).map(|(n, input)| async move {
        let path = path(world, input.sort);
        // The API server drops what it does not know, unless it is asked not to.
        let strict = if n % 4 == 0 { "?fieldValidation=Strict" } else { "" };
        let made = post(&world.client, &format!("{path}{strict}"), input.body.clone()).await;
        let mut status = None;
        if let (201, Some(body)) = (made.code, &input.status) {
            let name = made.body["metadata"]["name"].as_str().unwrap();
            status = Some(patch(&world.client, &format!("{path}/{name}/status"), body.clone()).await);
        }
        (input, made, status)
    });
    let mut answers = std::pin::pin!(answers.buffer_unordered(IN_FLIGHT));
    let mut created = Vec::new();
    while let Some((input, made, status)) = answers.next().await {
        tally.sent(input.sort.kind, made.code);
        if made.code != 201 {
            refusal(&made, &input.body);
            continue;
        }
        let mut taken = None;
        if let (Some(answer), Some(body)) = (status, &input.status) {
            tally.sent(&format!("{} status", input.sort.kind), answer.code);
            match answer.code {
                200 => taken = Some(answer.body["status"].clone()),
                _ => refusal(&answer, body),
            }
        }
        created.push((input.sort, made.body, taken));
    }
    created
}

/// Deletes all BulkUpdates that are there.
pub async fn clear_bulk_updates(world: &World, sort: Sort) {
    let answer = send(&world.client, "DELETE", &path(world, sort), "application/json", Vec::new()).await;
    assert_eq!(answer.code, 200, "{}", answer.body);
}

/// Whether the API server would take this.
pub async fn would_take(world: &World, method: &str, path: &str, body: String) -> bool {
    let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let answer =
        send(&world.client, method, &format!("{path}?dryRun=All"), media_type, body.into_bytes()).await;
    answer.code < 300
}
