//! What all requests to the gateway share, such as the connections to the Kubernetes API, without credentials of its own.

use std::sync::Arc;

use http::{HeaderValue, Request, header};
use kube::{Client, client::Body};
use tokio::{sync::Semaphore, time::Instant};
use tower::service_fn;

use crate::{
    client::{Machine, clock::Clock},
    gateway::metrics::Metrics,
    observed::flag::CapabilityFlag,
};

pub struct Gateway {
    /// Without credentials: each request brings its caller's.
    pub anonymous: Client,
    pub flag: CapabilityFlag,
    pub clock: Clock,
    /// Whose ids the requests get.
    pub machine: Machine,
    /// Each request in progress holds one permit.
    pub in_flight: Arc<Semaphore>,
    pub metrics: Metrics,
    /// When this process started.
    pub started: Instant,
}

impl Gateway {
    /// A client for one request of a caller with this Authorization. It passes on nothing else of the caller's.
    pub fn client(&self, authorization: HeaderValue, namespace: &str) -> Client {
        let anonymous = self.anonymous.clone();
        let service = service_fn(move |mut request: Request<Body>| {
            let agent = concat!("ai-api-operator-gateway/", env!("CARGO_PKG_VERSION"));
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
            request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(agent));
            let anonymous = anonymous.clone();
            async move { anonymous.send(request).await }
        });
        Client::new(service, namespace)
    }
}
