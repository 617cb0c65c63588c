//! One life of the operator: what it has sent and was shown, and which faults are to hit it.

mod wire;

pub use wire::Through;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, request::Parts};
use k8s_openapi::jiff::Timestamp;
use kube::client::Body;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::{
    cluster::Cluster,
    fault::{Call, Change, Fault, Injection, Lasts, Late, Place, Resource},
    view::Views,
    wires::Wires,
};

/// How long an operator is held at most.
const MAX_PAUSE: Duration = Duration::from_secs(20);

/// How long a request may be delayed that is carried out after its 504.
const LATEST: Duration = Duration::from_secs(1);

/// One life of the operator, from start to death, and the faults that are to hit it.
pub struct Life {
    /// Its number, from 0.
    number: usize,
    /// Kills it.
    pub dead: CancellationToken,
    /// Asks it to end.
    pub shutdown: CancellationToken,
    cluster: Arc<Cluster>,
    views: Arc<Views>,
    injections: Vec<Injection>,
    seen: Mutex<Seen>,
    /// How many requests were answered, of any kind.
    answered: watch::Sender<usize>,
    dying: AtomicBool,
    /// What all lives send and are shown.
    wires: Arc<Wires>,
    started: judge::Moment,
    /// The targets that a read of any life has shown (or shown to be missing), in order.
    looked_at: Arc<LookedAt>,
    in_the_middle: Option<Arc<InTheMiddle>>,
    /// The requests that are carried out after they were answered.
    late: Mutex<Vec<JoinHandle<()>>>,
    /// For the actions of others, which do not die with the operator.
    outside: Handle,
}

/// The change between the first stop and its answer, in any life; and the resource whose watch shows it.
pub struct InTheMiddle {
    change: Change,
    resource: Resource,
    done: AtomicBool,
}

/// Paths of targets.
#[derive(Default)]
pub struct LookedAt(watch::Sender<Vec<String>>);

impl LookedAt {
    fn add(&self, path: &str) {
        self.0.send_modify(|looked_at| looked_at.push(path.to_owned()));
    }

    /// Waits until the target is read, in addition to earlier reads.
    async fn again(&self, path: &str) {
        let count = |looked_at: &Vec<String>| looked_at.iter().filter(|p| *p == path).count();
        let mut looked_at = self.0.subscribe();
        let before = count(&looked_at.borrow_and_update());
        // The sender is a part of self.
        let _ = looked_at.wait_for(|now| count(now) > before).await;
    }
}

/// What all lives of a plan share.
#[derive(Clone)]
pub struct Shared {
    pub cluster: Arc<Cluster>,
    pub views: Arc<Views>,
    pub wires: Arc<Wires>,
    pub looked_at: Arc<LookedAt>,
    pub in_the_middle: Option<Arc<InTheMiddle>>,
}

impl InTheMiddle {
    /// Whether its condition has become true.
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    pub fn new(change: Change, resource: Resource) -> Arc<Self> {
        Arc::new(Self { change, resource, done: AtomicBool::new(false) })
    }
}

#[derive(Default)]
struct Seen {
    counts: HashMap<Call, usize>,
    writes: usize,
    /// How often each kind of request had been sent at the first write to a target.
    before_the_middle: Option<HashMap<Call, usize>>,
    answered: Vec<(Call, String)>,
    hits: Vec<String>,
    /// How many of them have changed nothing: the change had already been made, or the object is gone.
    without_effect: usize,
    /// When a fault that lasts hit its first and last request, of one kind.
    lasted: HashMap<Call, [Timestamp; 2]>,
    /// The paths of the requests that have no answer yet.
    underway: Vec<String>,
    /// When it was held, and continued.
    pauses: Vec<[judge::Moment; 2]>,
    /// When it died.
    ended: Option<judge::Moment>,
    violations: Vec<String>,
}

impl Life {
    pub fn new(number: usize, shared: Shared, injections: Vec<Injection>) -> Arc<Self> {
        let Shared { cluster, views, wires, looked_at, in_the_middle } = shared;
        Arc::new(Self {
            number,
            dead: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            cluster,
            views,
            injections,
            seen: Mutex::default(),
            answered: watch::Sender::default(),
            dying: AtomicBool::new(false),
            started: wires.now(),
            wires,
            looked_at,
            in_the_middle,
            late: Mutex::default(),
            outside: Handle::current(),
        })
    }

