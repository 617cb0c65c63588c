//! A BulkUpdate as the API server returns it, whatever that is.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
    jiff::Timestamp,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    api::{
        BulkUpdate, BulkUpdateSpec, BulkUpdateStatus, ItemStatus, MAX_ITEMS, bare_metadata,
        time::whole_seconds,
    },
    bulk_update::request::validate,
    decode::{
        json::{self, part},
        object::dynamic_resource,
        text::{cut, shortened},
    },
};

/// The most conditions that are kept; the operator has four.
const MOST_CONDITIONS: usize = 8;

/// The longest message of an item, in bytes: a status with a hundred of them must stay below 40 kB.
pub(super) const LONGEST_ITEM_MESSAGE: usize = 120;

/// The longest message of a condition, in bytes.
pub(super) const LONGEST_CONDITION_MESSAGE: usize = 1024;

/// The longest text of a status that is kept, other than messages, in bytes.
const LONGEST_TEXT: usize = 128;

/// A BulkUpdate as it was read. Decoding never fails, whatever its metadata, spec and status contain: one bad object
/// must not break a list, a watch or an answer.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The object, with bare metadata (see [`bare_metadata`]). Of the status, what can be read; of a spec that cannot
    /// be carried out, only the TTL.
    pub bulk: BulkUpdate,
    /// Why it cannot be carried out, if so: the part of spec or metadata that cannot be read or exceeds its bound.
    pub flaw: Option<String>,
}

impl Stored {
    /// Whether its conditions can be written: name, namespace and resource version can be read (a uid is not needed).
    pub fn is_addressable(&self) -> bool {
        matches!(missing_identity(&self.bulk.metadata), None | Some(UID))
    }
}

/// What tells it from another object of its name.
const UID: &str = "uid";

/// The first part of its identity that cannot be read; the uid comes last.
fn missing_identity(metadata: &ObjectMeta) -> Option<&'static str> {
    let parts = [
        (&metadata.name, "name"),
        (&metadata.namespace, "namespace"),
        (&metadata.resource_version, "resourceVersion"),
        (&metadata.uid, UID),
    ];
    parts.into_iter().find(|(text, _)| text.as_deref().is_none_or(str::is_empty)).map(|(_, name)| name)
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = json::anything(deserializer)?;
        let found = json::members(&raw, ["metadata", "spec", "status"]);
        let [metadata, spec, status] = found.unwrap_or_default();
        let metadata = bare_metadata(metadata);
        let flaw = missing_identity(&metadata).map(|field| format!("metadata.{field} is missing or invalid"));
        let read = part::<BulkUpdateSpec>(spec, "spec")
            .map_err(|malformed| malformed.to_string())
            .and_then(|spec| validate(&spec).map(|()| spec).map_err(|why| format!("spec: {why}")));
        let (spec, flaw) = match (read, flaw) {
            (Ok(spec), None) => (spec, None),
            (Ok(spec), flaw) => (time_to_live(spec.ttl_seconds_after_finished), flaw),
            (Err(why), flaw) => (time_to_live(spec.and_then(ttl)), Some(flaw.unwrap_or(why))),
        };
        let status = status.map(|raw| read_status(raw, metadata.creation_timestamp.as_ref()));
        Ok(Self { bulk: BulkUpdate { metadata, spec, status }, flaw })
    }
}

fn time_to_live(seconds: Option<i32>) -> BulkUpdateSpec {
    BulkUpdateSpec { ttl_seconds_after_finished: seconds, ..BulkUpdateSpec::default() }
}

/// The TTL in a spec that otherwise cannot be read.
fn ttl(spec: &RawValue) -> Option<i32> {
    const FIELD: &str = "ttlSecondsAfterFinished";
    let alone = format!("{{\"{FIELD}\": {}}}", json::member(spec, FIELD)?.get());
    serde_json::from_str::<BulkUpdateSpec>(&alone).ok()?.ttl_seconds_after_finished
}

/// What can be read of a status, which is only a record: the rest counts as missing. But anything in the place of a
/// start means that there was a plan, and anything in the place of an end means that it finished.
fn read_status(raw: &RawValue, created: Option<&Time>) -> BulkUpdateStatus {
    // A start that cannot be read was no earlier than this.
    let start = created.cloned().unwrap_or(Time(Timestamp::UNIX_EPOCH));
    let found = json::members(
        raw,
        [
            "observedGeneration",
            "conditions",
            "startTime",
            "completionTime",
            "summary",
            "executions",
            "deployments",
        ],
    );
    let Some([generation, conditions, started, completed, summary, executions, deployments]) = found else {
        // Not an object: it may have been the record of a plan.
        return BulkUpdateStatus { start_time: Some(start), ..BulkUpdateStatus::default() };
    };
    // Whole seconds, as the API server stores them, because what the operator writes is compared with this.
    let time = |raw: &RawValue| json::time(raw).map(whole_seconds).map(Time);
    let items = |raw: &RawValue| readable(raw, MAX_ITEMS).map(shortened_item).collect();
    BulkUpdateStatus {
        observed_generation: generation.and_then(|raw| raw.get().parse().ok()).unwrap_or(-1),
        conditions: conditions
            .into_iter()
            .flat_map(|raw| readable(raw, MOST_CONDITIONS))
            .map(shortened_condition)
            .collect(),
        start_time: started.map(|raw| time(raw).unwrap_or(start)),
        completion_time: completed.map(|raw| time(raw).unwrap_or(Time(whole_seconds(Timestamp::MAX)))),
        summary: summary.and_then(|raw| serde_json::from_str(raw.get()).ok()),
        executions: executions.map(items),
        deployments: deployments.map(items),
    }
}

fn readable<T: DeserializeOwned>(raw: &RawValue, most: usize) -> impl Iterator<Item = T> {
    let elements = json::elements(raw).unwrap_or_default().into_iter().take(most);
    elements.filter_map(|element| serde_json::from_str(element.get()).ok())
}

/// As short as the operator itself would have written it.
fn shortened_item(item: ItemStatus) -> ItemStatus {
    ItemStatus {
        id: shortened(item.id, LONGEST_TEXT),
        uid: item.uid.map(|uid| shortened(uid, LONGEST_TEXT)),
        message: item.message.map(|message| shortened(message, LONGEST_ITEM_MESSAGE)),
        ..item
    }
}

fn shortened_condition(mut condition: Condition) -> Condition {
    for text in [&mut condition.type_, &mut condition.reason, &mut condition.status] {
        *text = cut(text, LONGEST_TEXT);
    }
    condition.message = cut(&condition.message, LONGEST_CONDITION_MESSAGE);
    // It stays where the status of the condition does, and is written back.
    condition.last_transition_time.0 = json::writable(condition.last_transition_time.0);
    condition
}

dynamic_resource!(Stored, bulk.metadata);

/// A status in eight bytes: a whole one has up to 30 kB.
pub(super) fn digest(status: &BulkUpdateStatus) -> u64 {
    // It always serializes; the digest of nothing is that of no status.
    let bytes = serde_json::to_vec(status).unwrap_or_default();
    BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes)
}

#[cfg(test)]
mod tests;
