//! The preflight checks: custom resources, permissions and namespaces that are missing. Each problem is one sentence that says
//! what to do.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        coordination::v1::Lease,
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{APIResourceList, MicroTime},
    jiff::Timestamp,
};
use kube::{Client, Resource, api::PostParams, core::request};
use serde::de::IgnoredAny;
use serde_json::json;
use tracing::warn;

use crate::{
    api::{FIELD_MANAGER, GROUP, Kind, api_version},
    client::{Cluster, Failure, Next, requests, send},
    controller::{election::LEASE, operator::Settings},
    misconfigured::Misconfigured,
    observed::admission::POLICY,
};

/// Runs the checks. An API server that cannot answer is waited for, one that refuses the credentials is not.
pub async fn check(cluster: &Cluster, client: &Client, settings: &Settings) -> Result<(), Misconfigured> {
    cluster.reach().await?;
    let mut attempt = 0;
    loop {
        match problem(client, settings).await {
            Ok(problem) => return problem.map_or(Ok(()), |problem| Err(Misconfigured(problem))),
            Err(failure) => {
                cluster.permit(&failure)?;
                attempt += 1;
                warn!(%failure, "the preflight checks cannot be completed yet; trying again");
                tokio::time::sleep(failure.wait(attempt)).await;
            }
        }
    }
}

/// What is wrong, if anything is; fails if the API server cannot tell.
async fn problem(client: &Client, settings: &Settings) -> Result<Option<String>, Failure> {
    let missing = missing_resources(client).await?;
    if !missing.is_empty() {
        let install = "install them with: ai-api-operator crds | kubectl apply --server-side -f -";
        let missing = missing.join(", ");
        return Ok(Some(format!("CustomResourceDefinitions are missing: {missing}; {install}")));
    }
    let mut missing = Vec::new();
    for permission in permissions(settings) {
        missing.extend(denied(client, permission).await?);
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        // Permissions by Roles cannot exist in a namespace that does not exist.
        let or = match &*settings.watch_namespaces {
            [] => "",
            _ => ", or correct the names of the namespaces",
        };
        let grant = "grant what the roles in deploy/base grant";
        return Ok(Some(format!("permissions are missing: {missing}; {grant}{or}")));
    }
    for namespace in &settings.watch_namespaces {
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": generated_name(),
            "action": "Check", "reason": "Check", "type": "Normal", "eventTime": MicroTime(Timestamp::now()),
            "regarding": {"namespace": namespace},
            "reportingController": FIELD_MANAGER, "reportingInstance": FIELD_MANAGER});
        let absent = absent::<Event>(client, namespace, &event, "--watch-namespace").await?;
        if absent.is_some() {
            return Ok(absent);
        }
    }
    let lease =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": generated_name()});
    absent::<Lease>(client, &settings.namespace, &lease, "--namespace").await
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
    let watched = settings.namespaces();
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
            needs(&[None], "admissionregistration.k8s.io", resource, POLICY, &["list", "watch"]);
        }
    }
    permissions
}

/// The permission in words if it is missing, with what kept the API server from finding it, if anything did.
async fn denied(client: &Client, permission: ResourceAttributes) -> Result<Option<String>, Failure> {
    let words = in_words(&permission);
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(permission), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let url = SelfSubjectAccessReview::url_path(&(), None);
    let answer: SelfSubjectAccessReview =
        requests::create(client, url, &review, &PostParams::default()).await?;
    let status = answer.status.unwrap_or_default();
    let error = status.evaluation_error.map(|error| format!(" ({error})")).unwrap_or_default();
    Ok((!status.allowed).then(|| words + &error))
}

/// Such as `delete executions.aiapi.dev in namespace team-a`.
fn in_words(permission: &ResourceAttributes) -> String {
    let ResourceAttributes { verb, resource, group, subresource, name, namespace, .. } = permission;
    let parts = [("", verb), (" ", resource), (".", group), ("/", subresource), (" ", name)];
    let parts = parts.into_iter().filter_map(|(before, part)| Some((before, part.as_deref()?)));
    let words: String = parts.filter(|(_, part)| !part.is_empty()).flat_map(<[&str; 2]>::from).collect();
    match namespace {
        Some(namespace) => format!("{words} in namespace {namespace}"),
        None => words + " cluster-wide",
    }
}

fn generated_name() -> serde_json::Value {
    json!({"generateName": format!("{FIELD_MANAGER}-")})
}

/// Creates the object in the namespace as a dry run, which is refused where the namespace does not exist. To read the namespace
/// itself would take one more permission.
async fn absent<K: Resource<DynamicType = ()>>(
    client: &Client,
    namespace: &str,
    object: &serde_json::Value,
    flag: &str,
) -> Result<Option<String>, Failure> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let url = K::url_path(&(), Some(namespace));
    match requests::create::<IgnoredAny>(client, url, object, &dry_run).await {
        Ok(_) => Ok(None),
        Err(failure) if failure.is_not_found() => Ok(Some(format!(
            "the namespace {namespace} does not exist: create it, or name another one with {flag}"
        ))),
        Err(failure) if failure.next() == Next::Retry => Err(failure),
        // The namespace exists, and something refuses this object.
        Err(failure) => {
            warn!(namespace, %failure, "a dry-run create in this namespace was refused");
            Ok(None)
        }
    }
}
