//! The few fields of an object's metadata that matter, read without ever failing.

use std::{borrow::Cow, collections::BTreeMap};

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

/// The annotation with the name of who asked. While the admission policy is in force, nobody can forge it.
pub const REQUESTER: &str = "aiapi.dev/requester";
/// The longest uid or resource version that is kept, in bytes. Those of the API server have 36, and 20.
const LONGEST_TOKEN: usize = 64;
/// The longest name of a requester that is kept, in bytes: names of users have no bound.
const LONGEST_REQUESTER: usize = 256;

/// The bare metadata of an object: its name, namespace, uid, version and generation, its creation and deletion, and the annotation
/// with who asked. A field that cannot be read is absent; except that a deletion counts whenever it began. What cannot be a name is
/// no name: names become parts of URLs, where `..` or `a?b` would address another resource.
///
/// Of labels, annotations, finalizers, owners and `generateName`, which users may fill as they like, it keeps only whether there
/// are any (they are present and empty). It keeps no managed fields.
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
    let [name, namespace, uid, version, generation, created, deleted, annotations, others @ ..] = found;
    let [labels, finalizers, owners, prefix] = others;
    let short = |raw: Option<&RawValue>, longest| Some(cut(&text(raw?)?, longest));
    // Cut short, it would be the token of something else.
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
        labels: labels.map(|_| BTreeMap::new()),
        finalizers: finalizers.map(|_| Vec::new()),
        owner_references: owners.map(|_| Vec::new()),
        generate_name: prefix.map(|_| String::new()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
