//! Carrying out BulkUpdates: observe, decide, record, apply, report, settle.
//!
//! What is known of one is pure (`request`, `facts`, `work`, `decide`, `status`); each step that sends or waits has a file.

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
