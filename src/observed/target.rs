//! An Execution or Deployment as decisions see it.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{Client, Resource};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    api::{EngineKind, Kind, OPERATOR, State, WorkloadTargetStatus, bare_metadata},
    client::{Failure, requests},
    decode::{
        json::{self, part},
        object::dynamic_resource,
        text::cut,
    },
};

/// An Execution or Deployment as the API server sends it. Decoding cannot fail, whatever it contains: one bad object must not
/// break a list.
#[derive(Clone, Debug)]
pub struct Observed {
    pub(crate) metadata: ObjectMeta,
    /// When it was last written to, according to its managed fields.
    pub(crate) modified: Option<Timestamp>,
    kind: Option<String>,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

impl<'de> Deserialize<'de> for Observed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = json::anything(deserializer)?;
        let found = json::members(&raw, ["kind", "metadata", "spec", "status"]);
        let [kind, metadata, spec, status] = found.unwrap_or_default();
        let kind = kind.and_then(json::text).map(|kind| cut(&kind, LONGEST_COMPLAINT));
        Ok(Self {
            metadata: bare_metadata(metadata),
            modified: metadata.and_then(modified),
            kind,
            spec: spec.map(ToOwned::to_owned),
            status: status.map(ToOwned::to_owned),
        })
    }
}

/// The latest time in the managed fields.
fn modified(metadata: &RawValue) -> Option<Timestamp> {
    let entries = json::elements(json::member(metadata, "managedFields")?)?;
    let times = entries.into_iter().filter_map(|entry| json::text(json::member(entry, "time")?));
    times.filter_map(|time| time.parse().ok()).max()
}

impl Observed {
    /// Namespace and name.
    pub(crate) fn key(&self) -> (&str, &str) {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        (namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())
    }

    /// The string in this field of its spec, if it is one.
    pub(crate) fn spec_text(&self, name: &str) -> Option<Cow<'_, str>> {
        json::text(json::member(self.spec.as_deref()?, name)?)
    }

    pub(crate) fn status_text(&self, name: &str) -> Option<Cow<'_, str>> {
        json::text(self.status_part(name)?)
    }

    /// This field of its status.
    pub(crate) fn status_part(&self, name: &str) -> Option<&RawValue> {
        json::member(self.status.as_deref()?, name)
    }

    /// Whether it is a `Status`, which the API server answers to a DELETE if the object is gone at once.
    pub(crate) fn is_status(&self) -> bool {
        self.kind.as_deref() == Some("Status")
    }
}

dynamic_resource!(Observed, metadata);

/// What decisions need to know of an Execution or Deployment, and nothing else: the operator keeps one for each in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own about the object")]
pub struct Target {
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: i64,
    /// The lowest resource version at which this uid was ever seen: it was created at that version, or before.
    pub first_seen: u64,
    /// `status.state`, or why it cannot be read.
    pub state: Result<State, Unreadable>,
    /// Whether `status.targetStatus` is STOPPED.
    pub stop_asked: bool,
    /// `status.stopRequest.uid`.
    pub stop_request: Option<Box<str>>,
    /// Whether `spec.managedBy` names another controller, which owns `status.state`.
    pub managed_by_other: bool,
    /// What its spec says that it runs; absent if nothing.
    pub work: Option<Work>,
    /// Whether it has a `deletionTimestamp`.
    pub terminating: bool,
    /// Whether `status.observedGeneration` is another one than its own.
    pub unobserved: bool,
}

/// What a spec says about what runs: `template` or `workloadRef`. (Two bytes: a target has room for them beside its flags.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub given: Given,
    /// Its engine; absent if this version does not know it. (The CRD accepts known ones only.)
    pub engine: Option<EngineKind>,
}

impl Work {
    /// What a spec says. Whatever is in one of the two fields counts, also what cannot be understood: something may run.
    fn of(spec: &RawValue) -> Option<Self> {
        let (given, what) = match json::members(spec, ["template", "workloadRef"])? {
            [Some(template), _] => (Given::Template, template),
            [None, Some(reference)] => (Given::Reference, reference),
            [None, None] => return None,
        };
        Some(Self { given, engine: engine(what) })
    }
}

/// The engine whose `apiVersion` and `kind` these are.
fn engine(manifest: &RawValue) -> Option<EngineKind> {
    let [api_version, kind] = json::members(manifest, ["apiVersion", "kind"])?;
    EngineKind::find(&json::text(api_version?)?, &json::text(kind?)?)
}

/// How a spec says what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// `template`: an object that the operator creates.
    Template,
    /// `workloadRef`: an object that exists.
    Reference,
}

/// Why an object cannot be understood, in at most 80 bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(Box<str>);

