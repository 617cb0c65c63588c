//! What the gateway counts. No names of objects, namespaces or callers.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Requests to the AI API.
pub struct Metrics {
    requests: Family<Answered, Counter>,
    seconds: Family<Route, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
}

impl Metrics {
    /// Makes them, and has them shown.
    pub fn register(registry: &mut Registry) -> Self {
        // From 1 ms to about a minute.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 17));
        let this = Self { requests: Family::default(), seconds: Family::new_with_constructor(seconds) };
        let registry = registry.sub_registry_with_prefix("aiapi_gateway");
        registry.register("requests", "Requests that were answered", this.requests.clone());
        registry.register(
            "request_duration_seconds",
            "How long requests took to be answered",
            this.seconds.clone(),
        );
        this
    }

    /// One was answered.
    pub fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        // Whoever may send anything must not make up labels.
        let method = match method.as_str() {
            known @ ("GET" | "PATCH" | "DELETE" | "HEAD" | "POST" | "PUT" | "OPTIONS") => known,
            _ => "other",
        };
        let (method, route) = (method.to_owned(), route.to_owned());
        let answered = Answered { method: method.clone(), route: route.clone(), code: status.as_u16() };
        self.requests.get_or_create(&answered).inc();
        self.seconds.get_or_create(&Route { method, route }).observe(took.as_secs_f64());
    }
}
