//! What runs on the Ray clusters of the tests, where no container does: an HTTP proxy, to which KubeRay's requests to the dashboard
//! of each cluster go.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
};

use axum::{
    Json, Router,
    extract::Path,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;

use crate::RUNTIME;

/// What the Ray jobs of a namespace say.
#[derive(Clone, Copy)]
pub struct Says {
    pub status: &'static str,
    pub message: &'static str,
}

static NAMESPACES: Mutex<BTreeMap<String, Says>> = Mutex::new(BTreeMap::new());

/// From now on the Ray jobs of this namespace say this; before, that they are running.
pub fn say(namespace: &str, status: &'static str, message: &'static str) {
    NAMESPACES.lock().unwrap().insert(namespace.to_owned(), Says { status, message });
}

/// The URL of the proxy, which is started by the first call.
pub fn proxy() -> &'static str {
    static URL: LazyLock<String> = LazyLock::new(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let dashboard =
            Router::new().route("/api/jobs/{id}", get(job)).route("/api/jobs/{id}/stop", post(stop));
        RUNTIME.spawn(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, dashboard).await.unwrap();
        });
        url
    });
    &URL
}

/// Answers for the Ray job with this id.
async fn job(Path(id): Path<String>, uri: Uri) -> Response {
    // SERVICE.NAMESPACE.svc.cluster.local
    let Some(namespace) = uri.host().and_then(|host| host.split('.').nth(1)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let says = NAMESPACES.lock().unwrap().get(namespace).copied();
    let Says { status, message } = says.unwrap_or(Says { status: "RUNNING", message: "it is running" });
    Json(json!({"type": "SUBMISSION", "submission_id": id, "status": status, "message": message,
        "start_time": 1_795_000_000_000_u64}))
    .into_response()
}

async fn stop() -> Response {
    Json(json!({"stopped": true})).into_response()
}
