//! A mistake in the installation or configuration: retrying does not help.

/// A mistake in how a process was installed or started: it exits with code 2, and a restart changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(pub String);
