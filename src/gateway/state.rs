//! What all requests to the gateway share, such as the connections to the Kubernetes API, without credentials of its own.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, header};
use kube::{Client, client::Body};
use tokio::time::Instant;
use tower::service_fn;

use crate::{
    client::{Machine, clock::Clock},
    gateway::{
        load::Promises,
        metrics::Metrics,
        places::{Place, Places},
        problem::Invocation,
    },
    observed::flag::CapabilityFlag,
    server::eviction::EvictingSet,
};

/// By this header a client names the entries of its request in the audit log.
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

pub struct Gateway {
    /// Without credentials: each request brings its caller's.
    pub anonymous: Client,
    pub flag: CapabilityFlag,
    pub clock: Clock,
    /// Whose ids the requests get.
    pub machine: Machine,
    pub places: Arc<Places>,
    pub promises: Arc<Promises>,
    /// The bodies that have not arrived yet.
    pub arriving: Arc<EvictingSet>,
    /// The requests whose responses were not received yet.
    pub requests: Arc<EvictingSet>,
    pub metrics: Metrics,
    /// When this process started.
    pub started: Instant,
}

impl Gateway {
    /// A client for one request of a caller with this Authorization, and in this place. It passes on nothing else of the
    /// caller's, and holds the place. The id of the request is that of all it asks for in the audit log of the Kubernetes API.
    pub fn client(
        &self,
        authorization: HeaderValue,
        namespace: &str,
        place: Arc<Place>,
        of: &Invocation,
    ) -> Client {
        let anonymous = self.anonymous.clone();
        let id = HeaderValue::try_from(&*of.id).ok();
        let service = service_fn(move |mut request: Request<Body>| {
            let agent = concat!("ai-api-operator-gateway/", env!("CARGO_PKG_VERSION"));
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
            request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(agent));
            request.headers_mut().extend(id.clone().map(|id| (AUDIT_ID, id)));
            let (anonymous, place) = (anonymous.clone(), Arc::clone(&place));
            async move {
                let response = anonymous.send(request).await?;
                place.answered(response.status());
                Ok::<_, kube::Error>(response)
            }
        });
        Client::new(service, namespace)
    }
}
