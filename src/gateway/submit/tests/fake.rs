//! An API server that does what no real one can be made to do.

#![allow(clippy::needless_pass_by_value, reason = "what is made by json! is handed over")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower::BoxError;

use super::super::*;
use crate::{
    api::{BulkUpdateItem, TargetStatus},
    client::clock::Clock,
    gateway::modification,
};

pub const NAME: &str = "request-id-1";

/// What the gateway has asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// create, get, watch or delete.
    pub verb: &'static str,
    /// Which one of this verb it is; the first is 1.
    pub nth: usize,
    pub uri: String,
    pub body: Value,
}

pub enum Reply {
    Answer(u16, Value),
    /// The connection breaks.
    Broken,
    /// No answer, ever.
    Hang,
    /// The events of a watch, which then ends.
    Events(Vec<Value>),
    /// The events of a watch, which then hangs.
    EventsAndNoMore(Vec<Value>),
}

/// The requests so far.
type Log = Arc<Mutex<Vec<Asked>>>;

/// A caller of an API server that answers as `script` says.
fn caller(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Caller, Log) {
    let log = Log::default();
    let (script, asked) = (Arc::new(script), Arc::clone(&log));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (script, log) = (Arc::clone(&script), Arc::clone(&asked));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let uri = head.uri.to_string();
            let verb = match head.method.as_str() {
                "POST" => "create",
                "DELETE" => "delete",
                _ if uri.contains("watch=true") => "watch",
                _ => "get",
            };
            let mut asked =
                Asked { verb, nth: 1, uri, body: serde_json::from_slice(&body).unwrap_or_default() };
            {
                let mut log = log.lock().unwrap();
                asked.nth += log.iter().filter(|a: &&Asked| a.verb == verb).count();
                log.push(asked.clone());
            }
            let (status, body) = match script(&asked) {
                Reply::Answer(status, body) => (status, whole(&body)),
                Reply::Broken => return Err(BoxError::from("connection reset")),
                Reply::Hang => std::future::pending().await,
                Reply::Events(events) => (200, StreamBody::new(events_of(events)).boxed_unsync()),
                Reply::EventsAndNoMore(events) => {
                    (200, StreamBody::new(events_of(events).chain(stream::pending())).boxed_unsync())
                }
            };
            Ok::<_, BoxError>(http::Response::builder().status(status).body(body).unwrap())
        }
    });
    let invocation = crate::gateway::problem::Invocation { id: "id-1".into(), ..Default::default() };
    let namespace = "team-a".to_owned();
    let (client, clock) = (Client::new(service, "team-a"), Clock::default());
    (Caller { client, namespace, clock, invocation, promise: None }, log)
}

fn events_of(events: Vec<Value>) -> impl futures::Stream<Item = Result<Frame<Bytes>, BoxError>> {
    // The API server writes the type first.
    let line = |event: Value| format!("{{\"type\":{},\"object\":{}}}\n", event["type"], event["object"]);
    stream::iter(events.into_iter().map(move |event| Ok(Frame::data(line(event).into()))))
}

fn whole(body: &Value) -> UnsyncBoxBody<Bytes, BoxError> {
    http_body_util::Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync()
}

/// The BulkUpdate in one of its versions.
pub fn bulk(version: u32, status: Value) -> Value {
    json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
        "metadata": {"name": NAME, "namespace": "team-a", "uid": "uid-1", "resourceVersion": version.to_string()},
        "spec": {"executions": [{"id": "item-0", "targetStatus": "STOPPED"}]}, "status": status})
}

pub fn created() -> Value {
    bulk(1, json!({"observedGeneration": -1}))
}

pub fn status_with(result: &str) -> Value {
    json!({"observedGeneration": 1, "startTime": "2026-01-02T03:04:05Z",
        "executions": [{"id": "item-0", "targetStatus": "STOPPED", "result": result}]})
}

pub fn planned() -> Value {
    bulk(2, status_with("Planned"))
}

pub fn scheduled() -> Value {
    bulk(3, status_with("Scheduled"))
}

/// One that waits, and says for what.
pub fn waiting() -> Value {
    let ready = json!({"type": "Ready", "status": "False", "reason": "Waiting", "message": "the flag cannot be read",
        "lastTransitionTime": "2026-01-02T03:04:05Z"});
    bulk(2, json!({"observedGeneration": 1, "conditions": [ready]}))
}

