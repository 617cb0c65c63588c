//! Metrics and probes over HTTP, the same for each process: `/metrics`, `/livez`, `/readyz`.

use std::{net::TcpListener, sync::Arc};

use axum::{Router, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use prometheus_client::{metrics::info::Info, registry::Registry};

use crate::server::{FewConnections, SHORT_HEAD, bounded};

/// A registry of metrics that has the version in it already.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("aiapi_build", "The version that runs", version);
    registry
}

/// What a process answers; an error says why not.
pub struct Probes<Refresh, Live, Ready> {
    /// Is called before the metrics are read.
    pub refresh: Refresh,
    /// Whether it gets on. If not, a restart may help.
    pub live: Live,
    /// Whether work may be sent here.
    pub ready: Ready,
}

/// Serves the metrics and the probes for ever.
///
/// # Errors
/// When the listener can't be used any more.
pub async fn serve<Refresh, Live, Ready>(
    listener: TcpListener,
    registry: Registry,
    probes: Probes<Refresh, Live, Ready>,
) -> std::io::Result<()>
where
    Refresh: Fn() + Clone + Send + Sync + 'static,
    Live: Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
    Ready: Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
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
    // Anybody in the cluster may ask: what is read of a request, and how many may be under way, is little.
    let server = axum_server::from_tcp(listener)?.acceptor(FewConnections::default());
    bounded(server, SHORT_HEAD).serve(router.into_make_service()).await
}

fn answer(probed: Result<(), String>) -> (StatusCode, String) {
    match probed {
        Ok(()) => (StatusCode::OK, "ok".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn metrics(registry: &Registry) -> impl IntoResponse + use<> {
    let mut text = String::new();
    // Writing to a String does not fail.
    let status = match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => StatusCode::OK,
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (status, [(header::CONTENT_TYPE, content_type)], text)
}
