//! The program, as one user.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ai_api_operator::api::{BulkUpdate, Kind};
use kube::{ResourceExt, api::ListParams};
use serde_json::json;
use support::{World, built, control_plane::apply, operator, signal, until};

/// The plugin of one user of a world.
pub struct Plugin {
    pub kubeconfig: PathBuf,
    /// Where it keeps its records.
    state: PathBuf,
    namespace: String,
}

/// How it ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Both outputs.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl Plugin {
    /// That of an editor of the namespace.
    pub async fn of_editor(world: &World) -> Self {
        Self::with_role(world, "editor", "aiapi-editor").await
    }

    /// That of a `ServiceAccount` with a `ClusterRole` in the namespace.
    pub async fn with_role(world: &World, account: &str, role: &str) -> Self {
        let namespace = &world.namespace;
        let metadata = json!({"name": account, "namespace": namespace});
        let rbac = "rbac.authorization.k8s.io";
        apply(&world.client, json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}))
            .await;
        let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]});
        apply(&world.client, binding).await;
        Self::of(world, account).await
    }

    /// That of a ServiceAccount that exists.
    pub async fn of(world: &World, account: &str) -> Self {
        let namespace = world.namespace.clone();
        let kubeconfig = operator::kubeconfig_of(world.plane, &world.client, &namespace, account).await;
        let state = built::folder().join(format!("plugin-{namespace}-{account}"));
        let _ = std::fs::remove_dir_all(&state);
        let plugin = Self { kubeconfig, state, namespace };
        // The authorizer learns of a new role a moment later.
        until("its user may list", || async { plugin.run("get bulkupdate").code == 0 }).await;
        plugin
    }

    /// The command, not started yet, with the operator's namespace and its own.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-aiapi"));
        command.args(line.split_whitespace());
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--operator-namespace", &self.namespace]);
        if !line.split_whitespace().any(|word| word == "-A" || word == "-n") {
            command.args(["-n", &self.namespace]);
        }
        command.env_clear().env("XDG_STATE_HOME", &self.state).env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null());
        command
    }

    pub fn run(&self, line: &str) -> Ended {
        ended(self.command(line).output().unwrap())
    }

    /// Runs it, and expects success.
    pub fn ok(&self, line: &str) -> Ended {
        let ended = self.run(line);
        assert_eq!(ended.code, 0, "{line}: {ended:?}");
        ended
    }

    /// Starts it, with its outputs in pipes.
    pub fn start(&self, line: &str) -> Child {
        self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// How many files of records there are.
    pub fn records(&self) -> usize {
        std::fs::read_dir(self.state.join("kubectl-aiapi")).map_or(0, Iterator::count)
    }
}

pub fn ended(output: std::process::Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Waits for its end, and ends it if that takes too long.
pub async fn end(child: Child) -> Ended {
    let process = child.id();
    let mut ended = tokio::task::spawn_blocking(move || ended(child.wait_with_output().unwrap()));
    let in_time = tokio::time::timeout(Duration::from_mins(2), &mut ended).await;
    if in_time.is_err() {
        signal(process, "TERM");
        panic!("it did not end: {}", ended.await.unwrap().err);
    }
    in_time.unwrap().unwrap()
}

/// The BulkUpdates of the world, by name.
pub async fn sent(world: &World) -> Vec<BulkUpdate> {
    let mut sent = world.bulk_updates().list(&ListParams::default()).await.unwrap().items;
    sent.sort_by_key(ResourceExt::name_any);
    sent
}

/// The states of Executions with these names; none for one that is gone.
pub async fn states(world: &World, names: &[&str]) -> Vec<Option<String>> {
    let mut states = Vec::new();
    for name in names {
        let found = world.find(Kind::Execution, name).await;
        states.push(found.map(|found| found.data["status"]["state"].as_str().unwrap_or_default().to_owned()));
    }
    states
}

/// The name of the run that it said.
pub fn run_of(text: &str) -> String {
    let (_, rest) = text.split_once("Run ").unwrap_or_else(|| panic!("no run in {text}"));
    rest.split([':', ' ']).next().unwrap().to_owned()
}

/// Creates so many Executions without a status, which are UNKNOWN.
pub fn create(world: &World, count: usize) {
    let execution = |n| {
        let metadata = json!({"name": format!("run-{n:04}")});
        json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "metadata": metadata, "spec": {}})
            .to_string()
    };
    let manifests: Vec<_> = (0..count).map(execution).collect();
    world.kubectl_ok(&["create", "-f", "-"], &manifests.join("\n"));
}
