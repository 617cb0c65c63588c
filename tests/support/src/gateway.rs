//! The gateway's built binary, run as its ServiceAccount with the shipped Role, and who calls it.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{Config, client::ConfigExt};
use serde_json::{Value, json};

use super::{
    World, built,
    control_plane::{ControlPlane, apply},
    memory,
    operator::{kubeconfig_of, spawn, token_of},
    signal, until,
};

const ACCOUNT: &str = "ai-api-gateway";

/// The verbs of a caller's Role that allow everything the gateway does for them.
pub const ALL: &str = "get list watch create patch delete";

pub struct Gateway {
    /// Where the AI API is: a host and a port.
    pub address: String,
    /// Where metrics and probes are.
    pub metrics: String,
    /// Its own token.
    pub token: String,
    log: PathBuf,
    process: Child,
}

impl Gateway {
    /// Starts it over plain HTTP.
    pub async fn start(world: &World) -> Self {
        Self::start_with(world, &["--plain-http"], "info").await
    }

    /// Starts it with these arguments, and a filter for its log.
    pub async fn start_with(world: &World, arguments: &[&str], rust_log: &str) -> Self {
        Self::start_in(world, arguments, rust_log, &[]).await
    }

    /// As [`Self::start_with`], with these environment variables.
    pub async fn start_in(
        world: &World,
        arguments: &[&str],
        rust_log: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut this = Self::spawn_in(world, arguments, rust_log, environment).await;
        let value = |name: &str, log: &str| {
            let line = log.lines().find(|line| line.contains("serving the AI API"))?;
            let at = line.find(&format!(" {name}="))? + name.len() + 2;
            Some(line[at..].split_whitespace().next()?.to_owned())
        };
        until("the gateway serves", || async { value("metrics_address", &this.log()).is_some() }).await;
        this.address = value("address", &this.log()).unwrap();
        this.metrics = value("metrics_address", &this.log()).unwrap();
        this
    }

    /// As [`Self::start_with`], without waiting until it serves, which it may never do.
    pub async fn spawn(world: &World, arguments: &[&str], rust_log: &str) -> Self {
        Self::spawn_in(world, arguments, rust_log, &[]).await
    }

    async fn spawn_in(
        world: &World,
        arguments: &[&str],
        rust_log: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let (plane, namespace) = (world.plane, &*world.namespace);
        plane.install(&world.client, namespace, &plane.manifests("gateway")).await;
        let user = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
        until("the gateway may read the flag", || async {
            world.kubectl(&["auth", "can-i", "get", "configmap/ai-api-meta", "--as", &user], "").0
        })
        .await;
        let kubeconfig = kubeconfig_of(plane, &world.client, namespace, ACCOUNT).await;
        let config: Value = serde_saphyr::from_str(&fs::read_to_string(&kubeconfig).unwrap()).unwrap();
        let path = plane.folder.join(format!("{namespace}-gateway.log"));
        let log = File::create(&path).unwrap();
        let mut command = Command::new(built::operator());
        command
            .args(["gateway", "--bind-address", "127.0.0.1:0", "--metrics-bind-address", "127.0.0.1:0"])
            .args(["--namespace", namespace, "--kubeconfig"])
            .arg(&kubeconfig)
            .env("RUST_LOG", rust_log);
        let process = spawn(&mut command, arguments, environment, log);
        let token = config["users"][0]["user"]["token"].as_str().unwrap().to_owned();
        Self { address: String::new(), metrics: String::new(), token, log: path, process }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    /// How much memory it has, in kB, as [`memory`] says.
    pub fn resident(&self, line: &str) -> u64 {
        memory(self.process.id(), line)
    }

    /// Its exit status, if it has exited.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// A ServiceAccount with all permissions that the gateway needs from its callers.
    pub async fn caller(&self, world: &World, name: &str) -> Caller {
        self.caller_with(world, name, ALL).await
    }

    /// One with these verbs on BulkUpdates; `get` and `list` also apply to Executions and Deployments, and with `create` come `stop`
    /// and `delete` on them.
    pub async fn caller_with(&self, world: &World, name: &str, verbs: &str) -> Caller {
        let namespace = &*world.namespace;
        let verbs: Vec<_> = verbs.split_whitespace().collect();
        let mut on_targets: Vec<_> = verbs.iter().copied().filter(|v| ["get", "list"].contains(v)).collect();
        if verbs.contains(&"create") {
            on_targets.extend(["stop", "delete"]);
        }
        let manifest = |kind: &str, api: &str, more: Value| {
            let mut manifest = json!({"apiVersion": api, "kind": kind,
                "metadata": {"name": name, "namespace": namespace}});
            manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            manifest
        };
        let rbac = "rbac.authorization.k8s.io/v1";
        let mut rules = vec![];
        if !verbs.is_empty() {
            rules.push(json!({"apiGroups": ["aiapi.dev"], "resources": ["bulkupdates"], "verbs": verbs}));
        }
        if !on_targets.is_empty() {
            rules.push(json!({"apiGroups": ["aiapi.dev"], "resources": ["executions", "deployments"], "verbs": on_targets}));
        }
        let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
        apply(&world.client, manifest("ServiceAccount", "v1", json!({}))).await;
        apply(&world.client, manifest("Role", rbac, json!({"rules": rules}))).await;
        apply(&world.client, manifest("RoleBinding", rbac, json!({"roleRef": role, "subjects": [subject]})))
            .await;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        for verb in verbs {
            until("the caller's rights", || async {
                world.kubectl(&["auth", "can-i", verb, "bulkupdates.aiapi.dev", "--as", &user], "").0
            })
            .await;
        }
        Caller {
            token: token_of(&world.client, namespace, name).await,
            user,
            namespace: namespace.to_owned(),
            base: format!("http://{}", self.address),
            http: http_client(None),
        }
    }

    /// The answer at the address of metrics and probes.
    pub async fn probe(&self, path: &str) -> Answer {
        let request = Request::get(format!("http://{}{path}", self.metrics)).body(Full::default()).unwrap();
        send(&http_client(None), request).await.unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client that trusts only this certificate (DER).
pub fn http_client(root: Option<Vec<u8>>) -> Http {
    Client::builder(TokioExecutor::new()).build(connector(root))
}

fn connector(root: Option<Vec<u8>>) -> HttpsConnector<HttpConnector> {
    let mut config = Config::new("https://127.0.0.1".parse().unwrap());
    config.root_cert = Some(root.into_iter().collect());
    let tls = config.rustls_client_config().unwrap();
    HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().build()
}

/// Sends one request; `Err` says why there was no answer.
pub async fn send(http: &Http, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let target = request.uri().path_and_query().unwrap().to_string();
    // Longer than the gateway ever takes.
    let answer = tokio::time::timeout(std::time::Duration::from_secs(95), async {
        let (head, body) = http.request(request).await.map_err(|e| format!("{e:?}"))?.into_parts();
        let body = body.collect().await.map_err(|e| format!("{e:?}"))?.to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        Ok(Answer {
            status: head.status.as_u16(),
            version: head.version,
            headers: head.headers,
            text,
            target,
        })
    });
    answer.await.unwrap_or_else(|_| Err("no answer".into()))
}

/// Somebody with a token.
#[derive(Clone)]
pub struct Caller {
    pub token: String,
    /// Their name in the audit log.
    pub user: String,
    pub namespace: String,
    /// Where the gateway is.
    pub base: String,
    pub http: Http,
}

impl Caller {
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "").await
    }

    /// A PATCH as the AI API's own clients send it.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        let bulk = path.ends_with("/executions") || path.ends_with("/deployments");
        let content_type = if bulk { "application/merge-patch+json" } else { "application/json" };
        self.send("PATCH", path, &[("Content-Type", content_type)], &body.to_string()).await
    }

