//! The API server's time, by which deadlines and ages are judged.

use k8s_openapi::jiff::Timestamp;

/// Tells the API server's time. A clone tells the same.
#[derive(Clone, Debug, Default)]
pub struct Clock;

/// What is known of the present time: it lies between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// It is this late at least.
    pub earliest: Timestamp,
    /// It is this late at most.
    pub latest: Timestamp,
}

/// A moment that is known exactly.
impl From<Timestamp> for Now {
    fn from(time: Timestamp) -> Self {
        Self { earliest: time, latest: time }
    }
}

impl Clock {
    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Now {
        Timestamp::now().into()
    }
}
