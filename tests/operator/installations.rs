//! Several operators in one cluster, installed from the shipped manifests, and which installations are refused; and
//! that the shipped Pods need nothing that a strict cluster refuses.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Child,
};

use ai_api_operator::api::{BulkUpdate, Kind};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use support::{
    ON,
    control_plane::{ControlPlane, PROJECT},
    operator::{Operator, metrics_address, probe, spawn},
    until,
};

/// Folders with a user's own overlays, beside a copy of this repository's manifests.
struct Overlays(PathBuf);

impl Overlays {
    fn new(name: &str) -> Self {
        let folder = ControlPlane::get().folder.join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for part in ["crds", "deploy"] {
            let copied = std::process::Command::new("cp")
                .arg("-R")
                .arg(Path::new(PROJECT).join(part))
                .arg(&folder)
                .status()
                .unwrap();
            assert!(copied.success());
        }
        Self(folder)
    }

    /// A kustomization with this content; returns its folder.
    fn kustomization(&self, name: &str, text: &str) -> String {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("kustomization.yaml"), text).unwrap();
        folder.to_str().unwrap().to_owned()
    }

    /// The component single-namespace for another namespace, made as documented.
    fn component_for(&self, watched: &str) -> String {
        let from = self.0.join("deploy/components/single-namespace");
        let to = self.0.join(format!("deploy/components/for-{watched}"));
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            let text = fs::read_to_string(file.path()).unwrap().replace("team-a", watched);
            fs::write(to.join(file.file_name()), text).unwrap();
        }
        format!("../deploy/components/for-{watched}")
    }

    /// An operator in a namespace of its own that serves another one; `more` is added to its kustomization.
    fn operator(&self, own: &str, watched: &str, more: &str) -> String {
        let below = format!("{own}-below");
        let text = format!("namespace: {own}\nresources: [../deploy/installation]\n{more}");
        self.kustomization(&below, &text);
        let component = self.component_for(watched);
        self.kustomization(own, &format!("resources: [../{below}]\ncomponents: [{component}]\n"))
    }
}

fn built(folder: &str) -> (bool, String) {
    ControlPlane::get().kubectl(&["kustomize", folder], "")
}

fn objects(folder: &str) -> Vec<Value> {
    let (ok, yaml) = built(folder);
    assert!(ok, "{yaml}");
    serde_saphyr::from_multiple(&yaml).unwrap()
}

fn may(user: &str, what: &[&str]) -> bool {
    ControlPlane::get().kubectl(&[&["auth", "can-i", "--as", user], what].concat(), "").0
}

/// One operator, run with the arguments of its Deployment.
struct Installation {
    own: String,
    watched: String,
    overlay: String,
    user: String,
    log: PathBuf,
    process: Child,
    client: Client,
}

