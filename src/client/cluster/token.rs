//! A bearer token in a file: read again as client-go does, at least once a minute and after a 401, without the blanks around
//! it. (kube sends the file as it is, and a line break at its end makes every request fail.)

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderValue, StatusCode, header::AUTHORIZATION};
use kube::client::{Body, DynBody};
use tower::{BoxError, Layer, Service, util::BoxService};
use tracing::warn;

use crate::client::wire::Wire;

/// After how long the file is read again: client-go's minute less its ten seconds of leeway.
const EVERY: Duration = Duration::from_secs(50);

/// The same while it cannot be used.
const EVERY_UNTIL_MENDED: Duration = Duration::from_secs(1);

/// The file, and what it held last.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    header: HeaderValue,
    /// When to read it again; `None` is at once.
    fresh_until: Option<Instant>,
}

impl TokenFile {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(path: PathBuf) -> Result<Self, String> {
        let header = read(&path)?;
        Ok(Self { path, held: Mutex::new(Held { header, fresh_until: Some(Instant::now() + EVERY) }) })
    }

    /// The same, with a token for as long as the file cannot be used.
    pub(super) const fn or(path: PathBuf, header: HeaderValue) -> Self {
        Self { path, held: Mutex::new(Held { header, fresh_until: None }) }
    }

    /// The header to send now. While the file cannot be used, the last token that could be stays.
    fn header(&self) -> HeaderValue {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if held.fresh_until.is_none_or(|until| until <= now) {
            match read(&self.path) {
                Ok(header) => *held = Held { header, fresh_until: Some(now + EVERY) },
                Err(why) => {
                    warn!("keeping the last token: {why}");
                    held.fresh_until = Some(now + EVERY_UNTIL_MENDED);
                }
            }
        }
        held.header.clone()
    }

    /// The API server did not accept it: the next request reads the file.
    fn refused(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).fresh_until = None;
    }
}

fn read(path: &Path) -> Result<HeaderValue, String> {
    let file = path.display();
    let bytes =
        std::fs::read(path).map_err(|error| format!("the token file {file} cannot be read: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    bearer(&text).map_err(|why| format!("the token file {file} {why}"))
}

/// The header for a token, without the blanks around it.
///
/// # Errors
/// What is wrong with the token, which is not repeated.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, &'static str> {
    let token = token.trim();
    if token.is_empty() {
        return Err("is empty: it has to hold a bearer token");
    }
    // The characters that can stand in a header without quoting; all kinds of tokens are made of them.
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("does not hold a bearer token: it has blanks, line breaks or other characters within");
    }
    let mut header =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "does not hold a bearer token")?;
    header.set_sensitive(true);
    Ok(header)
}

/// Sends the token with each request.
pub(super) struct WithToken(pub(super) Arc<TokenFile>);

impl Layer<Wire> for WithToken {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        BoxService::new(Sending { wire, token: Arc::clone(&self.0) })
    }
}

struct Sending {
    wire: Wire,
    token: Arc<TokenFile>,
}

impl Service<http::Request<Body>> for Sending {
    type Response = http::Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.wire.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        request.headers_mut().insert(AUTHORIZATION, self.token.header());
        let answer = self.wire.call(request);
        let token = Arc::clone(&self.token);
        async move {
            let answer = answer.await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                token.refused();
            }
            Ok(answer)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of its own with these bytes.
    fn file(name: &str, bytes: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("{name}-{}", uuid::Uuid::new_v4()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn blanks_around_a_token_are_not_a_part_of_it() {
        for bytes in [&b"abc"[..], b"abc\n", b"abc\r\n", b"\n abc \t\r\n\r\n", b"abc\n\n"] {
            let token = TokenFile::new(file("token", bytes)).unwrap();
            assert_eq!(token.header(), "Bearer abc", "{bytes:?}");
            assert_eq!(format!("{:?}", token.header()), "Sensitive");
        }
    }

    #[test]
    fn what_is_no_token_is_named_and_not_shown() {
        for bytes in [
            &b""[..],
            b"\r\n",
            b"hush\ndef",
            b"hush def",
            b"hush\0",
            b"\xff\xfea\0b\0",
            b"\x7fELF",
            "ä".as_bytes(),
        ] {
            let path = file("token", bytes);
            let why = TokenFile::new(path.clone()).unwrap_err();
            assert!(why.contains(path.to_str().unwrap()) && !why.contains("hush"), "{bytes:?}: {why}");
        }
        let why = TokenFile::new("/no/such/token".into()).unwrap_err();
        assert!(why.contains("/no/such/token cannot be read: No such file"), "{why}");
        assert!(TokenFile::new(std::env::temp_dir()).unwrap_err().contains("directory"));
    }

    #[test]
    fn a_renewed_token_is_taken_up_after_a_401_or_in_time_and_a_bad_file_leaves_the_last_one() {
        let path = file("token", b"first\n");
        let token = TokenFile::new(path.clone()).unwrap();
        std::fs::write(&path, "second\n").unwrap();
        assert_eq!(token.header(), "Bearer first");
        token.refused();
        assert_eq!(token.header(), "Bearer second");
        let time_passes = || token.held.lock().unwrap().fresh_until = Some(Instant::now());
        for bad in [&b""[..], b"\xff"] {
            std::fs::write(&path, bad).unwrap();
            time_passes();
            assert_eq!(token.header(), "Bearer second");
        }
        std::fs::remove_file(&path).unwrap();
        time_passes();
        assert_eq!(token.header(), "Bearer second");
        std::fs::write(&path, "third").unwrap();
        time_passes();
        assert_eq!(token.header(), "Bearer third");
    }
}
