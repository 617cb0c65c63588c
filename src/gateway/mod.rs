//! The AI API over HTTP: each modification becomes a BulkUpdate, created with the caller's own token and followed until its
//! outcome is known.
//!
//! Nothing here decides about a target, and nothing but the objects is shared with the operator.

mod body;
mod caller;
mod headers;
mod load;
mod logs;
mod metrics;
mod middleware;
mod modification;
mod narrow;
mod objects;
mod places;
mod preferences;
mod problem;
mod query;
mod routes;
mod state;
mod submit;
mod tls;
mod unread;

use std::{convert::Infallible, io, net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use axum_server::{Handle, tls_rustls::RustlsAcceptor};
use futures::future::OptionFuture;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, Resource as _};
use prometheus_client::registry::Registry;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tower::{
    Layer,
    layer::util::{Identity, Stack},
};
use tracing::{info, warn};

use crate::{
    api::FIELD_MANAGER,
    client::{Cluster, Failure, Machine, Wire, clock::Clock, requests},
    decode::object::Lenient,
    gateway::{body::MOST_ARRIVING, metrics::Metrics, state::Gateway, tls::Certificate},
    misconfigured::Misconfigured,
    observed::flag::CapabilityFlag,
    server::{
        BindAddress, FewConnections, LONG_HEAD, bounded,
        eviction::EvictingSet,
        listen,
        probes::{self, Probes},
        raise_open_files,
    },
};

/// How long a graceful shutdown may take: the requests in progress are answered.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(90);

/// How many connections may be open.
const CONNECTIONS: usize = 1024;

/// How many requests may be in progress, or have responses that were not received yet. More than there are places: most of them
/// are refused.
const REQUESTS: usize = 2048;

/// How often the operator's Lease is read: as often as it is renewed.
const LOAD_INTERVAL: Duration = Duration::from_secs(2);

/// How often the flag is read to keep the API server's time known.
const CLOCK_INTERVAL: Duration = Duration::from_mins(1);

/// The gateway's settings; the command line describes each.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's, where the flag's ConfigMap is.
    pub namespace: String,
    pub meta_configmap: String,
    pub bind_address: BindAddress,
    pub metrics_bind_address: BindAddress,
    /// The files of the certificate chain and its key; plain HTTP without.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Serves the AI API until `shutdown`, and then finishes the requests in progress.
///
/// # Errors
/// When it cannot start to serve, its certificate cannot be used, the cluster does not accept the gateway, or a listener fails.
pub async fn run(
    cluster: Cluster,
    settings: Settings,
    machine: Machine,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Settings { namespace, meta_configmap, bind_address, metrics_bind_address, tls } = settings;
    let mut registry = probes::registry();
    let api = Api::new(&cluster, (namespace, meta_configmap), machine, &Identity::new(), &mut registry)?;
    let certificate = OptionFuture::from(tls.map(|(chain, key)| Certificate::load(chain, key)));
    let certificate = certificate.await.transpose().map_err(|error| Misconfigured(error.to_string()))?;
    let tls = certificate.as_ref().map(|certificate| RustlsAcceptor::new(certificate.config.clone()));
    // The first modification needs the API server's time.
    api.read_time().await;
    let _ = api.read_load().await;
    raise_open_files();
    let listener = listen(bind_address)?;
    let metrics_listener = listen(metrics_bind_address)?;
    info!(address = %listener.local_addr()?, tls = tls.is_some(), metrics_address = %metrics_listener.local_addr()?,
        version = env!("CARGO_PKG_VERSION"), "serving the AI API");

    let stopping = shutdown.clone();
    let probes = Probes {
        refresh: || {},
        live: || Ok::<_, Infallible>(()),
        ready: move || if stopping.is_cancelled() { Err("stopping") } else { Ok(()) },
    };
    tokio::select! {
        biased;
        ended = serve(&api, tls, listener, &shutdown) => ended?,
        // Callers have tokens of their own, and are answered meanwhile: an API server that is down may come back.
        Err(misconfigured) = cluster.reach(&api.own) => return Err(misconfigured.into()),
        Some(never) = OptionFuture::from(certificate.map(Certificate::follow)) => match never {},
        never = api.keep_time() => match never {},
        never = api.follow_load() => match never {},
        ended = probes::serve(metrics_listener, registry, probes) => {
            ended?;
            anyhow::bail!("metrics and probes are not served any more");
        }
    }
    // Requests whose callers have hung up are finished, too.
    let _ = time::timeout(SHUTDOWN_TIMEOUT, api.gateway.places.empty()).await;
    info!("stopped");
    Ok(())
}

