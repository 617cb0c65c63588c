//! Kueue as a layer: where it decides when a Job, `JobSet` or `RayJob` runs, nobody else may suspend that, for Kueue would let it
//! start again at once. The stop is a patch of the `Workload` that stands for it in Kueue.

use kube::core::{ApiResource, GroupVersionKind};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    decode::json::{Malformed, part},
    workload::{
        conditions::{Condition, holds},
        engine::{Parts, StopPatch},
    },
};

/// Its API group.
pub const GROUP: &str = "kueue.x-k8s.io";

/// The versions of its `Workload` that can be read, the newest first.
pub const VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];

/// The label with the name of the queue in which a Job, `JobSet` or `RayJob` waits.
pub const QUEUE_NAME: &str = "kueue.x-k8s.io/queue-name";

/// The label of a `Workload` with the uid of what it is for.
pub const JOB_UID: &str = "kueue.x-k8s.io/job-uid";

/// Requests a stop of what a `Workload` is for.
pub static DEACTIVATE: StopPatch = StopPatch { subresource: None, merge: r#"{"spec":{"active":false}}"# };

/// What kube needs to know of a `Workload` in this version of the API.
pub fn workload_resource(version: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, version, "Workload"), "workloads")
}

/// What a `Workload` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The uid of what it is for.
    pub job: Box<str>,
    /// Whether Kueue may let it run: no stop was requested.
    pub active: bool,
    /// Whether quota is reserved for it, so that it may run now.
    pub reserved: bool,
    /// Whether it is over.
    pub finished: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    labels: Labels,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Labels {
    #[serde(rename = "kueue.x-k8s.io/job-uid")]
    job_uid: String,
    #[serde(rename = "kueue.x-k8s.io/queue-name")]
    queue_name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    /// True if absent.
    active: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

/// Reads a `Workload`; `None` if it is not for one object, as that of a group of Pods.
///
/// # Errors
/// When it cannot be understood.
pub fn observe(workload: &Parts<'_>) -> Result<Option<Queued>, Malformed> {
    let Metadata { labels } = part(workload.metadata, "metadata")?;
    if labels.job_uid.is_empty() {
        return Ok(None);
    }
    let spec: Spec = part(workload.spec, "spec")?;
    let status: Status = part(workload.status, "status")?;
    let on = |r#type: &str| holds(&status.conditions, r#type).is_some();
    Ok(Some(Queued {
        job: labels.job_uid.into(),
        active: spec.active.unwrap_or(true),
        // Not Evicted, which comes and goes.
        reserved: on("QuotaReserved"),
        finished: on("Finished"),
    }))
}

/// Whether a Job, `JobSet` or `RayJob` with this metadata waits for Kueue, which may not have made a `Workload` of it yet: it names
/// a queue.
///
/// # Errors
/// When its labels cannot be understood.
pub fn names_a_queue(metadata: Option<&RawValue>) -> Result<bool, Malformed> {
    let Metadata { labels } = part(metadata, "metadata")?;
    Ok(!labels.queue_name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;
    use crate::workload::engines::tests::with_parts;

    fn read(object: &Value) -> Result<Option<Queued>, Malformed> {
        with_parts(object, observe)
    }

    fn workload(spec: &Value, reserved: &str, finished: bool) -> Value {
        let mut conditions = vec![
            json!({"type": "QuotaReserved", "status": reserved}),
            json!({"type": "Evicted", "status": "True"}),
        ];
        if finished {
            conditions.push(json!({"type": "Finished", "status": "True", "reason": "Succeeded"}));
        }
        json!({"metadata": {"labels": {"kueue.x-k8s.io/job-uid": "a-uid"}}, "spec": spec, "status": {"conditions": conditions}})
    }

    #[test]
    fn a_workload_from_the_queue_to_its_end() {
        let seen = |spec: Value, reserved: &str, finished: bool| {
            let queued = read(&workload(&spec, reserved, finished)).unwrap().unwrap();
            assert_eq!(&*queued.job, "a-uid");
            (queued.active, queued.reserved, queued.finished)
        };
        assert_eq!(seen(json!({"queueName": "gpus"}), "False", false), (true, false, false));
        assert_eq!(seen(json!({"active": true}), "True", false), (true, true, false));
        assert_eq!(seen(json!({"active": true}), "True", true), (true, true, true));
        // Deactivated: first on record, then evicted.
        assert_eq!(seen(json!({"active": false}), "True", false), (false, true, false));
        assert_eq!(seen(json!({"active": false}), "False", false), (false, false, false));
    }

    #[test]
    fn a_workload_of_no_single_object_is_left_alone() {
        assert_eq!(read(&json!({"metadata": {"labels": {}}, "spec": {"active": "odd"}})), Ok(None));
        assert_eq!(read(&json!({})), Ok(None));
    }

    #[test]
    fn the_label_of_a_queue_tells_who_waits_for_kueue() {
        let named = |metadata: &Value| names_a_queue(Some(&to_raw_value(metadata).unwrap()));
        assert_eq!(named(&json!({"labels": {"kueue.x-k8s.io/queue-name": "gpus"}})), Ok(true));
        assert_eq!(named(&json!({"labels": {"kueue.x-k8s.io/queue-name": ""}})), Ok(false));
        assert_eq!(named(&json!({"labels": {"app": "x"}})), Ok(false));
        assert_eq!(names_a_queue(None), Ok(false));
        assert_eq!(named(&json!({"labels": 5})).unwrap_err().place, "metadata.labels");
    }

    #[test]
    fn one_that_cannot_be_understood_says_where() {
        assert_eq!(
            read(&workload(&json!({"active": "no"}), "True", false)).unwrap_err().place,
            "spec.active"
        );
    }

    #[test]
    fn its_resource() {
        let resource = workload_resource(VERSIONS[0]);
        assert_eq!((&*resource.api_version, &*resource.plural), ("kueue.x-k8s.io/v1beta2", "workloads"));
    }
    #[test]
    fn the_document_has_its_stop() {
        let text = include_str!("../../docs/workloads.md");
        assert!(text.contains(&format!("is stopped by `{}` of its\nWorkload", DEACTIVATE.merge)));
    }
}
