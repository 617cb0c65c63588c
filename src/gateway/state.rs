//! State that all requests to the gateway share.

use std::sync::Arc;

use tokio::{sync::Semaphore, time::Instant};

use crate::{
    client::clock::Clock,
    gateway::{metrics::Metrics, upstream::Upstream},
    observed::flag::CapabilityFlag,
};

/// What all requests share.
pub struct Gateway {
    /// The connections to the Kubernetes API.
    pub upstream: Upstream,
    /// The capability flag.
    pub flag: CapabilityFlag,
    /// The API server's time.
    pub clock: Clock,
    /// Limits how many requests are in progress: each holds one permit.
    pub in_flight: Arc<Semaphore>,
    /// The gateway's metrics.
    pub metrics: Metrics,
    /// When this process started.
    pub started: Instant,
}
