//! Listens to lists and watches, on the wire: bookmarks, which kube keeps to itself, are signs of life as well.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http_body::Frame;
use kube::client::{Body, DynBody};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::{BoxError, Layer, Service, util::BoxService};

use crate::{
    client::{Wire, retry_after},
    telemetry::health::Health,
};

/// How long one page of a list may take to arrive in whole, from when it was asked for: one that trickles is cut off, and
/// asked for again.
pub const LONGEST_PAGE: Duration = Duration::from_mins(1);

/// A watch that ends sooner than this without having sent anything has failed: kube would start it again at once, without
/// end. (The API server ends each after [`super::WATCH_LASTS`].)
pub const SHORTEST_WATCH: Duration = Duration::from_secs(5);

/// Notes signs of life of lists and watches, bounds the time of each page, and turns a watch that ends at once into
/// one that has failed.
#[derive(Clone, Debug)]
pub struct Listen(pub Arc<Health>);

impl Layer<Wire> for Listen {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        BoxService::new(Listening { wire, health: Arc::clone(&self.0) })
    }
}

struct Listening {
    wire: Wire,
    health: Arc<Health>,
}

/// What a request of a watch asks for, by its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// A page of the list that goes before each watch, and is a part of it.
    Page { first: bool },
    /// What happens from then on.
    Watch,
}

impl Asked {
    fn by(query: &str) -> Option<Self> {
        let has = |start: &str| query.split('&').any(|part| part.starts_with(start));
        if has("watch=true") {
            Some(Self::Watch)
        } else if has("limit=") {
            Some(Self::Page { first: !has("continue=") })
        } else {
            None
        }
    }
}

impl Service<http::Request<Body>> for Listening {
    type Response = http::Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.wire.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let asked = Asked::by(request.uri().query().unwrap_or_default());
        let path = request.uri().path().to_owned();
        let answer = self.wire.call(request);
        let Some(asked) = asked else { return answer };
        let health = Arc::clone(&self.health);
        let begun = Instant::now();
        if asked == (Asked::Page { first: true }) {
            health.list_started(&path);
        }
        async move {
            let answer = answer.await.inspect_err(|_| health.active(&path))?;
            let refused = !answer.status().is_success();
            if refused {
                health.refused(&path, retry_after(answer.headers()));
            }
            // That a list or a watch was accepted is no sign of life: what comes then is.
            let expected = match asked {
                _ if refused => Expected::Rest,
                Asked::Page { .. } => Expected::Page,
                Asked::Watch => Expected::Events { any: false, begun: Instant::now() },
            };
            let bounded = !matches!(expected, Expected::Events { .. });
            let end = bounded.then(|| Box::pin(sleep_until(begun + LONGEST_PAGE)));
            Ok(answer.map(|body| Box::new(Heard { body, expected, end, path, health }) as Box<DynBody>))
        }
        .boxed()
    }
}

/// The body of an answer to a list or a watch.
struct Heard {
    body: Box<DynBody>,
    expected: Expected,
    /// When it is cut off.
    end: Option<Pin<Box<Sleep>>>,
    path: String,
    health: Arc<Health>,
}

/// What is still expected of it.
enum Expected {
    /// A page of a list, in whole.
    Page,
    /// A line for each event; whether there was one.
    Events { any: bool, begun: Instant },
    /// Nothing that would be a sign of life.
    Rest,
}

impl Heard {
    fn frame(&mut self, frame: &Frame<Bytes>) {
        let whole = self.body.is_end_stream();
        match &mut self.expected {
            Expected::Page if whole => self.page(),
            // A part of an event is none.
            Expected::Events { any, .. } if frame.data_ref().is_some_and(|data| data.contains(&b'\n')) => {
                *any = true;
                self.health.watch_event(&self.path);
            }
            _ => {}
        }
    }

    fn page(&mut self) {
        self.expected = Expected::Rest;
        self.health.page_arrived(&self.path);
    }

    /// The body has come to its end.
    fn ended(&mut self) -> Result<(), BoxError> {
        match self.expected {
            Expected::Page => self.page(),
            Expected::Events { any: false, begun } if begun.elapsed() < SHORTEST_WATCH => {
                self.expected = Expected::Rest;
                self.health.active(&self.path);
                return Err("the watch ended at once, without having sent anything".into());
            }
            Expected::Events { .. } => self.health.watch_event(&self.path),
            Expected::Rest => {}
        }
        Ok(())
    }
}

impl http_body::Body for Heard {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => self.frame(frame),
            Poll::Ready(Some(Err(_))) => self.health.active(&self.path),
            Poll::Ready(None) => {
                if let Err(error) = self.ended() {
                    return Poll::Ready(Some(Err(error)));
                }
            }
            Poll::Pending => {
                if self.end.as_mut().is_some_and(|end| end.poll_unpin(cx).is_ready()) {
                    let why = format!("the answer did not arrive in whole within {LONGEST_PAGE:?}");
                    return Poll::Ready(Some(Err(why.into())));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        // Of a watch, that it ends at once is to be told.
        matches!(self.expected, Expected::Page | Expected::Rest) && self.body.is_end_stream()
    }
}
