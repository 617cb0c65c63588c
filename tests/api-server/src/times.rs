//! The server's clock, and times as texts.

use k8s_openapi::jiff::Timestamp;

/// The server's clock, with the texts of the present second.
#[derive(Clone, Debug)]
pub struct Clock {
    pub now: Timestamp,
    second: i64,
    /// As in `creationTimestamp`.
    pub text: String,
    /// As in the header `Date`.
    pub date: http::HeaderValue,
}

impl Clock {
    pub fn at(now: Timestamp) -> Self {
        let mut clock =
            Self { now, second: i64::MIN, text: String::new(), date: http::HeaderValue::from_static("") };
        clock.set(now);
        clock
    }

    pub fn set(&mut self, now: Timestamp) {
        self.now = now;
        let second = now.as_nanosecond().div_euclid(1_000_000_000);
        let second = i64::try_from(second).unwrap();
        if second != self.second {
            self.second = second;
            let whole = Timestamp::from_second(second).unwrap();
            self.text = rfc3339(whole);
            let date = whole.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            self.date = date.try_into().unwrap();
        }
    }
}

/// In whole seconds, rounded down.
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// With the six digits of a `MicroTime`.
pub fn micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
