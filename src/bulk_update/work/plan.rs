//! From a plan to the right to write: only what is on record is intended.

use std::sync::Arc;

use crate::{
    api::{ItemResult, ItemStatus},
    bulk_update::{
        facts::{Obstacle, Rejection},
        request::{Item, Request, Start},
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

/// The right to write once to one object: only a record of the API server gives it ([`Work::intents`](super::Work)), and
/// the write takes it.
#[derive(Debug)]
pub struct Intent {
    pub(super) at: usize,
    pub(super) item: Item,
    pub(super) target: Arc<Target>,
    pub(super) start: Start,
    pub(super) request: Arc<Request>,
}

impl Intent {
    pub const fn at(&self) -> usize {
        self.at
    }

    pub const fn item(&self) -> &Item {
        &self.item
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    pub const fn start(&self) -> Start {
        self.start
    }

    /// What the write is part of.
    pub fn request(&self) -> &Request {
        &self.request
    }
}
