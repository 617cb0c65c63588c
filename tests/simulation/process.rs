//! A process: a replica of the operator or a gateway, with a runtime, clocks and a line of its own. It runs only while the world
//! lets it, so it can be suspended and killed at any moment, and its timers go by the world's time.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use ai_api_operator::{
    client::{Cluster, Machine},
    controller::replica::{self, Replica},
    gateway,
};
use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Config;
use tokio::{runtime::Runtime, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{cluster::EPOCH, line::Line, log::Log};

const MILLION: u64 = 1_000_000;

/// How the clocks of a machine differ from the world's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// How far the time of day is ahead, in milliseconds.
    pub skew: i64,
    /// By how many millionths its timers and clocks run faster.
    pub drift: i64,
}

/// What the machine of a process has, which survives the process.
#[derive(Clone, Debug, Default)]
pub struct Host {
    pub clocks: Clocks,
    /// By how many milliseconds the time of day was set since.
    pub set: Arc<AtomicI64>,
}

/// An answer of the gateway: the number of the call, and what its caller gets.
pub type Called = (usize, Response<Bytes>);

pub struct Process {
    runtime: Runtime,
    pub line: Line,
    main: JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
    /// When it started, by the world's clock, in milliseconds.
    started: u64,
    drift: i64,
    router: Option<Router>,
    answers: Arc<Mutex<Vec<Called>>>,
    log: Log,
    logged: usize,
}

/// How a process has ended by itself.
pub type Ended = Result<(), String>;

/// What runs in a process.
pub enum Program {
    /// With the preflight checks, or without.
    Operator(replica::Settings, bool),
    Gateway {
        namespace: String,
        meta_configmap: String,
    },
}

fn cluster() -> Cluster {
    let mut config = Config::new(http::Uri::from_static("http://kubernetes.invalid"));
    // There is no TLS. Without this, the system's certificate authorities are read each time.
    config.root_cert = Some(Vec::new());
    Cluster::from(config)
}

impl Process {
    /// Starts a program, at this moment of the world.
    pub fn start(program: Program, host: &Host, now: u64, ids: u64, log: Log) -> Self {
        let runtime = runtime(ids);
        let line = Line::default();
        let shutdown = CancellationToken::new();
        let answers = Arc::default();
        let at_start = SignedDuration::from_millis(i64::try_from(now).unwrap() + host.clocks.skew);
        let machine = machine(&line, host, EPOCH + at_start, ids);
        let entered = runtime.enter();
        line.start();
        let logged = log.enter();
        let (router, main) = match program {
            Program::Operator(settings, preflight) => {
                let replica = Replica::new(cluster(), settings, machine, &line).unwrap();
                let shutdown = shutdown.clone();
                let work = async move {
                    if preflight {
                        Box::pin(replica.run(shutdown)).await
                    } else {
                        Box::pin(replica.run_unchecked(shutdown)).await
                    }
                };
                (None, runtime.spawn(work))
            }
            Program::Gateway { namespace, meta_configmap } => {
                let mut registry = prometheus_client::registry::Registry::default();
                let meta = (namespace, meta_configmap);
                let api = gateway::Api::new(&cluster(), meta, machine, &line, &mut registry).unwrap();
                let router = api.router();
                let main = async move {
                    api.read_time().await;
                    match api.keep_time().await {}
                };
                (Some(router), runtime.spawn(main))
            }
        };
        drop((entered, logged));
        Self {
            runtime,
            line,
            main,
            shutdown,
            started: now,
            drift: host.clocks.drift,
            router,
            answers,
            log,
            logged: 0,
        }
    }

    /// How long it has run by its own timers, at this moment of the world.
    fn local(&self, world: u64) -> Duration {
        let elapsed = world.saturating_sub(self.started);
        Duration::from_millis((elapsed * self.rate()).div_ceil(MILLION))
    }

    /// The moment of the world at which it has run for so long by its own timers.
    pub fn world(&self, local: Duration) -> u64 {
        let elapsed = u64::try_from(local.as_millis()).unwrap();
        self.started + (elapsed * MILLION).div_ceil(self.rate())
    }

