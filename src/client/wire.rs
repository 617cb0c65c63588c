//! The way of a request to the API server, through layers.

use kube::client::{Body, DynBody};
use tower::{BoxError, util::BoxService};

/// The way to the API server.
pub type Wire = BoxService<http::Request<Body>, http::Response<Box<DynBody>>, BoxError>;
