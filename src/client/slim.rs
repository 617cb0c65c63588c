//! Answers about custom resources without what users may write into them at will: it is left out as it comes from the wire,
//! before anything holds a whole object, a page of a list, or an event.

mod keep;
mod machine;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Frame;
use kube::client::{Body, DynBody};
use tower::{BoxError, Layer, Service, util::BoxService};

use self::machine::{Keep, Machine};
use crate::client::wire::Wire;

/// Leaves out of successful answers about Executions, Deployments and BulkUpdates all that nothing here reads.
#[derive(Clone, Copy, Debug)]
pub enum Slim {
    /// What nobody decides on.
    ForDecisions,
    /// What the AI API does not show.
    ForTheAiApi,
}

impl Layer<Wire> for Slim {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        let keep = match self {
            Self::ForDecisions => keep::for_decisions,
            Self::ForTheAiApi => keep::for_the_ai_api,
        };
        BoxService::new(Slimming { wire, keep })
    }
}

struct Slimming {
    wire: Wire,
    keep: fn(&str) -> Option<&'static Keep>,
}

impl Service<http::Request<Body>> for Slimming {
    type Response = http::Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.wire.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let keep = (self.keep)(request.uri().path());
        let answer = self.wire.call(request);
        let Some(keep) = keep else { return answer };
        async move {
            let answer = answer.await?;
            Ok(if is_plain_json(&answer) { slim(answer, keep) } else { answer })
        }
        .boxed()
    }
}

fn is_plain_json<B>(answer: &http::Response<B>) -> bool {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    answer.status().is_success()
        && header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"))
        && header(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

fn slim(answer: http::Response<Box<DynBody>>, keep: &'static Keep) -> http::Response<Box<DynBody>> {
    let (mut head, body) = answer.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    let body: Box<DynBody> = Box::new(Slimmed { body, machine: Machine::new(keep), ended: false });
    http::Response::from_parts(head, body)
}

struct Slimmed {
    body: Box<DynBody>,
    machine: Machine,
    ended: bool,
}

impl http_body::Body for Slimmed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut kept = Vec::new();
        // A piece of which nothing is kept is followed by the next one.
        while kept.is_empty() && !this.ended {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    this.ended = true;
                    this.machine.end(&mut kept);
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => this.machine.push(&piece, &mut kept),
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
            }
        }
        Poll::Ready((!kept.is_empty()).then(|| Ok(Frame::data(kept.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
pub(crate) mod tests;
