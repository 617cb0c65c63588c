//! An engine's object: what runs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{
    api::{GROUP, Kind, bare_metadata, is_dns_subdomain},
    decode::{
        json::{self, elements, member, members, text},
        object::dynamic_resource,
        text::cut,
    },
    workload::{
        engine::{Engine, Parts, Seen},
        kueue::names_a_queue,
    },
};

/// The label of everything that runs for an Execution or Deployment: its uid.
pub const OWNER_UID: &str = "aiapi.dev/owner-uid";

/// The longest uid that is kept, in bytes: as long as the schema of a status allows.
const LONGEST_UID: usize = 64;

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

impl Object {
    /// What an engine, or Kueue, reads of it.
    pub(super) fn parts(&self) -> Parts<'_> {
        Parts {
            name: self.metadata.name.as_deref().unwrap_or_default(),
            uid: self.metadata.uid.as_deref().unwrap_or_default(),
            metadata: self.raw_metadata.as_deref(),
            spec: self.spec.as_deref(),
            status: self.status.as_deref(),
        }
    }
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
    /// The controller among its owners, with this API group, kind, name and uid.
    Controller { group: Box<str>, kind: Box<str>, name: Box<str>, uid: Box<str> },
    /// It has ownerReferences, but no controller.
    Others,
}

impl OwnedBy {
    /// Whether the object with this uid is the controller.
    fn is_controller(&self, owner: &str) -> bool {
        matches!(self, Self::Controller { uid, .. } if **uid == *owner)
    }
}

/// What decisions need to know of an engine's object: one is kept for each that this operator runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    pub uid: Box<str>,
    pub version: Box<str>,
    pub owned_by: OwnedBy,
    /// Whether it has the label [`OWNER_UID`], by which its watch selects it, with the uid of its controller.
    pub labelled: bool,
    /// Whether it has a `deletionTimestamp`.
    pub terminating: bool,
    /// Whether it names a queue of Kueue, which then decides when it runs.
    pub queued: bool,
    /// What the engine sees of it, or why it cannot be understood.
    pub seen: Result<Seen, Box<str>>,
}

impl Work {
    /// Reads an object of this engine.
    pub fn read(engine: &Engine, object: &Object) -> Self {
        let meta = &object.metadata;
        let parts = object.parts();
        let queued = if engine.queued_by_kueue { names_a_queue(parts.metadata) } else { Ok(false) };
        let seen = queued.and_then(|queued| (engine.observe)(&parts).map(|seen| (queued, seen)));
        let (queued, seen) = match seen {
            Ok((queued, seen)) => (queued, Ok(seen)),
            Err(malformed) => (false, Err(cut(&malformed.to_string(), LONGEST_COMPLAINT).into())),
        };
        let owned_by = owned_by(parts.metadata);
        let label = parts.metadata.and_then(|raw| text(member(member(raw, "labels")?, OWNER_UID)?));
        Self {
            version: meta.resource_version.as_deref().unwrap_or_default().into(),
            labelled: label.is_some_and(|uid| owned_by.is_controller(&uid)),
            owned_by,
            terminating: meta.deletion_timestamp.is_some(),
            queued,
            seen,
            uid: parts.uid.into(),
        }
    }

    /// Whether two versions differ in nothing that decisions rest on.
    pub fn says_the_same(&self, other: &Self) -> bool {
        *self == Self { version: self.version.clone(), ..other.clone() }
    }

    /// Whether the Execution or Deployment with this uid controls it.
    pub fn is_controlled_by(&self, owner: &str) -> bool {
        self.owned_by.is_controller(owner)
    }

    /// The name of the Execution or Deployment that controls it, if one of this kind can.
    pub fn controller(&self, of: Kind) -> Option<&str> {
        match &self.owned_by {
            OwnedBy::Controller { group, kind, name, uid }
                if &**group == GROUP
                    && &**kind == of.name()
                    && is_dns_subdomain(name)
                    && uid.len() <= LONGEST_UID =>
            {
                Some(name)
            }
            _ => None,
        }
    }
}

fn owned_by(metadata: Option<&RawValue>) -> OwnedBy {
    let references = metadata.and_then(|raw| member(raw, "ownerReferences")).and_then(elements);
    let references = references.unwrap_or_default();
    let controller = references.iter().find_map(|reference| {
        let [controller, version, kind, name, uid] =
            members(reference, ["controller", "apiVersion", "kind", "name", "uid"])?;
        let is_controller = controller.is_some_and(|raw| raw.get() == "true");
        let word = |raw: Option<&RawValue>| raw.and_then(text).map(|text| Box::<str>::from(&*text));
        is_controller.then_some(())?;
        // `apps/v1`, and `v1` of the core.
        let version = word(version)?;
        let group = version.split_once('/').map_or("", |(group, _)| group).into();
        Some(OwnedBy::Controller { group, kind: word(kind)?, name: word(name)?, uid: word(uid)? })
    });
    controller.unwrap_or(if references.is_empty() { OwnedBy::Nobody } else { OwnedBy::Others })
}