impl From<&str> for Unreadable {
    fn from(why: &str) -> Self {
        Self(cut(why, LONGEST_COMPLAINT).into())
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecPart {
    managed_by: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusPart {
    state: Option<State>,
    target_status: Option<WorkloadTargetStatus>,
    stop_request: Option<StopRequestPart>,
    observed_generation: Option<i64>,
}

#[derive(Deserialize)]
struct StopRequestPart {
    uid: Box<str>,
}

/// The longest text of an unreadable object that is kept, in bytes.
const LONGEST_COMPLAINT: usize = 80;

/// The longest uid of a BulkUpdate that is kept, in bytes: as long as the schema allows.
const LONGEST_UID: usize = 64;

impl From<&Observed> for Target {
    fn from(object: &Observed) -> Self {
        let meta = &object.metadata;
        let spec = part::<SpecPart>(object.spec.as_deref(), "spec");
        let status = part::<StatusPart>(object.status.as_deref(), "status");
        // An unreadable part makes the whole object unreadable: nothing is done to what is not understood.
        let (spec, status, malformed) = match (spec, status) {
            (Ok(spec), Ok(status)) => (spec, status, None),
            (Ok(spec), Err(malformed)) => (spec, StatusPart::default(), Some(malformed)),
            (Err(malformed), _) => (SpecPart::default(), StatusPart::default(), Some(malformed)),
        };
        let uid = meta.uid.clone().unwrap_or_default();
        let state = match malformed {
            // Without a uid it cannot be distinguished from another object of its name, so it is not written to.
            _ if uid.is_empty() => Err("metadata.uid is missing or invalid".into()),
            Some(malformed) => Err(malformed.to_string().as_str().into()),
            None => Ok(status.state.unwrap_or(State::Unknown)),
        };
        Self {
            uid: uid.into(),
            resource_version: meta.resource_version.clone().unwrap_or_default().into(),
            created: meta.creation_timestamp.as_ref().map_or(i64::MAX, |t| t.0.as_second()),
            first_seen: version_number(meta).unwrap_or(u64::MAX),
            state,
            stop_asked: status.target_status == Some(WorkloadTargetStatus::Stopped),
            stop_request: status.stop_request.map(|request| cut(&request.uid, LONGEST_UID).into()),
            managed_by_other: spec.managed_by.is_some_and(|by| by != OPERATOR),
            work: object.spec.as_deref().and_then(Work::of),
            terminating: meta.deletion_timestamp.is_some(),
            unobserved: meta.generation != status.observed_generation,
        }
    }
}

pub fn url(kind: Kind, namespace: &str) -> String {
    Observed::url_path(&kind.api_resource(), Some(namespace))
}

/// Reads one from the API server: a quorum read, not one from the API server's cache.
pub async fn read(client: &Client, kind: Kind, ns: &str, name: &str) -> Result<Option<Target>, Failure> {
    let read = requests::get(client, url(kind, ns), name).await;
    requests::if_any(read.and_then(|answer| found(name, &answer)))
}

/// The object in the answer to a read. It may have no uid: then its state cannot be read. What is not this object, as a proxy in
/// between may answer, counts as unreadable.
fn found(name: &str, object: &Observed) -> Result<Target, Failure> {
    let meta = &object.metadata;
    let version = meta.resource_version.as_deref().unwrap_or_default();
    if meta.name.as_deref() == Some(name) && !version.is_empty() {
        return Ok(Target::from(object));
    }
    Err(Failure::unreadable("it is not the object"))
}

/// The object in the answer to a write. One without a uid counts as unreadable: what was written to has one.
pub fn answered(name: &str, object: &Observed) -> Result<Target, Failure> {
    let target = found(name, object)?;
    if target.uid.is_empty() {
        return Err(Failure::unreadable("it has no uid"));
    }
    Ok(target)
}

/// The resource version of an object as a number. The API server guarantees that it can be compared as one.
pub fn version_number(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_ref()?.parse().ok()
}

impl Target {
    pub(crate) fn version(&self) -> Option<u64> {
        self.resource_version.parse().ok()
    }

    /// The same with the lower `first_seen` of the two, if `other` is the same object.
    pub(crate) fn seen_before(mut self: Arc<Self>, other: Option<&Self>) -> Arc<Self> {
        let before = other.filter(|other| other.uid == self.uid).map_or(u64::MAX, |other| other.first_seen);
        if before < self.first_seen {
            Arc::make_mut(&mut self).first_seen = before;
        }
        self
    }
}

/// Whether resource version `a` is at least as new as `b`. They are etcd revisions, numbers that grow; one that is not a
/// number counts as new, because every write has a precondition anyway.
pub fn not_older(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a >= b,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