/// The AI API without a server.
pub struct Api {
    gateway: Arc<Gateway>,
    /// The client with the gateway's own credentials.
    own: Client,
}

impl Api {
    /// An API of which nothing was asked yet: `meta` is the namespace and the name of the flag's ConfigMap. The `layer` is below
    /// the time-outs, where tests make networks and servers fail.
    ///
    /// # Errors
    /// If certificates or credentials cannot be used.
    pub fn new(
        cluster: &Cluster,
        meta: (String, String),
        machine: Machine,
        layer: &(impl Layer<Wire, Service = Wire> + Clone),
        registry: &mut Registry,
    ) -> Result<Self, Misconfigured> {
        let clock = Clock::new(machine.clone());
        clock.register(registry);
        let through = Stack::new(layer.clone(), clock.clone());
        let own = cluster.client_through(&through)?;
        let gateway = Arc::new(Gateway {
            // A client certificate of the gateway's own would authenticate every caller.
            anonymous: cluster.anonymous().client_through(&through)?,
            flag: CapabilityFlag::new(own.clone(), meta.0, meta.1),
            clock,
            machine,
            places: Arc::default(),
            promises: Arc::default(),
            arriving: EvictingSet::new(MOST_ARRIVING),
            requests: EvictingSet::new(REQUESTS),
            metrics: Metrics::register(registry),
            started: time::Instant::now(),
        });
        Ok(Self { gateway, own })
    }

    /// What answers the requests.
    pub fn router(&self) -> Router {
        routes::router(Arc::clone(&self.gateway))
    }

    /// Keeps the API server's time known when there are no requests for a while.
    pub async fn keep_time(&self) -> Infallible {
        loop {
            time::sleep(if self.gateway.clock.is_set() { CLOCK_INTERVAL } else { Duration::from_secs(1) })
                .await;
            self.read_time().await;
        }
    }

    /// Reads the operator's Lease from time to time, which says how much it has to do. Without it no modification is refused for
    /// that.
    pub async fn follow_load(&self) -> Infallible {
        let mut logged = false;
        loop {
            // It was read before. (Where the cluster cannot be reached at all, that is said elsewhere, and may end the process.)
            time::sleep(LOAD_INTERVAL).await;
            if let Err(failure) = self.read_load().await
                && !logged
            {
                warn!(%failure, "cannot read the operator's Lease: how much it has to do is not known");
                logged = true;
            }
        }
    }

    async fn read_load(&self) -> Result<(), Failure> {
        let url = Lease::url_path(&(), Some(self.gateway.flag.key().0));
        let lease = requests::get::<Lenient>(&self.own, url, FIELD_MANAGER).await?;
        self.gateway.promises.seen(&lease);
        Ok(())
    }

    /// Any answer tells the time; the flag is what the gateway has the right to read.
    pub async fn read_time(&self) {
        let _ = self.gateway.flag.read_since(time::Instant::now()).await;
    }
}

async fn serve(
    api: &Api,
    tls: Option<RustlsAcceptor>,
    listener: TcpListener,
    shutdown: &CancellationToken,
) -> io::Result<()> {
    let handle = Handle::new();
    let service = api.router().into_make_service();
    let server = axum_server::from_tcp(listener)?.handle(handle.clone());
    let connections = FewConnections::new(CONNECTIONS);
    let serve = async {
        match tls {
            None => bounded(server.acceptor(connections), LONG_HEAD).serve(service).await,
            Some(tls) => bounded(server.acceptor(tls.acceptor(connections)), LONG_HEAD).serve(service).await,
        }
    };
    let stop = async {
        shutdown.cancelled().await;
        info!("stopping: the requests in progress are answered, and no new ones are accepted");
        handle.graceful_shutdown(Some(SHUTDOWN_TIMEOUT));
    };
    tokio::join!(serve, stop).0
}