pub fn event(type_: &str, object: Value) -> Value {
    json!({"type": type_, "object": object})
}

pub fn modified(object: Value) -> Value {
    event("MODIFIED", object)
}

pub fn refusal(code: u16, message: &str) -> Reply {
    let details = json!({"name": NAME, "retryAfterSeconds": if code == 429 { 7 } else { 0 }});
    Reply::Answer(
        code,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": "", "code": code, "details": details}),
    )
}

pub fn ok(object: Value) -> Reply {
    Reply::Answer(200, object)
}

pub fn deleted() -> Reply {
    ok(json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}))
}

fn stop_it() -> modification::Asked {
    let item = BulkUpdateItem { id: "item-0".into(), target_status: TargetStatus::Stopped, uid: None };
    modification::Asked { items: vec![item], dry_run: false, how: Preferences::default() }
}

/// Asks for the one item to be stopped.
pub async fn ask(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Outcome {
    ask_with(Preferences::default(), script).await
}

/// The same, to be answered like this.
pub async fn ask_with(how: Preferences, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Outcome {
    ask_promised(None, how, script).await
}

/// The same, with what was promised for it.
pub async fn ask_promised(
    promise: Option<Arc<Promise>>,
    how: Preferences,
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Outcome {
    let (caller, log) = caller(script);
    let caller = Caller { promise, ..caller };
    let began = Instant::now();
    let answer = submit(&caller, Kind::Execution, modification::Asked { how, ..stop_it() }).await;
    let asked = log.lock().unwrap().clone();
    Outcome { answer, asked, took: began.elapsed() }
}

/// The same, as a request about one object.
pub async fn ask_one(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<(), Problem> {
    ask_one_with(Preferences::default(), script).await
}

/// The same, to be answered like this.
pub async fn ask_one_with(
    how: Preferences,
    script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Result<(), Problem> {
    let (caller, _) = caller(script);
    submit_one(&caller, Kind::Execution, modification::Asked { how, ..stop_it() }).await.map(drop)
}

/// As [`ask`], where the BulkUpdate is created at once.
pub async fn after_creation(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Outcome {
    ask(move |asked| if asked.verb == "create" { Reply::Answer(201, created()) } else { script(asked) }).await
}

pub struct Outcome {
    pub answer: Result<BulkUpdateStatus, Problem>,
    pub asked: Vec<Asked>,
    pub took: Duration,
}

impl Outcome {
    pub fn verbs(&self) -> Vec<&'static str> {
        self.asked.iter().map(|asked| asked.verb).collect()
    }

    pub fn of(&self, verb: &str) -> Vec<&Asked> {
        self.asked.iter().filter(|asked| asked.verb == verb).collect()
    }

    #[track_caller]
    pub fn is_scheduled(&self) {
        let status = self.answer.as_ref().unwrap();
        assert_eq!(status.items(Kind::Execution)[0].result, ItemResult::Scheduled);
    }

    /// Whether nothing was done, which is 503; gives back the sentence.
    #[track_caller]
    pub fn nothing_done(&self) -> &str {
        let problem = self.answer.as_ref().unwrap_err();
        assert_eq!(problem.code.status().as_u16(), 503, "{problem:?}");
        assert!(problem.message.contains("nothing was done"), "{}", problem.message);
        &problem.message
    }

    /// Whether there is a plan, and the outcome of its item is not known; gives back the sentence.
    #[track_caller]
    pub fn item_is_not_known(&self) -> &str {
        let item = &self.answer.as_ref().unwrap().items(Kind::Execution)[0];
        assert_eq!((item.result, item.reason), (ItemResult::Failed, Some(Reason::OutcomeUnknown)));
        let message = item.message.as_deref().unwrap();
        let begins = "the outcome of BulkUpdate team-a/request-id-1 is not known: ";
        assert!(message.starts_with(begins), "{message}");
        message
    }

    /// Whether the outcome is not known, which is 504 and names the BulkUpdate; gives back the sentence.
    #[track_caller]
    pub fn not_known(&self) -> &str {
        let problem = self.answer.as_ref().unwrap_err();
        assert_eq!(
            (problem.code.status().as_u16(), &*problem.code.to_string()),
            (504, "OutcomeUnknown"),
            "{problem:?}"
        );
        let begins = "the outcome of BulkUpdate team-a/request-id-1 is not known: ";
        assert!(problem.message.starts_with(begins), "{}", problem.message);
        &problem.message
    }
}
