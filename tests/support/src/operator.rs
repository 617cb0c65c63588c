//! The operator's built binary, run as its ServiceAccount with the shipped RBAC.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{DEADLINE, built, control_plane::ControlPlane, signal, until};

/// Arguments of an operator that is to keep its Lease: if it or its API server is suspended, it would lose the Lease after ten
/// seconds and exit, which is what tests/processes/replicas.rs tests.
pub const LONG_LEASE: [&str; 2] = ["--leader-elect-lease-duration=1h", "--leader-elect-renew-deadline=50m"];

/// Runs it until it exits by itself, within the deadline.
pub fn output(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    if let Ok(output) = ended.recv_timeout(DEADLINE) {
        return output.unwrap();
    }
    signal(id, "KILL");
    let output = ended.recv().unwrap().unwrap();
    panic!("it does not end within {DEADLINE:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Starts it, with these arguments and environment variables too, and its log in a file.
pub fn spawn(command: &mut Command, arguments: &[&str], environment: &[(&str, &str)], log: File) -> Child {
    command.args(arguments).envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Where an operator serves metrics and probes, by its log: the process that was started last, once it does.
pub fn metrics_address(log: &str) -> Option<String> {
    let line = log.lines().rfind(|line| line.contains("metrics and probes are served"))?;
    let address = line.split("metrics_address=").nth(1)?;
    address.split_whitespace().next().map(ToOwned::to_owned)
}

/// The samples of a scrape, by name and labels.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Status and body of the answer; status 0 if there is none.
pub async fn probe(address: &str, path: &str) -> (u16, String) {
    let get = async {
        let mut connection = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let Ok(answer) = get.await else { return (0, String::new()) };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A token of a ServiceAccount.
pub async fn token_of(client: &Client, namespace: &str, account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await;
    made.unwrap().status.unwrap().token
}

/// Writes a kubeconfig for a ServiceAccount; returns its path.
pub async fn kubeconfig_of(plane: &ControlPlane, client: &Client, namespace: &str, account: &str) -> PathBuf {
    let file = plane.folder.join(format!("{namespace}-{account}.kubeconfig"));
    write_kubeconfig(plane, client, namespace, account, &file).await;
    file
}

async fn write_kubeconfig(
    plane: &ControlPlane,
    client: &Client,
    namespace: &str,
    account: &str,
    file: &Path,
) {
    let token = token_of(client, namespace, account).await;
    let admin = fs::read_to_string(plane.admin_kubeconfig()).unwrap();
    let mut config: serde_json::Value = serde_saphyr::from_str(&admin).unwrap();
    config["users"][0]["user"] = serde_json::json!({"token": token});
    fs::write(file, config.to_string()).unwrap();
}

pub struct Operator {
    /// Its user name, as in the audit log.
    pub user: String,
    namespace: String,
    plane: &'static ControlPlane,
    kubeconfig: PathBuf,
    log: PathBuf,
    process: Option<Child>,
    /// Whether it runs as shipped: it watches all namespaces and requires the admission policy.
    pub shipped: bool,
}

impl Operator {
    /// Not started yet, with a token for the ServiceAccount of this namespace.
    pub async fn new(plane: &'static ControlPlane, client: &Client, namespace: &str) -> Self {
        let kubeconfig = kubeconfig_of(plane, client, namespace, "ai-api-operator").await;
        Self {
            user: format!("system:serviceaccount:{namespace}:ai-api-operator"),
            namespace: namespace.to_owned(),
            plane,
            log: plane.folder.join(format!("{namespace}.log")),
            kubeconfig,
            process: None,
            shipped: false,
        }
    }

    /// The path of its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// The command that starts it. The admission policy is not required unless it runs as shipped: waiting until the policy is in
    /// force takes ten seconds.
    pub fn command(&self) -> Command {
        let mut command = Command::new(built::operator());
        command
            .args(["controller", "--namespace", &self.namespace])
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .env("AI_API_METRICS_BIND_ADDRESS", "127.0.0.1:0")
            .env_remove("RUST_LOG");
        if !self.shipped {
            command.env("AI_API_REQUIRE_ADMISSION_POLICY", "false");
        }
        command
    }

    /// Starts it; it watches only this namespace unless it runs as shipped.
    pub fn start(&mut self, arguments: &[&str]) {
        self.start_with(arguments, &[]);
    }

    /// As [`Self::start`], with these environment variables.
    pub fn start_with(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        assert!(self.process.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = self.command();
        if !self.shipped {
            command.args(["--watch-namespace", &self.namespace]);
        }
        self.process = Some(spawn(&mut command, arguments, environment, log));
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Whether its process is alive.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    /// A second replica: the same ServiceAccount with another token.
    pub async fn another(&self, client: &Client) -> Self {
        let own = |path: &Path| path.with_extension(format!("2.{}", path.extension().unwrap().display()));
        let kubeconfig = own(&self.kubeconfig);
        write_kubeconfig(self.plane, client, &self.namespace, "ai-api-operator", &kubeconfig).await;
        Self {
            user: self.user.clone(),
            namespace: self.namespace.clone(),
            plane: self.plane,
            kubeconfig,
            log: own(&self.log),
            process: None,
            shipped: self.shipped,
        }
    }

    /// Kills it (SIGKILL); its Lease stays.
    pub fn die(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Kills it (SIGKILL) and deletes its Lease, if the API server can be reached.
    pub fn kill(&mut self) {
        self.die();
        self.free_lease();
    }

    /// Deletes its Lease, as an admin may who knows that it is dead. Otherwise the next one would have to wait until it
    /// expires, which is what tests/processes/replicas.rs tests.
    pub fn free_lease(&self) {
        let of = ["--namespace", &self.namespace, "--request-timeout=2s"];
        let delete = ["delete", "lease", "ai-api-operator", "--ignore-not-found", "--wait=false"];
        self.plane.kubectl(&[of.as_slice(), &delete].concat(), "");
    }

    /// Terminates it (SIGTERM) and waits until it exits.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.process.take().unwrap().wait().unwrap()
    }

    /// Sends it a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        signal(self.process.as_ref().unwrap().id(), name);
    }

    /// Its exit status, if it has exited.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.process.as_mut().unwrap().try_wait().unwrap();
        if ended.is_some() {
            self.process = None;
        }
        ended
    }

    /// Where it serves metrics and probes, by its log: the process that was started last, once it does.
    pub fn metrics_address(&self) -> Option<String> {
        metrics_address(&self.log())
    }

    /// Status and body of its answer; status 0 if there is none.
    pub async fn probe(&self, path: &str) -> (u16, String) {
        let Some(address) = self.metrics_address() else { return (0, String::new()) };
        probe(&address, path).await
    }

    /// Waits until it is ready.
    pub async fn until_ready(&self) {
        until("it is ready", || async { self.probe("/readyz").await.0 == 200 }).await;
    }

    /// The samples of a scrape, by name and labels.
    pub async fn samples(&self) -> BTreeMap<String, f64> {
        samples(&self.probe("/metrics").await.1)
    }

    /// Its log so far, of all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
