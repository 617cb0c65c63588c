//! What stands between the plugin and the API server and does to single requests what a real API server cannot be made to do: an answer
//! that is lost, a refusal for want of room, a name that is taken at the last moment.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::State, response::Response};
use futures::{StreamExt, stream};
use http::{Method, Request, StatusCode, header};
use kube::{Client, config::KubeConfigOptions};
use serde_json::json;
use support::built;
use tokio::sync::Notify;

use crate::plugin::Plugin;

/// What becomes of a request that creates a BulkUpdate.
pub enum Fault {
    /// Nothing.
    None,
    /// It is carried out, and the answer is lost.
    LostAnswer,
    /// It is refused.
    Refused(StatusCode),
    /// It arrives when this is notified.
    Held(Arc<Notify>),
    /// Before it arrives, somebody else creates one with the same name and this spec.
    NameTaken(serde_json::Value),
}

pub struct Proxy {
    /// As whose it forwards requests.
    client: Mutex<Client>,
    /// For the next ones, in this order.
    faults: Mutex<VecDeque<Fault>>,
    /// When the next watches are refused because what they begin with is too old.
    expired: Mutex<VecDeque<Arc<Notify>>>,
}

impl Proxy {
    /// Stands between this plugin and its API server from now on.
    pub async fn start(plugin: &mut Plugin, faults: impl IntoIterator<Item = Fault>) -> Arc<Self> {
        let client = Mutex::new(client(&plugin.kubeconfig).await);
        let proxy = Arc::new(Self {
            client,
            faults: Mutex::new(faults.into_iter().collect()),
            expired: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&proxy));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        plugin.kubeconfig = kubeconfig(&server);
        proxy
    }

    /// Whether all faults have happened.
    pub fn is_through(&self) -> bool {
        self.faults.lock().unwrap().is_empty()
    }

    /// Refuses the next watch once this is notified.
    pub fn expire_a_watch(&self) -> Arc<Notify> {
        let when = Arc::new(Notify::new());
        self.expired.lock().unwrap().push_back(Arc::clone(&when));
        when
    }

    /// Whether it holds no watch back any more.
    pub fn has_watches(&self) -> bool {
        self.expired.lock().unwrap().is_empty()
    }

    /// From now on, requests are those of the user of this kubeconfig.
    pub async fn identify(&self, kubeconfig: &Path) {
        let client = client(kubeconfig).await;
        *self.client.lock().unwrap() = client;
    }

    async fn forward(&self, request: Request<Body>) -> Response {
        let (mut head, body) = request.into_parts();
        head.headers.remove(header::HOST);
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let client = self.client.lock().unwrap().clone();
        let answer = client.send(Request::from_parts(head, body.to_vec().into())).await.unwrap();
        answer.map(|body| Body::from_stream(http_body_util::BodyExt::into_data_stream(body)))
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let config = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// That of a cluster behind a proxy, which knows whose requests they are.
fn kubeconfig(server: &str) -> PathBuf {
    let port = server.rsplit(':').next().unwrap();
    let file = built::folder().join(format!("proxy-{port}.kubeconfig"));
    let named = |kind: &str, value| json!([{"name": "proxy", kind: value}]);
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": named("cluster", json!({"server": server})),
        "contexts": named("context", json!({"cluster": "proxy", "user": "proxy"})),
        "users": named("user", json!({}))});
    std::fs::write(&file, config.to_string()).unwrap();
    file
}

fn refusal(code: StatusCode) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "message": "not now"});
    let answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    answer.body(Body::from(status.to_string())).unwrap()
}

async fn answer(State(proxy): State<Arc<Proxy>>, request: Request<Body>) -> Response {
    let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let expired = if watches { proxy.expired.lock().unwrap().pop_front() } else { None };
    if let Some(when) = expired {
        when.notified().await;
        return refusal(StatusCode::GONE);
    }
    let creates = request.method() == Method::POST && request.uri().path().ends_with("/bulkupdates");
    let fault = if creates { proxy.faults.lock().unwrap().pop_front() } else { None };
    match fault {
        None | Some(Fault::None) => proxy.forward(request).await,
        Some(Fault::LostAnswer) => {
            let answer = proxy.forward(request).await;
            assert!(answer.status().is_success(), "{answer:?}");
            let lost = stream::iter([Err::<&[u8], _>(std::io::Error::other("lost"))]);
            answer.map(|_| Body::from_stream(lost.boxed()))
        }
        Some(Fault::Refused(code)) => refusal(code),
        Some(Fault::Held(until)) => {
            until.notified().await;
            proxy.forward(request).await
        }
        Some(Fault::NameTaken(spec)) => {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let mut other: serde_json::Value = serde_json::from_slice(&body).unwrap();
            other["spec"] = spec;
            let theirs = Request::post(head.uri.clone()).header(header::CONTENT_TYPE, "application/json");
            let theirs = theirs.body(Body::from(other.to_string())).unwrap();
            assert!(proxy.forward(theirs).await.status().is_success());
            proxy.forward(Request::from_parts(head, body.into())).await
        }
    }
}
