//! The logs of what runs, with the caller's own token. Nothing runs here: the Jobs and Pods are objects in the API server, which
//! asks a server of the test for their logs, as it would ask a kubelet.

#![allow(clippy::needless_pass_by_value, reason = "what is made by json! is handed over")]

use std::fmt::Write as _;

use ai_api_operator::api::Kind;
use serde_json::{Value, json};
use support::{
    World,
    control_plane::PROJECT,
    gateway::{Answer, Caller},
    until,
};

use crate::{
    gateway,
    kubelet::{self, Kubelet},
};

const TRAIN: &str = "/v2/lm/executions/train-1/logs";
/// Before all lines.
const START: &str = "start=2026-01-02T03:00:00Z";

/// Creates an object of this kind, with metadata besides its name; returns its uid.
fn create(world: &World, kind: (&str, &str), name: &str, metadata: Value, spec: Value) -> String {
    let mut object = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": metadata, "spec": spec});
    object["metadata"]["name"] = name.into();
    let made = world.kubectl_ok(&["create", "-f", "-", "-o", "json"], &object.to_string());
    let made: Value = serde_json::from_str(&made).unwrap();
    made["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn containers(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "image": "none"})).collect()
}

/// A Job, and an Execution whose status names it.
async fn job(world: &World, name: &str) -> String {
    let pod = json!({"restartPolicy": "Never", "containers": containers(&["main"])});
    let uid = create(world, ("batch/v1", "Job"), name, json!({}), json!({"template": {"spec": pod}}));
    let workload = json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid});
    let status = json!({"state": "RUNNING", "workload": workload});
    world.target(Kind::Execution, name, json!({}), status).await;
    uid
}

/// A Pod on this node with these labels.
fn pod(world: &World, node: &str, name: &str, labels: Value, names: &[&str]) {
    let spec = json!({"nodeName": node, "containers": containers(names)});
    create(world, ("v1", "Pod"), name, json!({"labels": labels}), spec);
}

fn of_job(uid: &str) -> Value {
    json!({"batch.kubernetes.io/controller-uid": uid})
}

/// Gives a caller the rights of the example.
async fn may_read_logs(world: &World, caller: &Caller) {
    world.kubectl_ok(&["apply", "-f", &format!("{PROJECT}/examples/gateway-logs.yaml")], "");
    let name = caller.user.rsplit(':').next().unwrap();
    let account = format!("--serviceaccount={}:{name}", world.namespace);
    world.kubectl_ok(&["create", "rolebinding", "logs", "--role=ai-api-logs", &account], "");
    until("the rights", || async {
        world.kubectl(&["auth", "can-i", "get", "pods", "--subresource=log", "--as", &caller.user], "").0
    })
    .await;
}

