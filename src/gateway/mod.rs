//! The AI API over HTTP: each modification becomes a BulkUpdate, made with the caller's own token and followed until it is
//! known what became of it.

pub mod caller;
pub mod capabilities;
pub mod carry_out;
pub mod frame;
pub mod invocation;
mod metrics;
pub mod modification;
pub mod objects;
pub mod problem;
mod routes;
pub mod state;
mod tls;
mod upstream;

use std::{convert::Infallible, net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use axum_server::Handle;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    client::{Cluster, clock::Clock},
    gateway::{metrics::Metrics, state::Gateway, tls::Certificate, upstream::Upstream},
    misconfigured::Misconfigured,
    observed::flag::CapabilityFlag,
    server::{
        BindAddress, LONG_HEAD, bounded, listen,
        probes::{self, Probes},
    },
};

/// How long a stop may take: the requests under way come to their end.
const LONGEST_STOP: Duration = Duration::from_secs(90);

/// How often the API server's time is asked for.
const ASK_THE_TIME: Duration = Duration::from_mins(1);

/// The gateway's settings; the command line describes each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's namespace, where the flag's ConfigMap is.
    pub namespace: String,
    /// The name of that ConfigMap.
    pub meta_configmap: String,
    /// Where the AI API is served.
    pub bind_address: BindAddress,
    /// Where metrics and probes are served.
    pub metrics_bind_address: BindAddress,
    /// The files of the certificate chain and its key; plain HTTP without.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Knows the API server's time also where nobody asks for anything for a while. Any answer tells it: one about the flag needs no
/// right that the gateway has not.
async fn keep_time(gateway: &Gateway) {
    loop {
        tokio::time::sleep(if gateway.clock.is_set() { ASK_THE_TIME } else { Duration::from_secs(1) }).await;
        let _ = gateway.flag.read_since(Instant::now()).await;
    }
}

/// Serves the AI API until `shutdown`, then lets the requests under way come to their end.
///
/// # Errors
/// When it can't begin to serve, when a task ends that should go on, and when the certificate can't be used at the start.
pub async fn run(cluster: Cluster, settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let clock = Clock::default();
    let upstream = Upstream::new(&cluster, &clock)?;
    let own = cluster.client_through(&clock)?;
    let mut registry = probes::registry();
    clock.register(&mut registry);
    let gateway = Arc::new(Gateway {
        upstream,
        flag: CapabilityFlag::new(own, settings.namespace, settings.meta_configmap),
        clock,
        places: Arc::new(Semaphore::new(frame::MOST_IN_FLIGHT as usize)),
        metrics: Metrics::register(&mut registry),
        started: Instant::now(),
    });
    let certificate = match settings.tls {
        Some((chain, key)) => {
            Some(Certificate::read(chain, key).await.map_err(|error| Misconfigured(format!("{error:#}")))?)
        }
        None => None,
    };
    // The first modification needs it.
    let _ = gateway.flag.read_since(Instant::now()).await;
    let listener = listen(settings.bind_address)?;
    let probes = listen(settings.metrics_bind_address)?;
    info!(address = %listener.local_addr()?, tls = certificate.is_some(), metrics_address = %probes.local_addr()?,
        version = env!("CARGO_PKG_VERSION"), "serving the AI API");

    let readiness = shutdown.clone();
    let answers = Probes {
        refresh: || {},
        live: || Ok::<_, Infallible>(()),
        ready: move || if readiness.is_cancelled() { Err("stopping".to_owned()) } else { Ok(()) },
    };
    let places = Arc::clone(&gateway.places);
    // Callers have tokens of their own, and are answered meanwhile: an API server that is away may come back.
    let reach = async {
        match cluster.reach().await {
            Ok(()) => std::future::pending().await,
            Err(misconfigured) => misconfigured,
        }
    };
    let renew = async {
        match &certificate {
            None => std::future::pending().await,
            Some(certificate) => certificate.follow().await,
        }
    };
    tokio::select! {
        ended = serve(&gateway, certificate.as_ref(), listener, &shutdown) => ended?,
        misconfigured = reach => return Err(misconfigured.into()),
        () = renew => anyhow::bail!("the certificate is not followed any more"),
        () = keep_time(&gateway) => anyhow::bail!("the API server's time is not asked for any more"),
        ended = probes::serve(probes, registry, answers) => {
            ended?;
            anyhow::bail!("metrics and probes are not served any more");
        }
    }
    // What callers have hung up on comes to its end, too.
    let _ = tokio::time::timeout(LONGEST_STOP, places.acquire_many(frame::MOST_IN_FLIGHT)).await;
    info!("stopped");
    Ok(())
}

/// Serves until `shutdown`, and lets what is under way then come to its end.
async fn serve(
    gateway: &Arc<Gateway>,
    certificate: Option<&Certificate>,
    listener: TcpListener,
    shutdown: &CancellationToken,
) -> std::io::Result<()> {
    let handle = Handle::new();
    let router = routes::router(Arc::clone(gateway)).into_make_service();
    let server = axum_server::from_tcp(listener)?.handle(handle.clone());
    let serve = async {
        match certificate {
            None => bounded(server, LONG_HEAD).serve(router).await,
            Some(certificate) => {
                bounded(server.acceptor(certificate.acceptor()), LONG_HEAD).serve(router).await
            }
        }
    };
    let stop = async {
        shutdown.cancelled().await;
        info!("stopping: the requests under way are answered, and no new ones are taken");
        handle.graceful_shutdown(Some(LONGEST_STOP));
    };
    tokio::join!(serve, stop).0
}
