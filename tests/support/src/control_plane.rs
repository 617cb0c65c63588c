//! A real kube-apiserver and etcd, started once for each test program.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex, Once},
};

use kube::{
    Client, Config,
    api::{Api, DynamicObject, Patch, PatchParams},
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind, TypeMeta},
};
use serde_json::{Value, json};

use super::{audit, built, signal, until};

/// The folder of the project.
pub const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

pub struct ControlPlane {
    pub folder: PathBuf,
    pub kubectl: PathBuf,
    tail: Mutex<audit::Tail>,
    /// The manifests of deploy/base.
    base: Vec<Value>,
    /// When this process ends, so does its standard input, and with that the servers.
    _servers: Child,
}

impl ControlPlane {
    /// That of this test program, started by the first call.
    pub fn get() -> &'static Self {
        static PLANE: LazyLock<ControlPlane> = LazyLock::new(ControlPlane::start);
        &PLANE
    }

    /// The same with nodes, and what runs Jobs and other workloads on them. They come after the CRDs: the garbage collector notices
    /// a new one only after up to 30 s.
    pub fn with_nodes() -> &'static Self {
        static NODES: Once = Once::new();
        let plane = Self::get();
        NODES.call_once(|| plane.script("nodes"));
        plane
    }

    fn start() -> Self {
        let folder = built::folder().join(built::program());
        let scripts = Path::new(PROJECT).join("dev/control-plane");
        // The servers of the last run may still be stopping.
        assert!(Command::new(scripts.join("down")).arg(&folder).status().unwrap().success());
        // Its data was kept until now for people to look at.
        let _ = std::fs::remove_dir_all(&folder);
        let mut servers = Command::new(scripts.join("run"))
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(servers.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "the control plane did not start: see {}", folder.display());
        let built = Command::new(scripts.join("build")).output().unwrap();
        let kubectl = Path::new(String::from_utf8(built.stdout).unwrap().trim()).join("kubectl");
        let mut plane = Self { folder, kubectl, tail: Mutex::default(), base: Vec::new(), _servers: servers };
        let base = Path::new(PROJECT).join("deploy/base");
        let base = base.to_str().unwrap();
        let (ok, output) = plane.kubectl(&["apply", "--server-side", "-k", base], "");
        assert!(ok, "{output}");
        let crds = ["executions", "deployments", "bulkupdates"].map(|k| format!("crd/{k}.aiapi.dev"));
        let wait = ["wait", "--for=condition=Established", "--timeout=30s"];
        let crds = crds.iter().map(String::as_str);
        let (ok, output) = plane.kubectl(&wait.into_iter().chain(crds).collect::<Vec<_>>(), "");
        assert!(ok, "{output}");
        plane.base = plane.manifests("base");
        // In another thread, because the caller may be in a runtime.
        std::thread::scope(|threads| {
            let watched = threads.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(plane.until_watched());
            });
            watched.join().unwrap();
        });
        plane
    }

    /// Waits until each custom resource can be watched. For a moment after a CRD was created or changed, a watch is answered with
    /// 429 ("storage is (re)initializing"), which tests that count failed watches would count.
    pub async fn until_watched(&self) {
        let client = self.client().await;
        for plural in ["executions", "deployments", "bulkupdates"] {
            until("a watch", || async {
                let watch = format!("/apis/aiapi.dev/v1alpha1/{plural}?watch=true&resourceVersion=0");
                let answer = client.send(http::Request::get(watch).body(Body::empty()).unwrap()).await;
                answer.unwrap().status().is_success()
            })
            .await;
        }
    }

    /// Restores a CRD as shipped.
    pub fn restore_crd(&self, crd: &str) {
        let (ok, output) = self.kubectl(&["replace", "-f", &format!("{PROJECT}/crds/{crd}.yaml")], "");
        assert!(ok, "{output}");
    }

    /// The manifests of a folder of deploy/.
    pub fn manifests(&self, of: &str) -> Vec<Value> {
        let (ok, yaml) = self.kubectl(&["kustomize", &format!("{PROJECT}/deploy/{of}")], "");
        assert!(ok, "{yaml}");
        serde_saphyr::from_multiple(&yaml).unwrap()
    }

    /// The folder in which kubectl is.
    pub fn tools(&self) -> &Path {
        self.kubectl.parent().unwrap()
    }

    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// Ends a server at once (SIGKILL): `etcd` or `kube-apiserver`. [`Self::up`] starts it again.
    pub async fn kill(&self, server: &str) {
        let pid = self.pid(server);
        signal(pid, "KILL");
        // This process is not its parent: a zombie counts as gone.
        let state =
            || Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap().stdout;
        until("the end of a server", || async { matches!(state().first(), None | Some(b'Z')) }).await;
    }

    /// Restarts servers that were killed, on the same port and with the same data, and returns when they are ready.
    pub fn up(&self) {
        self.script("up");
    }

    /// Starts the controller of an engine (dev/engines), with these environment variables. Engines come before the nodes, as their
    /// CRDs do: see [`Self::with_nodes`].
    pub fn start_engine(&self, engine: &str, environment: &[(&str, &str)]) {
        let mut up = Command::new(Path::new(PROJECT).join("dev/engines/up"));
        run(up.arg(engine).arg(&self.folder).envs(environment.iter().copied()));
    }

    /// Runs this script of dev/control-plane for the servers of this folder.
    fn script(&self, name: &str) {
        let script = Path::new(PROJECT).join("dev/control-plane").join(name);
        run(Command::new(script).arg(&self.folder));
    }

    /// Suspends a server (SIGSTOP): connections and requests are accepted, and not handled. It continues when the guard that this
    /// returns is dropped.
    pub fn hold(&self, server: &str) -> Held {
        let pid = self.pid(server);
        signal(pid, "STOP");
        Held(pid)
    }

    fn pid(&self, server: &str) -> u32 {
        let pid = std::fs::read_to_string(self.folder.join(format!("{server}.pid")));
        pid.unwrap().trim().parse().unwrap()
    }

    /// A client of the cluster's admin.
    pub async fn client(&self) -> Client {
        client_of(&self.admin_kubeconfig()).await
    }

    /// Runs kubectl as the admin.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> (bool, String) {
        self.kubectl_as("admin", arguments, input)
    }

    /// Runs kubectl as one of the control plane's users.
    pub fn kubectl_as(&self, user: &str, arguments: &[&str], input: &str) -> (bool, String) {
        let mut kubectl = Command::new(&self.kubectl)
            .env("KUBECONFIG", self.folder.join(format!("{user}.kubeconfig")))
            .env("HOME", &self.folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        kubectl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = kubectl.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    }

    /// Creates a namespace with the shipped ServiceAccount and RBAC.
    pub async fn install_operator(&self, client: &Client, namespace: &str) {
        let new = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        apply(client, new).await;
        self.install(client, namespace, &self.base).await;
    }

    /// Applies each ServiceAccount and the RBAC among these manifests to a namespace.
    pub async fn install(&self, client: &Client, namespace: &str, manifests: &[Value]) {
        for manifest in manifests {
            let mut manifest = manifest.clone();
            match manifest["kind"].as_str().unwrap() {
                "ServiceAccount" | "Role" | "RoleBinding" => {}
                // All share the ClusterRoles; each has its own bindings.
                "ClusterRoleBinding" => {
                    let shipped = manifest["metadata"]["name"].as_str().unwrap();
                    let name = shipped.replace("ai-api-operator", &format!("test-{namespace}"));
                    manifest["metadata"]["name"] = name.into();
                }
                _ => continue,
            }
            if manifest["metadata"]["namespace"].is_string() {
                manifest["metadata"]["namespace"] = namespace.into();
            }
            if manifest["subjects"].is_array() {
                manifest["subjects"][0]["namespace"] = namespace.into();
            }
            apply(client, manifest).await;
        }
    }

    /// The requests of a user (of all, if empty) so far.
    pub fn requests(&self, user: &str) -> Vec<audit::Request> {
        self.requests_since(0, user)
    }

    /// The same for the service accounts of many tests, without reading the whole log each time.
    pub fn tail(&self, user: &str) -> Vec<audit::Request> {
        self.tail.lock().unwrap().read(&self.folder.join("audit.log"), user)
    }

    /// The requests of a user from this offset in the audit log.
    pub fn requests_since(&self, from: u64, user: &str) -> Vec<audit::Request> {
        audit::read(&self.audit_log(), from, user)
    }

    /// The length of the audit log, in bytes.
    pub fn audited(&self) -> u64 {
        std::fs::metadata(self.audit_log()).map_or(0, |log| log.len())
    }

    pub fn audit_log(&self) -> PathBuf {
        self.folder.join("audit.log")
    }
}

/// A client of whom a kubeconfig is for.
pub async fn client_of(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// Runs a script, which must succeed.
fn run(script: &mut Command) {
    let output = script.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A suspended server.
pub struct Held(u32);

impl Drop for Held {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

/// Applies one manifest.
pub async fn apply(client: &Client, manifest: Value) {
    let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
    let TypeMeta { api_version, kind } = object.types.clone().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object.metadata.name.unwrap();
    api.patch(&name, &PatchParams::apply("test"), &Patch::Apply(manifest)).await.unwrap();
}
