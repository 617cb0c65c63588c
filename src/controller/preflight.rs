//! The preflight checks: custom resources, permissions and namespaces that are missing. Each problem is one sentence that says
//! what to do.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, TryStreamExt, future, stream};
use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        coordination::v1::Lease,
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{APIResourceList, MicroTime},
};
use kube::{Client, Resource, api::PostParams, core::request};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

use crate::{
    api::{FIELD_MANAGER, GROUP, Kind, api_version},
    client::{Cluster, Failure, Machine, Next, Reached, backoff, requests, send},
    controller::{election::LEASE, operator::Settings},
    misconfigured::Misconfigured,
    observed::admission::{BULK_UPDATES, WORK},
};

/// Why a check has failed.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(
        "CustomResourceDefinitions are missing: {}; install them with: \
         ai-api-operator crds | kubectl apply --server-side -f -",
        .0.join(", ")
    )]
    Resources(Vec<String>),
    #[error("permissions are missing: {}; grant what the roles in deploy/base grant{hint}", .missing.join(", "))]
    Permissions { missing: Vec<String>, hint: &'static str },
    #[error("the namespace {namespace} does not exist: create it, or name another one with {flag}")]
    Namespace { namespace: String, flag: &'static str },
    /// The API server could not tell.
    #[error(transparent)]
    Unknown(#[from] Failure),
}

/// How long an API server that has just started may take to know its roles and custom resources. Until then it refuses
/// everything (403), and does not serve custom resources (404).
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// How many permissions are asked for at once: there are about twenty for each watched namespace.
const AT_ONCE: usize = 16;

/// Runs the checks. An API server that cannot answer is waited for, one that refuses the credentials only if it may have
/// just started.
pub async fn check(
    cluster: &Cluster,
    client: &Client,
    settings: &Settings,
    machine: &Machine,
) -> Result<(), Misconfigured> {
    let starts = cluster.reach(client).await? == Reached::AfterAnOutage;
    let started = Instant::now() + if starts { STARTS_WITHIN } else { Duration::ZERO };
    for attempt in 1.. {
        let Err(problem) = run(client, settings, machine).await else { break };
        let (misconfigured, wait) = match &problem {
            Problem::Unknown(failure) => (cluster.permit(failure).err(), failure.wait(attempt)),
            missing => (Some(Misconfigured(missing.to_string())), backoff(attempt)),
        };
        match misconfigured {
            Some(misconfigured) if Instant::now() >= started => return Err(misconfigured),
            _ => warn!(%problem, "the preflight checks cannot be completed yet; retrying"),
        }
        tokio::time::sleep(wait).await;
    }
    Ok(())
}

async fn run(client: &Client, settings: &Settings, machine: &Machine) -> Result<(), Problem> {
    let missing = missing_resources(client).await?;
    if !missing.is_empty() {
        return Err(Problem::Resources(missing));
    }
    let asked = permissions(settings).into_iter().map(|permission| denied(client, permission));
    let missing: Vec<_> =
        stream::iter(asked).buffered(AT_ONCE).try_filter_map(future::ok).try_collect().await?;
    if !missing.is_empty() {
        // Permissions by Roles cannot exist in a namespace that does not exist.
        let hint = if settings.watch_namespaces.is_empty() {
            ""
        } else {
            ", or correct the names of the namespaces"
        };
        return Err(Problem::Permissions { missing, hint });
    }
    for namespace in &settings.watch_namespaces {
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": generated_name(),
            "action": "Check", "reason": "Check", "type": "Normal", "eventTime": MicroTime(machine.time()),
            "regarding": {"namespace": namespace},
            "reportingController": FIELD_MANAGER, "reportingInstance": FIELD_MANAGER});
        check_namespace::<Event>(client, namespace, &event, "--watch-namespace").await?;
    }
    let lease =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": generated_name()});
    check_namespace::<Lease>(client, &settings.namespace, &lease, "--namespace").await
}

async fn missing_resources(client: &Client) -> Result<Vec<String>, Failure> {
    let request = http::Request::get(format!("/apis/{}", api_version()))
        .body(vec![])
        .map_err(request::Error::BuildRequest);
    let served: BTreeSet<String> = match send::<APIResourceList>(client, request).await {
        Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
        Err(Failure::NotServed(_)) => BTreeSet::new(),
        Err(failure) if failure.is_not_found() => BTreeSet::new(),
        Err(failure) => return Err(failure),
    };
    let wanted = Kind::ALL.map(Kind::plural).into_iter().chain(["bulkupdates"]);
    Ok(wanted.filter(|name| !served.contains(*name)).map(|name| format!("{name}.{GROUP}")).collect())
}

