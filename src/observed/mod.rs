//! What is known of the cluster: targets and their cache, the flag, the admission policy.
//!
//! It is fed by watches and live reads, and decides nothing.

pub(crate) mod admission;
pub(crate) mod flag;
pub(crate) mod index;
pub(crate) mod target;

pub use self::{
    admission::{Admission, Policies},
    flag::{CapabilityFlag, InvalidFlag},
    index::{Index, Scope},
    target::{Observed, Target},
};
