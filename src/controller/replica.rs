//! One replica of the operator: it runs the preflight checks, waits for the Lease, and runs the operator for as long as it is
//! the leader.

use std::{net::TcpListener, sync::Arc};

use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::{Layer, layer::util::Stack};
use tracing::info;

use crate::{
    client::{
        Cluster, Machine, Wire,
        clock::Clock,
        leadership::{Fence, Leadership},
    },
    controller::{
        election::{Candidate, Election, Timing},
        operator::{self, Shared},
        preflight,
    },
    misconfigured::Misconfigured,
    observed::admission::{Policies, nothing_accepted},
    server::{
        BindAddress, listen,
        probes::{self, Probes},
    },
    telemetry::{health::Health, metrics::Metrics, watch_progress::WatchProgress},
};

/// A replica's settings; the command line describes each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Those of the operator.
    pub controller: operator::Settings,
    /// Where metrics and probes are served.
    pub metrics_bind_address: BindAddress,
    /// The times of the election.
    pub timing: Timing,
    /// Its identity in the election, which no other process has.
    pub identity: String,
}

/// Runs until `shutdown`, and serves metrics and probes meanwhile. The `layer` is below the fence and the time-outs, where tests
/// make networks and servers fail.
///
/// # Errors
/// As [`Replica::run`]; and when metrics and probes cannot be served.
pub async fn run(
    cluster: Cluster,
    settings: Settings,
    machine: Machine,
    layer: &(impl Layer<Wire, Service = Wire> + Clone),
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let address = settings.metrics_bind_address;
    let replica = Replica::new(cluster, settings, machine, layer)?;
    let listener = listen(address)?;
    info!(metrics_address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "metrics and probes are served");
    let probes = replica.serve_probes(listener);
    tokio::select! {
        biased;
        ended = Box::pin(replica.run(shutdown)) => ended,
        ended = probes => {
            ended?;
            anyhow::bail!("the server of metrics and probes has stopped");
        }
    }
}

/// A replica without its metrics and probes.
pub struct Replica {
    cluster: Cluster,
    settings: Settings,
    machine: Machine,
    /// The operator's client, which writes only while this replica leads.
    client: Client,
    /// The client that is not fenced, with connections of its own: the Lease is renewed over them.
    aside: Client,
    leadership: Leadership,
    metrics: Metrics,
    clock: Clock,
    health: Arc<Health>,
}

impl Replica {
    /// A replica that has done nothing yet; `layer` as for [`run`].
    ///
    /// # Errors
    /// If certificates or credentials cannot be used.
    pub fn new(
        cluster: Cluster,
        settings: Settings,
        machine: Machine,
        layer: &(impl Layer<Wire, Service = Wire> + Clone),
    ) -> Result<Self, Misconfigured> {
        let (leadership, clock) = (Leadership::new(machine.clone()), Clock::new(machine.clone()));
        let health = Arc::<Health>::default();
        let beneath = Stack::new(layer.clone(), clock.clone());
        let aside = cluster.client_through(&beneath)?;
        let above = Stack::new(WatchProgress(Arc::clone(&health)), Fence(leadership.clone()));
        let client = cluster.client_through(&Stack::new(beneath, above))?;
        let metrics = Metrics::default();
        Ok(Self { cluster, settings, machine, client, aside, leadership, metrics, clock, health })
    }

    /// Runs the preflight checks, and then until `shutdown`.
    ///
    /// # Errors
    /// [`Misconfigured`], and as [`Replica::run_unchecked`].
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            checked = preflight::check(&self.cluster, &self.aside, &self.settings.controller, &self.machine) => checked?,
        }
        self.run_unchecked(shutdown).await
    }

    /// Runs until `shutdown`, where nothing that the preflight checks look for is missing.
    ///
    /// # Errors
    /// When it loses the Lease; and as [`operator::run`].
    pub async fn run_unchecked(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { settings, machine, client, aside, leadership, metrics, clock, health, .. } = self;
        let (notes, kept) = watch::channel(nothing_accepted());
        let candidate = Candidate {
            namespace: settings.controller.namespace.clone(),
            identity: settings.identity,
            timing: settings.timing,
            machine,
        };
        let election = Election::new(aside, candidate, leadership, kept, metrics.load.clone());
        let mut lease = tokio::select! {
            biased;
            () = shutdown.cancelled() => {
                election.release().await;
                return Ok(());
            }
            lease = election.acquire(&health) => lease,
        };
        let required = settings.controller.require_admission_policy;
        let policies = Policies::for_bulk_updates(required, |name| lease.annotation(name), notes.clone());
        let work_policies = Policies::for_work(required, |name| lease.annotation(name), notes);
        let shared = Shared { clock, policies, work_policies, metrics, health };
        tokio::select! {
            biased;
            // Before the operator: it has to do nothing more once the Lease is lost.
            why = election.keep(&mut lease) => {
                shutdown.cancel();
                anyhow::bail!("lost the Lease: {why}");
            }
            ended = Box::pin(operator::run(client, settings.controller, shared, shutdown.clone())) => ended?,
        }
        election.release().await;
        Ok(())
    }

    fn serve_probes(&self, listener: TcpListener) -> impl Future<Output = std::io::Result<()>> + use<> {
        let (metrics, clock) = (self.metrics.clone(), self.clock.clone());
        let (leadership, health) = (self.leadership.clone(), Arc::clone(&self.health));
        let mut registry = probes::registry();
        metrics.register(&mut registry);
        clock.register(&mut registry);
        let (live, ready) = (Arc::clone(&health), Arc::clone(&health));
        let probes = Probes {
            refresh: move || metrics.refresh(&health, &leadership, &clock),
            live: move || live.check(),
            ready: move || ready.ready(),
        };
        probes::serve(listener, registry, probes)
    }
}
