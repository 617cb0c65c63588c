//! Executions and Deployments that run: observe, decide, record, and one request about what runs.
//!
//! Without a client: `owner`, `work`, `facts`, `decide`, `status`, and the engines, which know nothing of the others.

mod attempts;
mod conditions;
mod decide;
pub mod engine;
pub mod engines;
mod entries;
mod facts;
mod kueue;
mod owner;
mod pass;
pub mod pods;
mod queue;
mod requests;
mod run;
mod status;
mod steps;
mod work;
mod works;

pub use self::{
    run::{Controller, Inbox},
    work::{OWNER_UID, Object},
    works::Scope,
};
