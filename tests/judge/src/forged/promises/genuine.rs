//! Histories that are not refused, about what is promised of a whole run.

use super::*;

pub const GENUINE: &[Genuine] = &[
    ("the BulkUpdate of a gateway ends in time", |s| by_gateway(s, 64_000)),
    ("the policy cannot be watched for a while", |s| unwatched(s, -5_000)),
    ("a status is too large, and the process ends before it can say so", |s| {
        let guard = json!({"metadata": {"uid": format!("uid-of-{BULK}"), "resourceVersion": "34"}});
        s.sends("update", "bulkupdates/status", BULK, guard, [30_000, 30_010], code(413));
    }),
];
