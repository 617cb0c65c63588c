//! Lies about requests and what they did.

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    Lie, lie,
    story::{BULK, Story, at, code, second, shows, status},
};
use crate::{Answer, Life, Request, Whole};

/// Another process.
pub fn second_life(story: &mut Story, started: i64) {
    let started = story.moment(started);
    story.facts.lives.push(Life { name: "life-1".into(), started, ..Life::default() });
}

/// The stop again, by the same process.
fn stop_again(story: &mut Story, guard: &str, [sent, ended]: [i64; 2], answer: Answer) {
    let mut body = story.exchange("patch", "stop-me").body.clone();
    body["metadata"]["resourceVersion"] = guard.into();
    story.sends("patch", "executions/status", "stop-me", body, [sent, ended], answer);
    story.in_order();
}

fn read_again(story: &mut Story, [sent, ended]: [i64; 2]) {
    story.sends("get", "executions", "stop-me", Value::Null, [sent, ended], shows("stop-me", 10));
    story.in_order();
}

/// The first stop fails, and the second one is what has stopped it.
fn stopped_by_the_second(story: &mut Story, first: Answer, read: Option<[i64; 2]>, second: [i64; 2]) {
    story.answered("patch", "stop-me", first);
    story.request("patch", "stop-me").revision = None;
    if story.request("patch", "stop-me").code == 200 {
        story.request("patch", "stop-me").code = 504;
    }
    if let Some(read) = read {
        read_again(story, read);
    }
    stop_again(story, "10", second, shows("stop-me", 32));
    let is_stop = |r: &&mut Request| r.verb == "patch" && r.name == "stop-me";
    story.facts.requests.iter_mut().rfind(is_stop).unwrap().revision = Some(32);
    story.facts.calm = None;
    story.facts.lives[0].log = None;
}

fn asks_to_wait(code: u16) -> Answer {
    Answer::Whole(Whole { code, retry_after: Some(1), ..Whole::default() })
}

