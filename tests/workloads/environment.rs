//! What the other tests rely on: Jobs that end, Pods that take a while to stop, and an owner that is deleted after them.

use std::{fmt::Debug, pin::pin};

use ai_api_operator::api::Execution;
use futures::StreamExt;
use k8s_openapi::api::{
    batch::v1::{Job, JobCondition},
    core::v1::Pod,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, ObjectList, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{
    DEADLINE,
    control_plane::{ControlPlane, apply},
    until,
};
use tokio::time::timeout;

/// With this annotation a Pod ends: `complete` or `fail` (dev/control-plane/kwok).
const END: &str = "test.aiapi.dev/end";

/// The namespace of one test.
struct Place {
    client: Client,
    namespace: String,
}

impl Place {
    async fn new(name: &str) -> Self {
        let client = ControlPlane::with_nodes().client().await;
        apply(&client, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
        Self { client, namespace: name.to_owned() }
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates a Job of two Pods, which have these annotations.
    async fn job(&self, metadata: Value, annotations: Value) {
        let job = json!({"metadata": metadata, "spec": {"parallelism": 2, "completions": 2, "backoffLimit": 0,
            "template": {"metadata": {"annotations": annotations}, "spec": {"restartPolicy": "Never",
                "containers": [{"name": "main", "image": "none"}]}}}});
        self.api()
            .create(&PostParams::default(), &serde_json::from_value::<Job>(job).unwrap())
            .await
            .unwrap();
    }

    async fn job_until(&self, what: &str, condition: impl Fn(&Job) -> bool) {
        until(what, || async { condition(&self.get().await) }).await;
    }

    /// Creates such a Job and waits until it runs; returns the resourceVersion by then.
    async fn running_job(&self, metadata: Value) -> String {
        self.job(metadata, json!({})).await;
        let ready = |job: &Job| job.status.as_ref().is_some_and(|status| status.ready == Some(2));
        self.job_until("two Pods are ready", ready).await;
        self.pods().await.metadata.resource_version.unwrap()
    }

    async fn get(&self) -> Job {
        self.api().get("train").await.unwrap()
    }

    async fn pods(&self) -> ObjectList<Pod> {
        self.api().list(&ListParams::default()).await.unwrap()
    }

    /// The resourceVersion of the first change after `since` for which `found` holds.
    async fn version<K>(&self, since: &str, mut found: impl FnMut(&WatchEvent<K>) -> bool) -> u64
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let search = async {
            let changes = self.api::<K>().watch(&WatchParams::default(), since).await.unwrap();
            let mut changes = pin!(changes);
            loop {
                let change = changes.next().await.unwrap().unwrap();
                let (WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) =
                    &change
                else {
                    continue;
                };
                if found(&change) {
                    return object.resource_version().unwrap().parse().unwrap();
                }
            }
        };
        let kind = K::kind(&());
        timeout(DEADLINE, search)
            .await
            .unwrap_or_else(|_| panic!("not within {DEADLINE:?}: a change of a {kind}"))
    }

    /// Waits until two Pods are gone; returns the resourceVersion of the last one's end, and the Pods as they were when their
    /// containers had ended.
    async fn pods_gone(&self, since: &str) -> (u64, Vec<Pod>) {
        let (mut ended, mut gone) = (Vec::new(), 0);
        let version = self.version::<Pod>(since, |change| {
            match change {
                WatchEvent::Modified(pod) if has_ended(pod) => ended.push(pod.clone()),
                WatchEvent::Deleted(_) => gone += 1,
                _ => {}
            }
            gone == 2
        });
        (version.await, ended)
    }
}

/// Whether the containers of a Pod have ended in its grace period. After that it has another deletionTimestamp.
fn has_ended(pod: &Pod) -> bool {
    pod.metadata.deletion_grace_period_seconds.is_some_and(|seconds| seconds > 0)
        && pod.status.as_ref().unwrap().phase.as_deref() == Some("Failed")
}

/// How long a Pod ran on after its deletion was requested, in whole seconds.
fn ran_on(pod: &Pod) -> i64 {
    let requested = pod.metadata.deletion_timestamp.as_ref().unwrap().0.as_second()
        - pod.metadata.deletion_grace_period_seconds.unwrap();
    let containers = pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap();
    let end = containers[0].state.as_ref().unwrap().terminated.as_ref().unwrap();
    end.finished_at.as_ref().unwrap().0.as_second() - requested
}

fn condition<'a>(job: &'a Job, name: &str) -> Option<&'a JobCondition> {
    let all = job.status.as_ref()?.conditions.as_ref()?;
    all.iter().find(|c| c.type_ == name && c.status == "True")
}

