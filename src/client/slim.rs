//! Strips answers about custom resources of what nothing here reads, on the wire: before a whole object, a page of a list or an
//! event is held, so that memory does not depend on what users write.

mod keep;
mod machine;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, TryFutureExt};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Frame;
use kube::client::DynBody;
use tower::{BoxError, Layer, Service};

use self::machine::{Keep, Machine};
use crate::client::wire::{Response, Wire, around};

/// Strips successful answers about Executions, Deployments and BulkUpdates.
#[derive(Clone, Copy, Debug)]
pub enum Slim {
    /// Keeps what decisions need.
    ForDecisions,
    /// Keeps what the AI API shows.
    ForTheAiApi,
}

impl Layer<Wire> for Slim {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        let slim = *self;
        around(wire, move |wire, request| {
            let keep = slim.keep(request.uri().path());
            let answer = wire.call(request);
            let Some(keep) = keep else { return answer };
            answer
                .map_ok(|answer| if is_plain_json(&answer) { slimmed(answer, keep) } else { answer })
                .boxed()
        })
    }
}

fn is_plain_json(answer: &Response) -> bool {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    answer.status().is_success()
        && header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json"))
        && header(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity")
}

fn slimmed(mut answer: Response, keep: &'static Keep) -> Response {
    answer.headers_mut().remove(CONTENT_LENGTH);
    answer.map(|body| Box::new(Slimmed { body, machine: Machine::new(keep), ended: false }) as Box<DynBody>)
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
        // An empty frame would be of no use: if nothing of a piece is kept, go on with the next one.
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
