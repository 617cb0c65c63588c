//! The client of the API server: how the server is found, requests, what a failed one means, leadership, and the server's clock.
//!
//! Nothing here decides anything about an object.

pub mod clock;
mod cluster;
mod connect;
mod failure;
pub mod leadership;
mod machine;
pub(crate) mod requests;
pub(crate) mod slim;
pub mod slots;
mod wire;

pub(crate) use self::{cluster::start::Reached, wire::around};
pub use self::{
    cluster::{Cluster, find_cluster},
    failure::{Failure, Next, backoff, with_causes},
    machine::Machine,
    requests::{retry_after, send},
    wire::Wire,
};