    /// Its name in the audit log and in the Lease.
    pub fn name(&self) -> String {
        format!("life-{}", self.number)
    }

    /// What the judge has to know of it.
    pub fn account(&self, killed: bool) -> judge::Life {
        let seen = self.seen.lock().unwrap();
        let (pauses, ended) = (seen.pauses.clone(), seen.ended);
        let (name, started) = (self.name(), self.started);
        judge::Life { name, started, ended, killed, pauses, ..judge::Life::default() }
    }

    /// What it must not have sent.
    pub fn violations(&self) -> Vec<String> {
        self.seen.lock().unwrap().violations.clone()
    }

    /// How many requests it has sent that an idle replica would not send.
    pub fn sent(&self) -> usize {
        self.counts().iter().filter(|(call, _)| !call.is_in_the_background()).map(|(_, n)| n).sum()
    }

    /// How often each kind of request was sent.
    pub fn counts(&self) -> HashMap<Call, usize> {
        self.seen.lock().unwrap().counts.clone()
    }

    /// How many writes were sent.
    pub fn writes(&self) -> usize {
        self.seen.lock().unwrap().writes
    }

    /// The faults that occurred, in words.
    pub fn hits(&self) -> Vec<String> {
        self.seen.lock().unwrap().hits.clone()
    }

    /// How many of the faults have changed nothing.
    pub fn without_effect(&self) -> usize {
        self.seen.lock().unwrap().without_effect
    }

    /// When a lasting fault of requests for BulkUpdates hit the first and the last request.
    pub fn lasted(&self) -> Option<[Timestamp; 2]> {
        let seen = self.seen.lock().unwrap();
        seen.lasted.iter().find(|(call, _)| !call.is_in_the_background()).map(|(_, times)| *times)
    }

    /// Notified of every answer.
    pub fn progress(&self) -> watch::Receiver<usize> {
        self.answered.subscribe()
    }

    /// Whether a request of this kind was answered.
    pub fn was_answered(&self, call: Call) -> bool {
        self.seen.lock().unwrap().answered.iter().any(|(c, _)| *c == call)
    }

    /// Whether it has no request in flight.
    pub fn is_idle(&self) -> bool {
        self.seen.lock().unwrap().underway.is_empty()
    }

    /// A request has passed the fence.
    fn passes(&self, head: &Parts) {
        if !Call::of(head).is_in_the_background() {
            self.seen.lock().unwrap().underway.push(path_of(head));
        }
    }

    fn ask(&self, call: Call, path: &str) -> Option<Fault> {
        let mut seen = self.seen.lock().unwrap();
        let count = seen.counts.entry(call).or_default();
        *count += 1;
        let nth = *count;
        seen.writes += usize::from(call.is_write());
        if call == Call::Unknown {
            seen.violations.push(format!("a request that the operator must not send: {path}"));
        }
        let write = seen.writes;
        if call.is_target_write() && seen.before_the_middle.is_none() {
            seen.before_the_middle = Some(seen.counts.clone());
        }
        let before_the_middle =
            seen.before_the_middle.as_ref().map(|counts| counts.get(&call).copied().unwrap_or_default());
        let lasted = seen.lasted.get(&call).copied();
        let now = Timestamp::now();
        let applies = |injection: &&Injection| {
            let (first, is) = match injection.place {
                Place::Nth(kind, n) if kind == call => (n, nth),
                Place::Write(n) if call.is_write() => (n, write),
                Place::InTheMiddle(kind) if kind == call => match before_the_middle {
                    Some(before) => (before + 1, nth),
                    None => return false,
                },
                _ => return false,
            };
            match injection.lasts {
                Lasts::Once => is == first,
                Lasts::Requests(n) => (first..first + n).contains(&is),
                Lasts::Seconds(n) => {
                    let began = lasted.map_or(now, |[began, _]| began);
                    is >= first && now.duration_since(began).unsigned_abs() < Duration::from_secs(n)
                }
            }
        };
        let injection = self.injections.iter().find(applies)?;
        if injection.lasts != Lasts::Once {
            seen.lasted.insert(call, [lasted.map_or(now, |[began, _]| began), now]);
        }
        seen.hits.push(format!("{} at {call}-{nth} {}", injection.fault, last(path)));
        Some(injection.fault)
    }

