//! Metrics and probes over HTTP, the same for each process: `/metrics`, `/livez`, `/readyz`.

use std::{fmt::Display, net::TcpListener, sync::Arc};

use axum::{Router, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use prometheus_client::{metrics::info::Info, registry::Registry};

use crate::server::{FewConnections, SHORT_HEAD, bounded};

/// The content type of `OpenMetrics`.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A registry of metrics that has the version in it already.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("aiapi_build", "The version that is running", version);
    registry
}

/// What a process answers; an error says why not.
pub struct Probes<Refresh, Live, Ready> {
    /// Is called before the metrics are read.
    pub refresh: Refresh,
    /// Liveness: whether it makes progress. If not, a restart may help.
    pub live: Live,
    /// Readiness: whether it can do its part.
    pub ready: Ready,
}

/// Serves the metrics and the probes until the process ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve<Refresh, Live, NotLive, Ready, NotReady>(
    listener: TcpListener,
    registry: Registry,
    probes: Probes<Refresh, Live, Ready>,
) -> std::io::Result<()>
where
    Refresh: Fn() + Clone + Send + Sync + 'static,
    Live: Fn() -> Result<(), NotLive> + Clone + Send + Sync + 'static,
    NotLive: Display,
    Ready: Fn() -> Result<(), NotReady> + Clone + Send + Sync + 'static,
    NotReady: Display,
{
    let registry = Arc::new(registry);
    let Probes { refresh, live, ready } = probes;
    let metrics = async move || {
        refresh();
        metrics(&registry)
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async move || answer(live())))
        .route("/readyz", get(async move || answer(ready())));
    // Anybody in the cluster can send requests here: their size and number are bounded.
    let server = axum_server::from_tcp(listener)?.acceptor(FewConnections::default());
    bounded(server, SHORT_HEAD).serve(router.into_make_service()).await
}

fn answer(probed: Result<(), impl Display>) -> (StatusCode, String) {
    match probed {
        Ok(()) => (StatusCode::OK, "ok".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
    }
}

fn metrics(registry: &Registry) -> impl IntoResponse + use<> {
    let mut text = String::new();
    // Writing to a String does not fail.
    let status = match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => StatusCode::OK,
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, [(header::CONTENT_TYPE, OPEN_METRICS)], text)
}
