//! One replica of the operator: it looks whether all is there, waits until it leads, and then does the operator's work, for
//! as long as it leads.

use std::sync::Arc;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tower::layer::util::Stack;
use tracing::info;

use crate::{
    client::{Cluster, connect_through},
    controller,
    election::{Election, Timing},
    health::{Health, Listen},
    http_server::{BindAddress, listen},
    leadership::{Fence, Leadership},
    metrics::Metrics,
    preflight,
    telemetry::{self, Probes},
};

/// A replica's settings; the command line describes each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Those of the operator.
    pub controller: controller::Settings,
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
/// [`preflight::Misconfigured`]; when it loses the Lease; and as [`controller::run`].
pub async fn run(cluster: Cluster, settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let health = Arc::new(Health::default());
    let leadership = Leadership::default();
    let metrics = Metrics::default();
    // The Lease is renewed over connections of its own, and not fenced.
    let aside = cluster.client()?;
    let through = Stack::new(Listen(Arc::clone(&health)), Fence(leadership.clone()));
    let client =
        connect_through(cluster.clone(), &through).context("the cluster's credentials can't be used")?;

    let listener = listen(settings.metrics_bind_address)?;
    info!(metrics_address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), "metrics and probes are served");
    let mut registry = telemetry::registry();
    metrics.register(&mut registry);
    let probes = {
        let (refreshed, refreshing, leader) = (metrics.clone(), Arc::clone(&health), leadership.clone());
        let (living, readied) = (Arc::clone(&health), Arc::clone(&health));
        Probes {
            refresh: move || refreshed.refresh(&refreshing, &leader),
            live: move || living.check(),
            ready: move || readied.ready(),
        }
    };
    let work = async {
        tokio::select! {
            checked = preflight::check(&cluster, &aside, &settings.controller) => checked?,
            () = shutdown.cancelled() => return Ok(()),
        }
        let namespace = settings.controller.namespace.clone();
        let election =
            Election::new(aside.clone(), namespace, settings.identity, settings.timing, leadership.clone());
        let mut lease = tokio::select! {
            lease = election.acquire(&health) => lease,
            () = shutdown.cancelled() => {
                election.release().await;
                return Ok(());
            }
        };
        tokio::select! {
            ended = controller::run(client, settings.controller, metrics.clone(), health, shutdown.clone()) => ended?,
            why = election.keep(&mut lease) => {
                shutdown.cancel();
                anyhow::bail!("lost the Lease: {why}");
            }
        }
        election.release().await;
        Ok(())
    };
    tokio::select! {
        ended = work => ended,
        ended = telemetry::serve(listener, registry, probes) => {
            ended?;
            anyhow::bail!("metrics and probes are not served any more");
        }
    }
}