#[tokio::test]
async fn a_job_completes_when_its_pods_do() {
    let place = Place::new("completes").await;
    place.running_job(json!({"name": "train"})).await;
    assert!(condition(&place.get().await, "Complete").is_none());
    let end = Patch::Merge(json!({"metadata": {"annotations": {END: "complete"}}}));
    for pod in place.pods().await.items {
        place.api::<Pod>().patch(&pod.name_any(), &PatchParams::default(), &end).await.unwrap();
    }
    place.job_until("the Job is complete", |job| condition(job, "Complete").is_some()).await;
}

#[tokio::test]
async fn a_job_fails_when_a_pod_does() {
    let place = Place::new("fails").await;
    place.job(json!({"name": "train"}), json!({END: "fail"})).await;
    place.job_until("the Job has failed", |job| condition(job, "Failed").is_some()).await;
    let job = place.get().await;
    assert_eq!(condition(&job, "Failed").unwrap().reason.as_deref(), Some("BackoffLimitExceeded"));
}

#[tokio::test]
async fn pods_outlive_the_stop_of_their_job() {
    let place = Place::new("suspends").await;
    let since = place.running_job(json!({"name": "train"})).await;
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    place.api::<Job>().patch("train", &PatchParams::default(), &suspend).await.unwrap();
    let suspended = place.version::<Job>(
        &since,
        |change| matches!(change, WatchEvent::Modified(job) if condition(job, "Suspended").is_some()),
    );
    let (suspended, (gone, pods)) = tokio::join!(suspended, place.pods_gone(&since));
    assert!(suspended < gone, "suspended at {suspended}, the last Pod gone at {gone}");
    let ran_on: Vec<i64> = pods.iter().map(ran_on).collect();
    assert!(ran_on.len() >= 2 && ran_on.iter().all(|seconds| *seconds >= 1), "{ran_on:?}");
    place.job_until("no Pod is terminating", |job| job.status.as_ref().unwrap().terminating == Some(0)).await;
    assert!(place.pods().await.items.is_empty());
}

#[tokio::test]
async fn a_foreground_deletion_of_an_owner_waits_for_its_pods() {
    let place = Place::new("foreground").await;
    let owner: Execution =
        serde_json::from_value(json!({"apiVersion": "aiapi.dev/v1alpha1", "kind": "Execution",
        "metadata": {"name": "training-1"}, "spec": {}}))
        .unwrap();
    let executions = place.api::<Execution>();
    let mut owner =
        executions.create(&PostParams::default(), &owner).await.unwrap().controller_owner_ref(&()).unwrap();
    owner.block_owner_deletion = Some(true);
    let since = place.running_job(json!({"name": "train", "ownerReferences": [owner]})).await;
    executions.delete("training-1", &DeleteParams::foreground()).await.unwrap();
    let owner = place.version::<Execution>(&since, |change| matches!(change, WatchEvent::Deleted(_)));
    let (owner, (pods, _)) = tokio::join!(owner, place.pods_gone(&since));
    assert!(pods < owner, "the last Pod gone at {pods}, its owner at {owner}");
}
