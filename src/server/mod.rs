//! What every HTTP server here has in common: the bounds on what a client may make a connection cost.

mod connections;
pub mod probes;

pub use connections::FewConnections;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    str::FromStr,
    time::Duration,
};

use axum_server::Server;
use hyper_util::rt::TokioTimer;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

use crate::misconfigured::Misconfigured;

/// How long a client may take to send the head of its first request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may stand idle, and how long the head of any later request may take: longer than proxies keep theirs
/// (nginx 60 s), which would else send a request over one that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The longest head of a request with a token, in bytes: the token is the most of it.
pub const LONG_HEAD: u32 = 64 * 1024;

/// The longest head of any other: the least that hyper allows.
pub const SHORT_HEAD: u32 = 8 * 1024;

/// How many requests one HTTP/2 connection may have under way.
const STREAMS: u32 = 100;

/// How many connections may wait to be taken, if the system allows as many.
const BACKLOG: i32 = 4096;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindAddress {
    /// On this port of every address, IPv6 and IPv4; of IPv4 alone where the machine has no IPv6.
    Every(u16),
    /// On this address alone (`[::]` is every address, but needs IPv6).
    Only(SocketAddr),
}

impl FromStr for BindAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let every = text.strip_prefix(':').and_then(|port| port.parse().ok()).map(Self::Every);
        every.or_else(|| text.parse().ok().map(Self::Only)).ok_or(
            "an address and a port such as 127.0.0.1:8080, [::1]:8080 or :8080 (every address) is needed",
        )
    }
}

/// Listens at an address.
///
/// # Errors
/// When that can't be done.
pub fn listen(address: BindAddress) -> Result<TcpListener, Misconfigured> {
    listen_by(address, bind)
        .map_err(|(address, error)| Misconfigured(format!("cannot listen on {address}: {error}")))
}

fn listen_by<T>(
    address: BindAddress,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<T, (SocketAddr, io::Error)> {
    let on = |address| bind(address).map_err(|error| (address, error));
    match address {
        BindAddress::Only(address) => on(address),
        BindAddress::Every(port) => match on((Ipv6Addr::UNSPECIFIED, port).into()) {
            Err((_, error)) if has_no_ipv6(&error) => on((Ipv4Addr::UNSPECIFIED, port).into()),
            other => other,
        },
    }
}

/// Whether it is for want of IPv6 that a listener could not be made: the kernel was built or started without it, or it is
/// switched off by sysctl.
fn has_no_ipv6(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw_os_error).is_some_and(|errno| {
        matches!(
            errno,
            Errno::AFNOSUPPORT
                | Errno::ADDRNOTAVAIL
                | Errno::PROTONOSUPPORT
                | Errno::PFNOSUPPORT
                | Errno::NOPROTOOPT
        )
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // IPv4 as well, whatever the system's default (net.ipv6.bindv6only) is.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Sets the bounds; the head of a request may have so many bytes.
pub fn bounded<A>(mut server: Server<SocketAddr, A>, longest_head: u32) -> Server<SocketAddr, A> {
    let http = server.http_builder();
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(longest_head as usize);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(longest_head)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    server
        .first_request_timeout(HEAD_TIMEOUT)
        .accept_error_handler(|from, error| debug!(?from, %error, "a connection could not be taken"))
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, net::TcpStream};

    use super::*;

    /// What was tried, and what came of it, where IPv6 fails like this.
    fn tried(address: &str, ipv6: Errno) -> (Vec<String>, Result<SocketAddr, String>) {
        let tried = RefCell::new(Vec::new());
        let bind = |address: SocketAddr| {
            tried.borrow_mut().push(address.to_string());
            if address.is_ipv6() { Err(ipv6.into()) } else { Ok(address) }
        };
        let outcome = listen_by(address.parse().unwrap(), bind).map_err(|(address, _)| address.to_string());
        (tried.into_inner(), outcome)
    }

    #[test]
    fn every_address_is_ipv4_alone_only_where_there_is_no_ipv6() {
        for errno in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT] {
            let (order, outcome) = tried(":8080", errno);
            assert_eq!(order, ["[::]:8080", "0.0.0.0:8080"]);
            assert_eq!(outcome.unwrap().to_string(), "0.0.0.0:8080");
        }
        for errno in [Errno::ADDRINUSE, Errno::ACCESS, Errno::MFILE] {
            let (order, outcome) = tried(":8080", errno);
            assert_eq!((order, outcome), (vec!["[::]:8080".to_owned()], Err("[::]:8080".to_owned())));
        }
        // What is asked for explicitly is not replaced.
        for address in ["[::]:8080", "[::1]:8080"] {
            assert_eq!(
                tried(address, Errno::AFNOSUPPORT),
                (vec![address.to_owned()], Err(address.to_owned()))
            );
        }
        assert_eq!(tried("127.0.0.1:1", Errno::AFNOSUPPORT).0, ["127.0.0.1:1"]);
    }

    #[test]
    fn addresses() {
        assert_eq!(":8080".parse(), Ok(BindAddress::Every(8080)));
        assert_eq!("0.0.0.0:80".parse(), Ok(BindAddress::Only(([0, 0, 0, 0], 80).into())));
        for text in ["", ":", "8080", "here", ":x", "::8080", "[::]", "1.2.3.4", ":99999", "localhost:80"] {
            assert!(text.parse::<BindAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_address_is_reached_over_ipv6_and_ipv4() {
        let listener = listen(BindAddress::Every(0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
        let taken = listen(BindAddress::Every(port)).unwrap_err().to_string();
        assert!(taken.contains("cannot listen on") && taken.contains("in use"), "{taken}");
    }
}
