//! What interrupts a command: Ctrl-C, and the end of a Pod.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::problem::{CALLED_OFF, Problem};

/// How many wait for an interruption, to end in their own way.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);

pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn new() -> Result<Self, Problem> {
        let signals =
            Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? };
        LISTENERS.fetch_add(1, Ordering::Relaxed);
        Ok(signals)
    }

    /// Waits for one.
    pub async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says so and ends the process where nobody else listens: once somebody has listened, a signal has no effect of its own any more.
pub fn end_where_nobody_listens(say: impl Fn() + Send + 'static) -> Result<(), Problem> {
    // It is never dropped, so it counts as one that listens.
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        loop {
            signals.recv().await;
            if LISTENERS.load(Ordering::Relaxed) == 1 {
                say();
                std::process::exit(CALLED_OFF.into());
            }
        }
    });
    Ok(())
}
