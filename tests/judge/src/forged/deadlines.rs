//! Forged histories about deadlines.

use k8s_openapi::jiff::SignedDuration;
use serde_json::json;

use super::{
    Forgery, forgery,
    history::{BULK, History, at, code, second},
};

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "deadlines",
        "a write after notAfter",
        |s| s.spec(&json!({"notAfter": second(20_000)})),
        "deadline",
        "after notAfter",
    ),
    forgery(
        "deadlines",
        "the same by the API server's side alone",
        |s| {
            s.server_only();
            s.spec(&json!({"notAfter": second(20_000)}));
        },
        "deadline",
        "after notAfter",
    ),
    forgery(
        "deadlines",
        "a write after activeDeadlineSeconds",
        |s| {
            s.spec(&json!({"activeDeadlineSeconds": 5}));
            for record in [31, 34] {
                s.at_revision(record).object["status"]["startTime"] = second(10_000).into();
            }
        },
        "deadline",
        "after activeDeadlineSeconds",
    ),
    forgery(
        "deadlines",
        "planned after startingDeadlineSeconds",
        |s| {
            s.spec(&json!({"startingDeadlineSeconds": 1}));
            for version in s.facts.versions.iter_mut().filter(|v| v.name == BULK) {
                version.object["metadata"]["creationTimestamp"] = second(-20_000).into();
            }
        },
        "deadline",
        "after startingDeadlineSeconds",
    ),
    forgery(
        "deadlines",
        "deleted before its TTL",
        |s| {
            s.spec(&json!({"ttlSecondsAfterFinished": 10}));
            expires(s, 30_500);
        },
        "clock",
        "its TTL ends at",
    ),
    forgery("deadlines", "deleted without a TTL", |s| expires(s, 60_000), "clock", "its TTL ends at"),
    forgery(
        "deadlines",
        "deleted again at once after a conflict",
        |s| conflicts(s, &[31_100, 32_200, 34_100]),
        "9",
        "after a conflict",
    ),
    forgery(
        "deadlines",
        "deleted at a version that was not its own",
        |s| {
            s.spec(&json!({"ttlSecondsAfterFinished": 1}));
            expires(s, 60_000);
            s.facts.requests.iter_mut().rfind(|r| r.verb == "delete").unwrap().body["preconditions"]["resourceVersion"] =
                "12".into();
        },
        "1",
        "a version that it never had",
    ),
];

/// The operator tries to delete the BulkUpdate at these times, and somebody has changed it.
fn conflicts(s: &mut History, times: &[i64]) {
    s.spec(&json!({"ttlSecondsAfterFinished": 10}));
    s.facts.settings.renew_deadline = SignedDuration::from_hours(1);
    for sent in times {
        let body = json!({"preconditions": {"uid": "uid-of-request-abc", "resourceVersion": "34"}});
        s.sends("delete", "bulkupdates", BULK, body, [*sent, sent + 10], code(409));
    }
    (s.facts.calm, s.facts.quiet_since) = (None, None);
}

/// The operator deletes the BulkUpdate.
fn expires(s: &mut History, sent: i64) {
    let body = json!({"preconditions": {"uid": "uid-of-request-abc", "resourceVersion": "34"}});
    s.sends("delete", "bulkupdates", BULK, body, [sent, sent + 10], code(200));
    s.made(70);
    s.changes(70, 34, sent + 5, json!({}));
    s.at_revision(70).deleted = true;
    s.facts.calm = None;
    // So late, its Lease would have expired.
    s.facts.settings.renew_deadline = SignedDuration::from_hours(1);
    assert!(s.facts.end.unwrap() > at(sent));
}

type Genuine = (&'static str, fn(&mut History));

pub const GENUINE: &[Genuine] = &[
    ("it is deleted after its TTL", |s| {
        s.spec(&json!({"ttlSecondsAfterFinished": 10}));
        expires(s, 31_100);
    }),
    ("after conflicts it is tried again ever more rarely", |s| conflicts(s, &[31_100, 32_200, 34_300])),
    ("it may be deleted at once", |s| {
        s.spec(&json!({"ttlSecondsAfterFinished": 0}));
        expires(s, 20_200);
    }),
];
