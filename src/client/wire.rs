//! The layers that a request to the API server passes through.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use kube::client::{Body, DynBody};
use tower::{BoxError, Service, util::BoxService};

pub type Request = http::Request<Body>;
pub type Response = http::Response<Box<DynBody>>;
pub type Answer = BoxFuture<'static, Result<Response, BoxError>>;
/// The way to the API server.
pub type Wire = BoxService<Request, Response, BoxError>;

/// The way to the API server through `call`, which is given each request and the wire below.
pub fn around(wire: Wire, call: impl FnMut(&mut Wire, Request) -> Answer + Send + 'static) -> Wire {
    BoxService::new(Around { wire, call })
}

struct Around<F> {
    wire: Wire,
    call: F,
}

impl<F: FnMut(&mut Wire, Request) -> Answer> Service<Request> for Around<F> {
    type Response = Response;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.wire.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Answer {
        (self.call)(&mut self.wire, request)
    }
}
