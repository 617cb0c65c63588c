//! Whether this process may write: a right that ends by itself.
//!
//! A Lease does not fence: who holds it may be suspended, and go on when another holds it. The guards of each write protect
//! the objects then. Besides, no write leaves this process once the last renewal is older than the renew deadline: not one
//! that begins then, nor one that has been waiting for a connection since before.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::Method;
use hyper_util::client::legacy::connect::capture_connection;
use kube::client::{Body, DynBody};
use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::watch, time::sleep};
use tower::{BoxError, Layer, Service, util::BoxService};

use crate::client::{failure::NotLeader, wire::Wire};

/// The clock that counts while the machine is suspended, too: the others' leases go on running in that time.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
/// Elsewhere that is what this one does.
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// The time since some fixed moment, suspension included.
#[must_use]
pub fn now() -> Duration {
    let time = clock_gettime(CLOCK);
    // Neither is ever negative.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// The right to write, until some moment; shared by all who ask, and nobody's at first.
#[derive(Clone, Debug, Default)]
pub struct Leadership(Arc<watch::Sender<Duration>>);

impl Leadership {
    /// Whether it holds now.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.left().is_zero()
    }

    /// How long it holds, if it is not extended.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.0.borrow().saturating_sub(now())
    }

    /// From now on it holds until this moment of [`now`]'s clock.
    pub fn extend(&self, until: Duration) {
        self.0.send_replace(until);
    }

    /// It does not hold any more.
    pub fn end(&self) {
        self.extend(Duration::ZERO);
    }

    /// Waits until it does not hold.
    pub async fn ended(&self) {
        let mut changes = self.0.subscribe();
        while self.holds() {
            tokio::select! {
                // The timer's clock may stand still while this one runs, so that it is looked at again.
                () = sleep(self.left()) => {}
                // The sender is a part of self.
                _ = changes.changed() => {}
            }
        }
    }
}

/// That a write was given up on, because this process may not write any more, when a connection had it already: what has come
/// of it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not hold the Lease any more, and the request may have been sent")]
pub struct CutOff;

/// Lets nothing but reads through while the leadership does not hold, and drops each write that is still under way when it
/// ends: the last layer before the client that has the connections.
#[derive(Clone, Debug)]
pub struct Fence(pub Leadership);

impl Layer<Wire> for Fence {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        BoxService::new(Fenced { wire, leadership: self.0.clone() })
    }
}

struct Fenced {
    wire: Wire,
    leadership: Leadership,
}

impl Service<http::Request<Body>> for Fenced {
    type Response = http::Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.wire.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if request.method() == Method::GET {
            return self.wire.call(request);
        }
        let leadership = self.leadership.clone();
        if !leadership.holds() {
            return std::future::ready(Err(NotLeader.into())).boxed();
        }
        // Is told when a connection is there for the request, in the moment before it gets it.
        let connection = capture_connection(&mut request);
        let mut answer = self.wire.call(request);
        async move {
            // Looked at each time before the request gets any further: a name that is resolved, a connection that comes
            // about or gets free, a handshake that ends do not send it any more. One that is dropped while it waits for a
            // connection is not sent; of one that is being written the connection is closed.
            let fenced = poll_fn(|cx| {
                if !leadership.holds() {
                    return Poll::Ready(None);
                }
                answer.poll_unpin(cx).map(Some)
            });
            let answered = tokio::select! {
                biased;
                answered = fenced => answered,
                () = leadership.ended() => None,
            };
            let sent = connection.connection_metadata().is_some();
            answered.unwrap_or_else(|| Err(if sent { CutOff.into() } else { NotLeader.into() }))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
