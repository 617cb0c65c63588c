//! An Execution or Deployment as decisions see it.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
use kube::{
    Client, Resource,
    core::{ApiResource, DynamicResourceScope},
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    api::{Kind, OPERATOR, State, WorkloadTargetStatus, bare_metadata},
    client::{Failure, requests},
    decode::{
        json::{self, part},
        text::cut,
    },
};

/// An Execution or Deployment as the API server sends it. Decoding it can't fail, whatever stands in its metadata, spec and
/// status: one bad object must not stop a list.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Names, uid, versions, times; nothing else (see [`bare_metadata`]).
    pub metadata: ObjectMeta,
    /// When it was written to last, as far as its managed fields tell.
    pub modified: Option<Timestamp>,
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
    #[must_use]
    pub fn key(&self) -> (&str, &str) {
        (
            self.metadata.namespace.as_deref().unwrap_or_default(),
            self.metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// A text in its spec, if there is one under this name.
    #[must_use]
    pub fn spec_text(&self, name: &str) -> Option<Cow<'_, str>> {
        json::text(json::member(self.spec.as_deref()?, name)?)
    }

    /// A text in its status, if there is one under this name.
    #[must_use]
    pub fn status_text(&self, name: &str) -> Option<Cow<'_, str>> {
        json::text(json::member(self.status.as_deref()?, name)?)
    }

    /// Whether it is no object of its kind at all, but what the API server answers instead when one is gone.
    #[must_use]
    pub fn is_status(&self) -> bool {
        self.kind.as_deref() == Some("Status")
    }
}

/// The kind is known at run time only, as with kube's own `DynamicObject`.
impl Resource for Observed {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dt: &ApiResource) -> Cow<'_, str> {
        dt.kind.as_str().into()
    }
    fn group(dt: &ApiResource) -> Cow<'_, str> {
        dt.group.as_str().into()
    }
    fn version(dt: &ApiResource) -> Cow<'_, str> {
        dt.version.as_str().into()
    }
    fn plural(dt: &ApiResource) -> Cow<'_, str> {
        dt.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What decisions need to know of an Execution or Deployment, and nothing else: the operator keeps one of these for
