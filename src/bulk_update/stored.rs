//! A BulkUpdate as the API server sends it, whatever that is.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    api::{
        BulkUpdate, BulkUpdateSpec, BulkUpdateStatus, ItemStatus, MAX_ITEMS, bare_metadata,
        time::whole_seconds,
    },
    bulk_update::{request::unfit, status, work::LONGEST_MESSAGE},
    decode::{
        json::{self, part},
        text::cut,
    },
};

/// The most conditions that are kept; there are four of the operator's own.
const MOST_CONDITIONS: usize = 8;

/// The longest message of a condition that is kept, in bytes, and the longest of the other texts of a status.
const LONGEST_TEXTS: (usize, usize) = (status::LONGEST_MESSAGE, 128);

/// A BulkUpdate as it was read. Reading it can't fail, whatever stands in its metadata, spec and status: one bad object must not
/// stop a list, a watch or an answer.
#[derive(Clone, Debug)]
pub struct Stored {
    /// It, with its bare metadata (see [`bare_metadata`]). Of the status it has what can be read; of a spec that can't be carried out
    /// only the time to live.
    pub bulk: BulkUpdate,
    /// Why it can't be carried out as it stands, if it can't: what of its spec or metadata can't be read, or is beyond the bounds.
    pub flaw: Option<String>,
}

impl Stored {
    /// Its conditions can be written: what names it, in this version, can be read. (That takes no uid.)
    #[must_use]
    pub fn is_named(&self) -> bool {
        matches!(nameless(&self.bulk.metadata), None | Some(UID))
    }
}

/// The field of its metadata that tells it from another of its name.
const UID: &str = "uid";

/// The first part of its name that can't be read; its uid last.
fn nameless(metadata: &ObjectMeta) -> Option<&'static str> {
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
        let flaw = nameless(&metadata).map(|field| format!("metadata.{field} is missing or invalid"));
        let read = part::<BulkUpdateSpec>(spec, "spec")
            .map_err(|malformed| malformed.to_string())
            .and_then(|spec| unfit(&spec).map_or(Ok(spec), |why| Err(format!("spec: {why}"))));
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

/// The time to live in a spec that can't be read otherwise.
fn ttl(spec: &RawValue) -> Option<i32> {
    const FIELD: &str = "ttlSecondsAfterFinished";
    let alone = format!("{{\"{FIELD}\": {}}}", json::member(spec, FIELD)?.get());
    serde_json::from_str::<BulkUpdateSpec>(&alone).ok()?.ttl_seconds_after_finished
}

/// What can be read of a status. It is only a record, so that what can't be read of it is missing; except that whatever
/// stands there for a start means that there was a plan, and whatever stands there for an end means that it is over.
fn read_status(raw: &RawValue, created: Option<&Time>) -> BulkUpdateStatus {
    // A start that can't be read was no earlier than this; and it can be written down again.
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
        // It is no status at all, and may have been the record of a plan.
        return BulkUpdateStatus { start_time: Some(start), ..BulkUpdateStatus::default() };
    };
    // The API server keeps whole seconds, and what the operator writes is compared with this.
    let time = |raw: &RawValue| json::time(raw).map(whole_seconds).map(Time);
    let items = |raw: Option<&RawValue>| {
        Some(readable::<ItemStatus>(raw?, MAX_ITEMS).map(shortened_item).collect::<Vec<_>>())
    };
    BulkUpdateStatus {
        observed_generation: generation.and_then(|raw| raw.get().parse().ok()).unwrap_or(-1),
        conditions: conditions
            .into_iter()
            .flat_map(|raw| readable::<Condition>(raw, MOST_CONDITIONS))
            .map(shortened_condition)
            .collect(),
        start_time: started.map(|raw| time(raw).unwrap_or(start)),
        completion_time: completed.map(|raw| time(raw).unwrap_or(Time(whole_seconds(Timestamp::MAX)))),
        summary: summary.and_then(|raw| serde_json::from_str(raw.get()).ok()),
        executions: items(executions),
        deployments: items(deployments),
    }
}

/// The elements of a list that can be read, of the first so many.
fn readable<T: DeserializeOwned>(raw: &RawValue, most: usize) -> impl Iterator<Item = T> {
    let elements = json::elements(raw).unwrap_or_default().into_iter().take(most);
    elements.filter_map(|element| serde_json::from_str(element.get()).ok())
}

/// As short as the operator itself would have written it.
fn shortened_item(item: ItemStatus) -> ItemStatus {
    let (_, longest) = LONGEST_TEXTS;
    let short = |text: Arc<str>, longest| cut(&text, longest).into();
    ItemStatus {
        id: short(item.id, longest),
        uid: item.uid.map(|uid| short(uid, longest)),
        message: item.message.map(|message| short(message, LONGEST_MESSAGE)),
        ..item
    }
}

fn shortened_condition(mut condition: Condition) -> Condition {
    let (message, other) = LONGEST_TEXTS;
    for text in [&mut condition.type_, &mut condition.reason, &mut condition.status] {
        *text = cut(text, other);
    }
    condition.message = cut(&condition.message, message);
    // It stays where the status of the condition does, and is written back.
    condition.last_transition_time.0 = json::writable(condition.last_transition_time.0);
    condition
}

impl Resource for Stored {
    type DynamicType = ();
    type Scope = <BulkUpdate as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        BulkUpdate::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        BulkUpdate::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        BulkUpdate::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        BulkUpdate::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.bulk.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.bulk.metadata
    }
}

#[cfg(test)]
mod tests;
