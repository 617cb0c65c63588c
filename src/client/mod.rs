//! The way to the API server: how it is found, one attempt for each request, what a failed one means, and whether this process
//! may write at all.
//!
//! Nothing here knows what is read or written.

pub mod clock;
mod cluster;
mod connect;
mod failure;
pub mod leadership;
pub mod requests;
#[cfg(not(test))]
mod slim;
#[cfg(test)]
pub(crate) mod slim;
pub mod slots;
mod wire;

pub use self::{
    cluster::{Cluster, find_cluster},
    connect::{connect, connect_through},
    failure::{Failure, LONGEST_RETRY_AFTER, Next, backoff, with_causes},
    requests::{retry_after, send},
    wire::Wire,
};
