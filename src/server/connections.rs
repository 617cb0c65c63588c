//! How many connections may be open at once: from one address, so that one client cannot keep the others out, and in all.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    future::{Ready, ready},
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use axum::{Extension, middleware::AddExtension};
use axum_server::accept::Accept;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::Layer;

use crate::tasks::lock;

/// How many connections one address may have open.
const OF_ONE_ADDRESS: usize = 32;

/// How many there may be in all.
const IN_ALL: usize = 512;

/// Closes each connection beyond these bounds.
#[derive(Clone, Debug)]
pub struct FewConnections {
    all: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, Arc<Semaphore>>>>,
}

/// The place of one connection: of those of its address, and of all.
type Place = Arc<[OwnedSemaphorePermit; 2]>;

impl Default for FewConnections {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(IN_ALL)), by_address: Arc::default() }
    }
}

impl FewConnections {
    fn place(&self, address: IpAddr) -> Option<Place> {
        let mut by_address = lock(&self.by_address);
        by_address.retain(|_, places| places.available_permits() < OF_ONE_ADDRESS);
        // A listener for both shows IPv4 as IPv6.
        let of_address = by_address.entry(address.to_canonical());
        let of_address = of_address.or_insert_with(|| Arc::new(Semaphore::new(OF_ONE_ADDRESS)));
        let permit = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        Some(Arc::new([permit(of_address)?, permit(&self.all)?]))
    }
}

impl<S> Accept<TcpStream, S> for FewConnections {
    type Stream = TcpStream;
    // A connection keeps its service for as long as it is open, and so its place.
    type Service = AddExtension<S, Place>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(stream.peer_addr().and_then(|peer| {
            let place = self.place(peer.ip()).ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok((stream, Extension(place).layer(service)))
        }))
    }
}
