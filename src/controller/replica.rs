//! One replica of the operator: it runs the preflight checks, waits for the Lease, and runs the operator for as long as it is
//! the leader.

use std::{net::TcpListener, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::{Layer, layer::util::Stack};
use tracing::info;

use crate::{
    client::{
        Cluster, Wire,
        clock::Clock,
        leadership::{Fence, Leadership},
    },
    controller::{
        election::{Candidate, Election, Timing},
        operator::{self, Shared},
        preflight,
    },
    observed::admission::{Policies, nothing_accepted, record::RECORD},
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

/// Runs until `shutdown`. The `layer` is below the fence and the time-outs, where tests make networks and servers fail.
///
/// # Errors
/// [`crate::misconfigured::Misconfigured`]; when it loses the Lease; and as [`operator::run`].
pub async fn run(
    cluster: Cluster,
    settings: Settings,
    layer: &(impl Layer<Wire, Service = Wire> + Clone),
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (leadership, metrics, clock) = (Leadership::default(), Metrics::default(), Clock::default());
    let health = Arc::<Health>::default();
    // The Lease is renewed over connections of its own, and not fenced.
    let beneath = Stack::new(layer.clone(), clock.clone());
    let aside = cluster.client_through(&beneath)?;
    let above = Stack::new(WatchProgress(Arc::clone(&health)), Fence(leadership.clone()));
    let client = cluster.client_through(&Stack::new(beneath, above))?;

    let listener = listen(settings.metrics_bind_address)?;
    info!(metrics_address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "metrics and probes are served");
    let probes =
        serve_probes(listener, metrics.clone(), Arc::clone(&health), leadership.clone(), clock.clone());
    let work = async {
        tokio::select! {
            checked = preflight::check(&cluster, &aside, &settings.controller) => checked?,
            () = shutdown.cancelled() => return Ok(()),
        }
        let (notes, kept) = watch::channel(nothing_accepted());
        let candidate = Candidate {
            namespace: settings.controller.namespace.clone(),
            identity: settings.identity,
            timing: settings.timing,
        };
        let election = Election::new(aside.clone(), candidate, leadership.clone(), kept);
        let mut lease = tokio::select! {
            lease = election.acquire(&health) => lease,
            () = shutdown.cancelled() => {
                election.release().await;
                return Ok(());
            }
        };
        let required = settings.controller.require_admission_policy;
        let policies = Policies::new(required, lease.annotation(RECORD), notes);
        let shared = Shared { clock, policies, metrics, health: Arc::clone(&health) };
        tokio::select! {
            ended = Box::pin(operator::run(client, settings.controller, shared, shutdown.clone())) => ended?,
            why = election.keep(&mut lease) => {
                shutdown.cancel();
                anyhow::bail!("lost the Lease: {why}");
            }
        }
        election.release().await;
        Ok(())
    };
    tokio::select! {
        ended = Box::pin(work) => ended,
        ended = probes => {
            ended?;
            anyhow::bail!("the server of metrics and probes has stopped");
        }
    }
}

async fn serve_probes(
    listener: TcpListener,
    metrics: Metrics,
    health: Arc<Health>,
    leadership: Leadership,
    clock: Clock,
) -> std::io::Result<()> {
    let mut registry = probes::registry();
    metrics.register(&mut registry);
    clock.register(&mut registry);
    let (live, ready) = (Arc::clone(&health), Arc::clone(&health));
    let probes = Probes {
        refresh: move || metrics.refresh(&health, &leadership, &clock),
        live: move || live.check(),
        ready: move || ready.ready(),
    };
    probes::serve(listener, registry, probes).await
}
