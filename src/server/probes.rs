//! Metrics and probes over HTTP, the same for each process: `/metrics`, `/livez`, `/readyz`.

use std::{fmt::Display, net::TcpListener, sync::Arc};

use axum::{Router, routing::get};
use http::{StatusCode, header::CONTENT_TYPE};
use prometheus_client::{encoding::text::encode, metrics::info::Info, registry::Registry};

use crate::server::{FewConnections, SHORT_HEAD, bounded};

/// How many connections may be open.
const CONNECTIONS: usize = 512;

/// The content type of `OpenMetrics`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A registry of metrics that has the version in it already.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("aiapi_build", "The version that is running", version);
    registry
}

/// What a process says about itself.
pub(crate) struct Probes<Refresh, Live, Ready> {
    /// Brings the metrics up to date, before they are read.
    pub refresh: Refresh,
    /// Says why the process makes no progress, so that a restart may help.
    pub live: Live,
    /// Says why it cannot do its part.
    pub ready: Ready,
}

/// Serves the metrics and the probes until the process ends.
pub(crate) async fn serve<NotLive: Display + 'static, NotReady: Display + 'static>(
    listener: TcpListener,
    registry: Registry,
    probes: Probes<
        impl Fn() + Clone + Send + Sync + 'static,
        impl Fn() -> Result<(), NotLive> + Clone + Send + Sync + 'static,
        impl Fn() -> Result<(), NotReady> + Clone + Send + Sync + 'static,
    >,
) -> std::io::Result<()> {
    let Probes { refresh, live, ready } = probes;
    let registry = Arc::new(registry);
    let metrics = async move || {
        refresh();
        let mut text = String::new();
        // Writing to a String does not fail.
        let failed = |std::fmt::Error| StatusCode::INTERNAL_SERVER_ERROR;
        encode(&mut text, &registry).map_err(failed).map(|()| ([(CONTENT_TYPE, OPEN_METRICS)], text))
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async move || answer(live())))
        .route("/readyz", get(async move || answer(ready())));
    // Anybody in the cluster can send requests here: their size and number are bounded.
    let server = axum_server::from_tcp(listener)?.acceptor(FewConnections::new(CONNECTIONS));
    bounded(server, SHORT_HEAD).serve(router.into_make_service()).await
}

fn answer(probed: Result<(), impl Display>) -> (StatusCode, String) {
    match probed {
        Ok(()) => (StatusCode::OK, "ok".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
    }
}
