//! The commands that only show something.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::Child,
    time::Duration,
};

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::{World, until};

use crate::{
    plugin::{Plugin, create},
    proxy::Proxy,
};

#[tokio::test]
async fn one_overview_shows_all_three_kinds_in_the_form_that_is_asked_for() {
    let world = World::running("plugin-shows").await;
    let plugin = Plugin::of_editor(&world).await;
    assert!(plugin.ok("get").err.contains("No resources found in namespace plugin-shows."));
    world.own(Kind::Execution, "run-1", "RUNNING").await;
    world.own(Kind::Deployment, "model-1", "DEAD").await;
    world.next_second().await;
    world.carry_out("stop-it", json!({"executions": [{"id": "run-1", "targetStatus": "STOPPED"}]})).await;
    let all = plugin.ok("get");
    for part in
        ["execution.aiapi.dev/run-1", "deployment.aiapi.dev/model-1", "bulkupdate.aiapi.dev/stop-it", "STATE"]
    {
        assert!(all.out.contains(part), "{part}: {all:?}");
    }
    let one = plugin.ok("get executions -o wide");
    assert!(
        one.out.starts_with("NAME ") && one.out.contains("MANAGED BY") && !one.out.contains("model-1"),
        "{one:?}"
    );
    assert_eq!(
        plugin.ok("get -o name execution,deployment").out,
        "execution.aiapi.dev/run-1\ndeployment.aiapi.dev/model-1\n"
    );
    assert_eq!(plugin.ok("get -o name execution -l no=such").out, "");
    let labelled = plugin.ok("get execution -l !no");
    assert!(labelled.out.contains("run-1"), "{labelled:?}");
    let list: Value = serde_json::from_str(&plugin.ok("get -o json").out).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("List"), 3));
    assert!(list["items"][0]["metadata"]["managedFields"].is_null());
    let yaml = plugin.ok("get bu -o yaml");
    assert!(yaml.out.contains("kind: BulkUpdate") && yaml.out.contains("result: Settled"), "{yaml:?}");

    let status = plugin.ok("status stop-it");
    for part in ["Planned:", "Finished:", "True Settled", "run-1", "STOPPED"] {
        assert!(status.out.contains(part), "{part}: {status:?}");
    }
}

/// A process that ends with the test, or nobody would.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn what_changes_is_shown_as_it_happens() {
    let world = World::running("plugin-watches").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Execution, "run-1", "PENDING").await;
    let mut watching = Killed(plugin.start("get execution --watch"));
    let lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let reads = tokio::task::spawn_blocking(move || {
        let mut lines = lines.map(Result::unwrap);
        let first: Vec<_> = lines.by_ref().take(2).collect();
        // The first event has the columns; those after it must be shown, too.
        let changed: Vec<_> = lines.filter(|line| line.contains("RUNNING")).take(3).collect();
        (first, changed)
    });
    let mut states = ["RUNNING", "PENDING"].into_iter().cycle();
    until("it watches", || {
        let (world, state, seen) = (&world, states.next().unwrap(), reads.is_finished());
        async move {
            world.set_status(Kind::Execution, "run-1", json!({"state": state})).await;
            seen
        }
    })
    .await;
    let (first, changed) = reads.await.unwrap();
    assert!(first[0].starts_with("NAME"), "{first:?}");
    assert!(changed.len() == 3 && changed.iter().all(|line| line.starts_with("run-1")), "{changed:?}");
}

#[tokio::test]
async fn what_changed_while_nothing_was_watched_is_shown() {
    let world = World::running("plugin-expires").await;
    let mut plugin = Plugin::of_editor(&world).await;
    for name in ["run-1", "run-2"] {
        world.own(Kind::Execution, name, "PENDING").await;
    }
    let proxy = Proxy::start(&mut plugin, []).await;
    let expires = proxy.expire_a_watch();
    let mut watching = Killed(plugin.start("get execution --watch"));
    let lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let reads = tokio::task::spawn_blocking(move || lines.map(Result::unwrap).take(4).collect::<Vec<_>>());
    until("it watches", || async { proxy.has_watches() }).await;
    world.set_status(Kind::Execution, "run-2", json!({"state": "RUNNING"})).await;
    expires.notify_one();
    let shown = tokio::time::timeout(Duration::from_mins(1), reads).await.unwrap().unwrap();
    let last = &shown[3];
    // In the columns of the table, and nothing that has not changed.
    assert!(last.starts_with("run-2 ") && last.find("RUNNING") == shown[0].find("STATE"), "{shown:?}");
}