/// each in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own about the object")]
pub struct Target {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Box<str>,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: i64,
    /// The lowest resource version at which this uid was ever seen: it was created then, or before.
    pub first_seen: u64,
    /// `status.state`, or why it can't be read.
    pub state: Result<State, Box<str>>,
    /// Whether `status.targetStatus` is STOPPED.
    pub stop_asked: bool,
    /// `status.stopRequest.uid`.
    pub stop_request: Option<Box<str>>,
    /// Whether `spec.managedBy` names another controller, whose field `status.state` is.
    pub managed_by_other: bool,
    /// Whether the spec says what to run (`spec.template`).
    pub has_template: bool,
    /// Whether it has a `deletionTimestamp`.
    pub terminating: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecPart {
    managed_by: Option<String>,
    template: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusPart {
    state: Option<State>,
    target_status: Option<WorkloadTargetStatus>,
    stop_request: Option<StopRequestPart>,
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
        // An unreadable part makes the whole unreadable: nothing is done to an object that is not understood.
        let (spec, status, complaint) = match (spec, status) {
            (Ok(spec), Ok(status)) => (spec, status, None),
            (Ok(spec), Err(complaint)) => (spec, StatusPart::default(), Some(complaint)),
            (Err(complaint), _) => (SpecPart::default(), StatusPart::default(), Some(complaint)),
        };
        let uid = meta.uid.clone().unwrap_or_default();
        // What can't be told from another of its name is not written to.
        let complaint =
            if uid.is_empty() { Some("metadata.uid is missing or invalid".into()) } else { complaint };
        Self {
            uid: uid.into(),
            resource_version: meta.resource_version.clone().unwrap_or_default().into(),
            created: meta.creation_timestamp.as_ref().map_or(i64::MAX, |t| t.0.as_second()),
            first_seen: version_number(meta).unwrap_or(u64::MAX),
            state: complaint.map_or(Ok(status.state.unwrap_or(State::Unknown)), |why| {
                Err(cut(&why, LONGEST_COMPLAINT).into())
            }),
            stop_asked: status.target_status == Some(WorkloadTargetStatus::Stopped),
            stop_request: status.stop_request.map(|request| cut(&request.uid, LONGEST_UID).into()),
            managed_by_other: spec.managed_by.is_some_and(|by| by != OPERATOR),
            has_template: spec.template.is_some(),
            terminating: meta.deletion_timestamp.is_some(),
        }
    }
}

/// Where the objects of a kind are.
#[must_use]
pub fn url(kind: Kind, namespace: &str) -> String {
    Observed::url_path(&kind.api_resource(), Some(namespace))
}

/// Reads one from the API server: a quorum read, not one from its cache.
///
/// # Errors
/// [`Failure`]; that there is no such object is none.
pub async fn read(
    client: &Client,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<Target>, Failure> {
    match requests::get(client, url(kind, namespace), name).await.and_then(|answer| found(name, &answer)) {
        Ok(target) => Ok(Some(target)),
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What the API server has under this name, as it was read. It may have no uid: then its state can't be read.
///
/// # Errors
/// When the answer is something else, as what stands between here and the API server may answer: then there was none.
pub fn found(name: &str, object: &Observed) -> Result<Target, Failure> {
    let meta = &object.metadata;
    let version = meta.resource_version.as_deref().unwrap_or_default();
    if meta.name.as_deref() == Some(name) && !version.is_empty() {
        return Ok(Target::from(object));
    }
    Err(Failure::NoAnswer("an answer that can't be read: it is not the object".into()))
}

/// The same of what a write has left.
///
/// # Errors
/// As [`found`], and when it has no uid: what was written to has one.
pub fn answered(name: &str, object: &Observed) -> Result<Target, Failure> {
    found(name, object).and_then(|target| {
        let missing = || Failure::NoAnswer("an answer that can't be read: it has no uid".into());
        if target.uid.is_empty() { Err(missing()) } else { Ok(target) }
    })
}

/// The resource version of an object as a number. The API server promises that it can be compared as one.
#[must_use]
pub fn version_number(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_ref()?.parse().ok()
}

impl Target {
    /// Its resource version as a number, if it is one.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.resource_version.parse().ok()
    }

    /// The same, if it is known that `other` was the same object.
    #[must_use]
    pub fn seen_before(mut self: Arc<Self>, other: Option<&Self>) -> Arc<Self> {
        let before = other.filter(|other| other.uid == self.uid).map_or(u64::MAX, |other| other.first_seen);
        if before < self.first_seen {
            Arc::make_mut(&mut self).first_seen = before;
        }
        self
    }
}

/// Whether resource version `a` is as new as `b` or newer. They are etcd revisions, numbers that grow; one that is no
/// number is taken for new, because every write is guarded anyway.
#[must_use]
pub fn not_older(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a >= b,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn observed(object: &Value) -> Observed {
        serde_json::from_str(&object.to_string()).expect("always decodes")
    }

    fn target(spec: &Value, status: &Value) -> Target {
        let object = json!({"metadata": {"uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": spec, "status": status});
        Target::from(&observed(&object))
    }

    #[test]
    fn every_state_is_read_and_absence_is_unknown() {
        for state in State::ALL {
            assert_eq!(target(&json!({}), &json!({"state": state.word()})).state, Ok(state));
        }
        for none in [json!({}), json!(null), json!({"state": null})] {
            assert_eq!(target(&json!({}), &none).state, Ok(State::Unknown), "{none}");
        }
    }

    #[test]
    fn anything_else_is_unreadable_and_never_unknown() {
        for status in [
            json!({"state": "PAUSED"}),
            json!({"state": "unknown"}),
            json!({"state": ""}),
            json!({"state": 7}),
            json!({"state": {}}),
            json!([]),
            json!("STOPPED"),
            json!({"state": "STOPPED", "targetStatus": "FOO"}),
            json!({"state": "RUNNING", "stopRequest": {"uid": 1}}),
        ] {
            assert!(target(&json!({}), &status).state.is_err(), "{status}");
        }
        assert!(target(&json!({"managedBy": 1}), &json!({"state": "STOPPED"})).state.is_err());
        assert!(target(&json!("x"), &json!({"state": "STOPPED"})).state.is_err());
    }

    #[test]
    fn an_answer_about_something_else_is_none() {
        let whole = json!({"metadata": {"name": "item-1", "uid": "u", "resourceVersion": "1"}});
        assert_eq!(answered("item-1", &observed(&whole)).map(|t| t.uid), Ok("u".into()));
        // What is found may have no uid; nothing is done to it.
        for uid in [json!(null), json!(""), json!(7)] {
            let mut without = whole.clone();
            without["metadata"]["uid"] = uid;
            let found = found("item-1", &observed(&without)).unwrap();
            assert_eq!(found.state.unwrap_err().as_ref(), "metadata.uid is missing or invalid");
        }
        assert!(found("item-2", &observed(&whole)).is_err());
        let other = json!({"metadata": {"name": "item-2", "uid": "u", "resourceVersion": "1"}});
        let mut others = vec![json!({}), json!([]), json!(null), json!({"status": "ok"}), other];
        for field in ["name", "uid", "resourceVersion"] {
            let mut without = whole.clone();
            without["metadata"][field] = json!("");
            others.push(without);
        }
        for answer in others {
            assert!(matches!(answered("item-1", &observed(&answer)), Err(Failure::NoAnswer(_))), "{answer}");
        }
    }

    #[test]
    fn owners() {
        let other = |spec| target(&spec, &json!({})).managed_by_other;
        assert!(!other(json!({})));
        assert!(!other(json!({"managedBy": OPERATOR})));
        assert!(other(json!({"managedBy": "pipelines.example.com/runner"})));
        assert!(other(json!({"managedBy": ""})));
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(not_older("10", "9"));
        assert!(not_older("9", "9"));
        assert!(!not_older("9", "10"));
        assert!(not_older("x", "9"));
    }
}