impl Installation {
    async fn new(overlays: &Overlays, own: &str, watched: &str) -> Self {
        let plane = ControlPlane::get();
        let client = plane.client().await;
        let overlay = overlays.operator(own, watched, "");
        for arguments in
            [vec!["create", "namespace", watched], vec!["apply", "--server-side", "-k", &overlay]]
        {
            let (ok, output) = plane.kubectl(&arguments, "");
            assert!(ok, "{output}");
        }
        let deployment = objects(&overlay).into_iter().find(|object| object["kind"] == "Deployment").unwrap();
        let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        let arguments = arguments.as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
        let operator = Operator::new(plane, &client, own).await;
        let log = plane.folder.join(format!("{own}.installed.log"));
        // `command` starts with `controller`.
        let arguments: Vec<_> = arguments.skip(1).collect();
        let mut command = operator.command();
        command.env_remove("AI_API_REQUIRE_ADMISSION_POLICY");
        let process = spawn(&mut command, &arguments, &[], File::create(&log).unwrap());
        let flag = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ai-api-meta", "namespace": own},
            "data": {"bulkUpdates": ON}});
        let (ok, output) = plane.kubectl(&["apply", "-f", "-"], &flag.to_string());
        assert!(ok, "{output}");
        let user = operator.user.clone();
        Self { own: own.to_owned(), watched: watched.to_owned(), overlay, user, log, process, client }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Whether it accepts BulkUpdates: it leads, and has seen that authors are checked.
    async fn accepts(&self) -> bool {
        let Some(address) = metrics_address(&self.log()) else { return false };
        probe(&address, "/metrics").await.1.lines().any(|line| line == "aiapi_admission_policy_in_force 1")
    }

    async fn carries_out(&self, name: &str) {
        let target: DynamicObject = serde_json::from_value(json!({"apiVersion": "aiapi.dev/v1alpha1",
            "kind": "Execution", "metadata": {"name": format!("{name}-target")}, "spec": {}}))
        .unwrap();
        let targets: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.watched, &Kind::Execution.api_resource());
        targets.create(&PostParams::default(), &target).await.unwrap();
        let running = Patch::Merge(json!({"status": {"state": "RUNNING"}}));
        targets.patch_status(&format!("{name}-target"), &PatchParams::default(), &running).await.unwrap();
        let bulk: BulkUpdate =
            serde_json::from_value(json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "BulkUpdate",
            "metadata": {"name": name},
            "spec": {"executions": [{"id": format!("{name}-target"), "targetStatus": "STOPPED"}]}}))
            .unwrap();
        let bulks: Api<BulkUpdate> = Api::namespaced(self.client.clone(), &self.watched);
        bulks.create(&PostParams::default(), &bulk).await.unwrap();
        until(&format!("the end of {name}: {}", self.log()), || async {
            let status = bulks.get(name).await.unwrap().status;
            status.is_some_and(|s| s.condition("Ready").is_some_and(|c| c.status == "True"))
        })
        .await;
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn two_operators_side_by_side_each_serve_their_own_namespace() {
    let plane = ControlPlane::get();
    let overlays = Overlays::new("side-by-side");
    let one = Installation::new(&overlays, "ai-api-one", "team-one").await;
    let two = Installation::new(&overlays, "ai-api-two", "team-two").await;
    for installation in [&one, &two] {
        until("it accepts BulkUpdates", || installation.accepts()).await;
        installation.carries_out("first").await;
    }
    for (mine, other) in [(&one, &two), (&two, &one)] {
        let requests = plane.requests(&mine.user);
        let allowed: Vec<_> = requests.iter().filter(|request| request.code != 403).collect();
        let stops: Vec<_> =
            allowed.iter().filter(|request| request.is_target_write() && request.succeeded()).collect();
        assert_eq!(stops.len(), 1, "{stops:#?}");
        assert_eq!(stops[0].namespace, mine.watched);
        // Its own namespaces, and cluster-wide requests: the policy, and access reviews.
        let places = ["", &mine.own, &mine.watched];
        let elsewhere: Vec<_> =
            requests.iter().filter(|request| !places.contains(&request.namespace.as_str())).collect();
        assert!(elsewhere.is_empty(), "{elsewhere:#?}");
        let leases: Vec<_> = allowed.iter().filter(|request| request.resource == "leases").collect();
        assert!(leases.iter().any(|request| request.verb == "update" || request.verb == "create"));
        assert!(leases.iter().all(|request| request.namespace == mine.own), "{leases:#?}");
        for namespace in [&other.own, &other.watched] {
            for right in [["delete", "executions.aiapi.dev"], ["update", "leases.coordination.k8s.io"]] {
                assert!(
                    !may(&mine.user, &[&right[..], &["-n", namespace]].concat()),
                    "{right:?} {namespace}"
                );
            }
        }
    }
    // The first one is uninstalled, and removes nothing that the second one needs.
    let gone = one.overlay.clone();
    drop(one);
    let (ok, output) = plane.kubectl(&["delete", "-k", &gone, "--wait=false"], "");
    assert!(ok, "{output}");
    let left = ["list", "bulkupdates.aiapi.dev", "-n", "team-one"];
    until("its rights are revoked", || {
        std::future::ready(!may("system:serviceaccount:ai-api-one:ai-api-operator", &left))
    })
    .await;
    assert!(two.accepts().await, "{}", two.log());
    two.carries_out("second").await;
    // It learns that a policy is gone by its own binding to the right to see it.
    let policies = "validatingadmissionpolicies.admissionregistration.k8s.io/bulkupdates.aiapi.dev";
    for verb in ["list", "watch"] {
        assert!(may(&two.user, &[verb, policies]), "{verb}");
    }
}