pub const LIES: &[Lie] = &[
    lie(
        "guards",
        "a DELETE without preconditions",
        |s| s.request("delete", "delete-me").body = json!({}),
        "1",
        "unguarded",
    ),
    lie(
        "guards",
        "a DELETE with the uid alone",
        |s| s.request("delete", "delete-me").body["preconditions"] = json!({"uid": "uid-of-delete-me"}),
        "1",
        "unguarded",
    ),
    lie(
        "guards",
        "a DELETE in the foreground",
        |s| s.request("delete", "delete-me").body["propagationPolicy"] = "Foreground".into(),
        "1",
        "unguarded",
    ),
    lie(
        "guards",
        "a stop without a version",
        |s| s.request("patch", "stop-me").body["metadata"] = json!({}),
        "1",
        "unguarded",
    ),
    lie(
        "guards",
        "a stop by PUT",
        |s| s.request("patch", "stop-me").verb = "update".into(),
        "1",
        "unguarded",
    ),
    lie(
        "guards",
        "DELETECOLLECTION",
        |s| s.request("delete", "delete-me").verb = "deletecollection".into(),
        "1",
        "unguarded",
    ),
    lie(
        "guards",
        "a look at Secrets",
        |s| {
            s.sends("get", "secrets", "token", Value::Null, [30_000, 30_010], code(200));
        },
        "1",
        "must not send get of secrets",
    ),
    lie(
        "guards",
        "a status without a guard",
        |s| s.request("update", BULK).body["metadata"] = json!({}),
        "1",
        "without a guard",
    ),
    lie(
        "guards",
        "a status that says what is stored",
        |s| {
            let same = s.at_revision(34).object["status"].clone();
            s.records(60, [20_200, 20_210], same);
        },
        "6",
        "had not changed",
    ),
    lie(
        "guards",
        "a renewal without a guard",
        |s| s.exchange("update", "ai-api-operator").body = json!({}),
        "14",
        "without a guard",
    ),
    lie(
        "guards",
        "a finalizer",
        |s| s.at_revision(32).object["metadata"]["finalizers"] = json!(["aiapi.dev/operator"]),
        "8",
        "has finalizers",
    ),
    lie(
        "guards",
        "an owner",
        |s| s.at_revision(32).object["metadata"]["ownerReferences"] = json!([{"uid": "uid-of-request-abc"}]),
        "8",
        "has finalizers or owners",
    ),
    lie(
        "intent",
        "a write to a version that never was",
        |s| {
            s.request("patch", "stop-me").body["metadata"]["resourceVersion"] = "9".into();
        },
        "1",
        "never seen: 9",
    ),
    lie(
        "intent",
        "a stop of what has ended",
        |s| s.at_revision(10).object["status"]["state"] = "DEAD".into(),
        "1",
        "which was",
    ),
    lie(
        "intent",
        "a DELETE that nobody asked for",
        |s| {
            s.spec(&json!({"executions": [{"id": "stop-me", "targetStatus": "STOPPED"}]}));
        },
        "7",
        "no BulkUpdate asked for it",
    ),
    lie(
        "intent",
        "a stop of an object with another uid than the item's",
        |s| {
            s.spec(&json!({"executions": [{"id": "stop-me", "targetStatus": "STOPPED", "uid": "another"},
            {"id": "delete-me", "targetStatus": "DELETED"}, {"id": "refuse-me", "targetStatus": "DELETED"}]}));
        },
        "7",
        "no BulkUpdate asked for it",
    ),
    lie(
        "intent",
        "a write for a dry run",
        |s| s.spec(&json!({"dryRun": true})),
        "7",
        "no BulkUpdate asked for it",
    ),
    lie(
        "intent",
        "a write before the plan is recorded",
        |s| {
            s.at_revision(31).object["status"] = json!({"observedGeneration": -1});
        },
        "3",
        "before the plan was recorded",
    ),
    lie(
        "intent",
        "a second accepted stop",
        |s| {
            s.changes(35, 32, 20_118, json!({"metadata": {"labels": {"a": "b"}}}));
            stop_again(s, "10", [20_115, 20_119], shows("stop-me", 35));
        },
        "3",
        "twice",
    ),
    lie(
        "intent",
        "an object is gone without a plan",
        |s| {
            s.changes(35, 12, 20_118, json!({}));
            s.at_revision(35).deleted = true;
        },
        "3",
        "is gone, without a plan",
    ),
    lie(
        "intent",
        "a stop without a plan",
        |s| {
            s.changes(35, 12, 20_118, json!({"status": {"stopRequest": {"uid": "uid-of-request-abc"}}}));
            let body = json!({"metadata": {"resourceVersion": "12"}});
            s.sends("patch", "executions/status", "refuse-me", body, [20_115, 20_119], code(200));
            s.made(35);
        },
        "3",
        "was stopped without a plan",
    ),
    lie(
        "intent",
        "a stop that does not say who did it",
        |s| {
            s.at_revision(32).object["metadata"]["managedFields"] = json!([{"manager": "somebody"}]);
        },
        "13",
        "does not say who has stopped it",
    ),
    lie(
        "accounts",
        "a stop that no request has done",
        |s| {
            s.facts.requests.retain(|r| !(r.verb == "patch" && r.name == "stop-me"));
            s.request("delete", "delete-me").revision = None;
            s.facts.requests.iter_mut().for_each(|r| r.revision = None);
        },
        "13",
        "no request shows the patch",
    ),
    lie(
        "outcomes",
        "again after a conflict, without a read",
        |s| {
            stopped_by_the_second(s, code(409), None, [20_112, 20_118]);
        },
        "4",
        "after a conflict",
    ),
    lie(
        "outcomes",
        "again after a time-out, without a read",
        |s| {
            stopped_by_the_second(s, Answer::None, None, [20_112, 20_118]);
        },
        "5",
        "after a lost answer",
    ),
    lie(
        "outcomes",
        "again after a 500, without a read",
        |s| {
            stopped_by_the_second(s, code(500), None, [20_112, 20_118]);
        },
        "5",
        "after a lost answer",
    ),
    lie(
        "outcomes",
        "the read was sent before the answer was lost",
        |s| {
            stopped_by_the_second(s, Answer::None, Some([20_105, 20_111]), [20_112, 20_118]);
        },
        "5",
        "after a lost answer",
    ),
    lie(
        "outcomes",
        "the next process does not look at what the one before may have written",
        |s| {
            s.exchange("patch", "stop-me").ended = None;
            second_life(s, 20_200);
            let body = s.exchange("patch", "stop-me").body.clone();
            s.sends_by(1, "patch", "executions/status", "stop-me", body, [20_300, 20_310], code(409));
        },
        "5",
        "after a lost answer",
    ),
    lie(
        "outcomes",
        "two writes to an object at once",
        |s| {
            stop_again(s, "10", [20_105, 20_109], code(409));
        },
        "3",
        "has no answer yet",
    ),
    lie(
        "outcomes",
        "Retry-After is ignored",
        |s| {
            stopped_by_the_second(s, asks_to_wait(429), None, [20_900, 20_918]);
        },
        "5",
        "asked to wait",
    ),
    lie(
        "outcomes",
        "Retry-After of the flag is ignored",
        |s| {
            s.answered("get", "ai-api-meta", asks_to_wait(429));
        },
        "5",
        "asked to wait",
    ),
    lie(
        "outcomes",
        "no back-off",
        |s| {
            stopped_by_the_second(s, code(429), None, [20_150, 20_160]);
        },
        "5",
        "after one that failed",
    ),
    lie(
        "slots",
        "more requests than slots",
        |s| s.facts.settings.max_in_flight = 1,
        "12",
        "2 requests in flight",
    ),
    lie(
        "cost",
        "a read for nothing, too often",
        |s| {
            for n in 0..2 {
                s.sends("get", "bulkupdates", BULK, Value::Null, [25_000 + n, 25_005 + n], shows(BULK, 34));
            }
        },
        "11",
        "requests besides the writes",
    ),
    lie(
        "cost",
        "a write that is refused",
        |s| {
            let body = json!({"preconditions": {"uid": "uid-of-delete-me", "resourceVersion": "10"}});
            s.sends("delete", "executions", "delete-me", body, [20_099, 20_100], code(409));
        },
        "11",
        "3 writes for 2 items",
    ),
    lie(
        "liveness",
        "many requests for nothing",
        |s| {
            for n in 0..300 {
                s.sends(
                    "get",
                    "bulkupdates",
                    &format!("{BULK}{n}"),
                    Value::Null,
                    [25_000, 25_005],
                    shows(BULK, 34),
                );
            }
        },
        "watch",
        "are explained",
    ),
    lie(
        "liveness",
        "the same read again and again",
        |s| {
            for n in 0..9 {
                s.sends("get", "bulkupdates", BULK, Value::Null, [25_000 + n, 25_005 + n], shows(BULK, 34));
            }
        },
        "watch",
        "within a second",
    ),
    lie(
        "liveness",
        "it does not end",
        |s| {
            s.at_revision(34).object["status"] = status(["Planned", "Planned", "Refused WrongState"], false);
        },
        "watch",
        "has not ended: it says Applying",
    ),
    lie(
        "liveness",
        "it waits for what has settled",
        |s| {
            s.at_revision(34).object["status"] =
                status(["Scheduled", "Settled", "Refused WrongState"], false);
        },
        "watch",
        "stop-me has settled",
    ),
    lie(
        "deadlines",
        "a write after notAfter",
        |s| s.spec(&json!({"notAfter": second(20_000)})),
        "deadline",
        "after notAfter",
    ),
    lie(
        "deadlines",
        "the same by the API server's side alone",
        |s| {
            s.server_only();
            s.spec(&json!({"notAfter": second(20_000)}));
        },
        "deadline",
        "after notAfter",
    ),
    lie(
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
    lie(
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
    lie(
        "deadlines",
        "deleted before its TTL",
        |s| {
            s.spec(&json!({"ttlSecondsAfterFinished": 10}));
            expires(s, 30_500);
        },
        "clock",
        "its TTL ends at",
    ),
    lie("deadlines", "deleted without a TTL", |s| expires(s, 60_000), "clock", "its TTL ends at"),
    lie(
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

/// The operator deletes the BulkUpdate.
fn expires(s: &mut Story, sent: i64) {
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

type Truth = (&'static str, fn(&mut Story));

pub const TRUTHS: &[Truth] = &[
    ("a read after a conflict", |s| {
        stopped_by_the_second(s, code(409), Some([20_112, 20_114]), [20_115, 20_118])
    }),
    ("it has waited, and looked", |s| {
        stopped_by_the_second(s, asks_to_wait(503), Some([21_100, 21_105]), [21_115, 21_118]);
        for (sent, ended) in [(21_106, 21_110)] {
            s.sends("get", "configmaps", "ai-api-meta", Value::Null, [sent, ended], shows("ai-api-meta", 3));
        }
        s.in_order();
        s.at_revision(32).at = at(21_117);
        s.facts.sights.iter_mut().find(|sight| sight.revision == 32).unwrap().when.at = at(21_118);
        let later = s.moment(21_120);
        s.facts.sights.iter_mut().find(|sight| sight.revision == 32).unwrap().when = later;
        let is_end = |e: &&mut crate::Exchange| e.is_record() && e.guard_number() == Some(31);
        let moments = [s.moment(21_130), s.moment(21_140)];
        let end = s.facts.exchanges.iter_mut().find(is_end).unwrap();
        end.sent = moments[0];
        end.ended.as_mut().unwrap().0 = moments[1];
        s.at_revision(34).at = at(21_135);
        let event = s.moment(21_150);
        s.exchange("create", "Finished").sent = event;
        s.facts.requests.iter_mut().find(|r| r.name == "Finished").unwrap().received = at(21_151);
        s.in_order();
    }),
    ("it is deleted after its TTL", |s| {
        s.spec(&json!({"ttlSecondsAfterFinished": 10}));
        expires(s, 31_100);
    }),
    ("only the API server's side is known", Story::server_only),
    ("it may be deleted at once", |s| {
        s.spec(&json!({"ttlSecondsAfterFinished": 0}));
        expires(s, 20_200);
    }),
];
