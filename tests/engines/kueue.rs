//! Executions that Kueue queues: Jobs and `JobSets`.

use ai_api_operator::api::EngineKind;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use support::{World, control_plane::apply, on_nodes::end_pods, until, until_ok};

use crate::{
    Tests,
    engine::{Engine, NAME},
    history::{Change, History},
    jobset, kuberay,
    life::{self, nothing},
};

pub const TESTS: Tests = crate::tests![
    it_runs_and_completes,
    one_that_fails_is_dead_and_says_why,
    it_is_stopped_and_deleted,
    one_that_was_stopped_never_starts_again,
    one_that_waits_is_stopped_and_never_runs,
    one_without_a_workload_waits_for_it_and_never_runs,
    one_that_is_started_again_by_hand_is_stopped_again,
    one_that_is_suspended_by_hand_is_restarted_by_kueue,
];

pub const JOB_SET_TESTS: Tests = crate::tests![a_job_set_is_stopped_and_deleted];

pub const RAY_JOB_TESTS: Tests =
    crate::tests![a_ray_job_is_stopped_and_deleted, a_ray_job_that_waits_is_stopped_and_never_runs];

const JOB: Engine = Engine {
    name: "Job under Kueue",
    kind: EngineKind::Job,
    components: &["engine-job", "engine-kueue"],
    template: job,
    pods: 2,
    is_stop: is_deactivated,
};

const JOB_SET: Engine = Engine {
    name: "JobSet under Kueue",
    kind: EngineKind::JobSet,
    components: &["engine-jobset", "engine-kueue"],
    template: job_set,
    pods: 3,
    is_stop: is_deactivated,
};

const RAY_JOB: Engine = Engine {
    name: "RayJob under Kueue",
    kind: EngineKind::RayJob,
    components: &["engine-rayjob", "engine-kueue"],
    template: ray_job,
    pods: 3,
    is_stop: is_deactivated,
};

/// Two Pods of one CPU each.
fn job() -> Value {
    json!({"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}, "spec": {
        "parallelism": 2, "completions": 2, "backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "main", "image": "none", "resources": {"requests": {"cpu": 1}}}]}}}})
}

fn job_set() -> Value {
    let mut template = jobset::template();
    template["metadata"] = json!({"labels": {"kueue.x-k8s.io/queue-name": "gpus"}});
    for group in template["spec"]["replicatedJobs"].as_array_mut().unwrap() {
        let container = &mut group["template"]["spec"]["template"]["spec"]["containers"][0];
        container["resources"] = json!({"requests": {"cpu": 1}});
    }
    template
}

/// The queue has no memory, which the Pod that submits would want by default; Kueue takes only those that shut down.
fn ray_job() -> Value {
    let mut template = kuberay::template();
    template["metadata"] = json!({"labels": {"kueue.x-k8s.io/queue-name": "gpus"}});
    template["spec"]["shutdownAfterJobFinishes"] = true.into();
    template["spec"]["submitterPodTemplate"] = json!({"spec": {"restartPolicy": "Never",
        "containers": [{"name": "submitter", "image": "none", "resources": {"requests": {"cpu": 1}}}]}});
    template
}

fn is_deactivated(change: &Change) -> bool {
    change.kind == "Workload" && change.get("/spec/active") == false
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("kueue.x-k8s.io", "v1beta2", kind))
}

/// What Kueue makes of what it queues.
pub fn workloads() -> ApiResource {
    resource("Workload")
}

/// Creates the queue `gpus` in the namespace of a world, in which there is room for so many CPUs.
pub async fn create_queue(world: &World, cpus: usize) {
    let (name, namespace) = (&world.namespace, &world.namespace);
    let manifest = |kind: &str, metadata: Value, spec: Value| json!({"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": metadata, "spec": spec});
    let flavor = json!({"name": "any", "resources": [{"name": "cpu", "nominalQuota": cpus}]});
    let groups = json!([{"coveredResources": ["cpu"], "flavors": [flavor]}]);
    for manifest in [
        manifest("ResourceFlavor", json!({"name": "any"}), json!({})),
        manifest(
            "ClusterQueue",
            json!({"name": name}),
            json!({"namespaceSelector": {}, "resourceGroups": groups}),
        ),
        manifest(
            "LocalQueue",
            json!({"name": "gpus", "namespace": namespace}),
            json!({"clusterQueue": name}),
        ),
    ] {
        apply(&world.client, manifest).await;
    }
}

/// The `Workload` of what an Execution runs, if it has one.
async fn workload(world: &World, name: &str) -> Option<DynamicObject> {
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &workloads());
    let all = api.list(&kube::api::ListParams::default()).await.unwrap();
    all.into_iter().find(|workload| workload.owner_references().iter().any(|owner| owner.name == name))
}

