//! How many connections may be open at once, and how a connection is closed from elsewhere: because there are too many, because
//! nothing that is sent over it is received, or because a request asks for it.

mod stream;
#[cfg(test)]
mod tests;

use std::{
    future::{Ready, ready},
    io,
    net::IpAddr,
    sync::Arc,
};

use axum::{Extension, middleware::AddExtension};
use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::Layer;

pub use stream::STALLED;

use crate::server::{
    connections::stream::Closable,
    eviction::{Entry, EvictingSet, InUse},
};

/// Accepts each connection; when there are too many, one of the address that has the most is closed.
#[derive(Clone, Debug)]
pub struct FewConnections(Arc<EvictingSet>);

/// The connection over which a request has come, among the extensions of the request.
#[derive(Clone, Debug)]
pub struct Connection {
    pub peer: IpAddr,
    /// Closes it when it is cancelled.
    pub closed: CancellationToken,
    entry: Arc<Entry>,
}

impl Connection {
    /// Says that a request of it is in progress, until the result is dropped.
    pub fn in_use(&self) -> InUse {
        self.entry.in_use()
    }
}

impl FewConnections {
    /// So many.
    pub fn new(most: usize) -> Self {
        Self(EvictingSet::new(most))
    }
}

impl<S> Accept<TcpStream, S> for FewConnections {
    type Stream = Closable<TcpStream>;
    // A connection keeps its service for as long as it is open, and so its entry.
    type Service = AddExtension<S, Connection>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(stream.peer_addr().map(|peer| {
            // A listener for both shows IPv4 as IPv6.
            let peer = peer.ip().to_canonical();
            let closed = CancellationToken::new();
            let entry = Arc::new(self.0.insert(Some(peer), closed.clone()));
            let stream = Closable::new(stream, closed.clone());
            (stream, Extension(Connection { peer, closed, entry }).layer(service))
        }))
    }
}
