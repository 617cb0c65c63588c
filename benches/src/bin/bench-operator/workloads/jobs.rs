//! Jobs of one Pod, as objects of their own and as what Executions run, and how many of them there are in a state.

use std::{collections::HashSet, fmt::Debug, pin::pin, sync::Arc, time::Duration};

use ai_api_operator::api::{Kind, TargetStatus};
use futures::StreamExt;
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DynamicObject, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{Config, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    bare::{self, Made, side_by_side},
    lab::{IN_FLIGHT, Lab, delete_all},
};

/// How long a busy machine may take for anything.
const PATIENCE: Duration = Duration::from_mins(15);

/// The spec of a Job. Its Pod runs until it is deleted, or ends at once (dev/control-plane/kwok).
pub fn spec(ends: bool) -> Value {
    let annotations = if ends { json!({"test.aiapi.dev/end": "complete"}) } else { json!({}) };
    json!({"backoffLimit": 0, "template": {"metadata": {"annotations": annotations},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}})
}

/// Creates Jobs; returns their names.
pub async fn create(lab: &Lab, namespace: &str, number: usize, ends: bool) -> Vec<String> {
    let prefix = lab.new_name("job");
    let api: Api<Job> = Api::namespaced(lab.admin.clone(), namespace);
    side_by_side(0..number, IN_FLIGHT, |_, at| {
        let (api, name) = (api.clone(), format!("{prefix}-{at:0>4}"));
        async move {
            let job = json!({"metadata": {"name": name}, "spec": spec(ends)});
            api.create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
            name
        }
    })
    .await
}

/// Creates Executions that run as such Jobs.
pub async fn create_executions(lab: &Lab, namespace: &str, number: usize, ends: bool) -> Vec<Made> {
    let prefix = lab.new_name("run");
    let namespace: Arc<str> = namespace.into();
    let spec = Arc::new(json!({"template": {"apiVersion": "batch/v1", "kind": "Job", "spec": spec(ends)}}));
    side_by_side(0..number, IN_FLIGHT, |_, at| {
        let (client, namespace, spec) = (lab.admin.clone(), Arc::clone(&namespace), Arc::clone(&spec));
        let name = format!("{prefix}-{at:0>4}");
        async move {
            let object = bare::create(&client, (Kind::Execution, &namespace, &name), &spec, None).await;
            let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
            let (uid, version) = (text("uid"), text("resourceVersion"));
            Made { kind: Kind::Execution, namespace, name, uid, version, verb: TargetStatus::Stopped }
        }
    })
    .await
}

/// How many objects of a namespace fulfil a condition, as a watch shows it.
pub struct Count {
    /// `None` until they were listed.
    now: watch::Receiver<Option<usize>>,
    what: String,
}

impl Count {
    fn of<K>(api: Api<K>, what: String, condition: impl Fn(&K) -> bool + Send + 'static) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let (sender, now) = watch::channel(None);
        tokio::spawn(async move {
            let mut events = pin!(watcher(api, Config::default()).default_backoff());
            let (mut those, mut listed) = (None, HashSet::new());
            while let Some(event) = events.next().await {
                match (event, &mut those) {
                    (Ok(Event::InitApply(object)), _) if condition(&object) => {
                        listed.insert(object.name_any());
                    }
                    (Ok(Event::InitDone), _) => those = Some(std::mem::take(&mut listed)),
                    (Ok(Event::Apply(object)), Some(those)) if condition(&object) => {
                        those.insert(object.name_any());
                    }
                    (Ok(Event::Apply(object) | Event::Delete(object)), Some(those)) => {
                        those.remove(&object.name_any());
                    }
                    _ => {}
                }
                if sender.send(those.as_ref().map(HashSet::len)).is_err() {
                    break;
                }
            }
        });
        Self { now, what }
    }

    /// The Pods of a namespace.
    pub fn of_pods(lab: &Lab, namespace: &str) -> Self {
        let api = Api::<Pod>::namespaced(lab.admin.clone(), namespace);
        Self::of(api, format!("Pods in {namespace}"), |_| true)
    }

    /// The Jobs of a namespace of which a Pod is ready.
    pub fn of_running_jobs(lab: &Lab, namespace: &str) -> Self {
        let api = Api::<Job>::namespaced(lab.admin.clone(), namespace);
        let runs = |job: &Job| job.status.as_ref().is_some_and(|status| status.ready == Some(1));
        Self::of(api, format!("Jobs in {namespace} run"), runs)
    }

    /// Its Jobs that have completed.
    pub fn of_completed_jobs(lab: &Lab, namespace: &str) -> Self {
        let api = Api::<Job>::namespaced(lab.admin.clone(), namespace);
        let is_done = |job: &Job| job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
        Self::of(api, format!("Jobs in {namespace} have completed"), is_done)
    }

    /// Its Executions in this state.
    pub fn of_executions(lab: &Lab, namespace: &str, state: &'static str) -> Self {
        let resource = Kind::Execution.api_resource();
        let api = Api::<DynamicObject>::namespaced_with(lab.admin.clone(), namespace, &resource);
        Self::of(api, format!("Executions in {namespace} are {state}"), move |execution: &DynamicObject| {
            execution.data["status"]["state"] == state
        })
    }

    /// Waits until there are so many; returns when that was seen.
    pub async fn is(&mut self, number: usize) -> Timestamp {
        let seen = tokio::time::timeout(PATIENCE, self.now.wait_for(|now| *now == Some(number))).await;
        let seen = seen.map(drop);
        assert!(seen.is_ok(), "{:?} {}, not {number}", *self.now.borrow(), self.what);
        Timestamp::now()
    }
}

/// Deletes everything of a namespace, and waits until the Pods are gone.
pub async fn clear(lab: &Lab, namespace: &str) {
    lab.clear_all(namespace).await;
    let jobs: Api<Job> = Api::namespaced(lab.admin.clone(), namespace);
    delete_all(&jobs, 20).await;
    Count::of_pods(lab, namespace).is(0).await;
}
