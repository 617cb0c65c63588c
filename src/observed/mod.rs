//! What is known of the cluster: targets and their cache, the flag, the admission policy.
//!
//! It is fed by watches and live reads, and decides nothing.

pub mod admission;
pub mod flag;
pub mod index;
pub mod target;
