//! Which BulkUpdates count as expired.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::{
    api::{Kind, TargetStatus},
    bulk_update::fixtures::{at, bulk, spec},
};

#[test]
fn what_has_expired_is_what_its_starting_deadline_has_ended() {
    let expired = |not_after: Option<i64>, end| {
        let mut spec = spec(Kind::Execution, TargetStatus::Stopped);
        spec["notAfter"] = not_after.map(|seconds| at(seconds).to_string()).into();
        let status = BulkUpdateStatus { completion_time: Some(Time(at(end))), ..BulkUpdateStatus::default() };
        expired(&Request::from(&bulk(&spec)), &status)
    };
    // The hour, and the last second of it.
    assert!(expired(None, 3601) && expired(Some(9999), 3601) && !expired(None, 3600));
    // Its notAfter has ended it, which is certain before a whole second shows it.
    for end in [9, 10, 11] {
        assert!(!expired(Some(10), end), "{end}");
    }
    // The operator was away for both.
    assert!(!expired(Some(10), 5000));
}
