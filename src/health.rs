//! Whether the operator gets on: signs of life of its watches and of its passes over BulkUpdates.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http_body::Frame;
use k8s_openapi::jiff::Timestamp;
use kube::client::{Body, DynBody};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, util::BoxService};

use crate::client::Wire;

/// How long a watch lasts before it is begun anew: the longest that the API server may have nothing to say.
pub const WATCH_LASTS: Duration = Duration::from_mins(1);

/// How long a watch may be silent. One that is refused, or whose connection is, is not: to restart would mend nothing, and it
/// is tried again at least every minute and a half. One that gets no answer at all is.
pub const LONGEST_SILENCE: Duration = Duration::from_mins(2);

/// How long one pass over a BulkUpdate may take: it waits a minute at the most, each of its requests takes 10 s at the
/// most, but a thousand of them may stand in line for the slots.
pub const LONGEST_PASS: Duration = Duration::from_mins(20);

/// What is missing at first.
pub const UNLISTED: &str = "not everything was listed yet";

/// The signs of life; one for the whole operator.
#[derive(Debug)]
pub struct Health {
    ready: Mutex<Result<(), String>>,
    signs: Mutex<Signs>,
}

impl Default for Health {
    fn default() -> Self {
        Self { ready: Mutex::new(Err(UNLISTED.into())), signs: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Signs {
    /// Of each watch, by its path: when there was a sign of life.
    watches: HashMap<String, Instant>,
    /// And when the API server has told something last.
    told: HashMap<String, Timestamp>,
    /// Of each BulkUpdate under way, by a number of its own.
    passes: HashMap<u64, Instant>,
    /// How many numbers were given out.
    numbers: u64,
}

/// The sign of life of one BulkUpdate under way, until it is dropped.
#[derive(Debug)]
pub struct Pulse {
    health: Arc<Health>,
    number: u64,
}

impl Health {
    /// From now on this replica can do its part, or can't; why.
    pub fn is_ready(&self, ready: Result<(), String>) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = ready;
    }

    /// Whether this replica can do its part.
    ///
    /// # Errors
    /// What is missing.
    pub fn ready(&self) -> Result<(), String> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a sign of life of the watch of this path.
    fn heard(&self, path: &str) {
        let now = Instant::now();
        let mut signs = self.signs();
        match signs.watches.get_mut(path) {
            Some(known) => *known = now,
            None => {
                signs.watches.insert(path.to_owned(), now);
            }
        }
    }

    /// The watch of this path has told something.
    fn told(&self, path: &str) {
        self.heard(path);
        let now = Timestamp::now();
        let mut signs = self.signs();
        match signs.told.get_mut(path) {
            Some(known) => *known = now,
            None => {
                signs.told.insert(path.to_owned(), now);
            }
        }
    }

    /// When the watches of each resource have told something last; of several, the one that has been silent longest counts.
    #[must_use]
    pub fn told_last(&self) -> HashMap<String, Timestamp> {
        let mut last = HashMap::new();
        for (path, time) in &self.signs().told {
            let resource = path.rsplit('/').next().unwrap_or_default().to_owned();
            last.entry(resource).and_modify(|t: &mut Timestamp| *t = (*t).min(*time)).or_insert(*time);
        }
        last
    }

    /// A BulkUpdate is under way from now on.
    #[must_use]
    pub fn pulse(self: &Arc<Self>) -> Pulse {
        let mut signs = self.signs();
        signs.numbers += 1;
        let number = signs.numbers;
        signs.passes.insert(number, Instant::now());
        Pulse { health: Arc::clone(self), number }
    }

    /// How many BulkUpdates are under way.
    #[must_use]
    pub fn underway(&self) -> usize {
        self.signs().passes.len()
    }

    /// Whether all gets on.
    ///
    /// # Errors
    /// What does not, in words for whoever looks at the probe.
    pub fn check(&self) -> Result<(), String> {
        let signs = self.signs();
        for (path, heard) in &signs.watches {
            if heard.elapsed() > LONGEST_SILENCE {
                return Err(format!("nothing was heard of the watch of {path} for {:?}", heard.elapsed()));
            }
        }
        match signs.passes.values().map(Instant::elapsed).max() {
            Some(longest) if longest > LONGEST_PASS => {
                Err(format!("a BulkUpdate has not got on for {longest:?}"))
            }
            _ => Ok(()),
        }
    }

    fn signs(&self) -> MutexGuard<'_, Signs> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// It gets on.
    pub fn beat(&self) {
        if let Some(pass) = self.health.signs().passes.get_mut(&self.number) {
            *pass = Instant::now();
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.health.signs().passes.remove(&self.number);
    }
}

/// Listens to watches, on the wire: bookmarks, which kube keeps to itself, are signs of life as well.
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

impl Service<http::Request<Body>> for Listening {
    type Response = http::Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.wire.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // A list goes before each watch, page by page, and is a part of it.
        let query = request.uri().query().unwrap_or_default();
        let watches = query.split('&').any(|part| part == "watch=true" || part.starts_with("limit="));
        let path = request.uri().path().to_owned();
        let answer = self.wire.call(request);
        if !watches {
            return answer;
        }
        let health = Arc::clone(&self.health);
        async move {
            let answer = answer.await.inspect_err(|_| health.heard(&path))?;
            if !answer.status().is_success() {
                health.heard(&path);
                return Ok(answer);
            }
            // That a watch was begun says nothing: what tells is what comes then, and be it the end.
            Ok(answer.map(|body| Box::new(Heard { body, path, health }) as Box<DynBody>))
        }
        .boxed()
    }
}

/// The body of a list or a watch.
struct Heard {
    body: Box<DynBody>,
    path: String,
    health: Arc<Health>,
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
            Poll::Ready(None | Some(Ok(_))) => self.health.told(&self.path),
            Poll::Ready(Some(Err(_))) => self.health.heard(&self.path),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_watch_is_told_and_one_that_is_heard_is_not() {
        let health = Health::default();
        assert_eq!(health.check(), Ok(()));
        health.heard("/apis/aiapi.dev/v1alpha1/executions");
        health.told("/apis/aiapi.dev/v1alpha1/namespaces/a/bulkupdates");
        advance(LONGEST_SILENCE).await;
        assert_eq!(health.check(), Ok(()));
        health.told("/apis/aiapi.dev/v1alpha1/executions");
        advance(Duration::from_millis(1)).await;
        let why = health.check().unwrap_err();
        assert!(why.contains("namespaces/a/bulkupdates"), "{why}");
        health.heard("/apis/aiapi.dev/v1alpha1/namespaces/a/bulkupdates");
        assert_eq!(health.check(), Ok(()));
        let mut resources: Vec<_> = health.told_last().into_keys().collect();
        resources.sort();
        assert_eq!(resources, ["bulkupdates", "executions"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_does_not_end_is_told() {
        let health = Arc::new(Health::default());
        let [stuck, other] = [health.pulse(), health.pulse()];
        assert_eq!(health.underway(), 2);
        advance(LONGEST_PASS).await;
        assert_eq!(health.check(), Ok(()));
        other.beat();
        advance(Duration::from_millis(1)).await;
        assert!(health.check().is_err());
        stuck.beat();
        assert_eq!(health.check(), Ok(()));
        advance(LONGEST_PASS + Duration::from_millis(1)).await;
        drop([stuck, other]);
        assert_eq!((health.check(), health.underway()), (Ok(()), 0));
    }
}
