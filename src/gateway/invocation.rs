//! One request to the gateway, as its errors and its log line identify it.

use std::sync::Arc;

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// A uuid made here.
    pub id: Arc<str>,
    /// The URL, without the host.
    pub target: Arc<str>,
}
