//! Servers for clients to connect to: one that answers like an API server over TLS of all kinds, and proxies.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::IntoResponse,
};
use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// The certificate of a server, in PEM, and the client certificate that it asks for.
pub struct Tls<'a> {
    pub chain: &'a str,
    pub key: &'a str,
    pub client: Option<&'a str>,
}

fn server_config(tls: &Tls) -> ServerConfig {
    let certificates =
        |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect::<Vec<_>>();
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(client) {
                roots.add(certificate).unwrap();
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes()).unwrap();
    let mut config =
        builder.clone().with_single_cert(certificates(tls.chain), key.clone_key()).unwrap_or_else(|_| {
            // A certificate that rustls itself would not present.
            let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
            let certified = rustls::sign::CertifiedKey::new(certificates(tls.chain), key);
            builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
        });
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// A listener on a port of its own.
fn listener() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Answers every GET with a version, and 401 to the token `wrong`. Returns its port.
pub fn api_server(tls: &Tls) -> u16 {
    let (listener, port) = listener();
    let config = RustlsConfig::from_config(Arc::new(server_config(tls)));
    let server = axum_server::from_tcp_rustls(listener, config).unwrap();
    let answer = async |headers: HeaderMap| {
        let wrong = headers.get(AUTHORIZATION).is_some_and(|value| value == "Bearer wrong");
        let status = if wrong { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        (status, r#"{"major": "1", "minor": "33", "gitVersion": "v1.33.0-fake"}"#)
    };
    tokio::spawn(server.serve(Router::new().fallback(answer).into_make_service()));
    port
}

/// Answers everything like this, over plain HTTP. Returns its port.
pub fn plain_server(status: u16, header: Option<(&'static str, &'static str)>, body: &'static str) -> u16 {
    let (listener, port) = listener();
    let answer = async move || {
        let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    };
    let server = axum_server::from_tcp(listener).unwrap();
    tokio::spawn(server.serve(Router::new().fallback(answer).into_make_service()));
    port
}

/// Answers 503 to so many requests, as before it is ready, and then 403 to all. Returns its port, and how many requests were
/// refused.
pub fn refusing_server(outages: usize) -> (u16, Arc<AtomicUsize>) {
    let (listener, port) = listener();
    let (asked, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&refused);
    let answer = async move || {
        if asked.fetch_add(1, Ordering::Relaxed) < outages {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        counted.fetch_add(1, Ordering::Relaxed);
        StatusCode::FORBIDDEN
    };
    let server = axum_server::from_tcp(listener).unwrap();
    tokio::spawn(server.serve(Router::new().fallback(answer).into_make_service()));
    (port, refused)
}

/// The kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Http,
    /// Requires the name u and this password.
    HttpWithPassword(&'static str),
    /// Answers 503, as if the destination were unavailable.
    HttpAway,
    /// Answers 403, as if the destination were not permitted.
    HttpForbids,
    Socks5,
    /// Requires a name and a password.
    Socks5WithPassword,
}

/// A proxy that connects all clients to one server.
pub struct Proxy {
    pub port: u16,
    used: Arc<AtomicUsize>,
}

impl Proxy {
    /// One that connects to this port; with `tls`, it is reached over TLS.
    pub fn new(kind: Kind, to: u16, tls: Option<&Tls>) -> Self {
        let (listener, port) = listener();
        let used = Arc::new(AtomicUsize::new(0));
        let proxy = Self { port, used: Arc::clone(&used) };
        let tls = tls.map(|tls| TlsAcceptor::from(Arc::new(server_config(tls))));
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((near, _)) = listener.accept().await {
                let (used, tls) = (Arc::clone(&used), tls.clone());
                tokio::spawn(async move {
                    used.fetch_add(1, Ordering::SeqCst);
                    let far = SocketAddr::from(([127, 0, 0, 1], to));
                    match tls {
                        None => through(kind, near, far).await,
                        Some(tls) => through(kind, tls.accept(near).await.ok()?, far).await,
                    }
                });
            }
        });
        proxy
    }

    /// How many connections were made since the last call.
    pub fn used(&self) -> usize {
        self.used.swap(0, Ordering::SeqCst)
    }
}

/// Forwards one connection.
async fn through(kind: Kind, mut near: impl AsyncRead + AsyncWrite + Unpin, far: SocketAddr) -> Option<()> {
    match kind {
        Kind::Http | Kind::HttpWithPassword(_) | Kind::HttpAway | Kind::HttpForbids => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(near.read_u8().await.ok()?);
            }
            let head = String::from_utf8(head).ok()?.to_lowercase();
            let wanted = match kind {
                // u:p, u: and u:p@ss
                Kind::HttpWithPassword("p") => "proxy-authorization: basic dtpw\r\n",
                Kind::HttpWithPassword("") => "proxy-authorization: basic dto=\r\n",
                Kind::HttpWithPassword(_) => "proxy-authorization: basic dtpwqhnz\r\n",
                _ => "",
            };
            let answer: &[u8] = if kind == Kind::HttpAway {
                b"HTTP/1.1 503 Service Unavailable\r\n\r\n"
            } else if kind == Kind::HttpForbids {
                b"HTTP/1.1 403 Forbidden\r\n\r\n"
            } else if !head.contains(wanted) {
                b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
            } else if head.starts_with("connect ") {
                b"HTTP/1.1 200 Connection established\r\n\r\n"
            } else {
                b"HTTP/1.1 405 Method Not Allowed\r\n\r\n"
            };
            near.write_all(answer).await.ok()?;
            if !answer.starts_with(b"HTTP/1.1 200") {
                return near.shutdown().await.ok();
            }
        }
        Kind::Socks5 | Kind::Socks5WithPassword => {
            let mut hello = [0; 2];
            near.read_exact(&mut hello).await.ok()?;
            let mut methods = vec![0; hello[1].into()];
            near.read_exact(&mut methods).await.ok()?;
            let method = if kind == Kind::Socks5 { 0 } else { 2 };
            if !methods.contains(&method) {
                near.write_all(&[5, 0xff]).await.ok()?;
                return near.shutdown().await.ok();
            }
            near.write_all(&[5, method]).await.ok()?;
            let mut request = [0; 5];
            near.read_exact(&mut request).await.ok()?;
            // A name, whose length is the fifth byte, or an IPv4 address.
            let rest = if request[3] == 3 { usize::from(request[4]) + 2 } else { 5 };
            near.read_exact(&mut vec![0; rest]).await.ok()?;
            near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
        }
    }
    let mut far = TcpStream::connect(far).await.ok()?;
    copy_bidirectional(&mut near, &mut far).await.ok().map(|_| ())
}
