//! The fake API server of the election's tests.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http_body::Frame;
use http_body_util::StreamBody;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{Barrier, mpsc};

use super::*;

type Pieces = StreamBody<BoxStream<'static, std::io::Result<Frame<Bytes>>>>;

fn whole(answer: &Value) -> Pieces {
    let answer = Ok(Frame::data(answer.to_string().into()));
    StreamBody::new(stream::once(async { answer }).boxed())
}

/// A fake API server with one Lease. It can stay silent, refuse, and let two replicas read before either writes.
pub struct Server {
    pub lease: Mutex<Value>,
    pub silent: AtomicBool,
    /// Whether reads are refused.
    pub broken: AtomicBool,
    /// How many bytes all annotations may have together.
    pub room: AtomicUsize,
    pub writes: AtomicUsize,
    pub reads: AtomicUsize,
    pub both_have_read: Barrier,
    /// What the watch brings; without it, lists and watches fail.
    pub events: Mutex<Option<mpsc::UnboundedReceiver<Value>>>,
}

impl Server {
    pub fn with(holder: Option<&str>) -> Arc<Self> {
        let lease = json!({"kind": "Lease", "metadata": {"name": LEASE, "resourceVersion": "1"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15}});
        Arc::new(Self {
            lease: Mutex::new(lease),
            silent: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            room: AtomicUsize::new(256 << 10),
            writes: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            both_have_read: Barrier::new(2),
            events: Mutex::new(None),
        })
    }

    /// A Lease that this one holds, of which only one replica reads, and what its watch shows.
    pub fn held_and_watched(holder: &str) -> (Arc<Self>, mpsc::UnboundedSender<Value>) {
        let server = Self::with(Some(holder));
        server.reads.store(2, Ordering::Relaxed);
        let (watch, events) = mpsc::unbounded_channel();
        *server.events.lock().unwrap() = Some(events);
        (server, watch)
    }

    /// The answer to a list, and the stream of a watch, which never ends.
    pub fn watched(&self, query: &str) -> Option<Pieces> {
        let mut events = self.events.lock().unwrap();
        if !query.contains("watch=") {
            let list = json!({"kind": "LeaseList", "metadata": {"resourceVersion": "1"}, "items": []});
            return events.as_ref().map(|_| whole(&list));
        }
        let lines = stream::unfold(events.take()?, async |mut events| {
            let lease = events.recv().await?;
            let line = format!("{{\"type\":\"MODIFIED\",\"object\":{lease}}}\n");
            Some((Ok(Frame::data(line.into())), events))
        });
        Some(StreamBody::new(lines.boxed()))
    }

    /// Changes the Lease as somebody else does; the watch shows that.
    pub fn changed(&self, holder: Option<&str>, version: u64, watch: &mpsc::UnboundedSender<Value>) {
        let mut lease = self.lease.lock().unwrap();
        lease["apiVersion"] = json!("coordination.k8s.io/v1");
        lease["spec"]["holderIdentity"] = json!(holder);
        lease["metadata"]["resourceVersion"] = version.to_string().into();
        watch.send(lease.clone()).unwrap();
    }

    pub async fn answer(&self, request: http::Request<Body>) -> (u16, Value) {
        let (head, body) = request.into_parts();
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if head.uri.query().is_some_and(|query| query.contains("limit") || query.contains("watch")) {
            return (500, json!({"message": "lists and watches fail"}));
        }
        let gone = json!({"message": "no such Lease", "details": {"name": LEASE}});
        if head.method == http::Method::GET {
            if self.broken.load(Ordering::Relaxed) {
                return (500, json!({"message": "overloaded"}));
            }
            let lease = self.lease.lock().unwrap().clone();
            if lease.is_null() {
                return (404, gone);
            }
            if self.reads.fetch_add(1, Ordering::Relaxed) < 2 {
                self.both_have_read.wait().await;
            }
            return (200, lease);
        }
        let mut new: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
        let mut lease = self.lease.lock().unwrap();
        match (lease.is_null(), head.method == http::Method::POST) {
            (true, true) => *lease = json!({"metadata": {"resourceVersion": "0"}}),
            (true, false) => return (404, gone),
            (false, true) => return (409, json!({"message": "it exists already"})),
            (false, false) => {}
        }
        let guard = &new["metadata"]["resourceVersion"];
        if !guard.is_null() && *guard != lease["metadata"]["resourceVersion"] {
            return (409, json!({"message": "the object has been modified"}));
        }
        let annotations = new["metadata"]["annotations"].as_object();
        let size = |(name, value): (&String, &Value)| name.len() + value.as_str().unwrap().len();
        let size: usize = annotations.into_iter().flatten().map(size).sum();
        if size > self.room.load(Ordering::Relaxed) {
            return (422, json!({"message": "metadata.annotations: Too long"}));
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        let version: u64 = lease["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        new["metadata"]["resourceVersion"] = (version + 1).to_string().into();
        assert_eq!(new["kind"], "Lease");
        *lease = new.clone();
        (200, new)
    }

    /// A free Lease, of which only one replica reads.
    pub fn alone() -> Arc<Self> {
        let server = Self::with(None);
        server.reads.store(2, Ordering::Relaxed);
        server
    }

    /// The election of a replica that has acquired the Lease.
    pub async fn leading(self: &Arc<Self>, millis: u64) -> (Election, Leadership, Lenient) {
        let (election, leadership) = self.election("a", millis);
        let lease = election.acquire(&Health::default()).await;
        (election, leadership, lease)
    }

    pub fn election(self: &Arc<Self>, identity: &str, millis: u64) -> (Election, Leadership) {
        let (election, leadership, _) = self.noting(identity, millis);
        (election, leadership)
    }

    /// As [`Self::election`], with notes.
    pub fn noting(
        self: &Arc<Self>,
        identity: &str,
        millis: u64,
    ) -> (Election, Leadership, watch::Sender<Notes>) {
        self.election_on(Machine::default(), identity, millis)
    }

    /// As [`Self::election`], by tokio's clock, which a test may pause.
    pub fn paused(self: &Arc<Self>, identity: &str, millis: u64) -> (Election, Leadership) {
        let start = tokio::time::Instant::now();
        let machine = Machine::new(move || start.elapsed(), Timestamp::now, uuid::Uuid::new_v4);
        let (election, leadership, _) = self.election_on(machine, identity, millis);
        (election, leadership)
    }

    fn election_on(
        self: &Arc<Self>,
        machine: Machine,
        identity: &str,
        millis: u64,
    ) -> (Election, Leadership, watch::Sender<Notes>) {
        let server = Arc::clone(self);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                if let Some(body) = request.uri().query().and_then(|query| server.watched(query)) {
                    return Ok(http::Response::new(body));
                }
                let (status, body) = server.answer(request).await;
                http::Response::builder().status(status).body(whole(&body))
            }
        });
        let timing = Timing {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_millis(millis),
            retry_period: Duration::from_millis(millis / 5),
        };
        let leadership = Leadership::new(machine.clone());
        let client = Client::new(service, "default");
        let (notes, kept) = watch::channel(vec![("accepted", None)]);
        let namespace = "ai-api-system".into();
        let candidate = Candidate { namespace, identity: identity.into(), timing, machine };
        let election = Election::new(client, candidate, leadership.clone(), kept, Load::default());
        (election, leadership, notes)
    }
}
