//! Traces over OTLP, if `OTEL_EXPORTER_OTLP_ENDPOINT` is set: a span for each BulkUpdate, with its steps. The
//! variables are those of the OpenTelemetry specification.

use std::time::Duration;

use http::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, hyper::HyperClient};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Handle;

use crate::{api::FIELD_MANAGER, misconfigured::Misconfigured};

/// How long one export may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends finished spans in batches, from a thread of its own.
pub struct Traces(SdkTracerProvider);

/// Sends on the runtime: the exporter calls it from a thread that has none, and the client needs one.
#[derive(Debug)]
struct OnRuntime {
    client: HyperClient<HttpsConnector<HttpConnector>>,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}

impl Traces {
    /// Starts to trace if the environment says where to. Has to be called on a runtime.
    ///
    /// # Errors
    /// [`Misconfigured`]: the environment has something that cannot be used.
    pub fn start() -> Result<Option<Self>, Misconfigured> {
        let names = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        if names.iter().all(|name| std::env::var(name).unwrap_or_default().is_empty()) {
            return Ok(None);
        }
        let builder = HttpsConnectorBuilder::new().with_native_roots();
        let builder = builder.map_err(|error| Misconfigured(format!("traces cannot be sent: {error}")))?;
        let client = HyperClient::new(builder.https_or_http().enable_http1().build(), TIMEOUT, None);
        let client = OnRuntime { client, runtime: Handle::current() };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let exporter = exporter.map_err(|error| {
            let names = "the variables OTEL_EXPORTER_OTLP_ENDPOINT etc.";
            Misconfigured(format!("traces cannot be sent as {names} say: {error}"))
        })?;
        let resource = Resource::builder().with_service_name(FIELD_MANAGER).build();
        let provider = SdkTracerProvider::builder().with_resource(resource);
        Ok(Some(Self(provider.with_batch_exporter(exporter).build())))
    }

    /// Creates the spans.
    pub fn tracer(&self) -> SdkTracer {
        self.0.tracer(FIELD_MANAGER)
    }

    /// Sends the spans that are left.
    pub async fn end(self) {
        // It waits for the exporter's thread, which waits for the runtime.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(Duration::from_secs(2)));
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}
