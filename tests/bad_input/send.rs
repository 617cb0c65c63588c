//! Sends raw bytes to the API server: no typed client would accept them.

use std::time::Duration;

use futures::{StreamExt, stream};
use http::Request;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use support::World;

use super::{
    inputs::{BULK_UPDATE, Input, Sort},
    lenient,
    tally::Tally,
};

/// How many requests are in flight at once.
const IN_FLIGHT: usize = 24;

#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Value,
}

async fn send(client: &Client, method: &str, path: &str, media_type: &str, body: Vec<u8>) -> Answer {
    let request = Request::builder().method(method).uri(path).header("Content-Type", media_type);
    let answer = async {
        let response = client.send(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    };
    // The API server itself gives up after a minute.
    let answer = tokio::time::timeout(Duration::from_secs(90), answer).await;
    let (head, body) = answer.unwrap_or_else(|_| panic!("no answer: {method} {path}"));
    // An answer that is not JSON has no message, which is checked.
    Answer { code: head.status.as_u16(), body: lenient::parse(&body) }
}

pub async fn get(client: &Client, path: &str) -> Answer {
    send(client, "GET", path, "application/json", Vec::new()).await
}

pub async fn post(client: &Client, path: &str, body: Vec<u8>) -> Answer {
    send(client, "POST", path, "application/json", body).await
}

pub async fn patch(client: &Client, path: &str, body: Vec<u8>) -> Answer {
    send(client, "PATCH", path, "application/merge-patch+json", body).await
}

pub async fn delete(client: &Client, path: &str) -> Answer {
    send(client, "DELETE", path, "application/json", Vec::new()).await
}

/// A refusal says why.
pub fn refusal(answer: &Answer, sent: &[u8]) {
    let sent = String::from_utf8_lossy(sent).chars().take(2000).collect::<String>();
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(message.trim().len() > 5, "{}: {}, to {sent}", answer.code, answer.body);
}

/// The collection of the objects of a sort.
pub fn path(world: &World, sort: Sort) -> String {
    format!("/apis/aiapi.dev/v1alpha1/namespaces/{}/{}", world.namespace, sort.plural)
}

/// Lists all objects of a sort, page by page.
pub async fn list(world: &World, path: &str, selector: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let page = format!("{path}?limit=500&fieldSelector={selector}&continue={next}");
        let mut answer = get(&world.client, &page).await;
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

/// How an object was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The API server accepted it, by the CRD's schema (which may have been loosened).
    Sent,
    /// The same, and somebody has written the status, which only the operator should write.
    Forged,
    /// It was written into etcd.
    Stored,
}

/// An existing object.
#[derive(Clone, Debug)]
pub struct Created {
    pub sort: Sort,
    /// The name under which the API server finds it.
    pub name: String,
    /// As the API server returned it.
    pub object: Value,
    /// The status that it accepted, if any.
    pub status: Option<Value>,
    pub way: Way,
}

impl Created {
    /// Its uid; empty if it has none.
    pub fn uid(&self) -> &str {
        self.object["metadata"]["uid"].as_str().unwrap_or_default()
    }
}

/// Creates them concurrently, writes the status of those that have one, and applies the patches.
pub async fn create(world: &World, inputs: Vec<Input>, tally: &mut Tally) -> Vec<Created> {
    let answers = stream::iter(inputs.into_iter().enumerate()).map(|(n, input)| async move {
        let path = path(world, input.sort);
        // The API server drops unknown fields, unless it is asked not to.
        let strict = if n % 4 == 0 { "?fieldValidation=Strict" } else { "" };
        let made = post(&world.client, &format!("{path}{strict}"), input.body.clone()).await;
        let (mut status, mut edit) = (None, None);
        if made.code == 201 {
            let name = made.body["metadata"]["name"].as_str().unwrap();
            if let Some(body) = &input.status {
                status = Some(patch(&world.client, &format!("{path}/{name}/status"), body.clone()).await);
            }
            if let Some(body) = &input.edit {
                edit = Some(patch(&world.client, &format!("{path}/{name}"), body.clone()).await);
            }
        }
        (input, made, status, edit)
    });
    let mut answers = std::pin::pin!(answers.buffer_unordered(IN_FLIGHT));
    let mut created = Vec::new();
    while let Some((input, made, status, edit)) = answers.next().await {
        let kind = input.sort.kind;
        tally.sent(kind, made.code);
        if made.code != 201 {
            refusal(&made, &input.body);
            continue;
        }
        let mut taken = None;
        if let (Some(answer), Some(body)) = (status, &input.status) {
            tally.sent(&format!("{kind} status"), answer.code);
            match answer.code {
                200 => taken = Some(answer.body["status"].clone()),
                _ => refusal(&answer, body),
            }
        }
        if let (Some(answer), Some(body)) = (edit, &input.edit) {
            edited(kind, &answer, body, tally);
        }
        if input.sort != BULK_UPDATE {
            let time = made.body["metadata"]["creationTimestamp"].as_str().unwrap();
            world.target_created(time.parse().unwrap());
        }
        let name = made.body["metadata"]["name"].as_str().unwrap().to_owned();
        created.push(Created { sort: input.sort, name, object: made.body, status: taken, way: Way::Sent });
    }
    created
}

/// Counts a patch of metadata.
pub fn edited(kind: &str, answer: &Answer, sent: &[u8], tally: &mut Tally) {
    tally.sent(&format!("{kind} metadata"), answer.code);
    match answer.code {
        // It may have expired already.
        200 | 404 => {}
        _ => refusal(answer, sent),
    }
}

/// Deletes all BulkUpdates.
pub async fn clear_bulk_updates(world: &World, sort: Sort) {
    let answer = delete(&world.client, &path(world, sort)).await;
    assert_eq!(answer.code, 200, "{}", answer.body);
}

/// Whether the API server would accept this.
pub async fn would_take(world: &World, method: &str, path: &str, body: String) -> bool {
    let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let answer =
        send(&world.client, method, &format!("{path}?dryRun=All"), media_type, body.into_bytes()).await;
    answer.code < 300
}

/// Whether it would accept a change of the status of the object with this name, from a user with the right to write it.
pub async fn would_take_a_status(world: &World, sort: Sort, name: &str) -> bool {
    let path = format!("{}/{name}/status", path(world, sort));
    would_take(world, "PATCH", &path, json!({"status": {"observedGeneration": 1}}).to_string()).await
}