/// The texts of an answer.
fn texts(answer: &Answer) -> Vec<String> {
    let body = answer.ok(200);
    let lines = body["data"]["result"].as_array().unwrap();
    lines.iter().map(|line| line["msg"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_logs_of_all_containers_are_merged_by_time() {
    let (world, gateway, caller) = gateway("gw-logs").await;
    let kubelet = Kubelet::start(&world).await;
    let uid = job(&world, "train-1").await;
    pod(&world, &kubelet.node, "train-1-a", of_job(&uid), &["main", "sidecar"]);
    pod(&world, &kubelet.node, "train-1-b", of_job(&uid), &["main"]);
    // Of another Job.
    pod(&world, &kubelet.node, "other-a", of_job("another"), &["main"]);
    kubelet.log("other-a", "main", "2026-01-02T03:04:05Z not mine\n");
    kubelet.log(
        "train-1-a",
        "main",
        "2026-01-02T03:04:05.000000001Z one\n2026-01-02T03:04:06.5Z three\n2026-01-02T03:04:09Z six\n",
    );
    kubelet.log("train-1-a", "sidecar", "2026-01-02T03:04:06.000001Z two\n");
    kubelet.log(
        "train-1-b",
        "main",
        "2026-01-02T03:04:07Z four\n2026-01-02T03:04:08Z five, as {\"json\": 1}\n",
    );
    may_read_logs(&world, &caller).await;
    let read = async |query: &str| caller.get(&format!("{TRAIN}?{query}")).await;

    let all = read(START).await.ok(200);
    assert_eq!(
        all["data"]["result"][1],
        json!({"timestamp": "2026-01-02T03:04:06.000001Z", "msg": "two", "pod": "train-1-a", "container": "sidecar"})
    );
    assert!(all["warnings"].is_null(), "{all:#}");
    for (query, expected) in [
        ("", "one two three four five, as {\"json\": 1} six"),
        ("&$top=2", "one two"),
        ("&top=2&order=desc", "six five, as {\"json\": 1}"),
        ("&$order=desc&$top=2&end=2026-01-02T03:04:06.5Z", "three two"),
        ("&end=2026-01-02T03:04:06.000001%2B00:00", "one two"),
    ] {
        assert_eq!(texts(&read(&format!("{START}{query}")).await).join(" "), expected, "{query}");
    }
    assert_eq!(texts(&read("start=2026-01-02T03:04:06.2Z").await)[0], "three");
    // The last hour, without a start.
    assert!(texts(&caller.get(TRAIN).await).is_empty());
    // Of the last lines no more are read than can be shown.
    kubelet.asked();
    read(&format!("{START}&$top=7&$order=desc")).await.ok(200);
    let asked = kubelet.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|asked| asked.contains("tailLines=7")), "{asked:?}");

    // All with the caller's token.
    let own = format!("system:serviceaccount:{}:ai-api-gateway", world.namespace);
    let of = |user: &str| {
        world.plane.requests(user).into_iter().filter(|request| request.resource == "pods").count()
    };
    assert!(of(&caller.user) > 3);
    assert_eq!(of(&own), 0);
    drop(gateway);
}

#[tokio::test]
async fn who_may_not_read_them_gets_403_and_what_is_not_there_404_with_the_reason() {
    let (world, _gateway, caller) = gateway("gw-no-logs").await;
    let kubelet = Kubelet::start(&world).await;
    let uid = job(&world, "train-1").await;
    pod(&world, &kubelet.node, "train-1-a", of_job(&uid), &["main"]);
    let (code, message) = caller.get(TRAIN).await.error(403);
    assert_eq!(code, "Forbidden");
    assert!(message.contains("cannot get resource \"jobs\""), "{message}");
    may_read_logs(&world, &caller).await;
    caller.get(TRAIN).await.ok(200);
    world.kubectl_ok(
        &[
            "patch",
            "role",
            "ai-api-logs",
            "--type=json",
            "--patch",
            r#"[{"op": "remove", "path": "/rules/1"}]"#,
        ],
        "",
    );
    until("the right is gone", || async { caller.get(TRAIN).await.status == 403 }).await;
    let (_, message) = caller.get(TRAIN).await.error(403);
    assert!(message.contains("cannot get resource \"pods/log\""), "{message}");

    // Jobs with the same name count as others.
    job(&world, "train-2").await;
    world.kubectl_ok(&["delete", "job", "train-2", "--cascade=orphan", "--wait=false"], "");
    world.kubectl_ok(
        &[
            "patch",
            "job",
            "train-2",
            "--type=json",
            "--patch",
            r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#,
        ],
        "",
    );
    job(&world, "train-3").await;
    world.own(Kind::Execution, "train-4", "RUNNING").await;
    let other = json!({"apiVersion": "example.com/v1", "kind": "Training", "name": "train-5", "uid": "u"});
    world.target(Kind::Execution, "train-5", json!({}), json!({"state": "RUNNING", "workload": other})).await;
    for (id, says) in [
        ("train-2", "Execution train-2 has no logs: Job train-2 is gone, and its Pods with it"),
        (
            "train-3",
            "Execution train-3 has no logs: Job train-3 has no Pods, not yet or not any more; a log is kept only as long as its Pod",
        ),
        ("train-4", "Execution train-4 has no logs: its status names nothing that runs for it"),
        (
            "train-5",
            "Execution train-5 has no logs: which Pods belong to example.com/v1 Training train-5 is not known here",
        ),
        ("train-6", "Execution train-6 does not exist"),
    ] {
        let (_, message) = caller.get(&format!("/v2/lm/executions/{id}/logs")).await.error(404);
        assert_eq!(message, says);
    }
    let (_, message) = caller.get(&format!("{TRAIN}?$top=0")).await.error(400);
    assert_eq!(message, "top must be a number from 1 to 5000");
    caller.get("/v2/lm/executions/abc/logs").await.error(400);
}

#[tokio::test]
async fn what_cannot_be_read_is_in_the_warnings() {
    let (world, _gateway, caller) = gateway("gw-part-of-logs").await;
    let kubelet = Kubelet::start(&world).await;
    // Nobody listens at port 1.
    kubelet::register(&world, "gw-no-kubelet", 1).await;
    let uid = job(&world, "train-1").await;
    pod(&world, "gw-no-kubelet", "train-1-a", of_job(&uid), &["main"]);
    may_read_logs(&world, &caller).await;
    let path = format!("{TRAIN}?{START}");
    let (code, message) = caller.get(&path).await.error(503);
    assert_eq!(code, "ServiceUnavailable");
    assert!(
        message.starts_with("the logs cannot be read: 500: ") && message.contains("127.0.0.1:1"),
        "{message}"
    );

    pod(&world, &kubelet.node, "train-1-b", of_job(&uid), &["main"]);
    pod(&world, &kubelet.node, "train-1-c", of_job(&uid), &["main"]);
    kubelet.log("train-1-b", "main", "2026-01-02T03:04:05Z one\n");
    let answer = caller.get(&path).await;
    assert_eq!(texts(&answer), ["one"]);
    let warnings = answer.ok(200)["warnings"].as_array().unwrap().clone();
    let says = |at: usize, what: &str| warnings[at].as_str().unwrap().contains(what);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(says(0, "container main of Pod train-1-a: its log cannot be read: 500: "), "{warnings:?}");
    assert!(says(1, "container main of Pod train-1-c: ") && says(1, "is waiting to start"), "{warnings:?}");

    // More than fits: what is there has no gap, and can be continued.
    let mut log = String::new();
    for n in 0..400 {
        writeln!(log, "2026-01-02T04:{:02}:{:02}Z {n} {}", n / 60, n % 60, "x".repeat(9000)).unwrap();
    }
    kubelet.log("train-1-b", "main", &log);
    let (mut start, mut seen, mut answers) = (START.to_owned(), 0, 0);
    loop {
        let body = caller.get(&format!("{TRAIN}?{start}")).await.ok(200);
        let lines = body["data"]["result"].as_array().unwrap();
        for line in lines {
            let number: usize = line["msg"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
            // The last line of an answer is the first of the next.
            assert!(number == seen || number + 1 == seen, "{number} after {seen}");
            seen = number + 1;
        }
        answers += 1;
        start = format!("start={}", lines.last().unwrap()["timestamp"].as_str().unwrap());
        if !body["warnings"].to_string().contains("there are more lines than fit") {
            break;
        }
    }
    assert_eq!((seen, answers), (400, 4));
}

#[tokio::test]
async fn of_a_deployment_only_the_pods_of_its_replica_sets_are_read() {
    let (world, _gateway, caller) = gateway("gw-model-logs").await;
    let kubelet = Kubelet::start(&world).await;
    may_read_logs(&world, &caller).await;
    let labels = json!({"app": "model"});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers(&["main"])}});
    let spec = json!({"selector": {"matchLabels": labels}, "template": template});
    let uid = create(&world, ("apps/v1", "Deployment"), "model-1", json!({}), spec);
    let workload = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "model-1", "uid": uid});
    let status = json!({"state": "RUNNING", "url": "http://model-1.example.com", "workload": workload,
        "startTime": "2026-01-02T03:04:05Z"});
    world.target(Kind::Deployment, "model-1", json!({}), status).await;
    for (name, owner) in [("model-1-5d8f7c-a", "model-1-5d8f7c"), ("model-2-5d8f7c-a", "model-2-5d8f7c")] {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "u", "controller": true});
        let metadata = json!({"labels": labels, "ownerReferences": [owner]});
        let spec = json!({"nodeName": kubelet.node, "containers": containers(&["main"])});
        create(&world, ("v1", "Pod"), name, metadata, spec);
        kubelet.log(name, "main", &format!("2026-01-02T03:04:05Z from {name}\n"));
    }
    let path = "/v2/lm/deployments/model-1";
    assert_eq!(texts(&caller.get(&format!("{path}/logs?{START}")).await), ["from model-1-5d8f7c-a"]);
    let one = caller.get(path).await.ok(200);
    assert_eq!(one["deploymentUrl"], "http://model-1.example.com");
    assert_eq!(one["startTime"], "2026-01-02T03:04:05.000000Z");
    assert_eq!(one["details"]["resources"]["backendDetails"], workload);
    assert_eq!(one["statusDetails"]["workload"], workload);
    let listed = caller.get("/v2/lm/deployments").await.ok(200);
    assert_eq!(listed["resources"][0]["details"], one["details"]);
    let meta = caller.get("/v2/lm/meta").await.ok(200);
    assert_eq!(meta["aiApi"]["capabilities"]["logs"], json!({"executions": true, "deployments": true}));
}
