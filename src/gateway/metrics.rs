//! The gateway's metrics. No names of objects, namespaces or callers.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram},
    registry::Registry,
};

pub struct Metrics {
    requests: Family<Answered, Counter>,
    seconds: Family<Route, histogram::Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    #[prometheus(flatten)]
    route: Route,
    code: u16,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        // From 1 ms to about a minute.
        let seconds = || histogram::Histogram::new(histogram::exponential_buckets(0.001, 2.0, 17));
        let this = Self { requests: Family::default(), seconds: Family::new_with_constructor(seconds) };
        let registry = registry.sub_registry_with_prefix("aiapi_gateway");
        registry.register("requests", "Requests that were answered", this.requests.clone());
        let help = "How long requests took to be answered";
        registry.register("request_duration_seconds", help, this.seconds.clone());
        this
    }

    pub fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        // Callers may send any method, and must not be able to create labels.
        let known = ["GET", "PATCH", "DELETE", "HEAD", "POST", "PUT", "OPTIONS"];
        let method = known.into_iter().find(|known| method == known).unwrap_or("other");
        let route = Route { method, route: route.to_owned() };
        self.seconds.get_or_create(&route).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { route, code: status.as_u16() }).inc();
    }
}
