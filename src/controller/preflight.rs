//! What can be known to be wrong before anything is done: missing custom resources, rights and namespaces. Each is told
//! in one sentence that says what to do.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        coordination::v1::Lease,
        core::v1::ObjectReference,
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::{APIResourceList, MicroTime},
    jiff::Timestamp,
};
use kube::{
    Client, Resource,
    api::{ObjectMeta, PostParams},
    core::request,
};
use serde::de::IgnoredAny;
use tracing::warn;

use crate::{
    api::{FIELD_MANAGER, GROUP, Kind, api_version},
    client::{Cluster, Failure, Next, requests, send},
    controller::{election::LEASE, settings::Settings},
    misconfigured::Misconfigured,
    observed::admission::POLICY,
};

/// Where a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// In each namespace that is watched, or in all.
    Watched,
    /// In the operator's own namespace.
    Own,
    /// The resource has no namespaces.
    Cluster,
}

/// A resource, and what the operator does with it.
struct Rights {
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    name: Option<String>,
    within: Within,
    verbs: &'static [&'static str],
}

/// All that `deploy/base` grants.
fn rights(settings: &Settings) -> Vec<Rights> {
    let right = |group, resource, within, verbs| Rights {
        group,
        resource,
        subresource: "",
        name: None,
        within,
        verbs,
    };
    let status =
        |resource, verbs| Rights { subresource: "status", ..right(GROUP, resource, Within::Watched, verbs) };
    let bulk_updates = "bulkupdates";
    let mut rights = vec![
        right(GROUP, bulk_updates, Within::Watched, &["get", "list", "watch", "delete"]),
        status(bulk_updates, &["update", "patch"]),
        right("events.k8s.io", "events", Within::Watched, &["create"]),
        Rights {
            name: Some(settings.meta_configmap.clone()),
            ..right("", "configmaps", Within::Own, &["get", "list", "watch"])
        },
        right("coordination.k8s.io", "leases", Within::Own, &["create"]),
        Rights {
            name: Some(LEASE.into()),
            ..right("coordination.k8s.io", "leases", Within::Own, &["get", "list", "watch", "update"])
        },
    ];
    for kind in Kind::ALL {
        rights.push(right(GROUP, kind.plural(), Within::Watched, &["get", "list", "watch", "delete"]));
        rights.push(status(kind.plural(), &["patch"]));
    }
    if settings.require_admission_policy {
        for resource in ["validatingadmissionpolicies", "validatingadmissionpolicybindings"] {
            let group = "admissionregistration.k8s.io";
            rights.push(Rights {
                name: Some(POLICY.into()),
                ..right(group, resource, Within::Cluster, &["list", "watch"])
            });
        }
    }
    rights
}

/// Looks for what is missing. Waits for an API server that can't answer, not for one that does not take the credentials.
///
/// # Errors
/// [`Misconfigured`].
pub async fn check(cluster: &Cluster, client: &Client, settings: &Settings) -> Result<(), Misconfigured> {
    cluster.reach().await?;
    for attempt in 1.. {
        let failure = match checked(client, settings).await {
            Ok(found) => return found,
            Err(failure) => failure,
        };
        cluster.permit(&failure)?;
        warn!(%failure, "the API server can't say yet whether all is installed; trying again");
        tokio::time::sleep(failure.wait(attempt)).await;
    }
    Ok(())
}

