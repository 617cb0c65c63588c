//! The operator in this process, one life at a time: its tasks, memory and connections die with it, as with SIGKILL.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, Mutex, Once},
    thread,
    time::Duration,
};

use ai_api_operator::{
    client::{self, Machine, clock::Clock},
    controller::{
        Settings, Timing,
        operator::{self, Shared},
        replica,
    },
    observed::Policies,
    telemetry::Metrics,
};
use tokio::{
    runtime::Builder,
    sync::{oneshot, watch},
};
use tower::layer::util::Stack;

use crate::{
    cluster::Cluster,
    life::{Life, Through},
    plan::Plan,
};

/// The timings of the election: short, so that many plans fit into the time, and long enough for a busy machine.
/// Between the renew deadline and the end of the Lease there is enough time for a request in transit.
pub const TIMING: Timing = Timing {
    lease_duration: Duration::from_secs(5),
    renew_deadline: Duration::from_secs(4),
    retry_period: Duration::from_millis(200),
};

/// How a life has ended.
#[derive(Debug)]
pub enum End {
    /// By a fault.
    Killed,
    /// By itself, or on request.
    Ended(Result<(), String>),
}

pub struct Running {
    pub life: Arc<Life>,
    ended: oneshot::Receiver<End>,
}

/// The threads that have panicked.
static PANICS: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Whether the operator of a plan has panicked.
pub fn has_panicked(namespace: &str) -> bool {
    PANICS.lock().unwrap().contains(namespace)
}

fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if let Some(name) = thread::current().name() {
                PANICS.lock().unwrap().insert(name.to_owned());
            }
            before(panic);
        }));
    });
}

/// The operators' logs: each thread has a log of its own.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Running {
    /// Starts it on a thread of its own, named after its namespace.
    pub fn start(cluster: &Arc<Cluster>, life: Arc<Life>, plan: &Plan, log: Log) -> Self {
        note_panics();
        let namespace = cluster.world.home.clone();
        let shipped = plan.shipped;
        let settings = Settings {
            namespace: namespace.clone(),
            meta_configmap: "ai-api-meta".into(),
            watch_namespaces: if shipped { Vec::new() } else { vec![namespace.clone()] },
            max_in_flight: plan.scenario.max_in_flight,
            delete_completed: false,
            require_admission_policy: shipped,
        };
        let identity = life.name();
        let config = cluster.operators_config();
        let (sender, ended) = oneshot::channel();
        let (through, stop, dead) = (Through(Arc::clone(&life)), life.shutdown.clone(), life.dead.clone());
        let work = move || {
            let make = move || log.clone();
            let log = tracing_subscriber::fmt().with_ansi(false).with_writer(make).finish();
            let _log = tracing::subscriber::set_default(log);
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let end = runtime.block_on(async {
                let work = async {
                    if shipped {
                        let metrics_bind_address = "127.0.0.1:0".parse().unwrap();
                        let controller = settings;
                        let settings =
                            replica::Settings { controller, metrics_bind_address, timing: TIMING, identity };
                        return replica::run(config.into(), settings, Machine::default(), &through, stop)
                            .await;
                    }
                    let clock = Clock::default();
                    let cluster = client::Cluster::from(config);
                    let client = cluster.client_through(&Stack::new(clock.clone(), through))?;
                    let policies = Policies::for_bulk_updates(false, |_| None, watch::Sender::default());
                    let work_policies = Policies::for_work(false, |_| None, watch::Sender::default());
                    let shared = Shared {
                        clock,
                        policies,
                        work_policies,
                        metrics: Metrics::default(),
                        health: Arc::default(),
                    };
                    operator::run(client, settings, shared, stop).await
                };
                tokio::select! {
                    biased;
                    () = dead.cancelled() => End::Killed,
                    end = work => End::Ended(end.map_err(|e| format!("{e:#}"))),
                }
            });
            // Everything that it was about to do is dropped with it.
            runtime.shutdown_background();
            // The plan may have given up on it.
            let _ = sender.send(end);
        };
        thread::Builder::new().name(namespace).spawn(work).unwrap();
        Self { life, ended }
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> End {
        (&mut self.ended).await.unwrap_or(End::Ended(Err("it has panicked".into())))
    }

    /// Asks it to end, as SIGTERM does.
    pub async fn stop(mut self) -> End {
        self.life.shutdown.cancel();
        self.ended().await
    }
}
