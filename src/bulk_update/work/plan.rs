//! From a plan to the right to write: what is not on record is not intended.

use std::sync::Arc;

use crate::{
    api::{ConditionReason, ItemResult, ItemStatus},
    bulk_update::{
        facts::{Hindrance, Start},
        work::Work,
    },
    observed::target::Target,
};

/// The entry of an item, and the object that it rests on.
pub type ItemPlan = (ItemStatus, Option<Arc<Target>>);

/// Where a BulkUpdate is, as the conditions tell it.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// It can't be planned yet; why.
    Waiting(Hindrance, String),
    /// It is over before it began; why.
    Rejected(ConditionReason, String),
    /// This is the plan. It is one from when it is on record.
    Proposed(Plan),
    /// It is planned; why it does not go on, if it does not.
    Planned(Option<String>),
    /// It is planned, and this process does nothing more for it.
    Last,
}

/// What became of an item that was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Become {
    /// The item's place.
    pub at: usize,
    /// Its entry.
    pub record: ItemStatus,
    /// The object that a new plan rests on, if it is one.
    pub rests_on: Option<Arc<Target>>,
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
    pub fn new(work: &Work, items: Vec<ItemPlan>, start: Start) -> Self {
        let kept = work.entries().iter().zip(items);
        Self {
            start,
            items: kept.map(|(entry, (record, rests_on))| (entry.kept(record), rests_on)).collect(),
        }
    }

    /// When it was made.
    #[must_use]
    pub const fn start(&self) -> Start {
        self.start
    }

    /// The entries.
    pub fn records(&self) -> impl Iterator<Item = &ItemStatus> {
        self.items.iter().map(|(record, _)| record)
    }

    /// Whether anything is to be written to.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.records().any(|record| record.result == ItemResult::Planned)
    }
}

/// A write to one object, of which the record says that it is intended. Only [`Work::intents`] makes one.
#[derive(Clone, Debug)]
pub struct Intent {
    at: usize,
    target: Arc<Target>,
    start: Start,
}

impl Intent {
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

impl Work {
    /// Those of the writes that the record intends: to this very object, as planned.
    #[must_use]
    pub fn intents(&self, writes: Vec<(usize, Arc<Target>)>) -> Vec<Intent> {
        let Some(start) = self.start().filter(|_| !self.request().dry_run) else { return Vec::new() };
        let intended = |at: usize, target: &Target| {
            self.on_record(&self.entries()[at].item).is_some_and(|record| {
                record.result == ItemResult::Planned && record.uid.as_deref() == Some(&*target.uid)
            })
        };
        let writes = writes.into_iter().filter(|(at, target)| intended(*at, target));
        writes.map(|(at, target)| Intent { at, target, start }).collect()
    }
}