#[tokio::test]
async fn whatever_is_stored_is_printed_so_that_kubectl_reads_the_same() {
    let world = World::running("plugin-prints-anything").await;
    let plugin = Plugin::of_editor(&world).await;
    let nested = (0..200).fold(json!("end"), |inner, _| json!({"inner": inner}));
    let texts = [
        "\ttab at the start",
        "line\n\tindented by a tab\n",
        "a: b",
        "yes",
        "0x1f",
        "1e3",
        "\r\n",
        "null",
        "~",
        "- x",
        "2026-01-01",
        "12:30:00",
        ".inf",
        "=",
        "<<",
        "1_000",
        "#",
        "%",
        "@",
        "'",
        "\"",
        "\\",
        "{",
        "\u{85}\u{2028}\u{feff}",
        " ",
        "",
        "\u{1b}[2J",
        &"long text ".repeat(40),
        "trailing \n\n",
    ];
    let annotations: BTreeMap<_, _> =
        texts.iter().enumerate().map(|(n, text)| (format!("example.com/n-{n:02}"), text)).collect();
    let metadata = json!({"name": "run-1", "namespace": world.namespace, "annotations": annotations});
    let object =
        json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "metadata": metadata, "spec": {}});
    world.kubectl_ok(&["create", "-f", "-"], &object.to_string());
    for format in ["yaml", "json"] {
        let printed = plugin.ok(&format!("get execution -o {format}")).out;
        let read = world.kubectl_ok(&["create", "--dry-run=client", "-o", "json", "-f", "-"], &printed);
        let mut read: Value = serde_json::from_str(&read).unwrap();
        if read["kind"] == "List" {
            read = read["items"][0].take();
        }
        assert_eq!(read["metadata"]["annotations"], json!(annotations), "{format}: {printed}");
    }
    // What nobody can decode hides nothing else.
    let deep = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "metadata": {"name": "deep-1"},
        "spec": {"managedBy": "example.com/other", "template": {"apiVersion": "batch/v1", "kind": "Job", "spec": nested}}});
    world.kubectl_ok(&["create", "-f", "-"], &deep.to_string());
    for line in ["get", "get execution -o name", "get execution -o yaml", "get execution -o json"] {
        let shown = plugin.ok(line);
        assert!(shown.out.contains("deep-1") && shown.out.contains("run-1"), "{line}: {shown:?}");
    }
}

#[tokio::test]
async fn a_check_says_what_works_and_what_does_not() {
    let mut world = World::running("plugin-checks").await;
    let plugin = Plugin::of_editor(&world).await;
    let as_editor = plugin.ok("check");
    for part in [
        "you are system:serviceaccount:plugin-checks:editor",
        "unknown  operator",
        "you may stop executions.aiapi.dev",
    ] {
        assert!(as_editor.out.contains(part), "{part}: {as_editor:?}");
    }
    let mut admin = Plugin::of_editor(&world).await;
    admin.kubeconfig = world.plane.admin_kubeconfig();
    let all = admin.ok("check");
    for part in [
        "bulkupdates.aiapi.dev and its binding are in force",
        "leads, and renewed",
        "enables bulk updates of executions and deployments",
    ] {
        assert!(all.out.contains(part), "{part}: {all:?}");
    }
    world.operator.stop();
    world.flag(None).await;
    let broken = admin.run("check");
    assert_eq!(broken.code, 1, "{broken:?}");
    for part in ["the operator is not running", "there is no ConfigMap"] {
        assert!(broken.out.contains(part), "{part}: {broken:?}");
    }
}

#[tokio::test]
async fn completion_suggests_subcommands_flags_values_and_names() {
    let world = World::running("plugin-completes").await;
    let plugin = Plugin::of_editor(&world).await;
    world.own(Kind::Execution, "run-1", "RUNNING").await;
    let suggests = |words: &[&str]| {
        let mut command = plugin.command("");
        // Without the flags that the other commands get: kubectl gives it the words, and the environment.
        command = {
            let mut bare = std::process::Command::new(command.get_program());
            bare.env_clear().env("KUBECONFIG", &plugin.kubeconfig).arg("__complete").args(words);
            bare
        };
        let ended = crate::plugin::ended(command.output().unwrap());
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.out
    };
    let namespace = &*world.namespace;
    assert!(suggests(&["st"]).starts_with("stop\tStop what is PENDING or RUNNING\nstatus\t"));
    assert!(suggests(&["stop", ""]).starts_with("execution\ndeployment\n:4"));
    assert_eq!(suggests(&["stop", "execution", "-n", namespace, "ru"]), "run-1\n:4\n");
    assert_eq!(suggests(&["delete", "execution", "--state", "DE"]), "DEAD\n:4\n");
    assert!(suggests(&["stop", "execution", "--sel"]).starts_with("--selector\tBy labels"));
    assert!(suggests(&["explain", "Created"]).contains("CreatedLater\n"));
    assert_eq!(suggests(&["stop", "execution", "-n", "no-such-namespace", ""]), ":4\n");
    create(&world, 600);
    // Beyond the first page.
    assert_eq!(suggests(&["stop", "execution", "-n", namespace, "run-0599"]), "run-0599\n:4\n");
    assert_eq!(suggests(&["stop", "execution", &format!("-n{namespace}"), "run-1"]), "run-1\n:4\n");
    let spec = json!({"executions": [{"id": "run-1", "targetStatus": "STOPPED"}]});
    world.submit("stop-20261130-081500-0a1b-001", spec).await;
    assert_eq!(suggests(&["status", "-n", namespace, "2026"]), "20261130-081500-0a1b\trun\n:4\n");
    assert_eq!(suggests(&["resume", "-n", namespace, ""]), "20261130-081500-0a1b\trun\n:4\n");
    let cancels = suggests(&["cancel", "-n", namespace, "stop-"]);
    assert_eq!(cancels, "stop-20261130-081500-0a1b-001\n:4\n");
    assert!(!suggests(&["get", "--context", ""]).starts_with(':'), "there is one");
    // What is there already is not suggested again.
    assert_eq!(suggests(&["stop", "execution", "-n", namespace, "run-1", "run-1"]), ":4\n");
    assert_eq!(suggests(&["get", "execution,bu"]), "execution,bulkupdate\n:4\n");
    assert_eq!(suggests(&["stop", "execution", "--state=RUNNING,PE"]), "RUNNING,PENDING\n:4\n");
    assert_eq!(
        suggests(&["get", &format!("--namespace={namespace}")]),
        ":4\n",
        "an editor may not list them"
    );
    assert_eq!(suggests(&["stop", "execution", "-A", ""]), ":4\n", "which one would it be?");
    assert_eq!(suggests(&["get", "--kubeconfig", ""]), ":0\n", "the shell knows the files");
    assert!(suggests(&["get", "--he"]).starts_with("--help\t"));
}
