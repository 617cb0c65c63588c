//! Leadership: whether this process may write. It expires by itself.
//!
//! A Lease is no fence: its holder may be suspended, and resume when another process is the leader. Then the guards of each write
//! protect the objects. In addition, no write leaves this process once the last renewal is older than the renew deadline: neither
//! one that starts then, nor one that is still waiting for a connection.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use futures::FutureExt;
use http::Method;
use hyper_util::client::legacy::connect::capture_connection;
use tokio::{sync::watch, time::sleep};
use tower::{Layer, Service};

use crate::client::{
    failure::NotLeader,
    machine::Machine,
    wire::{Answer, Request, Wire, around},
};

/// The right to write until some moment. Clones share it; at first it is not held.
#[derive(Clone, Debug, Default)]
pub struct Leadership {
    /// By the uptime of the machine.
    until: Arc<watch::Sender<Duration>>,
    machine: Machine,
}

impl Leadership {
    pub fn new(machine: Machine) -> Self {
        Self { until: Arc::default(), machine }
    }

    /// Whether it is held now.
    pub fn holds(&self) -> bool {
        !self.left().is_zero()
    }

    /// How long it is held, if it is not extended.
    pub fn left(&self) -> Duration {
        self.until.borrow().saturating_sub(self.machine.uptime())
    }

    /// It is held until this moment by [`Machine::uptime`].
    pub fn extend(&self, until: Duration) {
        self.until.send_replace(until);
    }

    /// It is not held any more.
    pub fn end(&self) {
        self.extend(Duration::ZERO);
    }

    /// Waits until it is not held.
    pub async fn ended(&self) {
        let mut changes = self.until.subscribe();
        while self.holds() {
            tokio::select! {
                biased;
                // Never an error: the sender is in self.
                _ = changes.changed() => {}
                // The timer's clock may stop while the machine is suspended, so check again.
                () = sleep(self.left()) => {}
            }
        }
    }
}

/// A write was dropped because this process is not the leader any more, after a connection had it: its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not hold the Lease any more, and the request may have been sent")]
pub struct CutOff;

/// Lets only reads through while the leadership is not held, and drops each write that is in flight when it ends. It is the last
/// layer before the connections.
#[derive(Clone, Debug)]
pub struct Fence(pub Leadership);

impl Layer<Wire> for Fence {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        let leadership = self.0.clone();
        around(wire, move |wire, request| match *request.method() {
            Method::GET => wire.call(request),
            _ if leadership.holds() => fenced(wire, request, leadership.clone()),
            _ => std::future::ready(Err(NotLeader.into())).boxed(),
        })
    }
}

/// Sends a write, and gives it up when the leadership ends.
fn fenced(wire: &mut Wire, mut request: Request, leadership: Leadership) -> Answer {
    // Set when the request is about to be handed to a connection.
    let connection = capture_connection(&mut request);
    let mut answer = wire.call(request);
    async move {
        // Checked before each poll: the end of a name resolution, a handshake or a wait for a connection does not send the
        // request any more. A request that is dropped while it waits for a connection is not sent; the connection of one that is
        // being written is closed.
        let guarded = poll_fn(|cx| {
            if !leadership.holds() {
                return Poll::Ready(None);
            }
            answer.poll_unpin(cx).map(Some)
        });
        let answered = tokio::select! {
            biased;
            answered = guarded => answered,
            () = leadership.ended() => None,
        };
        let sent = connection.connection_metadata().is_some();
        answered.unwrap_or_else(|| Err(if sent { CutOff.into() } else { NotLeader.into() }))
    }
    .boxed()
}

#[cfg(test)]
mod tests;
