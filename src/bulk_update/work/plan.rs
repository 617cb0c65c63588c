//! From a plan to the right to write: what is not on record is not intended.

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

/// What is to be done about one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemPlan {
    /// Its entry.
    pub record: ItemStatus,
    /// The object that this is based on.
    pub based_on: Option<Arc<Target>>,
}

/// Where a BulkUpdate is, as the conditions tell it.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// It can't be planned yet; why.
    Waiting(Obstacle),
    /// It is over before it began; why.
    Rejected(Rejection),
    /// This is the plan. It is one from when it is on record.
    Proposed(Plan),
    /// It is planned; why it does not go on, if it does not.
    Planned(Option<Obstacle>),
    /// It is planned, and this process does nothing more for it.
    Final,
}

/// What became of an item that was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Become {
    /// The item's place.
    pub at: usize,
    /// Its entry.
    pub record: ItemStatus,
    /// The object that a new plan rests on, if it is one.
    pub based_on: Option<Arc<Target>>,
}

/// What is to be done about each item of a BulkUpdate, which nothing follows from as long as it is not on record.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(super) start: Start,
    pub(super) items: Vec<ItemPlan>,
}

impl Plan {
    /// With an entry for each item, in order.
    #[must_use]
    pub fn new(entries: &[Entry], items: Vec<ItemPlan>, start: Start) -> Self {
        let kept = entries.iter().zip(items);
        Self {
            start,
            items: kept.map(|(entry, plan)| ItemPlan { record: entry.kept(plan.record), ..plan }).collect(),
        }
    }

    /// When it was made.
    #[must_use]
    pub const fn start(&self) -> Start {
        self.start
    }

    /// The entries.
    pub fn records(&self) -> impl Iterator<Item = &ItemStatus> {
        self.items.iter().map(|plan| &plan.record)
    }

    /// Whether anything is to be written to.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.records().any(|record| record.result == ItemResult::Planned)
    }
}

/// A write to one object, of which the record says that it is intended. Only a record makes one.
#[derive(Clone, Debug)]
pub struct Intent {
    at: usize,
    target: Arc<Target>,
    start: Start,
}

impl Intent {
    /// That of the item at this place, whose record this is, if it says that just this object is to be written to.
    pub(super) fn on(record: &ItemStatus, at: usize, target: Arc<Target>, start: Start) -> Option<Self> {
        let intended = record.result == ItemResult::Planned && record.uid.as_deref() == Some(&*target.uid);
        intended.then_some(Self { at, target, start })
    }

    /// The item's place.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// The object, as it was seen.
    #[must_use]
    pub const fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// When the BulkUpdate was planned.
    #[must_use]
    pub const fn start(&self) -> Start {
        self.start
    }
}
