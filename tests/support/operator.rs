//! The operator's built binary, run as its ServiceAccount with the shipped RBAC.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};

use super::{control_plane::ControlPlane, signal};

/// A token of a ServiceAccount.
pub async fn token_of(client: &Client, namespace: &str, account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await;
    made.unwrap().status.unwrap().token
}

/// Writes down how a ServiceAccount reaches the API server.
pub async fn kubeconfig_of(plane: &ControlPlane, client: &Client, namespace: &str, account: &str) -> PathBuf {
    let token = token_of(client, namespace, account).await;
    let admin = fs::read_to_string(plane.admin_kubeconfig()).unwrap();
    let mut config: serde_json::Value = serde_saphyr::from_str(&admin).unwrap();
    config["users"][0]["user"] = serde_json::json!({"token": token});
    let file = plane.folder.join(format!("{namespace}-{account}.kubeconfig"));
    fs::write(&file, config.to_string()).unwrap();
    file
}

pub struct Operator {
    /// Its name in the audit log.
    pub user: String,
    namespace: String,
    plane: &'static ControlPlane,
    kubeconfig: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

impl Operator {
    /// One that does not run yet, with a token for the ServiceAccount of this namespace.
    pub async fn new(plane: &'static ControlPlane, client: &Client, namespace: &str) -> Self {
        let kubeconfig = kubeconfig_of(plane, client, namespace, "ai-api-operator").await;
        Self {
            user: format!("system:serviceaccount:{namespace}:ai-api-operator"),
            namespace: namespace.to_owned(),
            plane,
            log: plane.folder.join(format!("{namespace}.log")),
            kubeconfig,
            process: None,
        }
    }

    /// How its ServiceAccount reaches the API server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// How it is started. Each test that waits for the admission policy to be in force would take ten seconds more: those
    /// that are about it ask for it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ai-api-operator"));
        command
            .args(["controller", "--namespace", &self.namespace])
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .env("AI_API_METRICS_BIND_ADDRESS", "127.0.0.1:0")
            .env("AI_API_REQUIRE_ADMISSION_POLICY", "false")
            .env_remove("RUST_LOG");
        command
    }

    /// Starts it, for this namespace alone.
    pub fn start(&mut self, arguments: &[&str]) {
        assert!(self.process.is_none(), "it runs");
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let process = self
            .command()
            .args(["--watch-namespace", &self.namespace])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
    }

    /// Whether the process that was started last is alive.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_none())
    }

    /// Ends it at once (SIGKILL). The admin, who knows that it is dead, takes its Lease away, as far as that works: the
    /// next one would have to wait until it lapses, which is what tests/replicas.rs is about.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        let of = ["--namespace", &self.namespace, "--request-timeout=2s"];
        let delete = ["delete", "lease", "ai-api-operator", "--ignore-not-found"];
        self.plane.kubectl(&[of.as_slice(), &delete].concat(), "");
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.process.take().unwrap().wait().unwrap()
    }

    /// Sends it a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        signal(self.process.as_ref().unwrap().id(), name);
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.process.as_mut().unwrap().try_wait().unwrap();
        if ended.is_some() {
            self.process = None;
        }
        ended
    }

    /// What it has logged so far, over all its starts.
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
