//! A bearer token in a file: read again as client-go does, at least once a minute and after a 401, and trimmed. (kube sends the
//! file as it is; with a line break at its end every request fails.)

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use futures::{FutureExt, TryFutureExt};
use http::{HeaderValue, StatusCode, header::AUTHORIZATION};
use tower::Service;
use tracing::warn;

use super::problem::{Problem, Unusable};
use crate::{
    client::wire::{Wire, around},
    tasks::lock,
};

/// How long a token is used before the file is read again: client-go's minute less its ten seconds of leeway.
const EVERY: Duration = Duration::from_secs(50);

/// The same while the file is unusable.
const EVERY_WHILE_UNUSABLE: Duration = Duration::from_secs(1);

/// The file, and the last usable token.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    header: HeaderValue,
    /// When to read the file again; `None` is at once.
    fresh_until: Option<Instant>,
}

impl TokenFile {
    /// Reads the file, unless there is a token to use while it is unusable.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(path: PathBuf, fallback: Option<HeaderValue>) -> Result<Self, Unusable> {
        let held = match fallback {
            Some(header) => Held { header, fresh_until: None },
            None => Held { header: read(&path)?, fresh_until: Some(Instant::now() + EVERY) },
        };
        Ok(Self { path, held: Mutex::new(held) })
    }

    /// Sends the token with each request.
    pub(super) fn layer(self: Arc<Self>, wire: Wire) -> Wire {
        around(wire, move |wire, mut request| {
            request.headers_mut().insert(AUTHORIZATION, self.header());
            let token = Arc::clone(&self);
            wire.call(request).inspect_ok(move |answer| token.take_in(answer.status())).boxed()
        })
    }

    /// The header to send now: that of the last usable token.
    fn header(&self) -> HeaderValue {
        let mut held = self.held();
        let now = Instant::now();
        if held.fresh_until.is_none_or(|until| until <= now) {
            match read(&self.path) {
                Ok(header) => *held = Held { header, fresh_until: Some(now + EVERY) },
                Err(error) => {
                    warn!("keeping the last token: {error}");
                    held.fresh_until = Some(now + EVERY_WHILE_UNUSABLE);
                }
            }
        }
        held.header.clone()
    }

    /// After a 401 the next request reads the file.
    fn take_in(&self, status: StatusCode) {
        if status == StatusCode::UNAUTHORIZED {
            self.held().fresh_until = None;
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}

fn read(path: &Path) -> Result<HeaderValue, Unusable> {
    let bytes = std::fs::read(path).map_err(Problem::from);
    bytes
        .and_then(|bytes| bearer(&String::from_utf8_lossy(&bytes)))
        .map_err(|problem| problem.of(format!("the token file {}", path.display())))
}

/// The header for a token, which is trimmed.
///
/// # Errors
/// What is wrong with the token, without the token.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, Problem> {
    let token = token.trim();
    if token.is_empty() {
        return Err(Problem::EmptyToken);
    }
    // What can be in a header without quoting; every kind of token consists of it.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::NotAToken);
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Problem::NotAToken)?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests;
