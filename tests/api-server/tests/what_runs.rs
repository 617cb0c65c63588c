//! What runs: Jobs, Deployments, their Pods, and the policy for who may have them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

use api_server::{Answer, Kubernetes, Server, User};
use bytes::Bytes;
use http::{Request, header::ACCEPT};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

const MANIFESTS: [&str; 5] = [
    include_str!("../../../crds/executions.aiapi.dev.yaml"),
    include_str!("../../../crds/deployments.aiapi.dev.yaml"),
    include_str!("../../../deploy/cluster/people.yaml"),
    include_str!("../../../deploy/cluster/work-admission.yaml"),
    "{apiVersion: v1, kind: Namespace, metadata: {name: team-a}}",
];
const JOBS: &str = "/apis/batch/v1/namespaces/team-a/jobs";
const PODS: &str = "/api/v1/namespaces/team-a/pods";
const APPS: &str = "/apis/apps/v1/namespaces/team-a/deployments";
const EXECUTIONS: &str = "/apis/aiapi.dev/v1alpha1/namespaces/team-a/executions";

struct Cluster {
    server: Server,
    now: Timestamp,
}

impl Cluster {
    fn new() -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let server = Server::new(Kubernetes::V1_37, now);
        for manifest in MANIFESTS {
            server.apply(manifest);
        }
        Self { server, now }
    }

    fn ask(&self, user: &User, method: &str, uri: &str, body: &Value) -> (u16, Value) {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder().method(method).uri(uri).header("content-type", content);
        let Answer::Whole(answer) = self.server.handle(user, "test/1", request.body(body).unwrap()) else {
            panic!("{uri} is no watch")
        };
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
    }

    fn admin(&self, method: &str, uri: &str, body: &Value) -> (u16, Value) {
        self.ask(&User::Admin, method, uri, body)
    }

    fn created(&self, uri: &str, body: &Value) -> Value {
        let (code, object) = self.admin("POST", uri, body);
        assert_eq!(code, 201, "{object}");
        object
    }

    /// A Pod on a node, which this object controls.
    fn pod(&self, owner: &Value) -> String {
        let owner = json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true});
        let pod = json!({"metadata": {"generateName": "train-", "labels": {"app": "train"}, "ownerReferences": [owner]},
            "spec": {"nodeName": "node", "terminationGracePeriodSeconds": 7, "containers": [{"name": "main", "image": "i"}]}});
        let pod = self.created(PODS, &pod);
        format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap())
    }

    fn code(&self, uri: &str) -> u16 {
        self.admin("GET", uri, &Value::Null).0
    }

    /// The kubelet says that the containers of a Pod have ended.
    fn ended(&self, pod: &str) {
        assert_eq!(self.admin("DELETE", pod, &json!({"gracePeriodSeconds": 0})).0, 200);
    }
}

fn template(kind: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": kind, "spec": {"template": {"spec": {"restartPolicy": "Never",
        "containers": [{"name": "main", "image": "example.com/train:1"}]}}}})
}

fn job(name: &str) -> Value {
    let mut job = template("Job");
    job["metadata"]["name"] = name.into();
    job
}

#[test]
fn a_job_has_defaults_and_a_selector_of_its_own() {
    let cluster = Cluster::new();
    let job = cluster.created(JOBS, &job("train"));
    assert_eq!((&job["spec"]["suspend"], &job["metadata"]["generation"]), (&json!(false), &json!(1)));
    let uid = &job["metadata"]["uid"];
    assert_eq!(job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], *uid);
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["job-name"], "train");
    let (code, refused) =
        cluster.admin("PATCH", &format!("{JOBS}/train"), &json!({"spec": {"completions": 2}}));
    assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")));
    // Its status counts apart, and does not change its generation.
    let status = json!({"status": {"active": 1}});
    let (_, active) = cluster.admin("PATCH", &format!("{JOBS}/train/status"), &status);
    assert_eq!((&active["status"]["active"], &active["metadata"]["generation"]), (&json!(1), &json!(1)));
}

