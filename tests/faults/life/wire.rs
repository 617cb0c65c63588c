//! The layer below the operator's client, which injects faults into requests and answers. The operator's own code runs
//! on top of it, including its time-outs; below are kube's connections to a real API server.

use std::{
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use ai_api_operator::client::Wire;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{
    HeaderValue, Request,
    header::{CONTENT_LENGTH, USER_AGENT},
    request::Parts,
};
use kube::client::Body;
use serde_json::Value;
use tower::{BoxError, Layer, Service, ServiceExt, util::BoxService};

use super::{LATEST, Life, path_of};
use crate::{
    answer::{Answer, collected, cut_short, lines, made_up, of_lines, text_of, whole},
    fault::{Call, Change, Fault, Moment, Resource},
    wires::{self, AUDIT_ID, Underway},
};

impl Life {
    #[allow(clippy::too_many_lines, reason = "the steps of a request, in order")]
    async fn carry(
        self: Arc<Self>,
        wire: Arc<tokio::sync::Mutex<Wire>>,
        request: Request<Body>,
    ) -> Result<Answer, BoxError> {
        let (mut head, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        if self.dying.load(Ordering::Relaxed) || self.dead.is_cancelled() {
            self.die().await;
        }
        let call = Call::of(&head);
        let path = path_of(&head);
        let fault = self.ask(call, &path);
        let underway = self.wires.sends(self.number, &self.dead, &head, &body);
        // Plans share a log, and other tests may have requests of these numbers.
        let id = format!("{}/{}", self.cluster.world.home, underway.id());
        head.headers.insert(AUDIT_ID, HeaderValue::from_str(&id)?);
        self.cluster.narrowed(call, &mut head);
        head.headers.insert(USER_AGENT, HeaderValue::from_str(&self.name())?);
        let pass_on = async || {
            let answer = pass_on(Arc::clone(&wire), self.views.rewritten(call, &head), body.clone()).await?;
            self.renamed(call, answer).await
        };
        let answer = match fault {
            None => pass_on().await?,
            Some(Fault::Race(change)) => {
                let (cluster, of) = (Arc::clone(&self.cluster), path.clone());
                let changed = self.outside.spawn(async move { cluster.change(change, call, &of).await });
                if !changed.await? {
                    self.seen.lock().unwrap().without_effect += 1;
                }
                let seen = match change {
                    Change::RelabelUnguarded(resource) => Some((resource, self.cluster.gone(resource).await)),
                    Change::RaiseTtl => {
                        Some((Resource::BulkUpdates, self.cluster.newest_bulk_update().await))
                    }
                    _ => None,
                };
                if let Some((resource, revision)) = seen {
                    self.views.have_shown(resource, revision).await;
                    self.views.have_shown_a_race();
                }
                pass_on().await?
            }
            Some(Fault::Pause(Moment::Answered)) => {
                let answer = collected(call, pass_on().await?).await?;
                self.hold();
                answer
            }
            Some(Fault::Pause(_)) => {
                self.hold();
                pass_on().await?
            }
            Some(Fault::Sigterm) => {
                self.shutdown.cancel();
                pass_on().await?
            }
            Some(Fault::Crash(Moment::Overtaken)) => {
                let (looked_at, of) = (Arc::clone(&self.looked_at), path.clone());
                self.carry_out_later(&head, &body, async move {
                    let _ = tokio::time::timeout(LATEST, looked_at.again(&of)).await;
                });
                self.interrupted(call, &path).await?;
                self.die().await
            }
            Some(Fault::Crash(Moment::Before)) => {
                self.interrupted(call, &path).await?;
                self.die().await
            }
            Some(Fault::Crash(Moment::Committed)) => {
                collected(call, pass_on().await?).await?;
                self.interrupted(call, &path).await?;
                self.die().await
            }
            Some(Fault::Crash(Moment::Answered)) => {
                let answer = collected(call, pass_on().await?).await?;
                self.dying.store(true, Ordering::Relaxed);
                let ended = self.wires.now();
                self.seen.lock().unwrap().ended.get_or_insert(ended);
                let dead = self.dead.clone();
                // There may be no next request.
                self.outside.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    dead.cancel();
                });
                answer
            }
            Some(Fault::Answer { code, retry_after, passed_on }) => {
                if passed_on {
                    collected(call, pass_on().await?).await?;
                }
                made_up(code, retry_after)
            }
            Some(Fault::Silence { passed_on }) => {
                if passed_on {
                    collected(call, pass_on().await?).await?;
                }
                std::future::pending().await
            }
            Some(Fault::CutShort) => cut_short(collected(call, pass_on().await?).await?).await?,
            Some(Fault::Late(late)) => {
                let (life, of) = (Arc::clone(&self), path.clone());
                let start = self.seen.lock().unwrap().answered.len();
                self.carry_out_later(&head, &body, async move { life.late(late, call, &of, start).await });
                made_up(504, None)
            }
        };
        if call == Call::ReadTarget && matches!(answer.status().as_u16(), 200 | 404) {
            self.looked_at.add(&path);
        }
        if let Some((resource, revision)) = self.interrupted(call, &path).await? {
            self.views.have_shown(resource, revision).await;
        }
        let answer = match fault {
            // Nobody can understand half of it.
            Some(Fault::CutShort) => {
                underway.ends(judge::Answer::None);
                answer
            }
            _ => ended(call, answer, underway).await?,
        };
        // Half of a list shows nothing.
        let answer = match call {
            Call::List(resource) if answer.status().is_success() && fault != Some(Fault::CutShort) => {
                self.listed(resource, answer).await?
            }
            _ => answer,
        };
        let life = Arc::clone(&self);
        let answer = self.views.filtered(call, answer, move |resource, event| {
            let type_ = event["type"].as_str().unwrap_or_default();
            if ["ADDED", "MODIFIED", "DELETED"].contains(&type_) {
                life.wires.shows(life.number, resource, &event["object"], false, type_ == "DELETED");
            }
        });
        self.answer(call, &path);
        Ok(answer)
    }

    /// Records what a list shows.
    async fn listed(&self, resource: Resource, answer: Answer) -> Result<Answer, BoxError> {
        let (answer, text) = text_of(answer).await?;
        let list: Value = serde_json::from_slice(&text)?;
        self.views.have_listed(resource, &list);
        for object in list["items"].as_array().into_iter().flatten() {
            self.wires.shows(self.number, resource, object, true, false);
        }
        Ok(answer)
    }

    /// Replaces the shipped policy's name by that of the plan's own policy, if it has one.
    async fn renamed(&self, call: Call, answer: Answer) -> Result<Answer, BoxError> {
        match call {
            Call::List(Resource::Policies | Resource::Bindings) => {
                let (answer, text) = text_of(answer).await?;
                let mut head = answer.into_parts().0;
                head.headers.remove(CONTENT_LENGTH);
                let text = self.cluster.renamed(String::from_utf8(text.to_vec())?);
                Ok(Answer::from_parts(head, whole(text.into())))
            }
            Call::Watch(Resource::Policies | Resource::Bindings) => {
                let cluster = Arc::clone(&self.cluster);
                let (head, body) = answer.into_parts();
                Ok(of_lines(head, lines(body).map(move |line| cluster.renamed(line))))
            }
            _ => Ok(answer),
        }
    }
}