    /// How many millionths of a second pass by its own timers in a second.
    fn rate(&self) -> u64 {
        MILLION.strict_add_signed(self.drift)
    }

    /// Runs it until this moment of the world, or until something that it sends arrives: `arrives` takes in what was sent, and
    /// tells when.
    pub fn run_until(&mut self, world: u64, mut arrives: impl FnMut(&Self) -> Option<u64>) {
        let start = self.local_start();
        let mut limit = start + self.local(world);
        let _logged = self.log.enter();
        self.runtime.block_on(async {
            let sleep = tokio::time::sleep_until(limit);
            tokio::pin!(sleep);
            poll_fn(|context| {
                if self.line.with(|outbox| !outbox.crossed.is_empty())
                    && let Some(world) = arrives(self)
                {
                    limit = limit.min(start + self.local(world));
                    sleep.as_mut().reset(limit);
                }
                self.line.with(|outbox| outbox.watch(context.waker()));
                sleep.as_mut().poll(context)
            })
            .await;
        });
    }

    /// Continues after a suspension: its timers have all expired, and nothing has run meanwhile.
    pub fn resume(&mut self, world: u64) {
        let target = self.local_start() + self.local(world);
        let _logged = self.log.enter();
        self.runtime.block_on(async {
            let behind = target.saturating_duration_since(Instant::now());
            tokio::time::advance(behind).await;
        });
    }

    /// It gets no connection until this moment of the world.
    pub fn keep_from_connecting(&self, until: u64) {
        self.line.keep_from_connecting(self.local(until));
    }

    fn local_start(&self) -> Instant {
        let _entered = self.runtime.enter();
        Instant::now() - self.line.elapsed()
    }

    /// Asks it to end, as SIGTERM does.
    pub fn terminate(&self) {
        let _entered = self.runtime.enter();
        let _logged = self.log.enter();
        self.shutdown.cancel();
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<Ended> {
        if !self.main.is_finished() {
            return None;
        }
        let joined = self.runtime.block_on(&mut self.main);
        Some(match joined {
            Ok(end) => end.map_err(|error| format!("{error:#}")),
            Err(error) => Err(format!("panicked: {error}")),
        })
    }

    /// Hands a request to the gateway.
    pub fn call(&self, number: usize, request: Request<Bytes>) {
        let Some(router) = self.router.clone() else { return };
        let answers = Arc::clone(&self.answers);
        self.runtime.spawn(async move {
            let (head, body) = router.oneshot(request.map(Full::new)).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            answers.lock().unwrap().push((number, Response::from_parts(head, body)));
        });
    }

    /// The lines of its log since the last time.
    pub fn log(&mut self) -> Vec<String> {
        let lines = self.log.from(self.logged);
        self.logged += lines.len();
        lines
    }

    /// The answers of the gateway since the last time.
    pub fn called(&self) -> Vec<Called> {
        std::mem::take(&mut *self.answers.lock().unwrap())
    }
}

fn runtime(seed: u64) -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // Without this, the order in which several tasks are woken by one event is random.
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let _ = seed;
    builder.enable_time().start_paused(true).build().unwrap()
}

fn machine(line: &Line, host: &Host, at_start: Timestamp, ids: u64) -> Machine {
    let (uptime, time) = (line.clone(), line.clone());
    let set = Arc::clone(&host.set);
    let ids = Mutex::new(fastrand::Rng::with_seed(ids));
    Machine::new(
        // A machine has run for a while before the process starts.
        move || Duration::from_secs(1000) + uptime.elapsed(),
        move || {
            let elapsed = SignedDuration::try_from(time.elapsed()).unwrap();
            at_start + elapsed + SignedDuration::from_millis(set.load(Ordering::Relaxed))
        },
        move || uuid::Builder::from_random_bytes(ids.lock().unwrap().u128(..).to_le_bytes()).into_uuid(),
    )
}
