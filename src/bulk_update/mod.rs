//! Reconciles BulkUpdates: observe, decide, record, apply, report, settle.
//!
//! Pure: `request`, `facts`, `work`, `decide`, `status`. Each step that sends requests or waits has a file of its own.

mod apply;
mod cleanup;
pub mod context;
pub mod decide;
mod events;
pub mod facts;
mod finished;
#[cfg(test)]
mod fixtures;
mod identity;
mod observe;
mod pass;
mod record;
mod registry;
mod report;
pub mod request;
mod resource;
mod settle;
pub mod status;
pub mod stored;
mod throttle;
pub mod unreadable;
pub mod work;

pub use self::{
    context::Context, events::Events, facts::Rules, registry::Registry, stored::Stored, throttle::Writers,
};