#[test]
fn a_namespace_that_would_move_a_rolebinding_is_refused() {
    let overlays = Overlays::new("refused");
    let sentence = "Set namespace: below the component single-namespace, not beside or above it";
    for (name, text) in [
        ("above", "namespace: mine\nresources: [../deploy/overlays/single-namespace]\n"),
        ("above-the-same", "namespace: ai-api-system\nresources: [../deploy/overlays/single-namespace]\n"),
        (
            "beside",
            "namespace: mine\nresources: [../deploy/installation]\ncomponents: [../deploy/components/single-namespace]\n",
        ),
        (
            "base",
            "namespace: mine\nresources: [../deploy/base]\ncomponents: [../deploy/components/single-namespace]\n",
        ),
    ] {
        let (ok, output) = built(&overlays.kustomization(name, text));
        assert!(!ok && output.contains(sentence), "{name}: {output}");
    }
    // Wrong placements: below it, or missing.
    for folder in [
        overlays.operator("mine", "team-mine", ""),
        overlays.kustomization("none", "resources: [../deploy/overlays/single-namespace]\n"),
    ] {
        let (ok, output) = built(&folder);
        assert!(ok, "{output}");
    }
}

#[tokio::test]
async fn a_renamed_operator_gets_its_rights_and_nobody_else_does() {
    let plane = ControlPlane::get();
    let overlays = Overlays::new("renamed");
    for (own, watched, more, account) in [
        ("renamed-plain", "team-plain", "", "ai-api-operator"),
        ("renamed-prefix", "team-prefix", "namePrefix: x-\n", "x-ai-api-operator"),
        ("renamed-suffix", "team-suffix", "nameSuffix: -y\n", "ai-api-operator-y"),
    ] {
        let folder = overlays.operator(own, watched, more);
        let (ok, output) = plane.kubectl(&["create", "namespace", watched], "");
        assert!(ok, "{output}");
        let (ok, output) = plane.kubectl(&["apply", "--server-side", "-k", &folder], "");
        assert!(ok, "{output}");
        let all = objects(&folder);
        let deployment = all.iter().find(|object| object["kind"] == "Deployment").unwrap();
        assert_eq!(deployment["spec"]["template"]["spec"]["serviceAccountName"], account, "{own}");
        let user = format!("system:serviceaccount:{own}:{account}");
        for (right, wanted) in [
            (vec!["delete", "executions.aiapi.dev", "-n", watched], true),
            (vec!["update", "bulkupdates.aiapi.dev", "--subresource=status", "-n", watched], true),
            (vec!["get", "configmaps/ai-api-meta", "-n", own], true),
            // Objects that the operator refers to by name have the same name everywhere.
            (vec!["update", "leases.coordination.k8s.io/ai-api-operator", "-n", own], true),
            (
                vec![
                    "watch",
                    "validatingadmissionpolicies.admissionregistration.k8s.io/bulkupdates.aiapi.dev",
                ],
                true,
            ),
            (vec!["delete", "executions.aiapi.dev", "-n", own], false),
            (vec!["delete", "executions.aiapi.dev", "-n", "default"], false),
            (vec!["get", "configmaps/another", "-n", own], false),
            (vec!["update", "leases.coordination.k8s.io/ai-api-operator", "-n", watched], false),
        ] {
            // The authorizer learns of new bindings from a watch.
            until(&format!("{user}: {right:?} {wanted}"), || {
                std::future::ready(may(&user, &right) == wanted)
            })
            .await;
        }
    }
    // The operator of deploy/base is unchanged.
    let base = "system:serviceaccount:ai-api-system:ai-api-operator";
    assert!(may(base, &["delete", "executions.aiapi.dev", "-n", "team-plain"]));
    assert!(may(
        base,
        &["watch", "validatingadmissionpolicies.admissionregistration.k8s.io/bulkupdates.aiapi.dev"]
    ));
}

