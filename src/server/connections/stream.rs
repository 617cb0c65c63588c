//! A stream that can be closed from elsewhere, and that fails when the other side receives nothing of what is sent.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// For how long the other side may receive nothing.
pub const STALLED: Duration = Duration::from_secs(30);

/// The stream.
pub struct Closable<S> {
    stream: S,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Runs while nothing can be sent.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Closable<S> {
    /// Fails once `closed` is cancelled.
    pub fn new(stream: S, closed: CancellationToken) -> Self {
        Self { stream, closed: Box::pin(closed.cancelled_owned()), stalled: None }
    }

    fn is_closed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Closable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_closed(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Closable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.is_closed(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, from);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_closed(cx)?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_closed_stream_fails_and_wakes_who_reads() {
        let (_other, stream) = duplex(1);
        let closed = CancellationToken::new();
        let mut stream = Closable::new(stream, closed.clone());
        let mut read = Box::pin(stream.read_u8());
        assert!(poll!(&mut read).is_pending());
        closed.cancel();
        assert_eq!(read.await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(stream.write_u8(0).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_fails_when_nothing_is_received_for_long() {
        let (mut other, stream) = duplex(1);
        let mut stream = Closable::new(stream, CancellationToken::new());
        let begun = tokio::time::Instant::now();
        for _ in 0..3 {
            let (written, ()) = tokio::join!(stream.write_all(b"a"), async {
                tokio::time::sleep(STALLED / 10 * 9).await;
                other.read_u8().await.unwrap();
            });
            written.unwrap();
        }
        assert_eq!(stream.write_all(b"ab").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let all = STALLED / 10 * 9 * 3 + STALLED;
        assert!(begun.elapsed().abs_diff(all) < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
