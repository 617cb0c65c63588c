//! What crosses the wires of all lives of the operator, in order, for the judge.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{StatusCode, header::RETRY_AFTER, request::Parts};
use judge::{Answer, Exchange, Moment, Sight, Whole};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use support::call::{is_about_work_policy, verb};
use tokio_util::sync::CancellationToken;

use crate::fault::Resource;

/// The header by which the API server's audit log names a request.
pub const AUDIT_ID: &str = "audit-id";

/// What all lives of a plan have sent and were shown.
#[derive(Default)]
pub struct Wires(Mutex<Crossed>);

#[derive(Default)]
struct Crossed {
    nth: u64,
    exchanges: Vec<Exchange>,
    sights: Vec<Sight>,
}

impl Crossed {
    fn now(&mut self) -> Moment {
        self.nth += 1;
        Moment { nth: self.nth, at: Timestamp::now() }
    }
}

/// A request that has no answer yet. If it is dropped, the operator has given up on it, unless it is dead.
pub struct Underway {
    wires: Arc<Wires>,
    dead: CancellationToken,
    number: usize,
    is_over: bool,
}

impl Underway {
    /// Its audit id.
    pub fn id(&self) -> String {
        self.number.to_string()
    }

    pub fn ends(mut self, answer: Answer) {
        self.is_over = true;
        self.wires.ends(self.number, answer);
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if !(self.is_over || self.dead.is_cancelled()) {
            self.wires.ends(self.number, Answer::None);
        }
    }
}

impl Wires {
    pub fn now(&self) -> Moment {
        self.0.lock().unwrap().now()
    }

    /// A life sends a request.
    pub fn sends(
        self: &Arc<Self>,
        life: usize,
        dead: &CancellationToken,
        head: &Parts,
        body: &Bytes,
    ) -> Underway {
        let mut crossed = self.0.lock().unwrap();
        let sent = crossed.now();
        let number = crossed.exchanges.len();
        crossed.exchanges.push(Exchange { life, sent, ..exchange(head, body) });
        Underway { wires: Arc::clone(self), dead: dead.clone(), number, is_over: false }
    }

    fn ends(&self, number: usize, answer: Answer) {
        let mut crossed = self.0.lock().unwrap();
        let ended = crossed.now();
        crossed.exchanges[number].ended = Some((ended, answer));
    }

    /// A list or a watch shows an object.
    #[allow(clippy::too_many_arguments, reason = "an event has many parts")]
    pub fn shows(&self, life: usize, resource: Resource, object: &Value, listed: bool, deleted: bool) {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let Ok(revision) = text("/metadata/resourceVersion").parse() else { return };
        let mut crossed = self.0.lock().unwrap();
        let when = crossed.now();
        crossed.sights.push(Sight {
            life,
            when,
            resource: resource.plural().to_owned(),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
            revision,
            deleted,
            listed,
        });
    }

    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.lock().unwrap().exchanges.clone()
    }

    pub fn sights(&self) -> Vec<Sight> {
        self.0.lock().unwrap().sights.clone()
    }
}

/// What a request is, by its path.
fn exchange(head: &Parts, body: &Bytes) -> Exchange {
    let segments: Vec<_> = head.uri.path().split('/').filter(|s| !s.is_empty()).collect();
    let base = if segments.first() == Some(&"api") { 2 } else { 3 };
    let namespaces = segments.iter().position(|s| *s == "namespaces");
    let at = namespaces.map_or(base, |at| at + 2);
    let segment = |at: usize| segments.get(at).copied().unwrap_or_default().to_owned();
    let query = head.uri.query().unwrap_or_default();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let in_body = || body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let named = segments.len() > at + 1;
    Exchange {
        verb: verb(head, named).to_owned(),
        resource: if is_about_work_policy(query) { format!("work-{}", segment(at)) } else { segment(at) },
        subresource: segment(at + 2),
        namespace: namespaces.map(|at| segment(at + 1)).unwrap_or_default(),
        name: if named { segment(at + 1) } else { in_body() },
        body: body.into(),
        dry_run: query.contains("dryRun=All"),
        ..Exchange::default()
    }
}

/// A whole answer; the text of a watch or a list is not needed.
pub fn whole(status: StatusCode, headers: &http::HeaderMap, text: &[u8]) -> Answer {
    let body: Value = serde_json::from_slice(text).unwrap_or_default();
    let text = |at: &str| body.pointer(at).and_then(Value::as_str).map(ToOwned::to_owned);
    let in_header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let in_body = || body.pointer("/details/retryAfterSeconds").and_then(Value::as_u64);
    let version = text("/metadata/resourceVersion").and_then(|version| version.parse().ok());
    Answer::Whole(Whole {
        code: status.as_u16(),
        retry_after: in_header.or_else(in_body).filter(|seconds| *seconds > 0),
        object: text("/metadata/uid").zip(version).filter(|_| status.is_success()),
        names_object: text("/details/name").is_some_and(|name| !name.is_empty()),
    })
}