/// Whether a change shows a Pod of what an Execution runs that was not there before this version.
fn is_new_pod(name: &str, since: u64, history: &History) -> bool {
    let pods = history.all(|change| change.kind == "Pod" && change.is_of(name));
    let known = |pod: &Change| pods.iter().any(|other| other.uid() == pod.uid() && other.version <= since);
    pods.iter().any(|pod| !known(pod))
}

async fn it_runs_and_completes() {
    let end = async |world: &World| end_pods(world, "", "complete").await;
    life::completes(&JOB, "kueue-completes", end).await;
}

async fn one_that_fails_is_dead_and_says_why() {
    let end = async |world: &World| end_pods(world, "", "fail").await;
    let (world, history) = life::dies(&JOB, "kueue-fails", end, "BackoffLimitExceeded").await;
    life::delete(&JOB, &world, &history).await;
}

async fn it_is_stopped_and_deleted() {
    life::stops(&JOB, "kueue-stops", nothing).await;
}

async fn a_job_set_is_stopped_and_deleted() {
    life::stops(&JOB_SET, "kueue-jobset-stops", nothing).await;
}

async fn a_ray_job_is_stopped_and_deleted() {
    life::stops(&RAY_JOB, "kueue-ray-stops", nothing).await;
}

/// KubeRay says of it that it is suspending, though it has not run: then it is not RUNNING.
async fn a_ray_job_that_waits_is_stopped_and_never_runs() {
    let (world, history) = RAY_JOB.running_in("kueue-ray-queued", "work-2").await;
    RAY_JOB.create(&world, NAME).await;
    until("it is suspended", || async {
        let ray_job = RAY_JOB.objects(&world).get_opt(NAME).await.unwrap();
        ray_job.is_some_and(|ray_job| ray_job.data["status"]["jobDeploymentStatus"] == "Suspended")
    })
    .await;
    world.carry_out("stop", RAY_JOB.request(NAME, "STOPPED")).await;
    let stopped = RAY_JOB.state(&world, NAME, "STOPPED").await;
    assert_eq!(history.states("Execution", NAME), ["UNKNOWN", "PENDING", "STOPPING", "STOPPED"]);
    assert_eq!(stopped["startTime"], Value::Null);
    world.carry_out("make-room", RAY_JOB.request("work-2", "STOPPED")).await;
    RAY_JOB.create(&world, "work-3").await;
    RAY_JOB.state(&world, "work-3", "RUNNING").await;
    assert!(!is_new_pod(NAME, 0, &history));
    RAY_JOB.state(&world, NAME, "STOPPED").await;
}

/// Kueue admits one that waited, and one that came later, and has room in between.
async fn others_run(world: &World) {
    JOB.state(world, "work-2", "RUNNING").await;
    end_pods(world, "", "complete").await;
    JOB.state(world, "work-2", "COMPLETED").await;
    JOB.create(world, "work-3").await;
    JOB.state(world, "work-3", "RUNNING").await;
}

async fn one_that_was_stopped_never_starts_again() {
    let (world, history) = JOB.running_in("kueue-never-again", NAME).await;
    JOB.create(&world, "work-2").await;
    until("another one waits", || async { workload(&world, "work-2").await.is_some() }).await;
    life::stop(&JOB, &world, &history, nothing).await;
    let stop = history.until("the stop", |change| is_deactivated(change) && change.is_of("job-work-1")).await;
    others_run(&world).await;
    assert!(!is_new_pod(NAME, stop.version, &history));
    let is_started = |change: &Change| {
        let is_it = change.kind == "Job" && change.name == NAME && change.version > stop.version;
        is_it && change.get("/spec/suspend") == false
    };
    let suspended = history
        .until("it is suspended", |change| {
            change.kind == "Job"
                && change.name == NAME
                && change.version > stop.version
                && change.get("/spec/suspend") == true
        })
        .await;
    let started = history.all(|change| is_started(change) && change.version > suspended.version);
    assert!(started.is_empty(), "{started:?}");
    JOB.state(&world, NAME, "STOPPED").await;
}

