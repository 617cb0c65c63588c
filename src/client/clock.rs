//! The API server's time, by which deadlines and ages are judged.
//!
//! Each of its answers carries a `Date` in whole seconds. In between, a monotonic clock counts, so that setting this machine's
//! clock changes nothing. This machine's clock is used only until the first `Date`.

use std::{
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicU64},
    time::Duration,
};

use futures::{FutureExt, TryFutureExt};
use http::{
    HeaderMap, StatusCode,
    header::{AGE, DATE},
};
use k8s_openapi::jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use prometheus_client::{
    metrics::gauge::Gauge,
    registry::{Registry, Unit},
};
use tower::{Layer, Service};
use tracing::{info, warn};

use crate::{
    client::{
        machine::Machine,
        wire::{Wire, around},
    },
    tasks::lock,
};

/// How far this machine's clock may be off before it is reported.
pub const TOLERATED_SKEW: SignedDuration = SignedDuration::from_secs(5);

/// The header that an API server sets on each answer of its own.
const AUDIT_ID: &str = "audit-id";

/// One clock may run faster than the other by one part in this many: the bounds widen by that with time.
const DRIFT: i32 = 1000;

/// The API server's time. Clones share what is known.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    state: Arc<Mutex<State>>,
    machine: Machine,
    skew: Gauge<f64, AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Offset>,
    /// The last answer, if it contradicts what is known. The next one decides.
    rival: Option<Offset>,
    /// The last reported skew.
    reported: SignedDuration,
}

/// The present time. The API server's clock is between `earliest` and `latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub earliest: Timestamp,
    pub latest: Timestamp,
    /// This machine's clock.
    pub own: Timestamp,
    /// The same moment by [`Machine::uptime`], for durations within this process.
    pub instant: Duration,
}

/// A moment that is known exactly.
impl From<Timestamp> for Now {
    fn from(time: Timestamp) -> Self {
        Self { earliest: time, latest: time, own: time, instant: Duration::ZERO }
    }
}

impl Now {
    /// How far the API server's clock is ahead of this machine's, at least; negative if it is behind.
    pub fn skew(&self) -> SignedDuration {
        let ahead = self.earliest.duration_since(self.own).max(SignedDuration::ZERO);
        ahead + self.latest.duration_since(self.own).min(SignedDuration::ZERO)
    }

    /// For the message about a deadline that has passed: says so if it has not passed by this machine's clock.
    pub fn remark(&self, deadline: Timestamp) -> Option<String> {
        let skew = self.skew();
        (skew > TOLERATED_SKEW && self.own < deadline).then(|| {
            format!("by the API server's clock, which is {} s ahead of the operator's", skew.as_secs())
        })
    }

    /// The time for the status, in whole seconds. It is never in the future.
    pub fn to_record(&self) -> Timestamp {
        Timestamp::from_second(self.earliest.as_second()).unwrap_or(self.earliest)
    }
}

impl Clock {
    pub fn new(machine: Machine) -> Self {
        Self { machine, ..Self::default() }
    }

    pub fn now(&self) -> Now {
        self.state().at(self.machine.uptime(), self.machine.time())
    }

    /// Whether any answer had a `Date`.
    pub fn is_set(&self) -> bool {
        self.state().known.is_some()
    }

    /// Exports the skew.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "aiapi_clock_skew",
            "How far the API server's clock is ahead of this process' own, at least; negative if it is behind",
            Unit::Seconds,
            self.skew.clone(),
        );
    }

    /// Takes in an answer to a request that was sent at `asked`, by [`Machine::uptime`].
    fn take_in(&self, status: StatusCode, headers: &HeaderMap, asked: Duration) {
        // A proxy or load balancer answers for an API server that is down, by its own clock.
        if status.is_server_error() && !headers.contains_key(AUDIT_ID) {
            return;
        }
        // An answer with an age is from a cache.
        let date = headers.get(DATE).filter(|_| !headers.contains_key(AGE));
        let parse = |date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok();
        let Some(date) = date.and_then(|value| parse(value.to_str().ok()?)) else { return };
        let (answered, own) = (self.machine.uptime(), self.machine.time());
        let mut state = self.state();
        state.take_in(Offset::of(date, asked, answered));
        let skew = state.at(answered, own).skew();
        self.skew.set(skew.as_secs_f64());
        if (skew - state.reported).abs() <= TOLERATED_SKEW {
            return;
        }
        state.reported = skew;
        let seconds = skew.as_secs();
        if skew.abs() > TOLERATED_SKEW {
            warn!(
                seconds,
                "the API server's clock is ahead of this machine's by this many seconds (behind, if negative): deadlines go by \
                 the API server's clock; synchronize this machine's, by which certificates are checked"
            );
        } else {
            info!(seconds, "this machine's clock agrees with the API server's again");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn at(&self, instant: Duration, own: Timestamp) -> Now {
        let known = self.known.and_then(|known| known.at(instant));
        let (earliest, latest) = known.unwrap_or((own, own));
        Now { earliest, latest, own, instant }
    }

    /// Answers narrow the bounds. One that contradicts them may be from something else than the API server, or from another
    /// replica of it. Two in a row that agree with each other mean that the API server's clock was set.
    fn take_in(&mut self, answer: Offset) {
        let known = self.known.map_or(Some(answer), |known| known.narrowed(answer));
        if let Some(known) = known.or_else(|| self.rival?.narrowed(answer)) {
            (self.known, self.rival) = (Some(known), None);
        } else {
            self.rival = Some(answer);
        }
    }
}

/// How far the API server's clock is ahead of [`Machine::uptime`]: between `low` and `high`, at the moment `at`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Offset {
    low: SignedDuration,
    high: SignedDuration,
    at: Duration,
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

impl Offset {
    /// The bounds by an answer: at some moment between `asked` and `answered` it was less than a second after `date`.
    fn of(date: Timestamp, asked: Duration, answered: Duration) -> Self {
        let date = date.as_duration();
        let high = date + SignedDuration::from_secs(1) - signed(asked);
        Self { low: date - signed(answered), high, at: answered }
    }

    /// The bounds at a later moment, wider by the drift.
    fn aged(self, at: Duration) -> Self {
        let drift = signed(at.saturating_sub(self.at)) / DRIFT;
        Self { low: self.low - drift, high: self.high + drift, at: at.max(self.at) }
    }

    /// The bounds by both; `None` if they contradict each other.
    fn narrowed(self, answer: Self) -> Option<Self> {
        let (known, answer) = (self.aged(answer.at), answer.aged(self.at));
        let (low, high) = (known.low.max(answer.low), known.high.min(answer.high));
        (low <= high).then_some(Self { low, high, at: known.at })
    }

    fn at(self, instant: Duration) -> Option<(Timestamp, Timestamp)> {
        let Self { low, high, .. } = self.aged(instant);
        let instant = SignedDuration::try_from(instant).ok()?;
        let time = |offset: SignedDuration| Timestamp::from_duration(offset.checked_add(instant)?).ok();
        Some((time(low)?, time(high)?))
    }
}

/// Reads the dates of the answers that pass.
impl Layer<Wire> for Clock {
    type Service = Wire;

    fn layer(&self, wire: Wire) -> Wire {
        let clock = self.clone();
        around(wire, move |wire, request| {
            let (clock, asked) = (clock.clone(), clock.machine.uptime());
            wire.call(request)
                .inspect_ok(move |answer| clock.take_in(answer.status(), answer.headers(), asked))
                .boxed()
        })
    }
}

#[cfg(test)]
mod tests;