#[tokio::test]
async fn an_engines_component_permits_what_the_operator_does_with_it_and_only_where_it_serves() {
    let plane = ControlPlane::get();
    let overlays = Overlays::new("engines");
    let with = |name: &str, base: &str, components: &[&str]| {
        let components: Vec<_> =
            components.iter().map(|name| format!("../deploy/components/{name}")).collect();
        let text = format!("resources: [../deploy/{base}]\ncomponents: [{}]\n", components.join(", "));
        let mut all = objects(&overlays.kustomization(name, &text));
        all.retain(|object| {
            object["metadata"]["name"].as_str().unwrap().starts_with("ai-api-operator-engine-")
        });
        all
    };
    let everywhere = with("engines-everywhere", "base", &["engine-deployment"]);
    let kinds: Vec<_> = everywhere.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ClusterRole", "ClusterRoleBinding"]);
    assert_eq!(everywhere[1]["subjects"][0]["namespace"], "ai-api-system");

    let components = ["engine-deployment", "engine-kueue", "engines-single-namespace"];
    for object in with("engines-of-one", "overlays/single-namespace", &components) {
        let (_, output) = plane.kubectl(&["create", "namespace", "team-a"], "");
        let (ok, applied) = plane.kubectl(&["apply", "--server-side", "-f", "-"], &object.to_string());
        assert!(ok, "{output}{applied}");
    }
    let user = "system:serviceaccount:ai-api-system:ai-api-operator";
    for (verb, resource, namespace, wanted) in [
        ("create", "deployments.apps", "team-a", true),
        ("watch", "deployments.apps", "team-a", true),
        ("patch", "deployments.apps/scale", "team-a", true),
        ("list", "pods", "team-a", true),
        ("update", "deployments.aiapi.dev/finalizers", "team-a", true),
        ("delete", "deployments.apps", "team-a", false),
        ("delete", "pods", "team-a", false),
        ("create", "jobs.batch", "team-a", false),
        ("create", "deployments.apps", "default", false),
    ] {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let subresource = format!("--subresource={subresource}");
        let right = [verb, resource, "-n", namespace, &subresource];
        // The authorizer learns of new bindings from a watch.
        until(&format!("{right:?} {wanted}"), || std::future::ready(may(user, &right) == wanted)).await;
    }
}

#[test]
fn the_shipped_pods_are_restricted_and_leave_their_user_to_the_cluster() {
    let plane = ControlPlane::get();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict",
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let (ok, output) = plane.kubectl(&["create", "-f", "-"], &namespace.to_string());
    assert!(ok, "{output}");
    // The template as a Pod: for a Deployment the API server only warns.
    let admitted = |mut spec: Value| {
        spec["serviceAccountName"] = json!("default");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": "strict"}, "spec": spec});
        plane.kubectl(&["create", "--dry-run=server", "-f", "-"], &pod.to_string())
    };
    for folder in ["base", "overlays/high-availability", "gateway"] {
        let manifests = plane.manifests(folder);
        let deployment = manifests.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let spec = &deployment["spec"]["template"]["spec"];
        let (ok, output) = admitted(spec.clone());
        assert!(ok, "{folder}: {output}");
        // It is that check that admits it.
        for (part, without) in [
            ("/securityContext", "seccompProfile"),
            ("/securityContext", "runAsNonRoot"),
            ("/containers/0/securityContext", "allowPrivilegeEscalation"),
            ("/containers/0/securityContext", "capabilities"),
        ] {
            let mut looser = spec.clone();
            let removed = looser.pointer_mut(part).unwrap().as_object_mut().unwrap().remove(without);
            assert!(removed.is_some(), "{folder}: {part} has no {without}");
            let (ok, output) = admitted(looser);
            assert!(!ok && output.contains("violates PodSecurity"), "{folder}: {output}");
        }
        assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
        // OpenShift's restricted-v2 refuses ids that it has not assigned.
        let text = spec.to_string();
        for id in ["runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"] {
            assert!(!text.contains(id), "{folder} has {id}");
        }
        // So the operator, as another user, reads mounted files as others do.
        for volume in spec["volumes"].as_array().into_iter().flatten() {
            let mode = volume["secret"]["defaultMode"].as_u64().unwrap();
            assert_eq!(mode & 0o004, 0o004, "{folder}: {volume}");
        }
    }
    // Without an id, kubelet needs a numeric user in the image to verify that it is not root.
    let dockerfile = fs::read_to_string(Path::new(PROJECT).join("Dockerfile")).unwrap();
    let user = dockerfile.lines().rfind(|line| line.starts_with("USER ")).unwrap();
    let id: u32 = user["USER ".len()..].split(':').next().unwrap().parse().unwrap();
    assert_ne!(id, 0);
}