/// All that `deploy/base` grants.
fn permissions(settings: &Settings) -> Vec<ResourceAttributes> {
    let own = [Some(settings.namespace.clone())];
    let watched: Vec<_> = match &*settings.watch_namespaces {
        [] => vec![None],
        namespaces => namespaces.iter().cloned().map(Some).collect(),
    };
    let mut permissions = Vec::new();
    let mut needs =
        |namespaces: &[Option<String>], group: &str, resource: &str, name: &str, verbs: &[&str]| {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            for (namespace, verb) in namespaces.iter().flat_map(|n| verbs.iter().map(move |verb| (n, verb))) {
                permissions.push(ResourceAttributes {
                    verb: Some((*verb).into()),
                    group: Some(group.into()),
                    resource: Some(resource.into()),
                    subresource: Some(subresource.into()),
                    name: Some(name.into()),
                    namespace: namespace.clone(),
                    ..ResourceAttributes::default()
                });
            }
        };
    needs(&watched, GROUP, "bulkupdates", "", &["get", "list", "watch", "delete"]);
    needs(&watched, GROUP, "bulkupdates/status", "", &["update", "patch"]);
    needs(&watched, "events.k8s.io", "events", "", &["create"]);
    needs(&own, "", "configmaps", &settings.meta_configmap, &["get", "list", "watch"]);
    needs(&own, "coordination.k8s.io", "leases", "", &["create"]);
    needs(&own, "coordination.k8s.io", "leases", LEASE, &["get", "list", "watch", "update"]);
    for kind in Kind::ALL.map(Kind::plural) {
        needs(&watched, GROUP, kind, "", &["get", "list", "watch", "delete"]);
        needs(&watched, GROUP, &format!("{kind}/status"), "", &["patch"]);
    }
    if settings.require_admission_policy {
        for resource in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
            for name in [BULK_UPDATES, WORK] {
                needs(&[None], "admissionregistration.k8s.io", resource, name, &["list", "watch"]);
            }
        }
    }
    permissions
}

/// The permission in words if it is missing, with what kept the API server from finding it, if anything did.
async fn denied(client: &Client, permission: ResourceAttributes) -> Result<Option<String>, Failure> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(permission.clone()),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let url = SelfSubjectAccessReview::url_path(&(), None);
    let answer: SelfSubjectAccessReview =
        requests::create(client, url, &review, &PostParams::default()).await?;
    let status = answer.status.unwrap_or_default();
    let error = status.evaluation_error.map(|error| format!(" ({error})")).unwrap_or_default();
    Ok((!status.allowed).then(|| in_words(&permission) + &error))
}

/// Such as `delete executions.aiapi.dev in namespace team-a`.
fn in_words(permission: &ResourceAttributes) -> String {
    let part = |before: &str, part: &Option<String>| match part.as_deref() {
        None | Some("") => String::new(),
        Some(part) => format!("{before}{part}"),
    };
    let place = match &permission.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => " cluster-wide".to_owned(),
    };
    let ResourceAttributes { verb, resource, group, subresource, name, .. } = permission;
    let resource = part(" ", resource) + &part(".", group) + &part("/", subresource);
    part("", verb) + &resource + &part(" ", name) + &place
}

fn generated_name() -> serde_json::Value {
    json!({"generateName": format!("{FIELD_MANAGER}-")})
}

/// Creates the object in the namespace as a dry run, which is refused where the namespace does not exist. To read the namespace
/// itself would take one more permission.
async fn check_namespace<K: Resource<DynamicType = ()>>(
    client: &Client,
    namespace: &str,
    object: &serde_json::Value,
    flag: &'static str,
) -> Result<(), Problem> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let url = K::url_path(&(), Some(namespace));
    match requests::create::<IgnoredAny>(client, url, object, &dry_run).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_not_found() => {
            Err(Problem::Namespace { namespace: namespace.to_owned(), flag })
        }
        Err(failure) if failure.next() == Next::Retry => Err(failure.into()),
        // The namespace exists, and something refuses this object.
        Err(failure) => {
            warn!(namespace, %failure, "a dry-run create in this namespace was refused");
            Ok(())
        }
    }
}
