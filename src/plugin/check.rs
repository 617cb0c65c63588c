//! What works and what does not, in the order in which one would look.

use std::fmt::Display;

use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::Deployment,
    coordination::v1::Lease,
};
use kube::Resource;
use serde::Deserialize;
use serde_json::Value;

use super::{
    console::Tone,
    preflight::{flags, may, place},
    problem::Problem,
    session::{BRIEFLY, Session, retried},
};
use crate::{
    api::{FIELD_MANAGER, GROUP, Kind, TargetStatus, api_version},
    client::Failure,
    decode::object::Lenient,
    observed::{admission::compare::Shipped, flag::Flags},
    plugin::{
        batches::verb,
        names::{self, age},
    },
};

/// What came of one check.
enum Finding {
    Works(String),
    Fails(String),
    /// Its user may not know.
    Unknown(String),
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

pub async fn check(session: &Session) -> Result<(), Problem> {
    let mut all_work = true;
    let mut report = |what: &str, finding: Finding| {
        let (word, tone, text) = match finding {
            Finding::Works(text) => ("ok", Tone::Good, text),
            Finding::Unknown(text) => ("unknown", Tone::Bad, text),
            Finding::Fails(text) => {
                all_work = false;
                ("FAILED", Tone::Bad, text)
            }
        };
        let word = session.console.toned(format_args!("{word:<7}"), tone);
        session.console.print(format_args!("{word}  {what}: {text}"))
    };
    let server = api_server(session).await;
    let reached = matches!(server, Finding::Works(_));
    report("API server", server)?;
    if !reached {
        return Err(Problem::NotAllDone);
    }
    report("custom resources", custom_resources(session).await)?;
    report("admission policy", policy(session, Shipped::for_bulk_updates(), "nothing is planned").await)?;
    report(
        "admission policy",
        policy(session, Shipped::for_work(), "what is made with work is not run").await,
    )?;
    report("operator", operator(session).await)?;
    report("flag", flag(session).await)?;
    let wanted = [
        ("create", "bulkupdates"),
        ("list", "bulkupdates"),
        ("watch", "bulkupdates"),
        ("delete", "bulkupdates"),
        ("get", "executions"),
        ("list", "executions"),
        ("get", "deployments"),
        ("list", "deployments"),
    ];
    for (verb, resource) in wanted {
        report("your permissions", right(session, verb, resource).await?)?;
    }
    for kind in Kind::ALL {
        for operation in [TargetStatus::Stopped, TargetStatus::Deleted] {
            report("your permissions", right(session, verb(operation), kind.plural()).await?)?;
        }
    }
    if all_work { Ok(()) } else { Err(Problem::NotAllDone) }
}

/// What a failed read means: a missing right says nothing about what was to be read.
fn unread(what: impl Display, failure: &Failure) -> Finding {
    match failure {
        Failure::Refused { code: 403, .. } => {
            Finding::Unknown(format!("you are not permitted to read {what}"))
        }
        failure => Finding::Fails(format!("{what} cannot be read: {failure}")),
    }
}

async fn api_server(session: &Session) -> Finding {
    let version: Result<Value, _> = retried(BRIEFLY, async || session.get("/version").await).await;
    let version = match version {
        Ok(version) => version["gitVersion"].as_str().unwrap_or("unknown").to_owned(),
        Err(Failure::Refused { code: 403, .. }) => "unknown".into(),
        Err(failure) => return Finding::Fails(format!("{} does not answer: {failure}", session.server)),
    };
    match session.user().await {
        Ok(user) => Finding::Works(format!("{} is Kubernetes {version}, and you are {user}", session.server)),
        Err(failure) => Finding::Fails(format!("{} does not know you: {failure}", session.server)),
    }
}

async fn custom_resources(session: &Session) -> Finding {
    let url = format!("/apis/{}", api_version());
    let served: Result<Resources, _> = retried(BRIEFLY, async || session.get(&url).await).await;
    match served {
        Ok(served) => {
            let wanted = ["bulkupdates", "deployments", "executions"];
            let is_served = |wanted: &&str| !served.resources.iter().any(|served| served.name == **wanted);
            let missing: Vec<_> = wanted.into_iter().filter(|wanted| is_served(wanted)).collect();
            if missing.is_empty() {
                Finding::Works(format!("{} is served", api_version()))
            } else {
                Finding::Fails(format!(
                    "{GROUP} does not serve {}: install the CRDs of this version",
                    missing.join(", ")
                ))
            }
        }
        Err(_) => Finding::Fails(format!("{} is not served: install ai-api-operator", api_version())),
    }
}

async fn policy(session: &Session, shipped: Option<&Shipped>, consequence: &str) -> Finding {
    let Some(shipped) = shipped else { return Finding::Fails("none was shipped".into()) };
    let name = shipped.name();
    let consequence = format!("until that is mended, {consequence}: install it again");
    let policy = session.read::<Lenient>(&ValidatingAdmissionPolicy::url_path(&(), None), name).await;
    let policy = match policy {
        Ok(Some(policy)) => policy,
        Ok(None) => {
            return Finding::Fails(format!("ValidatingAdmissionPolicy {name} does not exist; {consequence}"));
        }
        Err(failure) => return unread(format_args!("ValidatingAdmissionPolicy {name}"), &failure),
    };
    if let Err(flaw) = shipped.check_policy(&policy.spec) {
        return Finding::Fails(format!(
            "ValidatingAdmissionPolicy {name} is not the one of this version: {flaw}; {consequence}"
        ));
    }
    let binding = session.read::<Lenient>(&ValidatingAdmissionPolicyBinding::url_path(&(), None), name).await;
    match binding {
        Ok(Some(binding)) => match shipped.check_binding(&binding.spec) {
            Ok(()) => Finding::Works(format!("{name} and its binding are in force")),
            Err(flaw) => {
                Finding::Fails(format!("ValidatingAdmissionPolicyBinding {name}: {flaw}; {consequence}"))
            }
        },
        Ok(None) => {
            Finding::Fails(format!("ValidatingAdmissionPolicyBinding {name} does not exist; {consequence}"))
        }
        Err(failure) => unread(format_args!("ValidatingAdmissionPolicyBinding {name}"), &failure),
    }
}

async fn operator(session: &Session) -> Finding {
    let namespace = &session.operator_namespace;
    let place = format!("Lease {namespace}/{FIELD_MANAGER}");
    let lease = match session.read_in::<Lenient, Lease>(namespace, FIELD_MANAGER).await {
        Ok(Some(lease)) => lease,
        Ok(None) => {
            return Finding::Fails(format!(
                "{place} does not exist: no operator has ever led there; start it, or name its namespace with --operator-namespace"
            ));
        }
        Err(failure) => return unread(place, &failure),
    };
    let holder = lease.spec["holderIdentity"].as_str().unwrap_or_default();
    let duration = lease.spec["leaseDurationSeconds"].as_i64().unwrap_or_default();
    let renewed = lease.spec["renewTime"].as_str().and_then(|time| time.parse().ok());
    let now = session.clock.now().earliest;
    match renewed {
        _ if holder.is_empty() => {
            Finding::Fails(format!("nobody holds {place}: the operator is not running; look at its Pods"))
        }
        Some(renewed) if now.duration_since(renewed).as_secs() <= duration => {
            let version =
                version(session).await.map(|version| format!(", image {version}")).unwrap_or_default();
            Finding::Works(format!("{holder} leads, and renewed {place} {} ago{version}", age(renewed, now)))
        }
        Some(renewed) => Finding::Fails(format!(
            "{place} was renewed {} ago, last by {holder}: the operator is not running; look at its Pods",
            age(renewed, now)
        )),
        None => Finding::Fails(format!("{place} says nothing about when it was renewed")),
    }
}

/// The image of the operator, if its user may read that.
async fn version(session: &Session) -> Option<String> {
    let read = session.read_in::<Deployment, Deployment>(&session.operator_namespace, FIELD_MANAGER).await;
    read.ok()??.spec?.template.spec?.containers.into_iter().next()?.image
}

async fn flag(session: &Session) -> Finding {
    match flags(session).await {
        Ok(None) => Finding::Fails(format!(
            "there is no {}, so both kinds are off; an administrator enables them with kubectl aiapi meta enable, or the operator is in \
             another namespace (--operator-namespace)",
            place(session)
        )),
        Ok(Some(Flags::Invalid(why))) => {
            Finding::Fails(format!("{} cannot be understood, so both kinds are off: {why}", place(session)))
        }
        Ok(Some(flags)) => {
            let on: Vec<_> = Kind::ALL.into_iter().filter(|kind| flags.on(*kind)).map(Kind::plural).collect();
            if on.is_empty() {
                let place = place(session);
                Finding::Fails(format!(
                    "{place} enables neither kind; an administrator does, with kubectl aiapi meta enable"
                ))
            } else {
                Finding::Works(format!("{} enables bulk updates of {}", place(session), on.join(" and ")))
            }
        }
        Err(failure) => unread(place(session), &failure),
    }
}

async fn right(session: &Session, verb: &str, resource: &str) -> Result<Finding, Problem> {
    let namespace = session.namespace.as_deref().unwrap_or_default();
    let place = names::place(namespace);
    let what = format!("{verb} {resource}.{GROUP} in {place}");
    Ok(if may(session, verb, resource, namespace).await? {
        Finding::Works(format!("you may {what}"))
    } else {
        Finding::Fails(format!("you may not {what}; the ClusterRole edit has that verb"))
    })
}