#[test]
fn a_stop_is_guarded_by_uid_and_version() {
    let cluster = Cluster::new();
    let job = cluster.created(JOBS, &job("train"));
    let stop = |uid: &Value, version: &Value| {
        let patch = json!({"metadata": {"uid": uid, "resourceVersion": version}, "spec": {"suspend": true}});
        cluster.admin("PATCH", &format!("{JOBS}/train"), &patch).0
    };
    let (uid, version) = (&job["metadata"]["uid"], &job["metadata"]["resourceVersion"]);
    assert_eq!(stop(&"another".into(), version), 422);
    assert_eq!(stop(uid, &"1".into()), 409);
    assert_eq!(stop(uid, version), 200);
    assert_eq!(stop(uid, version), 409);
}

#[test]
fn no_template_without_containers_and_no_second_controller() {
    let cluster = Cluster::new();
    let mut bare = job("train");
    bare["spec"]["template"]["spec"]["containers"] = json!([]);
    let (code, why) = cluster.admin("POST", JOBS, &bare);
    assert_eq!(code, 422);
    assert!(
        why["message"].as_str().unwrap().contains("spec.template.spec.containers: Required value"),
        "{why}"
    );
    let mut shared = job("train");
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name, "controller": true});
    shared["metadata"]["ownerReferences"] = json!([owner("one"), owner("other")]);
    let (code, why) = cluster.admin("POST", JOBS, &shared);
    assert_eq!(code, 422);
    assert!(
        why["message"].as_str().unwrap().contains("Only one reference can have Controller set to true"),
        "{why}"
    );
}

#[test]
fn a_pod_takes_its_time_to_end() {
    let mut cluster = Cluster::new();
    let pod = cluster.pod(&cluster.created(JOBS, &job("train")));
    let (_, ending) = cluster.admin("DELETE", &pod, &Value::Null);
    assert_eq!(ending["metadata"]["deletionTimestamp"], "2026-01-01T00:00:07Z");
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 7);
    cluster.now += SignedDuration::from_secs(3);
    cluster.server.set_time(cluster.now);
    cluster.server.collect_garbage();
    // A change in the meantime does not end it.
    assert_eq!(
        cluster.admin("PATCH", &format!("{pod}/status"), &json!({"status": {"phase": "Running"}})).0,
        200
    );
    assert_eq!(cluster.code(&pod), 200);
    cluster.ended(&pod);
    assert_eq!(cluster.code(&pod), 404);
}

#[test]
fn pods_are_listed_by_labels_and_phase_without_their_specs() {
    let cluster = Cluster::new();
    let pod = cluster.pod(&cluster.created(JOBS, &job("train")));
    let list = |query: &str| {
        let as_metadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let request = Request::get(format!("{PODS}?{query}")).header(ACCEPT, as_metadata).body(Bytes::new());
        let Answer::Whole(answer) = cluster.server.handle(&User::Admin, "test/1", request.unwrap()) else {
            panic!()
        };
        serde_json::from_slice::<Value>(answer.body()).unwrap()
    };
    let not_ended = "fieldSelector=status.phase!%3DSucceeded,status.phase!%3DFailed";
    let one = list(&format!("labelSelector=app%3Dtrain&{not_ended}"));
    assert_eq!(one["kind"], "PartialObjectMetadataList");
    assert_eq!(one["items"][0]["metadata"]["ownerReferences"][0]["kind"], "Job");
    assert!(one["items"][0]["spec"].is_null(), "{one}");
    assert!(list("labelSelector=app%3Dother")["items"].is_null());
    cluster.admin("PATCH", &format!("{pod}/status"), &json!({"status": {"phase": "Succeeded"}}));
    assert!(list(not_ended)["items"].is_null());
}

#[test]
fn what_becomes_of_the_pods_of_a_job_is_said_by_who_deletes_it() {
    for (options, left) in [
        (Value::Null, [200, 404]),
        (json!({"propagationPolicy": "Background"}), [404, 200]),
        (json!({"propagationPolicy": "Foreground"}), [200, 200]),
    ] {
        let cluster = Cluster::new();
        let pod = cluster.pod(&cluster.created(JOBS, &job("train")));
        let at = format!("{JOBS}/train");
        assert_eq!(cluster.admin("DELETE", &at, &options).0, 200);
        let first = cluster.code(&at);
        for _ in 0..3 {
            cluster.server.collect_garbage();
        }
        let (_, now) = cluster.admin("GET", &pod, &Value::Null);
        if options.is_null() {
            // Nobody owns it any more.
            assert!(
                now["metadata"]["ownerReferences"].is_null()
                    && now["metadata"]["deletionTimestamp"].is_null()
            );
        } else {
            assert_eq!((first, left[1]), (left[0], 200), "{options}");
            assert!(now["metadata"]["deletionTimestamp"].is_string(), "{options}: {now}");
            cluster.ended(&pod);
        }
        cluster.server.collect_garbage();
        assert_eq!(cluster.code(&at), 404, "{options}");
    }
}

