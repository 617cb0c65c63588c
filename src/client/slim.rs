//! Strips answers about custom resources of what nothing here reads, on the wire: before a whole object, a page of a list or an
//! event is held, so that memory does not depend on what users write.

mod keep;
mod machine;

use std::future::ready;

use futures::{FutureExt, StreamExt, TryFutureExt, stream};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyStream, StreamBody};
use kube::client::DynBody;
use tower::{Layer, Service};

use self::machine::{Keep, Machine};
use crate::client::{
    requests::Whole,
    wire::{Response, Wire, around},
};

pub use self::keep::Slim;

impl Layer<Wire> for Slim {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        let slim = *self;
        around(wire, move |wire, request| {
            let whole = request.extensions().get::<Whole>().is_some();
            let keep = slim.keep(request.uri().path()).filter(|_| !whole);
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
    answer.map(|body| {
        let mut machine = Machine::new(keep);
        let frames = BodyStream::new(body).map(Some).chain(stream::iter([None]));
        let kept = frames.filter_map(move |frame| {
            let mut out = Vec::new();
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(piece))) => machine.push(&piece, &mut out),
                Some(Ok(Err(other))) => return ready(Some(Ok(other))),
                Some(Err(error)) => return ready(Some(Err(error))),
                None => machine.end(&mut out),
            }
            // A piece of which nothing is kept makes no frame.
            ready((!out.is_empty()).then(|| Ok(Frame::data(out.into()))))
        });
        Box::new(StreamBody::new(kept)) as Box<DynBody>
    })
}

#[cfg(test)]
pub(crate) mod tests;
