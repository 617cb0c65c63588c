//! When a BulkUpdate is requeued.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::{
    api::{BulkUpdateStatus, Kind, TargetStatus},
    bulk_update::fixtures::{at, bulk, spec, work_on},
    observed::index::Index,
};

#[tokio::test(start_paused = true)]
async fn what_has_passed_is_no_reason_for_another_pass() {
    let mut spec = spec(Kind::Execution, TargetStatus::Stopped);
    for (field, value) in [
        ("notAfter", serde_json::json!(at(10).to_string())),
        ("startingDeadlineSeconds", 10.into()),
        ("activeDeadlineSeconds", 10.into()),
    ] {
        spec[field] = value;
    }
    let bulk = bulk(&spec);
    let decided = Instant::now();
    let index = Index::new([]);
    let following = &index.follow("", Arc::new(Request::from(&bulk)), Request::targets);
    let waiting = |at| Waiting { following, blocked: 0, to_record: false, decided: (decided, at) };
    for start in [None, Some(at(0))] {
        let mut bulk = bulk.clone();
        let start_time = start.map(Time);
        bulk.status = start_time
            .map(|start| BulkUpdateStatus { start_time: Some(start), ..BulkUpdateStatus::default() });
        let work = work_on(&bulk, None);
        let wait = |decided: i64, now: i64| {
            next_time(&work, waiting(at(decided).into()), 0, at(now).into()) - Instant::now()
        };
        assert_eq!(wait(8, 8), Duration::from_millis(2001), "{start:?}: notAfter");
        // The other deadlines are counted from the latest that they may be.
        assert_eq!(wait(12, 12), LONGEST_WAIT, "{start:?}");
        // It has passed while the status was written.
        assert_eq!(wait(10, 11), Duration::from_millis(1), "{start:?}");
    }
    let mut work = work_on(&bulk, None);
    let waiting = waiting(at(12).into());
    let blocked = Waiting { blocked: 3, ..waiting };
    assert_eq!(next_time(&work, blocked, 0, at(12).into()) - Instant::now(), backoff(3));
    // What has become due while the status was written is due at once; what was due before that was decided on.
    work.entry_mut(0).progress.not_before = Some(decided + Duration::from_millis(100));
    tokio::time::advance(Duration::from_millis(150)).await;
    assert_eq!(next_time(&work, waiting, 0, at(12).into()), Instant::now());
    work.entry_mut(0).progress.not_before = Some(decided);
    assert_eq!(next_time(&work, waiting, 0, at(12).into()) - Instant::now(), LONGEST_WAIT);
}
