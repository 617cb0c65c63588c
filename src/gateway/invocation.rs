//! One request to the gateway, as its errors and its log line name it.

use std::sync::Arc;

use http::Extensions;

/// One request, as its errors name it.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// Its id, made here: a uuid.
    pub id: Arc<str>,
    /// The URL that was asked for, without the host.
    pub target: Arc<str>,
}

impl Invocation {
    /// That of a request which has come through the frame.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }
}
