//! How many connections may be open at once: of one address, so that whoever opens more keeps nobody else out, and in all.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum_server::accept::Accept;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How many connections one address may have open.
const OF_ONE_ADDRESS: usize = 32;

/// How many there may be in all.
const IN_ALL: usize = 512;

/// Closes each connection that is one too many.
#[derive(Clone, Debug, Default)]
pub struct FewConnections(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A place, until it is dropped.
#[derive(Debug)]
struct Place {
    open: FewConnections,
    address: IpAddr,
}

impl FewConnections {
    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        // IPv4 comes as IPv6 where one listener has both.
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
    type Stream = Counted;
    type Service = S;
    type Future = Ready<io::Result<(Counted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        ready(stream.peer_addr().and_then(|peer| {
            let place = self.place(peer.ip()).ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok((Counted { stream, _place: place }, service))
        }))
    }
}

/// A connection that has its place.
#[derive(Debug)]
pub struct Counted {
    stream: TcpStream,
    _place: Place,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_so_many_and_keeps_nobody_else_out() {
        let connections = FewConnections::default();
        let greedy: IpAddr = [10, 0, 0, 1].into();
        let mut places: Vec<_> = (0..OF_ONE_ADDRESS).map(|_| connections.place(greedy).unwrap()).collect();
        assert!(connections.place(greedy).is_none());
        // It is the same address in IPv6.
        assert!(connections.place("::ffff:10.0.0.1".parse().unwrap()).is_none());
        assert!(connections.place([10, 0, 0, 2].into()).is_some());
        places.pop();
        places.push(connections.place(greedy).unwrap());
        let others: Vec<_> =
            (0_u16..1000).map_while(|n| connections.place(IpAddr::from([n, 1, 0, 0, 0, 0, 0, 0]))).collect();
        assert_eq!(places.len() + others.len(), IN_ALL);
        drop((places, others));
        assert!(connections.open().is_empty());
    }
}