async fn checked(client: &Client, settings: &Settings) -> Result<Result<(), Misconfigured>, Failure> {
    let missing = missing_resources(client).await?;
    if !missing.is_empty() {
        return Ok(Err(Misconfigured(format!(
            "not installed: the CustomResourceDefinition{} {}; install what is missing with: \
             ai-api-operator crds | kubectl apply --server-side -f -",
            if missing.len() == 1 { "" } else { "s" },
            missing.join(", ")
        ))));
    }
    let missing = missing_rights(client, settings).await?;
    if !missing.is_empty() {
        return Ok(Err(Misconfigured(format!(
            "this user may not {}; grant it what the roles in deploy/base grant{}",
            missing.join(", "),
            // Nobody has rights in a namespace that is not there, unless they have them everywhere.
            if settings.watch_namespaces.is_empty() { "" } else { " (or is there no such namespace?)" }
        ))));
    }
    for (namespace, own) in
        settings.watch_namespaces.iter().map(|n| (n, false)).chain([(&settings.namespace, true)])
    {
        if let Some(why) = no_namespace(client, namespace, own).await? {
            return Ok(Err(Misconfigured(why)));
        }
    }
    Ok(Ok(()))
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

async fn missing_rights(client: &Client, settings: &Settings) -> Result<Vec<String>, Failure> {
    let watched: Vec<_> = if settings.watch_namespaces.is_empty() {
        vec![None]
    } else {
        settings.watch_namespaces.iter().map(Some).collect()
    };
    let mut missing = Vec::new();
    for right in rights(settings) {
        let namespaces = match right.within {
            Within::Watched => watched.clone(),
            Within::Own => vec![Some(&settings.namespace)],
            Within::Cluster => vec![None],
        };
        for namespace in namespaces {
            for verb in right.verbs {
                if let Some(why) = may_not(client, verb, &right, namespace).await? {
                    missing.push(in_words(verb, &right, namespace) + &why);
                }
            }
        }
    }
    Ok(missing)
}

/// Whether a right is missing; and what kept the API server from finding it, if anything did.
async fn may_not(
    client: &Client,
    verb: &str,
    right: &Rights,
    namespace: Option<&String>,
) -> Result<Option<String>, Failure> {
    let asked = ResourceAttributes {
        verb: Some(verb.into()),
        group: Some(right.group.into()),
        resource: Some(right.resource.into()),
        subresource: Some(right.subresource.into()),
        name: right.name.clone(),
        namespace: namespace.cloned(),
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(asked),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let url = SelfSubjectAccessReview::url_path(&(), None);
    let answer: SelfSubjectAccessReview =
        requests::create(client, url, &review, &PostParams::default()).await?;
    let status = answer.status.unwrap_or_default();
    let trouble = status.evaluation_error.map(|error| format!(" ({error})")).unwrap_or_default();
    Ok((!status.allowed).then_some(trouble))
}

/// `delete executions.aiapi.dev`, and where.
fn in_words(verb: &str, right: &Rights, namespace: Option<&String>) -> String {
    let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
    let subresource =
        if right.subresource.is_empty() { String::new() } else { format!("/{}", right.subresource) };
    let name = right.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let place = match (right.within, namespace) {
        (Within::Cluster, _) => String::new(),
        (_, Some(namespace)) => format!(" in namespace {namespace}"),
        (_, None) => " in all namespaces".to_owned(),
    };
    format!("{verb} {}{group}{subresource}{name}{place}", right.resource)
}

/// Why nothing can be made in a namespace, if so. To read namespaces would take one more right; what is made on trial in one
/// that does not exist is refused as well.
async fn no_namespace(client: &Client, namespace: &str, own: bool) -> Result<Option<String>, Failure> {
    let on_trial = PostParams { dry_run: true, ..PostParams::default() };
    let metadata = ObjectMeta { generate_name: Some(format!("{FIELD_MANAGER}-")), ..ObjectMeta::default() };
    let tried = if own {
        let lease = Lease { metadata, ..Lease::default() };
        requests::create::<IgnoredAny>(client, Lease::url_path(&(), Some(namespace)), &lease, &on_trial)
            .await
            .map(drop)
    } else {
        let event = Event {
            metadata,
            action: Some("Check".into()),
            event_time: Some(MicroTime(Timestamp::now())),
            reason: Some("Check".into()),
            regarding: Some(ObjectReference {
                namespace: Some(namespace.into()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(FIELD_MANAGER.into()),
            reporting_instance: Some(FIELD_MANAGER.into()),
            type_: Some("Normal".into()),
            ..Event::default()
        };
        requests::create::<IgnoredAny>(client, Event::url_path(&(), Some(namespace)), &event, &on_trial)
            .await
            .map(drop)
    };
    let flag = if own { "--namespace" } else { "--watch-namespace" };
    match tried {
        Ok(()) => Ok(None),
        Err(failure) if failure.is_not_found() => Ok(Some(format!(
            "the namespace {namespace} does not exist: create it, or name another with {flag}"
        ))),
        Err(failure) if failure.next() == Next::Retry => Err(failure),
        // It is there, and will not take just this.
        Err(failure) => {
            warn!(namespace, %failure, "nothing can be made here on trial");
            Ok(None)
        }
    }
}
