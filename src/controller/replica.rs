//! One replica of the operator: it runs the preflight checks, waits until it leads, and then does the operator's work, for
//! as long as it leads.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::{
    Layer,
    layer::util::{Identity, Stack},
};
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
        preflight, settings,
    },
    decode::object::Lenient,
    observed::admission::{Policies, nothing_accepted, record::RECORD},
    server::{
        BindAddress, listen,
        probes::{self, Probes},
    },
    telemetry::{health::Health, listen::Listen, metrics::Metrics},
};

/// A replica's settings; the command line describes each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Those of the operator.
    pub controller: settings::Settings,
    /// Where metrics and probes are served.
    pub metrics_bind_address: BindAddress,
    /// Of the election.
    pub timing: Timing,
    /// Its name in the election: no other process has it.
    pub identity: String,
}

/// Runs until `shutdown`.
///
/// # Errors
/// [`crate::misconfigured::Misconfigured`]; when it loses the Lease; and as [`operator::run`].
pub async fn run(cluster: Cluster, settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    run_through(cluster, settings, &Identity::new(), shutdown).await
}

/// As [`run`], all of its requests and answers passing through `layer` last, below the fence and the time-outs: that is where
/// tests make networks and servers fail.
///
/// # Errors
/// As [`run`].
pub async fn run_through<L>(
    cluster: Cluster,
    settings: Settings,
    layer: &L,
    shutdown: CancellationToken,
) -> anyhow::Result<()>
where
    L: Layer<Wire, Service = Wire> + Clone,
{
    let (health, leadership, metrics) =
        (Arc::new(Health::default()), Leadership::default(), Metrics::default());
    // The Lease is renewed over connections of its own, and not fenced.
    let clock = Clock::default();
    let beneath = Stack::new(layer.clone(), clock.clone());
    let aside = cluster.client_through(&beneath)?;
    let through = Stack::new(beneath, Stack::new(Listen(Arc::clone(&health)), Fence(leadership.clone())));
    let client = cluster.client_through(&through)?;

    let listener = listen(settings.metrics_bind_address)?;
    info!(metrics_address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "metrics and probes are served");
    let mut registry = probes::registry();
    metrics.register(&mut registry);
    clock.register(&mut registry);
    let probes = {
        let (refreshed, refreshing, leader) = (metrics.clone(), Arc::clone(&health), leadership.clone());
        let time = clock.clone();
        let (living, readied) = (Arc::clone(&health), Arc::clone(&health));
        Probes {
            refresh: move || refreshed.refresh(&refreshing, &leader, &time),
            live: move || living.check(),
            ready: move || readied.ready(),
        }
    };
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
        // It accepts nothing before it has read what is on record.
        let shared = |policies| Shared { clock, policies, metrics, health: Arc::clone(&health) };
        Box::pin(lead(election, &health, shutdown, async |lease: &Lenient, shutdown| {
            let required = settings.controller.require_admission_policy;
            let policies = Policies::new(required, lease.annotation(RECORD), notes);
            Box::pin(operator::run(client, settings.controller, shared(policies), shutdown)).await
        }))
        .await
    };
    tokio::select! {
        ended = work => ended,
        ended = probes::serve(listener, registry, probes) => {
            ended?;
            anyhow::bail!("metrics and probes are not served any more");
        }
    }
}

/// Waits until this process leads, and does the work for as long as it does.
async fn lead(
    election: Election,
    health: &Health,
    shutdown: CancellationToken,
    work: impl AsyncFnOnce(&Lenient, CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut lease = tokio::select! {
        lease = election.acquire(health) => lease,
        () = shutdown.cancelled() => {
            election.release().await;
            return Ok(());
        }
    };
    let taken = lease.clone();
    tokio::select! {
        ended = work(&taken, shutdown.clone()) => ended?,
        why = election.keep(&mut lease) => {
            shutdown.cancel();
            anyhow::bail!("lost the Lease: {why}");
        }
    }
    election.release().await;
    Ok(())
}
