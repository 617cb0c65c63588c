//! `ray.io/v1` RayJob: a Ray cluster, and a job that is submitted to it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    api::EngineKind,
    decode::json::{Malformed, part},
    workload::{
        conditions::{message, time, unknown},
        engine::{Engine, Names, Parts, Phase, PodSelector, Pods, Seen, Stop, StopPatch},
    },
};

pub static RAY_JOB: Engine = Engine {
    kind: EngineKind::RayJob,
    names: Names { longest: 47, letter_first: true },
    queued_by_kueue: true,
    ignored: Some("see whether KubeRay is running"),
    left_behind: None,
    observe,
    pods,
};

/// KubeRay suspends only what also shuts down. Without the second field the `RayJob` becomes `ValidationFailed` for good, and its
/// Pods run on; so does one that gets it in a second patch.
static SUSPEND: StopPatch =
    StopPatch { subresource: None, merge: r#"{"spec":{"suspend":true,"shutdownAfterJobFinishes":true}}"# };

const FOREIGN_CLUSTER: &str = "KubeRay does not suspend a RayJob that runs on a cluster of its clusterSelector: delete it, which stops the Ray job and leaves the cluster";
const DELETION_RULES: &str =
    "KubeRay does not suspend a RayJob with deletionRules: delete it, which deletes its cluster";
const WAITS: &str = "KubeRay does not suspend a RayJob that waits for the id of a Ray job: set spec.jobId, or delete it, which deletes its cluster";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    suspend: bool,
    shutdown_after_job_finishes: bool,
    cluster_selector: BTreeMap<String, String>,
    deletion_strategy: DeletionStrategy,
    submission_mode: String,
    job_id: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeletionStrategy {
    deletion_rules: Vec<serde::de::IgnoredAny>,
}

#[allow(clippy::struct_field_names, reason = "the names are KubeRay's")]
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    /// How far `KubeRay` is.
    job_deployment_status: String,
    /// How far the job is, as Ray says.
    job_status: String,
    reason: Option<String>,
    message: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
}

impl Status {
    /// Whether Ray knows of its job.
    fn has_ray_job(&self) -> bool {
        !self.job_status.is_empty()
    }
}

fn observe(object: &Parts<'_>) -> Result<Seen, Malformed> {
    let spec: Spec = part(object.spec, "spec")?;
    let status: Status = part(object.status, "status")?;
    let waits = status.job_deployment_status == "Waiting";
    let phase = phase(&spec, &status)?;
    let over = matches!(phase, Phase::Completed | Phase::Dead);
    // KubeRay has a startTime also of one that has only been suspended, as Kueue does with what waits.
    let has_run = phase == Phase::Running || status.has_ray_job();
    // A Ray job that somebody has stopped is over without a reason of KubeRay's.
    let reason = status
        .reason
        .as_deref()
        .filter(|reason| !reason.is_empty())
        .or((phase == Phase::Dead).then_some(&*status.job_status));
    Ok(Seen {
        phase,
        message: if phase == Phase::Completed { None } else { message(reason, status.message.as_deref()) },
        started: if has_run { time(status.start_time.as_deref()) } else { None },
        completed: if over { time(status.end_time.as_deref()) } else { None },
        url: None,
        stop: if phase == Phase::Stopped || spec.suspend && spec.shutdown_after_job_finishes {
            Stop::Requested
        } else if !spec.cluster_selector.is_empty() {
            Stop::Impossible(FOREIGN_CLUSTER)
        } else if !spec.deletion_strategy.deletion_rules.is_empty() {
            Stop::Impossible(DELETION_RULES)
        } else if waits && spec.job_id.is_empty() {
            Stop::Impossible(WAITS)
        } else {
            Stop::By(&SUSPEND)
        },
        pods: Pods::Listed(pods_of(object.name, &spec)),
    })
}

fn phase(spec: &Spec, status: &Status) -> Result<Phase, Malformed> {
    Ok(match status.job_deployment_status.as_str() {
        "Suspended" if spec.suspend => Phase::Stopped,
        "" | "Initializing" | "Waiting" | "Retrying" | "Suspended" => Phase::Pending,
        "Suspending" if !status.has_ray_job() => Phase::Pending,
        "Running" | "Suspending" => Phase::Running,
        "Complete" => match status.job_status.as_str() {
            "SUCCEEDED" => Phase::Completed,
            "FAILED" | "STOPPED" => Phase::Dead,
            other => return Err(unknown("status.jobStatus", other)),
        },
        // KubeRay does nothing more about a RayJob whose validation has failed, whatever is mended afterwards.
        "Failed" | "ValidationFailed" => Phase::Dead,
        other => return Err(unknown("status.jobDeploymentStatus", other)),
    })
}

fn pods(object: &Parts<'_>) -> Result<Vec<PodSelector>, Malformed> {
    Ok(pods_of(object.name, &part(object.spec, "spec")?))
}

/// Those of its cluster and of the Job that submits. Once it is suspended, nothing in it says which cluster it had: the cluster's
/// name was generated from its own.
fn pods_of(name: &str, spec: &Spec) -> Vec<PodSelector> {
    let mut pods = Vec::new();
    if spec.cluster_selector.is_empty() {
        // NAME-SUFFIX; before KubeRay 1.4 NAME-raycluster-SUFFIX.
        pods.extend([name.to_owned(), format!("{name}-raycluster")].map(|base| PodSelector {
            labels: "ray.io/cluster".into(),
            controller: Some(("RayCluster", base)),
        }));
    }
    if matches!(spec.submission_mode.as_str(), "" | "K8sJobMode") {
        pods.push(PodSelector::labels(format!("batch.kubernetes.io/job-name={name}")));
    }
    pods
}

#[cfg(test)]
mod tests;
