//! A mistake that no waiting mends.

/// A mistake in how the operator was installed or started, which it can't mend by trying again: the process exits with 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(pub String);