async fn one_that_waits_is_stopped_and_never_runs() {
    let (world, history) = JOB.running_in("kueue-queued", "work-2").await;
    JOB.create(&world, NAME).await;
    until("it waits", || async { workload(&world, NAME).await.is_some() }).await;
    JOB.state(&world, NAME, "PENDING").await;
    world.carry_out("stop", JOB.request(NAME, "STOPPED")).await;
    JOB.state(&world, NAME, "STOPPED").await;
    others_run(&world).await;
    assert!(!is_new_pod(NAME, 0, &history));
    JOB.state(&world, NAME, "STOPPED").await;
}

async fn one_without_a_workload_waits_for_it_and_never_runs() {
    let (world, history) = JOB.running_in("kueue-unseen", "work-2").await;
    // Kueue may create no second one.
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "one", "namespace": world.namespace},
        "spec": {"hard": {"count/workloads.kueue.x-k8s.io": "1"}}});
    apply(&world.client, quota).await;
    let quotas = Api::<ResourceQuota>::namespaced(world.client.clone(), &world.namespace);
    until("the quota counts", || async {
        let status = quotas.get("one").await.unwrap().status;
        status.is_some_and(|status| status.used.is_some_and(|used| !used.is_empty()))
    })
    .await;
    JOB.create(&world, NAME).await;
    until("its Job", || async { JOB.objects(&world).get_opt(NAME).await.unwrap().is_some() }).await;
    world.submit("stop", JOB.request(NAME, "STOPPED")).await;
    until_ok("it waits for its Workload", || async {
        let status = support::on_nodes::status(&world, JOB.of(), NAME).await;
        let message = status["message"].as_str().unwrap_or_default();
        if status["state"] == "STOPPING" && message.contains("has not created its Workload") {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    assert!(workload(&world, NAME).await.is_none());
    quotas.delete("one", &DeleteParams::default()).await.unwrap();
    // Or Kueue would try again only after a while.
    let touch = Patch::Merge(json!({"metadata": {"annotations": {"touched": "yes"}}}));
    JOB.objects(&world).patch(NAME, &PatchParams::default(), &touch).await.unwrap();
    JOB.state(&world, NAME, "STOPPED").await;
    assert_eq!(workload(&world, NAME).await.unwrap().data["spec"]["active"], false);
    others_run(&world).await;
    assert!(!is_new_pod(NAME, 0, &history));
    JOB.state(&world, NAME, "STOPPED").await;
}

/// By way of its Job, which Kueue does not let happen, and of its Workload, which the operator undoes.
async fn one_that_is_started_again_by_hand_is_stopped_again() {
    let (world, history) = JOB.running_in("kueue-resumed", NAME).await;
    life::stop(&JOB, &world, &history, nothing).await;
    let resume = Patch::Merge(json!({"spec": {"suspend": false}}));
    JOB.objects(&world).patch(NAME, &PatchParams::default(), &resume).await.unwrap();
    until("Kueue suspends it", || async {
        JOB.objects(&world).get(NAME).await.unwrap().data["spec"]["suspend"] == true
    })
    .await;
    let queued = workload(&world, NAME).await.unwrap();
    assert_eq!(queued.data["spec"]["active"], false);
    let activate = Patch::Merge(json!({"spec": {"active": true}}));
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &workloads());
    let name = queued.name_any();
    let activated = api.patch(&name, &PatchParams::default(), &activate).await.unwrap();
    let activated: u64 = activated.resource_version().unwrap().parse().unwrap();
    history
        .until("the stop is requested again", |change| is_deactivated(change) && change.version > activated)
        .await;
    until("no Pod is left", || async { support::on_nodes::pods(&world).await == 0 }).await;
    JOB.state(&world, NAME, "STOPPED").await;
}

/// Why a stop is not a patch of the Job.
async fn one_that_is_suspended_by_hand_is_restarted_by_kueue() {
    let (world, history) = JOB.running_in("kueue-suspended", NAME).await;
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    let suspended = JOB.objects(&world).patch(NAME, &PatchParams::default(), &suspend).await.unwrap();
    let since: u64 = suspended.resource_version().unwrap().parse().unwrap();
    until("other Pods run", || std::future::ready(is_new_pod(NAME, since, &history))).await;
    JOB.running(&world, NAME).await;
    let states = history.states("Execution", NAME);
    assert!(!states.contains(&"STOPPED".to_owned()), "{states:?}");
}
