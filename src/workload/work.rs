//! An engine's object: what runs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    api::bare_metadata,
    decode::{
        json::{self, elements, member, members, text},
        object::dynamic_resource,
        text::cut,
    },
    workload::engine::{Engine, Parts, Seen},
};

/// The label of everything that runs for an Execution or Deployment: its uid.
pub const OWNER_UID: &str = "aiapi.dev/owner-uid";

/// The longest explanation of why an object cannot be understood, in bytes.
const LONGEST_COMPLAINT: usize = 200;

/// An engine's object as the API server sends it. Decoding cannot fail, whatever it contains: one bad object must not break a list.
#[derive(Clone, Debug)]
pub struct Object {
    pub(super) metadata: ObjectMeta,
    raw_metadata: Option<Box<RawValue>>,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = json::anything(deserializer)?;
        let [metadata, spec, status] = members(&raw, ["metadata", "spec", "status"]).unwrap_or_default();
        let owned = |part: Option<&RawValue>| part.map(ToOwned::to_owned);
        Ok(Self {
            metadata: bare_metadata(metadata),
            raw_metadata: owned(metadata),
            spec: owned(spec),
            status: owned(status),
        })
    }
}

dynamic_resource!(Object, metadata);

/// The owner of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedBy {
    /// It has no ownerReference.
    Nobody,
    /// The controller among its owners, with this kind, name and uid.
    Controller { kind: Box<str>, name: Box<str>, uid: Box<str> },
    /// It has ownerReferences, but no controller.
    Others,
}

/// What decisions need to know of an engine's object: one is kept for each that this operator runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    pub uid: Box<str>,
    pub version: Box<str>,
    pub owned_by: OwnedBy,
    /// Whether it has a `deletionTimestamp`.
    pub terminating: bool,
    /// What the engine sees of it, or why it cannot be understood.
    pub seen: Result<Seen, Box<str>>,
}

impl Work {
    /// Reads an object of this engine.
    pub fn read(engine: &Engine, object: &Object) -> Self {
        let meta = &object.metadata;
        let uid: Box<str> = meta.uid.as_deref().unwrap_or_default().into();
        let parts = Parts {
            name: meta.name.as_deref().unwrap_or_default(),
            uid: &uid,
            metadata: object.raw_metadata.as_deref(),
            spec: object.spec.as_deref(),
            status: object.status.as_deref(),
        };
        let seen = (engine.observe)(&parts);
        Self {
            version: meta.resource_version.as_deref().unwrap_or_default().into(),
            owned_by: owned_by(object.raw_metadata.as_deref()),
            terminating: meta.deletion_timestamp.is_some(),
            seen: seen.map_err(|malformed| cut(&malformed.to_string(), LONGEST_COMPLAINT).into()),
            uid,
        }
    }

    /// Whether the Execution or Deployment with this uid controls it.
    pub fn is_controlled_by(&self, owner: &str) -> bool {
        matches!(&self.owned_by, OwnedBy::Controller { uid, .. } if &**uid == owner)
    }
}

fn owned_by(metadata: Option<&RawValue>) -> OwnedBy {
    let references = metadata.and_then(|raw| member(raw, "ownerReferences")).and_then(elements);
    let references = references.unwrap_or_default();
    let controller = references.iter().find_map(|reference| {
        let [controller, kind, name, uid] = members(reference, ["controller", "kind", "name", "uid"])?;
        let is_controller = controller.is_some_and(|raw| raw.get() == "true");
        let word = |raw: Option<&RawValue>| raw.and_then(text).map(|text| Box::<str>::from(&*text));
        is_controller.then_some(OwnedBy::Controller { kind: word(kind)?, name: word(name)?, uid: word(uid)? })
    });
    controller.unwrap_or(if references.is_empty() { OwnedBy::Nobody } else { OwnedBy::Others })
}
