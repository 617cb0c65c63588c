//! What a process takes from the machine that it runs on: the time, and ids that nobody else has. What it decides, sends and
//! records by them is given when it starts, so that a test can start several in a world of its own.

use std::{fmt, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

/// A clock that also runs while the machine is suspended, since the Lease expires meanwhile.
#[cfg(target_os = "linux")]
const UPTIME: ClockId = ClockId::Boottime;
/// On other systems this one does.
#[cfg(not(target_os = "linux"))]
const UPTIME: ClockId = ClockId::Monotonic;

/// The clocks of a machine, and its source of ids. The default is this machine.
#[derive(Clone)]
pub struct Machine {
    uptime: Arc<dyn Fn() -> Duration + Send + Sync>,
    time: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    id: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl Default for Machine {
    fn default() -> Self {
        // It is never negative.
        let uptime = || Duration::try_from(clock_gettime(UPTIME)).unwrap_or_default();
        Self::new(uptime, Timestamp::now, Uuid::new_v4)
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").finish_non_exhaustive()
    }
}

impl Machine {
    /// A machine with these clocks, and with ids that nobody can guess.
    pub fn new(
        uptime: impl Fn() -> Duration + Send + Sync + 'static,
        time: impl Fn() -> Timestamp + Send + Sync + 'static,
        id: impl Fn() -> Uuid + Send + Sync + 'static,
    ) -> Self {
        Self { uptime: Arc::new(uptime), time: Arc::new(time), id: Arc::new(id) }
    }

    /// The time since some fixed moment, suspension included. Setting the clock does not change it.
    pub fn uptime(&self) -> Duration {
        (self.uptime)()
    }

    /// The time of day, which somebody may set.
    pub fn time(&self) -> Timestamp {
        (self.time)()
    }

    /// An id that no other has.
    pub fn id(&self) -> Uuid {
        (self.id)()
    }
}