#[test]
fn a_deletion_in_the_foreground_waits_for_the_pods_of_what_it_owns() {
    let cluster = Cluster::new();
    let run = cluster.created(
        EXECUTIONS,
        &json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution",
        "metadata": {"name": "train"}, "spec": {"template": template("Job")}}),
    );
    let mut owned = job("train");
    owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "name": "train",
        "uid": run["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true}]);
    let pod = cluster.pod(&cluster.created(JOBS, &owned));
    let (execution, job) = (format!("{EXECUTIONS}/train"), format!("{JOBS}/train"));
    cluster.admin("DELETE", &execution, &json!({"propagationPolicy": "Foreground"}));
    for _ in 0..5 {
        cluster.server.collect_garbage();
    }
    assert_eq!([&execution, &job, &pod].map(|at| cluster.code(at)), [200; 3]);
    cluster.ended(&pod);
    for _ in 0..2 {
        cluster.server.collect_garbage();
    }
    assert_eq!([&execution, &job, &pod].map(|at| cluster.code(at)), [404; 3]);
}

#[test]
fn a_deployment_is_scaled_by_its_subresource() {
    let cluster = Cluster::new();
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "model"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "model"}}, "template": {"metadata": {"labels": {"app": "model"}},
        "spec": {"containers": [{"name": "main", "image": "i"}]}}}});
    let made = cluster.created(APPS, &deployment);
    let scale = |version: &Value| {
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"replicas": 0}});
        cluster.admin("PATCH", &format!("{APPS}/model/scale"), &patch)
    };
    assert_eq!(scale(&"1".into()).0, 409);
    let (code, scaled) = scale(&made["metadata"]["resourceVersion"]);
    assert_eq!((code, &scaled["kind"], &scaled["spec"]), (200, &json!("Scale"), &json!({})));
    let (_, now) = cluster.admin("GET", &format!("{APPS}/model"), &Value::Null);
    assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(0), &json!(2)));
    let (code, _) = cluster.admin(
        "PATCH",
        &format!("{APPS}/model"),
        &json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
    );
    assert_eq!(code, 422);
}

#[test]
fn who_may_not_create_a_job_gets_no_execution_with_one() {
    let cluster = Cluster::new();
    let rights = |name: &str, rules: &Value| {
        let group = "rbac.authorization.k8s.io";
        let role = json!({"apiVersion": format!("{group}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
        let binding = json!({"apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": name, "namespace": "team-a"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": name}]});
        cluster.server.apply(&role.to_string());
        cluster.server.apply(&binding.to_string());
    };
    let create = json!({"apiGroups": ["aiapi.dev"], "resources": ["executions"], "verbs": ["create"]});
    rights("creator", &json!([create]));
    rights("trainer", &json!([create, {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}]));
    rights(
        "owner",
        &json!([create, {"apiGroups": ["batch"], "resources": ["jobs"], "resourceNames": ["theirs"],
        "verbs": ["patch", "delete"]}]),
    );
    let ask = |who: &str, spec: &Value| {
        let user = User::Named { name: who.into(), groups: Vec::new() };
        let object = json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution", "spec": spec,
            "metadata": {"name": format!("by-{who}-{}", spec.to_string().len())}});
        cluster.ask(&user, "POST", EXECUTIONS, &object)
    };
    let by_template = json!({"template": template("Job")});
    let of = |name: &str| json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "u"}});
    let (code, why) = ask("creator", &by_template);
    assert_eq!(code, 403);
    let said = "creator may not create jobs.batch in namespace team-a, which spec.template asks for";
    assert!(why["message"].as_str().unwrap().contains(said), "{why}");
    assert_eq!(ask("creator", &json!({})).0, 201, "without work it needs none");
    assert_eq!(ask("trainer", &by_template).0, 201);
    assert_eq!(ask("trainer", &of("theirs")).0, 403);
    assert_eq!(ask("owner", &of("theirs")).0, 201);
    assert_eq!(ask("owner", &of("others")).0, 403);
}
