//! From a plan to the right to write: only what is on record is intended.

use std::sync::Arc;

use crate::{
    api::{ItemResult, ItemStatus},
    bulk_update::{
        facts::{Obstacle, Rejection},
        request::Start,
        work::entry::Entry,
    },
    observed::target::Target,
};

/// An item's new entry in the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemPlan {
    pub record: ItemStatus,
    /// The object that a new plan is based on, if it is one.
    pub based_on: Option<Arc<Target>>,
}

/// How far a BulkUpdate is, as its conditions report it.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// It cannot be planned yet.
    Waiting(Obstacle),
    /// It was rejected as a whole.
    Rejected(Rejection),
    /// A plan that takes effect once it is on record.
    Proposed(Plan),
    /// It is planned; with what it waits for, if anything.
    Planned(Option<Obstacle>),
    /// It is planned, and this process does nothing more for it.
    Final,
}

/// What to do about each item of a BulkUpdate. It has no effect until it is on record.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub start: Start,
    pub(super) items: Vec<ItemPlan>,
}

impl Plan {
    /// With one plan per item, in order.
    pub fn new(entries: &[Entry], items: Vec<ItemPlan>, start: Start) -> Self {
        let kept = entries.iter().zip(items);
        Self {
            start,
            items: kept.map(|(entry, plan)| ItemPlan { record: entry.kept(plan.record), ..plan }).collect(),
        }
    }

    pub fn records(&self) -> impl Iterator<Item = &ItemStatus> {
        self.items.iter().map(|plan| &plan.record)
    }

    pub fn writes(&self) -> bool {
        self.records().any(|record| record.result == ItemResult::Planned)
    }
}

/// A write to one object that the record intends. Only a recorded entry makes one.
#[derive(Clone, Debug)]
pub struct Intent {
    at: usize,
    target: Arc<Target>,
    start: Start,
}

impl Intent {
    /// For the item at this index, if its recorded entry plans a write to this very object.
    pub(super) fn on(record: &ItemStatus, at: usize, target: Arc<Target>, start: Start) -> Option<Self> {
        let intended = record.result == ItemResult::Planned && record.uid.as_deref() == Some(&*target.uid);
        intended.then_some(Self { at, target, start })
    }

    pub const fn at(&self) -> usize {
        self.at
    }

    pub const fn target(&self) -> &Arc<Target> {
        &self.target
    }

    pub const fn start(&self) -> Start {
        self.start
    }
}
