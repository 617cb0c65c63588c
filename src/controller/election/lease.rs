//! The Lease as a document: the fields that are read and changed. All others are kept as they are.

#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};

use crate::decode::object::Lenient;

/// How long a Lease is left to a holder that does not renew it, at most, whatever its duration says: the longest that the
/// command line accepts.
const LONGEST: Duration = Duration::from_hours(24);

/// The identity of the holder; empty if nobody holds it.
pub fn holder(lease: &Lenient) -> &str {
    lease.spec["holderIdentity"].as_str().unwrap_or_default()
}

/// Whether a Lease that has not changed for so long may be acquired; `own` is the duration of this process, which counts if that
/// in the Lease makes no sense.
pub fn is_free(lease: &Lenient, unchanged: Duration, own: Duration) -> bool {
    let duration = lease.spec["leaseDurationSeconds"].as_u64().filter(|seconds| *seconds > 0);
    let duration = duration.map_or(own, Duration::from_secs).min(LONGEST);
    holder(lease).is_empty() || unchanged > duration
}

pub fn renewed(mut lease: Lenient, duration: Duration, now: Timestamp) -> Lenient {
    set(&mut lease, "renewTime", micro_time(now).into());
    set(&mut lease, "leaseDurationSeconds", duration.as_secs().into());
    lease
}

/// Makes this process the holder from now on.
pub fn taken_over(mut lease: Lenient, identity: &str, now: Timestamp) -> Lenient {
    let count = lease.spec["leaseTransitions"].as_i64().unwrap_or_default().max(0);
    // A new Lease had no holder.
    let is_new = lease.text("resourceVersion").is_none();
    let transitions = if is_new { 0 } else { count.saturating_add(1).min(i32::MAX.into()) };
    set(&mut lease, "holderIdentity", identity.into());
    set(&mut lease, "acquireTime", micro_time(now).into());
    set(&mut lease, "leaseTransitions", transitions.into());
    lease
}

pub fn freed(mut lease: Lenient, now: Timestamp) -> Lenient {
    set(&mut lease, "holderIdentity", Value::Null);
    set(&mut lease, "renewTime", micro_time(now).into());
    lease
}

fn set(lease: &mut Lenient, field: &str, value: Value) {
    if !lease.spec.is_object() {
        lease.spec = Value::Object(Map::new());
    }
    lease.spec[field] = value;
}

/// A time as Kubernetes writes a `MicroTime`.
fn micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}