    /// Any request of theirs, with more headers.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("AI-Resource-Group", &*self.namespace)];
        let token = format!("Bearer {}", self.token);
        all.push(("Authorization", &token));
        all.extend(headers);
        self.raw(method, path, &all, body).await.unwrap()
    }

    /// The same over an HTTP/2 connection of its own, on which no more than a kilobyte of each answer is taken off unasked.
    pub fn over_a_narrow_connection(&self) -> Self {
        let mut http = Client::builder(TokioExecutor::new());
        http.http2_only(true).http2_initial_stream_window_size(1024);
        Self { http: http.build(connector(None)), ..self.clone() }
    }

    /// Sends a request of theirs; what is answered is not read yet.
    pub async fn begin(&self, method: &str, path: &str) -> Response<BoxBody<Bytes, String>> {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header("AI-Resource-Group", &*self.namespace);
        let request = request.header("Authorization", format!("Bearer {}", self.token));
        let answer = self.http.request(request.body(Full::default()).unwrap()).await.unwrap();
        answer.map(|body| body.map_err(|error| error.to_string()).boxed())
    }

    /// A request with these headers and no others.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, value.as_bytes());
        }
        send(&self.http, request.body(body.to_owned().into()).unwrap()).await
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub version: Version,
    pub headers: HeaderMap,
    pub text: String,
    /// What was asked for.
    target: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The id of the request.
    pub fn id(&self) -> &str {
        self.header("x-request-id")
    }

    /// The body of a success.
    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        let body: Value = serde_json::from_str(&self.text).unwrap();
        assert!(body["error"].is_null() && !self.id().is_empty(), "{body}");
        assert_eq!(self.header("content-type"), "application/json");
        body
    }

    /// Code and message of an error, which has the AI API's shape and no other.
    #[track_caller]
    pub fn error(&self, status: u16) -> (String, String) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text);
        let body: Value = serde_json::from_str(&self.text).unwrap();
        let field = |name: &str| body["error"][name].as_str().unwrap().to_owned();
        let (code, message) = (field("code"), field("message"));
        assert!(!code.is_empty() && !message.is_empty() && !self.id().is_empty(), "{body}");
        let expected = json!({"error": {"code": code, "message": message, "requestId": self.id(),
            "target": self.target, "details": {}}});
        assert_eq!(body, expected);
        (code, message)
    }
}

/// Applies manifests as a dry run.
pub fn apply_manifests(plane: &ControlPlane, folder: &str) -> (bool, String) {
    plane.kubectl(&["apply", "--server-side", "--dry-run=server", "-k", folder], "")
}
