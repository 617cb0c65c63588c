//! A BulkUpdate over its whole life.

use std::collections::HashSet;

use ai_api_operator::api::{
    BulkUpdateItem, BulkUpdateSpec, BulkUpdateStatus, ItemResult, ItemStatus, Kind, MAX_ITEMS, TargetStatus,
};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::facts::Version;

/// One stored version of a BulkUpdate.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub version: &'a Version,
    /// Empty if it has none, or one that cannot be read.
    pub status: BulkUpdateStatus,
}

impl Record<'_> {
    /// Whether there is something in the place of its status that is no object.
    pub fn is_blotted(&self) -> bool {
        self.version.object.get("status").is_some_and(|status| !status.is_object())
    }
}

/// A BulkUpdate and all versions of it.
#[derive(Clone, Debug)]
pub struct Bulk<'a> {
    pub uid: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Its creationTimestamp.
    pub created: &'a str,
    /// The request, in the first version that can be read. None if there is none.
    pub spec: Option<BulkUpdateSpec>,
    pub records: Vec<Record<'a>>,
}

/// What a record says of an item.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'b, 'a> {
    pub bulk: &'b Bulk<'a>,
    pub record: &'b Record<'a>,
    pub kind: Kind,
    pub item: &'b ItemStatus,
}

impl<'a> Claim<'_, 'a> {
    /// The revision of the record.
    pub fn revision(&self) -> u64 {
        self.record.version.revision
    }

    pub fn version(&self) -> &'a Version {
        self.record.version
    }

    /// The revision of the first record that has said this, and none after it anything else.
    pub fn said_first(&self) -> u64 {
        let until = self.bulk.records.iter().rev().skip_while(|r| r.version.revision > self.revision());
        let same = |record: &&Record<'_>| {
            let mut items = record.status.items(self.kind).iter();
            items
                .any(|i| i.id == self.item.id && (i.result, i.reason) == (self.item.result, self.item.reason))
        };
        until.take_while(same).last().map_or(self.revision(), |record| record.version.revision)
    }

    /// The uid of the object that was decided on; empty if there is none.
    pub fn uid(&self) -> &str {
        self.item.uid.as_deref().unwrap_or_default()
    }

    /// The item of the request.
    pub fn asked(&self) -> Option<&BulkUpdateItem> {
        self.bulk.item(self.kind, &self.item.id)
    }

    /// What it says, in words.
    pub fn words(&self) -> String {
        outcome(Some(self.item))
    }
}

impl<'a> Bulk<'a> {
    pub(crate) fn new(first: &'a Version) -> Self {
        Self {
            uid: &first.uid,
            namespace: &first.namespace,
            name: &first.name,
            created: first.created(),
            spec: None,
            records: Vec::new(),
        }
    }

    pub(crate) fn take_in(&mut self, version: &'a Version) {
        // What was created unreadable may become readable.
        self.spec = self.spec.take().or_else(|| BulkUpdateSpec::deserialize(&version.object["spec"]).ok());
        let status = match (self.records.last(), version.object.get("status")) {
            (_, None) => BulkUpdateStatus::default(),
            (Some(last), now) if last.version.object.get("status") == now => last.status.clone(),
            (_, Some(status)) => BulkUpdateStatus::deserialize(status).unwrap_or_default(),
        };
        self.records.push(Record { version, status });
    }

