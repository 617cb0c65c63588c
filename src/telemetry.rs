//! Metrics and probes over HTTP, the same for each process: `/metrics`, `/livez`, `/readyz`.

use std::{net::TcpListener, sync::Arc};

use axum::{Router, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use prometheus_client::{metrics::info::Info, registry::Registry};

use crate::http_server::bounded;

/// A registry of metrics that has the version in it already.
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("aiapi_build", "The version that runs", version);
    registry
}

/// Serves the metrics and the probes for ever; `ready` says whether work may be sent here.
///
/// # Errors
/// When the listener can't be used any more.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    ready: impl Fn() -> bool + Clone + Send + Sync + 'static,
) -> std::io::Result<()> {
    let registry = Arc::new(registry);
    let router =
        Router::new()
            .route("/metrics", get(move || std::future::ready(metrics(&registry))))
            .route("/livez", get(async || "ok"))
            .route(
                "/readyz",
                get(async move || {
                    if ready() {
                        (StatusCode::OK, "ok")
                    } else {
                        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
                    }
                }),
            );
    bounded(axum_server::from_tcp(listener)?).serve(router.into_make_service()).await
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
