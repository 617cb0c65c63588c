//! How many connections may be open at once: from one address, so that one client cannot keep the others out, and in all.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{Extension, middleware::AddExtension};
use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tower::Layer;

/// How many connections one address may have open.
const OF_ONE_ADDRESS: usize = 32;

/// How many there may be in all.
const IN_ALL: usize = 512;

/// Closes each connection beyond these bounds.
#[derive(Clone, Debug, Default)]
pub struct FewConnections(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub struct Place {
    open: FewConnections,
    address: IpAddr,
}

impl FewConnections {
    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        // A listener for both shows IPv4 as IPv6.
        let address = address.to_canonical();
        let mut open = self.open();
        let in_all: usize = open.values().sum();
        let of_this = open.get(&address).copied().unwrap_or_default();
        if in_all >= IN_ALL || of_this >= OF_ONE_ADDRESS {
            return None;
        }
        open.insert(address, of_this + 1);
        drop(open);
        Some(Place { open: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.open();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

impl<S> Accept<TcpStream, S> for FewConnections {
    type Stream = TcpStream;
    // A connection keeps its service for as long as it is open, and so its place.
    type Service = AddExtension<S, Arc<Place>>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(stream.peer_addr().and_then(|peer| {
            let place = self.place(peer.ip()).ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok((stream, Extension(Arc::new(place)).layer(service)))
        }))
    }
}

#[cfg(test)]
mod tests;
