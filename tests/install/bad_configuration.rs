//! Errors in the configuration or installation are reported in one line, and end the operator with exit code 2.

use std::process::{Command, Output};

use serde_json::json;
use support::{World, operator::output, until};

/// Runs it until it exits; returns the log lines at info level and below, and the last one.
fn run_to_end(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = output(&mut command);
    let log = String::from_utf8(stderr).unwrap();
    let mut lines: Vec<_> = log.lines().filter(|line| !line.contains(" INFO ")).collect();
    let last = lines.pop().unwrap_or_default().to_owned();
    assert!(lines.is_empty(), "one line is enough: {log}");
    println!("{last}");
    (status.code(), last)
}

fn operator(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ai-api-operator"));
    command.arg("controller").args(arguments).env_remove("RUST_LOG");
    command
}

fn expect(command: Command, words: &[&str]) {
    let (code, line) = run_to_end(command);
    assert_eq!(code, Some(2), "{line}");
    for word in words {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
}

#[test]
fn on_the_command_line() {
    let table: [(&[&str], &[&str]); 11] = [
        (&["--no-such-flag"], &["error: unexpected argument '--no-such-flag' found"]),
        (&["--meta-configmap", "Not_A_Name"], &["'Not_A_Name'", "--meta-configmap", "lower-case letters"]),
        (&["--namespace", "not.a.label"], &["'not.a.label'", "--namespace"]),
        (&["--watch-namespace", "a,B"], &["'B'", "--watch-namespace"]),
        (&["--max-in-flight", "0"], &["'0'", "--max-in-flight", "1..=1000"]),
        (&["--leader-elect-retry-period", "soon"], &["'soon'", "a duration such as 15s"]),
        (&["--leader-elect-retry-period=-2s"], &["'-2s'", "a duration such as 15s"]),
        (&["--leader-elect-lease-duration=9999999999h"], &["'9999999999h'", "a day at the most"]),
        (&["--metrics-bind-address", "here"], &["'here'", "--metrics-bind-address"]),
        (&["--log-format", "xml"], &["'xml'", "text, json"]),
        (&["--kubeconfig", "/no/such/file"], &["cannot connect to the cluster", "/no/such/file"]),
    ];
    for (arguments, words) in table {
        expect(operator(arguments), words);
    }
    expect(
        {
            let mut command = operator(&[]);
            command.env("AI_API_MAX_IN_FLIGHT", "many");
            command
        },
        &["'many'", "--max-in-flight"],
    );
    // A variable that is empty counts as unset; an argument does not.
    let mut command = operator(&["--kubeconfig", "/no/such/file"]);
    for name in [
        "MAX_IN_FLIGHT",
        "REQUIRE_ADMISSION_POLICY",
        "METRICS_BIND_ADDRESS",
        "LEADER_ELECT_RETRY_PERIOD",
        "CONTEXT",
    ] {
        command.env(format!("AI_API_{name}"), "");
    }
    expect(command, &["/no/such/file"]);
    expect(operator(&["--max-in-flight", ""]), &["--max-in-flight"]);
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_ai-api-operator"));
    gateway.args(["gateway", "--kubeconfig", "/no/such/file", "--plain-http"]).env_remove("RUST_LOG");
    gateway.env("AI_API_TLS_CERT_FILE", "").env("AI_API_BIND_ADDRESS", "").env("AI_API_PLAIN_HTTP", "");
    expect(gateway, &["/no/such/file"]);
}

/// The operator of a world, as its ServiceAccount.
fn of(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.operator.command();
    command.args(arguments);
    command
}

#[tokio::test]
async fn times_addresses_and_namespaces() {
    let world = World::new("bad-configuration").await;
    expect(
        of(&world, &["--leader-elect-lease-duration", "10s"]),
        &["the renew deadline has to be shorter than the lease duration"],
    );
    expect(
        of(&world, &["--leader-elect-retry-period", "10s"]),
        &["the retry period has to be shorter than the renew deadline"],
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    expect(of(&world, &["--metrics-bind-address", &address]), &[&address, "cannot listen on"]);
    for nothing in ["--watch-namespace=", "--watch-namespace=,"] {
        expect(of(&world, &[nothing]), &["names no namespace", "--watch-namespace"]);
    }

    // With the right in every namespace it can see that the namespace does not exist.
    expect(
        of(&world, &["--watch-namespace", "bad-configuration", "--watch-namespace", "nowhere"]),
        &["the namespace nowhere does not exist", "--watch-namespace"],
    );
    let mut log = of(&world, &[]);
    log.env("RUST_LOG", "info,ai_api_operator=loud");
    expect(log, &["RUST_LOG is invalid"]);
    let mut traces = of(&world, &[]);
    traces.env("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url");
    expect(traces, &["traces cannot be sent", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
}

#[tokio::test]
async fn an_own_namespace_that_does_not_exist() {
    let world = World::new("gone-namespace").await;
    // What a role in each namespace would grant, so that only the namespace is missing.
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "gone-namespace-admin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "ai-api-operator", "namespace": world.namespace}]});
    world.kubectl_ok(&["apply", "-f", "-"], &role.to_string());
    let can = ["auth", "can-i", "create", "leases", "-n", "nowhere", "--as", &world.operator.user];
    until("the right is granted", || async { world.kubectl(&can, "").0 }).await;
    let mut command = operator(&["--namespace", "nowhere", "--metrics-bind-address", "127.0.0.1:0"]);
    command.arg("--kubeconfig").arg(world.operator.kubeconfig());
    expect(command, &["the namespace nowhere does not exist", "--namespace"]);
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let world = World::new("no-rights").await;
    world.kubectl_ok(&["delete", "rolebinding", "ai-api-operator"], "");
    world.kubectl_ok(&["delete", "clusterrolebinding", "test-no-rights"], "");
    let can = ["auth", "can-i", "list", "executions.aiapi.dev", "--as", &world.operator.user];
    until("the right is revoked", || async { !world.kubectl(&can, "").0 }).await;
    expect(
        of(&world, &["--watch-namespace", "no-rights", "--require-admission-policy"]),
        &[
            "permissions are missing: ",
            "get bulkupdates.aiapi.dev in namespace no-rights",
            "delete executions.aiapi.dev in namespace no-rights",
            "patch deployments.aiapi.dev/status in namespace no-rights",
            "watch configmaps ai-api-meta in namespace no-rights",
            "create leases.coordination.k8s.io in namespace no-rights",
            "update leases.coordination.k8s.io ai-api-operator in namespace no-rights",
            "create events.events.k8s.io in namespace no-rights",
            "deploy/base",
        ],
    );
    expect(of(&world, &[]), &["list executions.aiapi.dev cluster-wide"]);
}
