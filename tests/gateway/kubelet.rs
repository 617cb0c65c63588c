//! What a kubelet is to the API server when somebody reads a log: an HTTPS server at the address that its Node names. Without
//! `--kubelet-certificate-authority` the API server takes any certificate.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use axum_server::tls_rustls::RustlsConfig;
use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use support::{World, control_plane::apply};

/// A Node whose kubelet has these logs.
pub struct Kubelet {
    /// The name of the Node.
    pub node: String,
    logs: Arc<Logs>,
}

/// By Pod and container. Each line begins with its time.
#[derive(Default)]
struct Logs {
    by_container: Mutex<HashMap<(String, String), String>>,
    /// The queries of the requests for them.
    asked: Mutex<Vec<String>>,
}

impl Kubelet {
    pub async fn start(world: &World) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = made.signing_key.serialize_pem().into_bytes();
        let tls = RustlsConfig::from_pem(made.cert.pem().into_bytes(), key).await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let logs = Arc::<Logs>::default();
        let path = "/containerLogs/{namespace}/{pod}/{container}";
        let router = Router::new().route(path, get(answer)).with_state(Arc::clone(&logs));
        let server = axum_server::from_tcp_rustls(listener, tls).unwrap();
        tokio::spawn(server.serve(router.into_make_service()));
        let node = format!("node-of-{}", world.namespace);
        register(world, &node, port).await;
        Self { node, logs }
    }

    /// What a container has written so far.
    pub fn log(&self, pod: &str, container: &str, log: &str) {
        let key = (pod.to_owned(), container.to_owned());
        self.logs.by_container.lock().unwrap().insert(key, log.to_owned());
    }

    /// The queries of the requests so far, without those before the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.logs.asked.lock().unwrap())
    }
}

/// Creates the Node of a kubelet at this port.
pub async fn register(world: &World, name: &str, port: u16) {
    apply(&world.client, json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    world.kubectl_ok(&["patch", "node", name, "--subresource=status", "--patch", &status.to_string()], "");
}

async fn answer(
    State(logs): State<Arc<Logs>>,
    Path((_, pod, container)): Path<(String, String, String)>,
    Query(query): Query<HashMap<String, String>>,
    uri: http::Uri,
) -> Response {
    logs.asked.lock().unwrap().push(format!("{pod}/{container}?{}", uri.query().unwrap_or_default()));
    let Some(log) = logs.by_container.lock().unwrap().get(&(pod.clone(), container.clone())).cloned() else {
        let why =
            format!("container \"{container}\" in pod \"{pod}\" is waiting to start: ContainerCreating");
        return (StatusCode::BAD_REQUEST, why).into_response();
    };
    assert_eq!(query["timestamps"], "true");
    let since: Timestamp = query["sinceTime"].parse().unwrap();
    let is_new = |line: &&str| {
        let time = line.split(' ').next().unwrap().parse::<Timestamp>();
        time.is_ok_and(|time| time >= since)
    };
    let lines: Vec<_> = log.lines().filter(is_new).collect();
    let tail = query.get("tailLines").map_or(lines.len(), |tail| tail.parse().unwrap());
    let mut text = lines[lines.len().saturating_sub(tail)..].join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text.into_response()
}
