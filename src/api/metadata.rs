//! The few things in an object's metadata that matter, read without ever failing.

use std::borrow::Cow;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use serde_json::value::RawValue;

use crate::{
    api::names::{is_dns_label, is_dns_subdomain},
    decode::{
        json::{member, members, text, time},
        text::cut,
    },
};

/// The annotation with the name of who asked. While the policy is in force, nobody can set it to another's.
pub const REQUESTER: &str = "aiapi.dev/requester";

/// The longest uid or resource version that is kept, in bytes. Those of the API server have 36, and 20.
const LONGEST_TOKEN: usize = 64;

/// The longest name of a requester that is kept, in bytes: names of users have no bound.
const LONGEST_REQUESTER: usize = 256;

/// The bare metadata of an object: what it is called, its uid, version and generation, its creation and deletion, and the annotation
/// that names who asked. What cannot be read is absent; but what is being deleted is being deleted, whenever that began.
/// What cannot be a name counts as none: names become parts of URLs, where `..` or `a?b` would be another resource's.
///
/// Of labels, annotations, finalizers, owners and `generateName`, which users may fill as they like, it keeps only that there
/// are any (they are there and empty). It keeps no managed fields.
#[must_use]
pub fn bare_metadata(raw: Option<&RawValue>) -> ObjectMeta {
    const NAMES: [&str; 12] = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "annotations",
        "labels",
        "finalizers",
        "ownerReferences",
        "generateName",
    ];
    let Some(found) = raw.and_then(|raw| members(raw, NAMES)) else { return ObjectMeta::default() };
    let [
        name,
        namespace,
        uid,
        version,
        generation,
        created,
        deleted,
        annotations,
        labels,
        finalizers,
        owners,
        prefix,
    ] = found;
    let short = |raw: Option<&RawValue>, longest| Some(cut(&text(raw?)?, longest));
    // Cut, it would be another's.
    let token =
        |raw: Option<&RawValue>| text(raw?).filter(|text| text.len() <= LONGEST_TOKEN).map(Cow::into_owned);
    let requester = annotations.and_then(|raw| short(member(raw, REQUESTER), LONGEST_REQUESTER));
    ObjectMeta {
        name: name.and_then(text).filter(|name| is_dns_subdomain(name)).map(Cow::into_owned),
        namespace: namespace.and_then(text).filter(|name| is_dns_label(name)).map(Cow::into_owned),
        uid: token(uid),
        resource_version: token(version),
        generation: generation.and_then(|raw| raw.get().parse().ok()),
        creation_timestamp: created.and_then(time).map(Time),
        deletion_timestamp: deleted.map(|raw| Time(time(raw).unwrap_or(Timestamp::MIN))),
        annotations: annotations
            .map(|_| requester.map(|name| (REQUESTER.to_owned(), name)).into_iter().collect()),
        labels: labels.map(|_| std::collections::BTreeMap::new()),
        finalizers: finalizers.map(|_| Vec::new()),
        owner_references: owners.map(|_| Vec::new()),
        generate_name: prefix.map(|_| String::new()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
