//! The connections to the Kubernetes API that all callers share, without credentials of its own.

use http::{
    HeaderValue, Request,
    header::{AUTHORIZATION, USER_AGENT},
};
use kube::{Client, client::Body};
use tower::service_fn;

use crate::{
    client::{Cluster, clock::Clock},
    misconfigured::Misconfigured,
};

/// The shared connections.
#[derive(Clone)]
pub struct Upstream(Client);

impl Upstream {
    /// Connects to a cluster; `clock` reads the dates of its answers.
    ///
    /// # Errors
    /// When the cluster's certificates cannot be used.
    pub fn new(cluster: &Cluster, clock: &Clock) -> Result<Self, Misconfigured> {
        // A client certificate of the gateway's own would authenticate every caller.
        cluster.anonymous().client_through(clock).map(Self)
    }

    /// A client for one request of a caller with this token. It passes on nothing else of the caller's.
    pub fn client(&self, token: HeaderValue, namespace: &str) -> Client {
        let shared = self.0.clone();
        let service = service_fn(move |mut request: Request<Body>| {
            let agent = concat!("ai-api-operator-gateway/", env!("CARGO_PKG_VERSION"));
            request.headers_mut().insert(AUTHORIZATION, token.clone());
            request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
            let shared = shared.clone();
            async move { shared.send(request).await }
        });
        Client::new(service, namespace)
    }
}
