//! Progress of lists and watches, as seen on the wire: kube does not pass bookmarks on, and liveness counts them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kube::client::DynBody;
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Layer, Service};

use crate::{
    client::{Wire, around, retry_after},
    telemetry::health::Health,
};

/// How long a page of a list may take to arrive completely, from its request on. One that trickles is cut off and requested again.
pub const LONGEST_PAGE: Duration = Duration::from_mins(1);

/// A watch that ends sooner than this without having sent anything has failed: kube would restart it at once, again and
/// again. (The API server ends each after [`super::health::WATCH_LASTS`].)
pub const SHORTEST_WATCH: Duration = Duration::from_secs(5);

/// Reports the progress and the failures of lists and watches to [`Health`], bounds the time of each page, and turns a watch
/// that ends at once into a failed one.
#[derive(Clone)]
pub struct WatchProgress(pub Arc<Health>);

impl Layer<Wire> for WatchProgress {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        let health = Arc::clone(&self.0);
        around(wire, move |wire, request| {
            // What a request of an informer asks for is in its query: the pages of a list, or the events from then on.
            let query = request.uri().query().unwrap_or_default();
            let has = |start: &str| query.split('&').any(|part| part.starts_with(start));
            let (is_watch, is_page, continues) = (has("watch=true"), has("limit="), has("continue="));
            if !is_watch && !is_page {
                return wire.call(request);
            }
            let path = stream(request.uri().path(), query);
            let answer = wire.call(request);
            let (health, deadline) = (Arc::clone(&health), Instant::now() + LONGEST_PAGE);
            if !is_watch && !continues {
                health.list_started(&path);
            }
            async move {
                let answer = answer.await.inspect_err(|_| health.failed(&path, None))?;
                // That a list or a watch is accepted is no progress: only what follows is.
                let expected = if !answer.status().is_success() {
                    health.failed(&path, retry_after(answer.headers()));
                    Expected::Refusal { deadline }
                } else if is_watch {
                    Expected::Events { any: false, started: Instant::now() }
                } else {
                    Expected::Page { deadline }
                };
                Ok(answer.map(|body| Answer { body, expected, path, health }.into_body()))
            }
            .boxed()
        })
    }
}

/// What tells one list and watch from the others: its path, and its selectors in words, as there are several of one path.
fn stream(path: &str, query: &str) -> String {
    let mut selectors = [None, None];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "fieldSelector" => selectors[0] = Some(value),
            "labelSelector" => selectors[1] = Some(value),
            _ => {}
        }
    }
    Health::stream(path, selectors.each_ref().map(Option::as_deref))
}

/// The body of an answer to a list or a watch.
struct Answer {
    body: Box<DynBody>,
    expected: Expected,
    path: String,
    health: Arc<Health>,
}

enum Expected {
    /// A whole page of a list.
    Page { deadline: Instant },
    /// A line for each event; whether there was one.
    Events { any: bool, started: Instant },
    /// Nothing that would be progress.
    Refusal { deadline: Instant },
}

impl Answer {
    fn into_body(self) -> Box<DynBody> {
        let next = async |mut answer: Self| Ok(answer.next().await?.map(|frame| (frame, answer)));
        Box::new(StreamBody::new(stream::try_unfold(self, next).boxed()))
    }

    async fn next(&mut self) -> Result<Option<Frame<Bytes>>, BoxError> {
        let frame = match self.expected {
            Expected::Events { .. } => self.body.frame().await,
            Expected::Page { deadline } | Expected::Refusal { deadline } => {
                let late = |_| format!("the answer did not arrive completely within {LONGEST_PAGE:?}");
                timeout_at(deadline, self.body.frame()).await.map_err(late)?
            }
        };
        let frame = frame.transpose().inspect_err(|_| self.health.failed(&self.path, None))?;
        match (&frame, &mut self.expected) {
            (None, Expected::Page { .. }) => self.health.page_arrived(&self.path),
            (None, Expected::Events { any: false, started }) if started.elapsed() < SHORTEST_WATCH => {
                self.health.failed(&self.path, None);
                return Err("the watch ended at once, without having sent anything".into());
            }
            (None, Expected::Events { .. }) => self.health.watch_event(&self.path),
            // A part of an event is no event.
            (Some(frame), Expected::Events { any, .. })
                if frame.data_ref().is_some_and(|data| data.contains(&b'\n')) =>
            {
                *any = true;
                self.health.watch_event(&self.path);
            }
            _ => {}
        }
        Ok(frame)
    }
}
