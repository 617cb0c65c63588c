//! The way to the Kubernetes API that all callers share.

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

/// The way to the Kubernetes API that all callers share: its connections, and no credentials.
#[derive(Clone)]
pub struct Upstream(Client);

impl Upstream {
    /// The way to a cluster, on which `clock` reads the dates of answers.
    ///
    /// # Errors
    /// When its certificates can't be used.
    pub fn new(cluster: &Cluster, clock: &Clock) -> Result<Self, Misconfigured> {
        // A certificate of the gateway's own would speak for every caller.
        cluster.anonymous().client_through(clock).map(Self)
    }

    /// A client with this caller's token, for one request of theirs; nothing else of theirs goes through.
    pub fn client(&self, token: HeaderValue, namespace: &str) -> Client {
        let shared = self.0.clone();
        let service = service_fn(move |mut request: Request<Body>| {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
            let agent = concat!("ai-api-operator-gateway/", env!("CARGO_PKG_VERSION"));
            request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
            let shared = shared.clone();
            async move { shared.send(request).await }
        });
        Client::new(service, namespace)
    }
}
