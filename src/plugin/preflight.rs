//! What would make all of it fail is found out before anything is sent: a flag that is off, a right that is missing.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::ConfigMap,
};
use kube::Resource;

use super::{
    batches::verb,
    follow::WATCHES,
    names::place as place_of,
    problem::{Problem, failed},
    session::{BRIEFLY, Session, retried},
};
use crate::{
    api::{GROUP, Kind, TargetStatus},
    client::Failure,
    observed::flag::{FlagMap, Flags},
};

/// Checks whether BulkUpdates of this kind can be carried out at all, and whether the user may ask for them in these namespaces.
///
/// # Errors
/// The first obstacle, and what to do about it.
pub async fn check(
    session: &Session,
    kind: Kind,
    operations: &[TargetStatus],
    namespaces: &BTreeSet<&str>,
) -> Result<(), Problem> {
    match flags(session).await {
        Ok(None) => {
            return Err(Problem::Failed(format!(
                "bulk updates are disabled, because there is no {}; an administrator enables them with: kubectl aiapi meta enable {}. If \
                 the operator is in another namespace, name it with --operator-namespace",
                place(session),
                kind.plural(),
            )));
        }
        Ok(Some(Flags::Invalid(why))) => {
            return Err(Problem::Failed(format!(
                "bulk updates are disabled, because {} cannot be understood: {why}; an administrator has to correct it",
                place(session)
            )));
        }
        Ok(Some(flags)) if !flags.on(kind) => {
            return Err(Problem::Failed(format!(
                "bulk updates of {kinds} are disabled in {}; an administrator enables them with: kubectl aiapi meta enable {kinds}",
                place(session),
                kinds = kind.plural(),
            )));
        }
        // Not everybody may read it. The operator reports the same.
        Ok(_) | Err(Failure::Refused { code: 403, .. }) => {}
        Err(failure) => return Err(failed(format_args!("{} cannot be read", place(session)), &failure)),
    }
    for verb in ["create", "list", "watch"] {
        let watches_all = verb == "watch" && namespaces.len() > WATCHES;
        let everywhere = BTreeSet::from([""]);
        permitted(session, verb, "bulkupdates", if watches_all { &everywhere } else { namespaces }).await?;
    }
    for operation in operations {
        permitted(session, verb(*operation), kind.plural(), namespaces).await?;
    }
    Ok(())
}

/// Checks whether the user may do this in all of these namespaces; the one without a name means all.
///
/// # Errors
/// The first where they may not.
pub async fn permitted(
    session: &Session,
    verb: &str,
    resource: &str,
    namespaces: &BTreeSet<&str>,
) -> Result<(), Problem> {
    // A right in all namespaces saves asking for each.
    if namespaces.len() > 1 && may(session, verb, resource, "").await? {
        return Ok(());
    }
    for namespace in namespaces {
        if !may(session, verb, resource, namespace).await? {
            let place = place_of(namespace);
            return Err(Problem::Failed(format!(
                "you are not permitted to {verb} {resource}.{GROUP} in {place}: ask an administrator for a role with that verb (the \
                 ClusterRole edit has it); nothing was sent"
            )));
        }
    }
    Ok(())
}

/// Where the flag is, for messages.
pub fn place(session: &Session) -> String {
    format!("ConfigMap {}/{}", session.operator_namespace, session.meta_configmap)
}

/// What the flag says now; nothing if there is no `ConfigMap`, which means off.
pub async fn flags(session: &Session) -> Result<Option<Flags>, Failure> {
    let url = ConfigMap::url_path(&(), Some(&session.operator_namespace));
    let map: Option<FlagMap> = session.read(&url, &session.meta_configmap).await?;
    Ok(map.map(FlagMap::into_flags))
}

/// Whether the API server would let the user do this; in all namespaces, if none is given.
pub async fn may(session: &Session, verb: &str, resource: &str, namespace: &str) -> Result<bool, Problem> {
    allowed(session, GROUP, verb, resource, namespace).await
}

/// The same for a resource of any group.
pub async fn allowed(
    session: &Session,
    group: &str,
    verb: &str,
    resource: &str,
    namespace: &str,
) -> Result<bool, Problem> {
    let of = |text: &str| Some(text.to_owned());
    let attributes = ResourceAttributes {
        group: of(group),
        verb: of(verb),
        resource: of(resource),
        namespace: of(namespace),
        ..Default::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let url = SelfSubjectAccessReview::url_path(&(), None);
    let answer: Result<SelfSubjectAccessReview, _> =
        retried(BRIEFLY, async || session.create(&url, &review).await).await;
    let answer = answer.map_err(|failure| failed("your permissions cannot be checked", &failure))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
