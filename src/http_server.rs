//! What every HTTP server here has in common: the bounds on what a client may make a connection cost.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum_server::Server;
use hyper_util::rt::TokioTimer;
use tracing::debug;

use crate::preflight::Misconfigured;

/// How long a client may take to send the head of its first request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may stand idle, and how long the head of any later request may take: longer than proxies keep theirs
/// (nginx 60 s), which would else send a request over one that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The longest head of a request, in bytes: a token is the most of it.
const LONGEST_HEAD: u32 = 64 * 1024;

/// How many requests one HTTP/2 connection may have under way.
const STREAMS: u32 = 100;

/// Listens at an address.
///
/// # Errors
/// When that can't be done.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .map_err(|error| Misconfigured(format!("{address} can't be listened at: {error}")))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Sets the bounds.
pub fn bounded<A>(mut server: Server<SocketAddr, A>) -> Server<SocketAddr, A> {
    let http = server.http_builder();
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(LONGEST_HEAD as usize);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(LONGEST_HEAD)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    server
        .first_request_timeout(HEAD_TIMEOUT)
        .accept_error_handler(|from, error| debug!(?from, %error, "a connection could not be taken"))
}