    fn answer(&self, call: Call, path: &str) {
        let mut seen = self.seen.lock().unwrap();
        if let Some(at) = seen.underway.iter().position(|p| p == path) {
            seen.underway.swap_remove(at);
        }
        seen.answered.push((call, path.to_owned()));
        let count = seen.answered.len();
        drop(seen);
        self.answered.send_replace(count);
    }

    /// Holds the whole process, as SIGSTOP does, until another replica leads and has finished its work, or has had the
    /// time to.
    fn hold(&self) {
        let begin = self.wires.now();
        let (resume, held) = std::sync::mpsc::channel();
        let (cluster, name) = (Arc::clone(&self.cluster), self.name());
        self.outside.spawn(async move {
            cluster.another_leads(&name).await;
            // It may have been killed meanwhile.
            let _ = resume.send(());
        });
        // No other replica may come to lead, which the judge of the plan notices.
        let _ = held.recv_timeout(MAX_PAUSE);
        let end = self.wires.now();
        self.seen.lock().unwrap().pauses.push([begin, end]);
    }

    async fn die(&self) -> ! {
        let ended = self.wires.now();
        self.seen.lock().unwrap().ended.get_or_insert(ended);
        self.dead.cancel();
        std::future::pending().await
    }

    /// Waits until it is time to carry out a delayed request about `path`; `start` is the number of answers before it,
    /// and one of the later ones is its 504.
    async fn late(&self, late: Late, call: Call, path: &str, start: usize) {
        let enough = |_: &usize| {
            let seen = self.seen.lock().unwrap();
            let since = seen.answered.get(start..).unwrap_or_default();
            let same = since.iter().filter(|(_, p)| p == path).count();
            match late {
                Late::OneRequest => same > 1,
                Late::TwoRequests => same > 2,
                // There is no other way to know that no client is waiting for it any more.
                Late::TwentySeconds => false,
                Late::Recorded => {
                    let records = since.iter().filter(|(call, _)| *call == Call::Record).count();
                    records > usize::from(call == Call::Record)
                }
            }
        };
        let mut progress = self.progress();
        let latest = if late == Late::TwentySeconds { Duration::from_secs(20) } else { LATEST };
        tokio::select! {
            _ = progress.wait_for(enough) => {}
            () = self.dead.cancelled(), if late != Late::TwentySeconds => {}
            () = tokio::time::sleep(latest) => {}
        }
    }

    /// Makes the change in the middle of the first stop; returns the revision from which a watch shows it.
    async fn interrupted(&self, call: Call, path: &str) -> Result<Option<(Resource, u64)>, BoxError> {
        let first =
            |middle: &&Arc<InTheMiddle>| call == Call::Stop && !middle.done.swap(true, Ordering::Relaxed);
        let Some(middle) = self.in_the_middle.as_ref().filter(first) else { return Ok(None) };
        let (change, resource) = (middle.change, middle.resource);
        let (cluster, path) = (Arc::clone(&self.cluster), path.to_owned());
        let interrupt = async move { cluster.interrupt(change, resource, call, &path).await };
        Ok(Some((resource, self.outside.spawn(interrupt).await?)))
    }

    /// Waits until its delayed requests have been carried out, too.
    pub async fn has_left_nothing(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for carried_out in late {
            carried_out.await.unwrap();
        }
    }

    /// Has a request carried out once it is late enough.
    fn carry_out_later(&self, head: &Parts, body: &Bytes, enough: impl Future<Output = ()> + Send + 'static) {
        let client = self.cluster.operators_client();
        let request = Request::from_parts(head.clone(), body.to_vec());
        let carried_out = self.outside.spawn(async move {
            enough.await;
            // The outcome is in the audit log.
            let _ = client.send(request.map(Body::from)).await;
        });
        self.late.lock().unwrap().push(carried_out);
    }
}

/// The path of the object that a request is about.
fn path_of(head: &Parts) -> String {
    head.uri.path().trim_end_matches("/status").to_owned()
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}
