//! What all requests to the gateway share.

use std::sync::Arc;

use tokio::{sync::Semaphore, time::Instant};

use crate::{
    client::clock::Clock,
    gateway::{metrics::Metrics, upstream::Upstream},
    observed::flag::CapabilityFlag,
};

/// What all requests share.
pub struct Gateway {
    /// The way to the Kubernetes API.
    pub upstream: Upstream,
    /// The flag.
    pub flag: CapabilityFlag,
    /// The API server's time.
    pub clock: Clock,
    /// Each request under way has one.
    pub places: Arc<Semaphore>,
    /// What is counted.
    pub metrics: Metrics,
    /// When this process began.
    pub started: Instant,
}
