//! What is seen of a BulkUpdate while it is followed. Decoding cannot fail: anybody can give an object the label of a run.

use std::{borrow::Cow, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt, core::ApiResource};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::super::progress::Counts;
use crate::{
    api::{
        ACCEPTED, BulkUpdate, BulkUpdateSpec, BulkUpdateStatus, ItemResult, ItemStatus, Kind, READY, Summary,
        bare_metadata,
    },
    decode::{json, object::dynamic_resource},
};

/// Namespace and name.
pub type Key = (String, String);

/// A BulkUpdate as the API server sends it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub metadata: ObjectMeta,
    /// Absent if it cannot be read.
    pub spec: Option<BulkUpdateSpec>,
    /// Absent before the operator has written one, or if it cannot be read.
    pub status: Option<BulkUpdateStatus>,
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = json::anything(deserializer)?;
        let [metadata, spec, status] =
            json::members(&raw, ["metadata", "spec", "status"]).unwrap_or_default();
        Ok(Self { metadata: bare_metadata(metadata), spec: read(spec), status: read(status) })
    }
}

fn read<T: for<'de> Deserialize<'de>>(part: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(part?.get()).ok()
}

dynamic_resource!(Seen, metadata);

impl Seen {
    pub fn resource() -> ApiResource {
        ApiResource::erase::<BulkUpdate>(&())
    }

    /// The URL of the collection.
    pub fn url(namespace: Option<&str>) -> String {
        Self::url_path(&Self::resource(), namespace)
    }

    /// Namespace and name.
    pub fn key(&self) -> Key {
        (self.namespace().unwrap_or_default(), self.name_any())
    }

    /// Its resourceVersion. Those of one resource are numbers that grow, since Kubernetes 1.35 by definition and before that in fact.
    pub fn version(&self) -> u64 {
        self.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
    }

    /// How many items it has.
    pub fn items(&self) -> usize {
        self.spec.as_ref().map_or(0, BulkUpdateSpec::total)
    }

    /// Whether it is over, one way or the other.
    pub fn is_over(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.completion_time.is_some())
    }

    /// Why it was rejected as a whole: reason and message.
    pub fn rejection(&self) -> Option<(String, String)> {
        let accepted = self.status.as_ref()?.condition(ACCEPTED)?;
        (accepted.status == "False").then(|| (accepted.reason.clone(), accepted.message.clone()))
    }
}

/// An item that was not done, or a whole BulkUpdate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDone {
    pub id: String,
    pub result: &'static str,
    pub reason: String,
    pub message: String,
}

/// What has become of one BulkUpdate so far.
#[derive(Clone, Debug)]
pub struct Followed {
    pub total: usize,
    since: Instant,
    /// The uid of the one that is known to have been created: another one with its name, later, is not it.
    created: Option<String>,
    /// The version with which it was known to have been created.
    version: u64,
    /// The version with which it was not shown any more.
    pub gone: u64,
    summary: Option<Summary>,
    /// What the condition Ready says.
    message: Option<String>,
    over: bool,
    /// Whether it was deleted before its end.
    pub called_off: bool,
    pub rejected: bool,
    /// Known once it is over.
    pub problems: Vec<NotDone>,
}

impl Followed {
    pub fn new(total: usize) -> Self {
        Self {
            total,
            since: Instant::now(),
            created: None,
            version: 0,
            gone: 0,
            summary: None,
            message: None,
            over: false,
            called_off: false,
            rejected: false,
            problems: Vec::new(),
        }
    }

    /// It is known to have been created, as this one.
    pub fn confirm(&mut self, seen: &Seen) {
        self.created = Some(seen.metadata.uid.clone().unwrap_or_default());
        self.version = seen.version();
        self.take_in(seen);
    }

    /// Whether it is open, and was created after that version.
    pub const fn is_open_since(&self, version: u64) -> bool {
        !self.over && version > 0 && self.version > version
    }

    /// Whether it is known to have been created.
    pub const fn is_confirmed(&self) -> bool {
        self.created.is_some()
    }

    /// Whether this is the one that was created, as far as that is known.
    pub fn is_it(&self, seen: &Seen) -> bool {
        self.created.is_none() || self.created == seen.metadata.uid
    }

    pub fn take_in(&mut self, seen: &Seen) {
        if !self.is_it(seen) {
            return;
        }
        let Some(status) = &seen.status else {
            if seen.metadata.deletion_timestamp.is_some() {
                self.deleted();
            }
            return;
        };
        // A watch that has to start again may bring what is older.
        if self.over {
            return;
        }
        self.summary = status.summary;
        self.message = status.condition(READY).map(|ready| ready.message.clone());
        self.over = seen.is_over();
        if !self.over {
            // Something else holds it, but nothing more is written for it.
            if seen.metadata.deletion_timestamp.is_some() {
                self.deleted();
            }
            return;
        }
        if let Some((reason, message)) = seen.rejection() {
            self.rejected = true;
            let id = format!("{} (all {} items)", seen.name_any(), self.total);
            self.problems.push(NotDone { id, result: "Rejected", reason, message });
        }
        self.problems.extend(Kind::ALL.iter().flat_map(|kind| status.items(*kind)).filter_map(not_done));
    }

    /// What a read has brought after a watch did not show it any more: that is so after its label was removed, too. Says whether it
    /// is still to be followed.
    pub fn found(&mut self, seen: Option<&Seen>) -> bool {
        match seen {
            Some(seen) if self.is_it(seen) => self.take_in(seen),
            _ => self.deleted(),
        }
        !self.over
    }

    /// It is gone.
    pub fn deleted(&mut self) {
        self.called_off |= !self.over;
        self.over = true;
    }

    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether nothing of it waits to be written any more.
    pub fn is_written(&self) -> bool {
        self.over || self.summary.is_some_and(|summary| summary.planned == 0)
    }

    pub fn waits_for_longer_than(&self, patience: Duration) -> bool {
        !self.is_written() && self.summary.is_none() && self.since.elapsed() > patience
    }

    /// What it waits for before it is planned.
    pub fn waits_for(&self) -> Cow<'_, str> {
        match &self.message {
            Some(message) => message.into(),
            None if self.created.is_none() => "the API server has not answered yet, and is asked again".into(),
            None => "the operator has not taken it up yet; if that lasts, see whether it is running: kubectl aiapi check".into(),
        }
    }

    pub fn add_to(&self, counts: &mut Counts) {
        if self.rejected {
            counts.refused += self.total;
        }
        let Some(summary) = self.summary else { return };
        let number = |count: i32| usize::try_from(count).unwrap_or_default();
        counts.scheduled += number(summary.scheduled);
        counts.settled += number(summary.settled);
        counts.eligible += number(summary.eligible);
        counts.refused += number(summary.refused);
        counts.failed += number(summary.failed);
    }
}

fn not_done(item: &ItemStatus) -> Option<NotDone> {
    matches!(item.result, ItemResult::Refused | ItemResult::Failed).then(|| NotDone {
        id: item.id.to_string(),
        result: item.result.into(),
        reason: item.reason.map(|reason| reason.to_string()).unwrap_or_default(),
        message: item.message.as_deref().unwrap_or_default().to_owned(),
    })
}