/// Records the answer, as the operator gets it.
async fn ended(call: Call, answer: Answer, underway: Underway) -> Result<Answer, BoxError> {
    if matches!(call, Call::List(_) | Call::Watch(_)) && answer.status().is_success() {
        underway.ends(wires::whole(answer.status(), answer.headers(), &[]));
        return Ok(answer);
    }
    let (answer, text) = text_of(answer).await?;
    underway.ends(wires::whole(answer.status(), answer.headers(), &text));
    Ok(answer)
}

async fn pass_on(wire: Arc<tokio::sync::Mutex<Wire>>, head: Parts, body: Bytes) -> Result<Answer, BoxError> {
    let answer = {
        let mut wire = wire.lock().await;
        wire.ready().await?.call(Request::from_parts(head, Body::from(body)))
    };
    answer.await
}

/// Puts the wire below the operator's client for one life.
#[derive(Clone)]
pub struct Through(pub Arc<Life>);

impl Layer<Wire> for Through {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        BoxService::new(Faulty { life: Arc::clone(&self.0), wire: Arc::new(tokio::sync::Mutex::new(wire)) })
    }
}

struct Faulty {
    life: Arc<Life>,
    wire: Arc<tokio::sync::Mutex<Wire>>,
}

impl Service<Request<Body>> for Faulty {
    type Response = Answer;
    type Error = BoxError;
    type Future = futures::future::BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        self.life.passes(&head);
        let request = Request::from_parts(head, body);
        Arc::clone(&self.life).carry(Arc::clone(&self.wire), request).boxed()
    }
}
