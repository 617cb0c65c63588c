//! Whether this process may write: a right that ends by itself.
//!
//! A Lease does not fence: who holds it may be suspended, and go on when another holds it. The guards of each write protect
//! the objects then. Besides, no write starts here once the last renewal is older than the renew deadline.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Method;
use kube::client::Body;
use rustix::time::{ClockId, clock_gettime};
use tower::{BoxError, Layer, filter::Filter, util::BoxService};

use crate::client::Wire;

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
pub struct Leadership(Arc<AtomicU64>);

impl Leadership {
    /// Whether it holds now.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.left().is_zero()
    }

    /// How long it holds, if it is not extended.
    #[must_use]
    pub fn left(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst)).saturating_sub(now())
    }

    /// From now on it holds until this moment of [`now`]'s clock.
    pub fn extend(&self, until: Duration) {
        self.0.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// It does not hold any more.
    pub fn end(&self) {
        self.extend(Duration::ZERO);
    }
}

/// That a write was not sent, because this process may not write (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process does not hold the Lease any more")]
pub struct NotLeader;

/// Lets nothing but reads through while the leadership does not hold: the last thing that happens to a request before it
/// goes out.
#[derive(Clone, Debug)]
pub struct Fence(pub Leadership);

impl Layer<Wire> for Fence {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        let leadership = self.0.clone();
        let may = move |request: http::Request<Body>| {
            if request.method() == Method::GET || leadership.holds() {
                Ok(request)
            } else {
                Err(BoxError::from(NotLeader))
            }
        };
        BoxService::new(Filter::new(wire, may))
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;

    use super::*;
    use crate::client::{Failure, connect_through, send};

    #[test]
    fn it_holds_until_its_moment_and_not_once_it_was_ended() {
        let leadership = Leadership::default();
        assert!(!leadership.holds());
        leadership.extend(now() + Duration::from_mins(1));
        assert!(leadership.holds() && leadership.left() > Duration::from_secs(59));
        leadership.extend(now());
        assert!(!leadership.holds());
        leadership.extend(now() + Duration::from_mins(1));
        leadership.clone().end();
        assert!(!leadership.holds());
    }

    #[tokio::test]
    async fn without_it_only_reads_go_out() {
        // Nobody listens there, which shows in the failure of what goes out.
        let nowhere = Config::new("http://127.0.0.1:1".parse().unwrap());
        let leadership = Leadership::default();
        let client = connect_through(nowhere, &Fence(leadership.clone())).unwrap();
        let ask = async |method: &str| {
            let request = http::Request::builder().method(method).uri("/version").body(vec![]).unwrap();
            match send::<()>(&client, Ok(request)).await {
                Err(Failure::NotSent(why)) => why,
                other => panic!("{other:?}"),
            }
        };
        for method in ["PATCH", "DELETE", "POST", "PUT"] {
            assert!(ask(method).await.contains(&NotLeader.to_string()), "{method}");
        }
        assert!(!ask("GET").await.contains(&NotLeader.to_string()));
        leadership.extend(now() + Duration::from_mins(1));
        assert!(!ask("PATCH").await.contains(&NotLeader.to_string()));
        leadership.end();
        assert!(ask("PATCH").await.contains(&NotLeader.to_string()));
    }
}
