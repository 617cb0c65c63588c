//! `kubectl aiapi` beside kubectl: a thousand Executions that are stopped; and the plugin's memory with a hundred thousand.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use ai_api_operator::api::Kind;
use serde_json::json;
use support::{built, etcd, memory};

use crate::{
    bare::{self, side_by_side},
    figures::{Figures, Of, at_most},
    lab::{IN_FLIGHT, Lab},
    process::Process,
};

const GROUP: &str = "plugin";

/// How many are stopped, and of how many by a loop, which takes longest: its time is extrapolated.
const NUMBER: usize = 1000;
const OF_THE_LOOP: usize = 100;

/// The most that the plugin may take, in MiB.
const MEMORY: f64 = 100.0;

/// What kubectl writes to stop one. It is unguarded, and nothing looks whether it may be stopped.
const PATCH: &str =
    r#"--subresource=status --type=merge -p '{"status":{"state":"STOPPED","targetStatus":"STOPPED"}}'"#;

pub async fn measure(lab: &Lab, figures: &mut Figures) {
    let began = Instant::now();
    let operator = Process::start(lab).await;
    let (mut plugin, mut xargs, mut one_by_one) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..lab.rounds {
        let namespace = make(lab).await.0;
        plugin.push(timed(plugin_command(lab, &namespace, "stop execution -l bench=yes --yes"), "").await);
        lab.clear_all(&namespace).await;
        let (namespace, names) = make(lab).await;
        let script = format!("xargs -P{IN_FLIGHT} -I NAME kubectl -n {namespace} patch aiexec NAME {PATCH}");
        xargs.push(timed(kubectl(lab, &script), &names.join("\n")).await);
        lab.clear_all(&namespace).await;
        let (namespace, names) = make(lab).await;
        let script =
            format!("while read -r name; do kubectl -n {namespace} patch aiexec \"$name\" {PATCH}; done");
        let took = timed(kubectl(lab, &script), &(names[..OF_THE_LOOP].join("\n") + "\n")).await;
        one_by_one.push(took * (NUMBER / OF_THE_LOOP) as f64);
        lab.clear_all(&namespace).await;
    }
    operator.stop();
    let title = format!("{NUMBER} Executions chosen by label and stopped with kubectl aiapi");
    figures.compared(
        GROUP,
        format!("{title}, beside xargs -P{IN_FLIGHT} kubectl patch"),
        "ms",
        (&plugin, &xargs),
        None,
    );
    let name = format!("{title}, beside kubectl patch in a loop ({OF_THE_LOOP} were measured)");
    figures.compared(GROUP, name, "ms", (&plugin, &one_by_one), None);
    targets(lab, figures).await;
    figures.took(GROUP, began);
}

/// Creates running Executions in a new namespace; returns it, and their names.
async fn make(lab: &Lab) -> (String, Vec<String>) {
    let namespace: Arc<str> = lab.namespace(&lab.new_name("plugin")).await.into();
    let names: Vec<_> = (0..NUMBER).map(|at| format!("run-{at:04}")).collect();
    side_by_side(names.clone(), 32, |_, name| {
        let (client, namespace) = (lab.admin.clone(), Arc::clone(&namespace));
        async move {
            let labelled = json!({"bench": "yes"});
            bare::create_labelled(
                &client,
                (Kind::Execution, &namespace, &name),
                &labelled,
                &json!({}),
                Some("RUNNING"),
            )
            .await;
        }
    })
    .await;
    lab.spread().await;
    (namespace.to_string(), names)
}

fn plugin_command(lab: &Lab, namespace: &str, line: &str) -> Command {
    let mut command = Command::new(built::operator().with_file_name("kubectl-aiapi"));
    command.args(line.split(' ')).args([
        "-n",
        namespace,
        "--operator-namespace",
        &lab.world.home,
        "--kubeconfig",
    ]);
    command.arg(lab.world.plane.admin_kubeconfig()).env("XDG_STATE_HOME", &lab.world.plane.folder);
    command
}

fn kubectl(lab: &Lab, script: &str) -> Command {
    let plane = lab.world.plane;
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-ec", script])
        .env("PATH", format!("{}:{path}", plane.tools().display()))
        .env("KUBECONFIG", plane.admin_kubeconfig())
        .env("KUBECACHEDIR", plane.folder.join("kubectl-cache"));
    command
}

/// Runs it with this input; returns how long it took, in milliseconds.
async fn timed(mut command: Command, input: &str) -> f64 {
    let input = input.to_owned();
    let run = move || {
        let began = Instant::now();
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{command:?}");
        began.elapsed().as_secs_f64() * 1000.0
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The plugin's memory while it chooses all of a hundred thousand, and prints their BulkUpdates.
async fn targets(lab: &Lab, figures: &mut Figures) {
    let number = std::env::var("AI_API_BENCH_TARGETS").map_or(100_000, |text| text.parse().unwrap());
    let (namespace, names) = make(lab).await;
    let key = |name: &str| etcd::key("executions", &namespace, name);
    let mut object = etcd::get(lab.world.plane, &key(&names[0])).await.unwrap();
    let more: Vec<_> = (0..number).map(|at| format!("3f2c1b7e-5d0a-4c1f-9a47-{at:0>12}")).collect();
    let of = |name: &String| {
        object["metadata"]["name"] = name.as_str().into();
        object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
        (key(name), object.to_string())
    };
    etcd::put(lab.world.plane, more.iter().map(of)).await;
    for (what, line) in [
        ("chosen", "stop execution --all --dry-run"),
        ("printed as BulkUpdates", "stop execution --all -o yaml"),
    ] {
        let began = Instant::now();
        let mut command = plugin_command(lab, &namespace, line);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            // It is gone, or has no memory any more, between the two.
            let read = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
            if read.is_ok_and(|status| status.contains("VmHWM")) {
                peak = peak.max(memory(child.id(), "VmHWM"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let title = format!("{} Executions {what}", number + NUMBER);
        let goal = Some(at_most(Of::Highest, MEMORY));
        figures.alone(GROUP, format!("{title}: the plugin's peak RSS"), "MiB", &[peak as f64 / 1024.0], goal);
        figures.alone(GROUP, title, "ms", &[began.elapsed().as_secs_f64() * 1000.0], None);
    }
    etcd::remove(lab.world.plane, more.iter().map(|name| key(name))).await;
    lab.clear_all(&namespace).await;
}
