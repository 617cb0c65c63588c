//! Reconciles BulkUpdates: observe, decide, record, apply, report, settle.
//!
//! Without a client: `request`, `facts`, `work`, `decide`, `status`; `decide` and `status` read no clock either. Each step that sends requests or waits has a file of its own.

mod apply;
mod cleanup;
mod context;
mod decide;
mod events;
mod facts;
mod finished;
#[cfg(test)]
mod fixtures;
mod identity;
mod observe;
mod pass;
mod record;
mod registry;
mod report;
mod request;
mod resource;
mod settle;
mod status;
mod stored;
mod throttle;
pub mod unreadable;
mod work;

pub use self::{
    context::Context,
    decide::{Ineligible, Planning, applies, plan, verdict},
    events::{Events, reference},
    facts::{Gate, Gates, MissedDeadline, Observation, Obstacle, Rejection, Rules},
    registry::Registry,
    request::Request,
    resource::Live,
    status::status,
    stored::Stored,
    throttle::{HeldBack, Writers},
    work::{Phase, Work},
};
