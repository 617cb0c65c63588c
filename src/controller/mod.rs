//! The operator as a process: who leads, what is checked before anything is done, its watches, its tasks, its end.
//!
//! What becomes of a BulkUpdate is decided elsewhere.

pub mod election;
mod feeds;
pub mod operator;
pub mod preflight;
pub mod replica;
mod settings;
pub mod watches;

pub use self::settings::Settings;
