//! The line between a process and the world: the requests that it sends, and what comes back. It is the lowest layer of the
//! operator's client, so all that the operator does with an answer, a failure or a time-out is its own.

use std::{
    io,
    sync::{Arc, Mutex},
    task::Waker,
    time::Duration,
};

use ai_api_operator::client::Wire;
use bytes::Bytes;
use futures::{channel::mpsc, channel::oneshot};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector, connect::dns::Name},
    rt::TokioExecutor,
};
use kube::client::{Body, DynBody};
use tokio::time::Instant;
use tower::{BoxError, Layer, service_fn, util::BoxService};

/// What comes back for a request.
pub enum Reply {
    Whole(Response<Bytes>),
    /// The beginning of an answer, and then the connection is cut.
    Cut(Response<Bytes>),
    /// The head of an answer, and its body in pieces.
    Pieces(Response<()>, mpsc::UnboundedReceiver<Result<Bytes, BoxError>>),
    /// The connection was cut before an answer.
    Reset,
    /// There was no connection.
    Refused,
}

/// A request that a process has sent.
pub struct Sent {
    /// Its number in this process.
    pub number: usize,
    /// When, by the process' own timers.
    pub at: Duration,
    pub request: Request<Bytes>,
    pub reply: oneshot::Sender<Reply>,
}

/// What has crossed the line.
pub enum Crossed {
    Sent(Box<Sent>),
    /// The process does not wait for the answer to this request any more, from then on.
    GivenUp(usize, Duration),
}

/// What has crossed the line, in order, for the world to take.
#[derive(Default)]
pub struct Outbox {
    pub crossed: Vec<Crossed>,
    count: usize,
    waker: Option<Waker>,
    /// When the process started, by its own timers.
    start: Option<Instant>,
    /// Until when it gets no connection, by the same.
    unconnected_until: Duration,
}

impl Outbox {
    fn now(&mut self) -> Duration {
        let now = Instant::now();
        now - *self.start.get_or_insert(now)
    }

    /// Wakes this when something is sent.
    pub fn watch(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    fn push(&mut self, request: Request<Bytes>, reply: oneshot::Sender<Reply>) -> usize {
        let at = self.now();
        self.count += 1;
        self.crossed.push(Crossed::Sent(Box::new(Sent { number: self.count, at, request, reply })));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        self.count
    }
}

/// The process' end of the line.
#[derive(Clone, Default)]
pub struct Line(Arc<Mutex<Outbox>>);

impl Line {
    /// The process starts now, by the timers of the runtime that this is called in.
    pub fn start(&self) {
        self.with(|outbox| outbox.start = Some(Instant::now()));
    }

    /// How long the process has run, by its own timers.
    pub fn elapsed(&self) -> Duration {
        self.with(Outbox::now)
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut Outbox) -> T) -> T {
        act(&mut self.0.lock().unwrap())
    }

    /// It gets no connection until then, by its own timers.
    pub fn keep_from_connecting(&self, until: Duration) {
        self.with(|outbox| outbox.unconnected_until = outbox.unconnected_until.max(until));
    }

    /// Waits until there is a connection.
    async fn connected(&self) {
        let missing = || self.with(|outbox| outbox.unconnected_until.saturating_sub(outbox.now()));
        while let Some(time) = Some(missing()).filter(|time| !time.is_zero()) {
            tokio::time::sleep(time).await;
        }
    }

    async fn carry(self, request: Request<Body>) -> Result<Response<Box<DynBody>>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        self.connected().await;
        let (reply, answer) = oneshot::channel();
        let number = self.with(|outbox| outbox.push(Request::from_parts(head, body), reply));
        let mut waits = Waits { line: self, number: Some(number) };
        let answer = answer.await;
        waits.number = None;
        match answer {
            Ok(Reply::Whole(answer)) => Ok(answer.map(whole)),
            Ok(Reply::Cut(answer)) => {
                let (head, body) = answer.into_parts();
                let pieces = [Ok(Frame::data(body)), Err(BoxError::from("the connection was cut"))];
                Ok(Response::from_parts(head, Box::new(StreamBody::new(futures::stream::iter(pieces)))))
            }
            Ok(Reply::Pieces(head, pieces)) => {
                let frames = futures::StreamExt::map(pieces, |piece| piece.map(Frame::data));
                Ok(head.map(|()| Box::new(StreamBody::new(frames)) as Box<DynBody>))
            }
            Ok(Reply::Reset) => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            Ok(Reply::Refused) => Err(no_connection().await.into()),
            // The world has ended.
            Err(oneshot::Canceled) => std::future::pending().await,
        }
    }
}

fn whole(body: Bytes) -> Box<DynBody> {
    Box::new(Full::new(body).map_err(BoxError::from))
}

/// Notes that nobody waits for the answer any more.
struct Waits {
    line: Line,
    number: Option<usize>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        // A process that is killed drops its requests after its runtime is gone; nobody looks at what is noted then.
        let Some(number) = self.number else { return };
        self.line.with(|outbox| {
            let at = outbox.now();
            outbox.crossed.push(Crossed::GivenUp(number, at));
        });
    }
}

/// The error of the real HTTP client where it gets no connection: only it can make one.
async fn no_connection() -> legacy::Error {
    let nowhere = service_fn(async |_: Name| {
        Err::<std::iter::Empty<std::net::SocketAddr>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
    });
    let client = legacy::Client::builder(TokioExecutor::new())
        .build::<_, Full<Bytes>>(HttpConnector::new_with_resolver(nowhere));
    client.get(http::Uri::from_static("http://nowhere/")).await.unwrap_err()
}

impl Layer<Wire> for Line {
    type Service = Wire;

    fn layer(&self, _: Wire) -> Wire {
        let line = self.clone();
        BoxService::new(service_fn(move |request| line.clone().carry(request)))
    }
}