    /// The version in which it was created, or first seen.
    pub fn first(&self) -> &Record<'a> {
        &self.records[0]
    }

    pub fn last(&self) -> &Record<'a> {
        &self.records[self.records.len() - 1]
    }

    /// When it was made, at the latest in the second of its creationTimestamp: that is of a clock that may have been set since.
    pub fn made_at(&self) -> Timestamp {
        self.created_at().min(self.first().version.at)
    }

    pub fn created_at(&self) -> Timestamp {
        self.created.parse().unwrap_or(Timestamp::MIN)
    }

    /// The record with which it finished.
    pub fn end(&self) -> Option<&Record<'a>> {
        self.records.iter().find(|record| record.status.completion_time.is_some())
    }

    /// The first record with a plan.
    pub fn plan(&self) -> Option<&Record<'a>> {
        self.records.iter().find(|record| record.status.summary.is_some())
    }

    /// Whether it could not be understood, in this version or an earlier one: its spec or status was stored with another
    /// schema, or by other means.
    pub fn was_flawed_by(&self, record: &Record<'_>) -> bool {
        let until = record.version.revision;
        self.records.iter().take_while(|r| r.version.revision <= until).any(|r| is_flawed(&r.version.object))
    }

    /// The same, by then.
    pub fn was_flawed_at(&self, time: Timestamp) -> bool {
        self.records.iter().take_while(|r| r.version.at <= time).any(|r| is_flawed(&r.version.object))
    }

    /// What each record says of an item that the one before it did not say.
    pub fn claims(&self) -> impl Iterator<Item = Claim<'_, 'a>> {
        self.records.iter().enumerate().flat_map(move |(at, record)| {
            let before = at.checked_sub(1).map(|before| &self.records[before].status);
            Kind::ALL.into_iter().flat_map(move |kind| {
                let is_new = move |item: &&ItemStatus| before.is_none_or(|b| !b.items(kind).contains(item));
                let items = record.status.items(kind).iter().filter(is_new);
                items.map(move |item| Claim { bulk: self, record, kind, item })
            })
        })
    }

    pub fn items(&self) -> impl Iterator<Item = (Kind, &BulkUpdateItem)> {
        let of = |kind| self.spec.iter().flat_map(move |spec| spec.items(kind)).map(move |item| (kind, item));
        Kind::ALL.into_iter().flat_map(of)
    }

    pub fn item(&self, kind: Kind, id: &str) -> Option<&BulkUpdateItem> {
        self.spec.as_ref()?.items(kind).iter().find(|item| item.id == id)
    }

    pub fn names(&self, kind: Kind) -> bool {
        self.spec.as_ref().is_some_and(|spec| !spec.items(kind).is_empty())
    }

    pub fn is_dry_run(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.dry_run == Some(true))
    }

    /// Whether a status has the items that the spec asks for, in the order of any of its versions: the API server accepts
    /// another order of the same items.
    pub fn has_its_items(&self, status: &BulkUpdateStatus) -> bool {
        let fits = |spec: &BulkUpdateSpec| {
            Kind::ALL.into_iter().all(|kind| {
                let asked = spec.items(kind).iter().map(|i| (&*i.id, i.target_status));
                asked.eq(status.items(kind).iter().map(|i| (&*i.id, i.target_status)))
            })
        };
        let later = || self.records.iter().map(|record| &record.version.object["spec"]);
        self.spec.as_ref().is_some_and(fits)
            || later().any(|spec| BulkUpdateSpec::deserialize(spec).is_ok_and(|spec| fits(&spec)))
    }

    /// Whether it asks for this action on this very object.
    pub fn asks(&self, kind: Kind, id: &str, uid: &str, verb: TargetStatus) -> bool {
        let item = self.item(kind, id).filter(|item| item.target_status == verb);
        item.is_some_and(|item| item.uid.as_deref().is_none_or(|meant| meant == uid))
    }

    /// Whether the status had this very object planned before `revision`.
    pub fn had_planned(&self, kind: Kind, id: &str, uid: &str, revision: u64) -> bool {
        let plans =
            |i: &ItemStatus| *i.id == *id && i.uid.as_deref() == Some(uid) && i.result == ItemResult::Planned;
        let mut before = self.records.iter().take_while(|record| record.version.revision < revision);
        before.any(|record| record.status.items(kind).iter().any(plans))
    }
}

/// `Refused NotFound`, and so on.
pub fn outcome(item: Option<&ItemStatus>) -> String {
    let Some(item) = item else { return "not in the status".into() };
    let reason = item.reason.map(|r| format!(" {r:?}")).unwrap_or_default();
    format!("{:?}{reason}", item.result)
}

/// Whether no BulkUpdate that the schema accepts looks like this.
fn is_flawed(object: &Value) -> bool {
    let Ok(spec) = BulkUpdateSpec::deserialize(&object["spec"]) else { return true };
    let ids = || Kind::ALL.into_iter().map(|kind| spec.items(kind).iter().map(|item| &*item.id));
    let is_an_id = |id: &str| {
        (4..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    let total: usize = ids().map(Iterator::count).sum();
    let repeats = ids().any(|ids| {
        let mut seen = HashSet::new();
        ids.into_iter().any(|id| !seen.insert(id))
    });
    let status = object.get("status").is_some_and(|status| BulkUpdateStatus::deserialize(status).is_err());
    !(1..=MAX_ITEMS).contains(&total) || repeats || status || !ids().flatten().all(is_an_id)
}
