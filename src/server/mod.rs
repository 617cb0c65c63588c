//! What every HTTP server here has in common: where it listens, and the bounds on what a connection may cost.

mod connections;
pub mod eviction;
pub mod probes;
#[cfg(test)]
mod tests;

pub use connections::{Connection, FewConnections, STALLED};

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    str::FromStr,
    time::Duration,
};

use axum_server::Server;
use hyper_util::rt::TokioTimer;
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{debug, warn};

use crate::misconfigured::Misconfigured;

/// How long a client may take to send the head of its first request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be idle, and how long the head of any later request may take: longer than proxies keep theirs open
/// (nginx 60 s), so that no proxy sends a request over a connection that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The longest head of a request with a token, in bytes: most of it is the token.
pub const LONG_HEAD: u32 = 32 * 1024;

/// The longest head of any other request, in bytes: the least that hyper allows.
pub const SHORT_HEAD: u32 = 8 * 1024;

/// How many requests may be in flight on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// How many bytes of a request's body an HTTP/2 connection takes before they are read, of all its requests.
const WINDOW: u32 = 64 * 1024;

/// How many bytes of a response an HTTP/2 stream holds before it asks for more. By default it is 400 KiB, which the client need
/// not receive.
const SEND_BUFFER: usize = 1;

/// How many connections may wait to be accepted, if the system allows that many.
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
            "expected an address and a port such as 127.0.0.1:8080, [::1]:8080 or :8080 (every address)",
        )
    }
}

pub(crate) fn listen(address: BindAddress) -> Result<TcpListener, Misconfigured> {
    let failed = |(address, error)| Misconfigured(format!("cannot listen on {address}: {error}"));
    listen_by(address, bind).map_err(failed)
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

/// Whether a listener could not be created because there is no IPv6: the kernel was built or started without it, or it is
/// switched off by sysctl.
fn has_no_ipv6(error: &io::Error) -> bool {
    use Errno as E;
    Errno::from_io_error(error).is_some_and(|error| {
        [E::AFNOSUPPORT, E::ADDRNOTAVAIL, E::PROTONOSUPPORT, E::PFNOSUPPORT, E::NOPROTOOPT].contains(&error)
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

/// Lets this process have as many open files, which connections are, as the system allows: often it begins with 1,024.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, "cannot raise the limit on open files");
    }
}

/// Sets the bounds; `longest_head` is that of a request, in bytes.
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
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    server
        .first_request_timeout(HEAD_TIMEOUT)
        .accept_error_handler(|from, error| debug!(?from, %error, "a connection could not be accepted"))
}
