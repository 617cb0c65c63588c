//! Responses that the caller receives slowly, or not at all. Each is sent in small pieces, of which the last byte is one of its
//! own: so it is held, and what it holds, until all but that byte was received. And it ends when nothing was received for long.

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{server::STALLED, tasks::lock};

/// How long a response may take in all, however steadily it is received.
const LONGEST: Duration = Duration::from_mins(10);

/// The longest piece, in bytes: a connection holds two of each response.
const PIECE: usize = 16 * 1024;

/// The same body, with what is held for it until it was received. Its connection is closed when nothing of it was received for
/// [`STALLED`], or not all of it within [`LONGEST`].
pub fn body(body: Body, held: impl Send + 'static, connection: Option<CancellationToken>) -> Body {
    let response =
        Response { rest: Some((body, Box::new(held))), piece: Bytes::new(), since: Some(Instant::now()) };
    let response = Arc::new(Mutex::new(response));
    let watch = tokio::spawn(watch(Arc::downgrade(&response), connection));
    Body::new(Unread { response, _watch: AbortOnDropHandle::new(watch) })
}

struct Response {
    /// None when it was given up.
    rest: Option<(Body, Box<dyn Send>)>,
    /// What was read of the body, and not sent yet.
    piece: Bytes,
    /// Since when it waits for the caller, if it does.
    since: Option<Instant>,
}

impl Response {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some((body, _)) = &mut self.rest else {
            return Poll::Ready(Some(Err("the response was not received".into())));
        };
        self.since = None;
        while self.piece.is_empty() {
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
        self.since = Some(Instant::now());
        let length = self.piece.len().saturating_sub(1).clamp(1, PIECE);
        // Copied, because otherwise the last byte would keep all of it.
        let piece = Bytes::copy_from_slice(&self.piece.split_to(length));
        if self.piece.is_empty() {
            drop(mem::take(&mut self.piece));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

struct Unread {
    response: Arc<Mutex<Response>>,
    _watch: AbortOnDropHandle<()>,
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        lock(&self.response).poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        let response = lock(&self.response);
        response.piece.is_empty() && response.rest.as_ref().is_some_and(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let response = lock(&self.response);
        let Some((body, _)) = &response.rest else { return SizeHint::default() };
        let (mut all, more) = (body.size_hint(), response.piece.len() as u64);
        if let Some(upper) = all.upper() {
            all.set_upper(upper + more);
        }
        all.set_lower(all.lower() + more);
        all
    }
}

async fn watch(response: Weak<Mutex<Response>>, connection: Option<CancellationToken>) {
    let end = Instant::now() + LONGEST;
    loop {
        let Some(until) = response.upgrade().map(|response| {
            let since = lock(&response).since;
            since.unwrap_or_else(Instant::now) + STALLED
        }) else {
            return;
        };
        sleep_until(until.min(end)).await;
        let Some(response) = response.upgrade() else { return };
        let mut response = lock(&response);
        if Instant::now() >= end || response.since.is_some_and(|since| since.elapsed() >= STALLED) {
            let given_up = (response.rest.take(), mem::take(&mut response.piece));
            // What is dropped may take locks of its own.
            drop(response);
            drop(given_up);
            if let Some(connection) = connection {
                connection.cancel();
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests;
