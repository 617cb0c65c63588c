//! Proxies between a cluster and its API server: one with a long delay, and one that answers some writes with 429.

use std::{
    fs,
    net::{SocketAddr, TcpListener as StdListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use axum_server::tls_rustls::RustlsConfig;
use kube::Client;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::lab::Lab;

/// How the two reach the API server through a proxy.
pub struct Way {
    pub operator: PathBuf,
    pub bare: PathBuf,
}

/// The API server's address, from a kubeconfig.
fn server(kubeconfig: &Path) -> String {
    let config: Value = serde_saphyr::from_str(&fs::read_to_string(kubeconfig).unwrap()).unwrap();
    config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned()
}

impl Way {
    /// Kubeconfigs with the proxy's address.
    fn to(lab: &Lab, name: &str, address: SocketAddr, authority: Option<&Path>) -> Self {
        let file = |of: &Path| {
            let text = fs::read_to_string(of).unwrap();
            let mut config: Value = serde_saphyr::from_str(&text).unwrap();
            let cluster = &mut config["clusters"][0]["cluster"];
            cluster["server"] = format!("https://{address}").into();
            if let Some(authority) = authority {
                cluster["certificate-authority"] = authority.to_str().unwrap().into();
            }
            let to = of.with_extension(format!("{name}.kubeconfig"));
            fs::write(&to, config.to_string()).unwrap();
            to
        };
        Self { operator: file(&lab.world.operator.kubeconfig()), bare: file(&lab.bare_kubeconfig) }
    }
}

/// One that delays answers by this long; their content does not matter.
pub async fn slow(lab: &Lab, by: Duration) -> Way {
    let server = server(&lab.bare_kubeconfig).trim_start_matches("https://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Way::to(lab, "slow", listener.local_addr().unwrap(), None);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(&server).await else { continue };
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(pass(near_in, far_out, Duration::ZERO));
            tokio::spawn(pass(far_in, near_out, by));
        }
    });
    way
}

/// Forwards what it receives, each piece with this delay.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, later: Duration) {
    let (pieces, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let write = tokio::spawn(async move {
        while let Some((time, piece)) = due.recv().await {
            sleep_until(time).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if pieces.send((Instant::now() + later, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
    drop(pieces);
    let _ = write.await;
}

/// Forwards requests, except every third write.
struct Throttling {
    /// Without credentials of its own: those of a request are forwarded.
    client: Client,
    writes: AtomicUsize,
}

/// Answers 429 to every third write to objects of ours, with a Retry-After of one second, as the API server does.
pub async fn throttling(lab: &Lab) -> Way {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let authority = lab.world.plane.folder.join("throttling.crt");
    fs::write(&authority, made.cert.pem()).unwrap();
    let (certificate, key) = (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes());
    let tls = RustlsConfig::from_pem(certificate, key).await.unwrap();

    let mut cluster = ai_api_operator::client::find_cluster(Some(&lab.bare_kubeconfig), None).unwrap();
    cluster.config.auth_info = kube::config::AuthInfo::default();
    let client = cluster.client().unwrap();
    let throttling = Arc::new(Throttling { client, writes: AtomicUsize::new(0) });
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let way = Way::to(lab, "throttling", listener.local_addr().unwrap(), Some(&authority));
    let routes = Router::new().fallback(answer).with_state(throttling);
    let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
    tokio::spawn(server.serve(routes.into_make_service()));
    way
}

async fn answer(State(throttling): State<Arc<Throttling>>, request: Request) -> Response {
    let ours = request.uri().path().starts_with("/apis/aiapi.dev/");
    if ours
        && !matches!(*request.method(), Method::GET)
        && throttling.writes.fetch_add(1, Ordering::Relaxed) % 3 == 2
    {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 429,
            "reason": "TooManyRequests", "message": "please try again later", "details": {"retryAfterSeconds": 1}});
        let headers = [(header::RETRY_AFTER, "1"), (header::CONTENT_TYPE, "application/json")];
        return (StatusCode::TOO_MANY_REQUESTS, headers, status.to_string()).into_response();
    }
    let (mut head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    for name in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
        head.headers.remove(name);
    }
    head.uri = head.uri.path_and_query().unwrap().as_str().parse().unwrap();
    head.extensions.clear();
    head.version = http::Version::HTTP_11;
    let request = http::Request::from_parts(head, kube::client::Body::from(body.to_vec()));
    match throttling.client.send(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}
