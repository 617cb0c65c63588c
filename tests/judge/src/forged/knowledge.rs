//! Forged histories about what a process knew when it sent something.

use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{BULK, History, at, code, shows, status},
    repeats::second_life,
};
use crate::{Life, Others, Sight};

/// Somebody switches the flag off.
fn off(s: &mut History, millis: i64) {
    s.changes(29, 3, millis, json!({"data": {"bulkUpdates": "{}"}}));
    s.facts.others = Others::of(&s.facts);
}

/// Somebody deletes the BulkUpdate while it is being carried out, and a finalizer keeps it.
fn deleted(s: &mut History, millis: i64) {
    let revision = 31;
    s.at_revision(revision).object["metadata"]["deletionTimestamp"] = at(20_000).to_string().into();
    s.at_revision(revision).at = at(millis);
    s.facts.others = Others::of(&s.facts);
}

/// A write that comes too late: after the end.
fn late_stop(s: &mut History, life: usize, sent: i64) {
    let mut body = (*s.exchange("patch", "stop-me").body).clone();
    body["metadata"]["resourceVersion"] = "32".into();
    s.sends_by(life, "patch", "executions/status", "stop-me", body, [sent, sent + 5], code(409));
}

/// The object was created in the same second as the BulkUpdate, before it, and the BulkUpdate is known to be younger.
fn same_second(s: &mut History, result: &str) {
    s.at_revision(12).object["metadata"]["creationTimestamp"] = super::history::second(20_000).into();
    s.says(31, 2, &json!({"result": "Refused", "reason": result}));
    s.facts.calm = None;
}

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "flag",
        "no reading of the flag",
        |s| {
            s.without("get", "ai-api-meta");
            s.without("get", "ai-api-meta");
        },
        "flag",
        "without a reading of the flag",
    ),
    forgery(
        "flag",
        "a reading that is too old",
        |s| {
            s.without("get", "ai-api-meta");
            s.sent_at("get", "ai-api-meta", 18_900);
        },
        "flag",
        "without a reading of the flag",
    ),
    forgery(
        "flag",
        "a reading that ended after the write was sent",
        |s| {
            s.without("get", "ai-api-meta");
            let late = s.moment(20_200);
            s.exchange("get", "ai-api-meta").ended.as_mut().unwrap().0 = late;
        },
        "flag",
        "without a reading of the flag",
    ),
    forgery(
        "flag",
        "a reading from before the plan",
        |s| {
            s.sent_at("get", "ai-api-meta", 20_020);
            s.without("get", "ai-api-meta");
            s.sent_at("get", "ai-api-meta", 20_030);
        },
        "flag",
        "not read since the plan",
    ),
    forgery(
        "flag",
        "the reading says that it is off",
        |s| {
            off(s, 19_999);
            for e in s.facts.exchanges.iter_mut().filter(|e| e.is_flag_read()) {
                e.ended.as_mut().unwrap().1 = shows("ai-api-meta", 29);
            }
        },
        "flag",
        "seen to be off",
    ),
    forgery(
        "flag",
        "there is no ConfigMap",
        |s| {
            for e in s.facts.exchanges.iter_mut().filter(|e| e.is_flag_read()) {
                e.ended.as_mut().unwrap().1 = code(404);
            }
        },
        "flag",
        "seen to be off",
    ),
    forgery(
        "flag",
        "the watch has shown that it is off",
        |s| {
            off(s, 19_999);
            s.sees(29, 20_090, false);
        },
        "flag",
        "seen to be off",
    ),
    forgery(
        "flag",
        "the flag cannot be understood",
        |s| {
            s.changes(29, 3, 19_999, json!({"data": {"bulkUpdates": "{\"execution\": true}"}}));
            s.sees(29, 20_090, false);
        },
        "flag",
        "seen to be off",
    ),
    forgery(
        "flag",
        "long after it was switched off, by the API server's side alone",
        |s| {
            s.changes(29, 3, 18_000, json!({"data": {"bulkUpdates": "executions: false"}}));
            s.facts.others = Others::of(&s.facts);
            s.server_only();
        },
        "10",
        "the flag was switched off at",
    ),
    forgery(
        "stops",
        "after a watch has shown the deletion",
        |s| {
            deleted(s, 20_080);
            s.sees(31, 20_095, false);
        },
        "10",
        "the deletion of request-abc had been seen",
    ),
    forgery(
        "stops",
        "after a read has not found it",
        |s| {
            deleted(s, 20_080);
            s.sends("get", "bulkupdates", BULK, Value::Null, [20_092, 20_095], code(404));
        },
        "10",
        "the deletion of request-abc had been seen",
    ),
    forgery(
        "stops",
        "long after its deletion, by the API server's side alone",
        |s| {
            deleted(s, 20_080);
            s.server_only();
        },
        "10",
        "after its deletion",
    ),
    forgery("end", "the process writes again", |s| late_stop(s, 0, 20_200), "6", "request-abc had finished"),
    forgery(
        "end",
        "another process writes again",
        |s| {
            second_life(s, 25_000);
            late_stop(s, 1, 26_000);
        },
        "6",
        "request-abc had finished",
    ),
    forgery(
        "end",
        "it writes again, by the API server's side alone",
        |s| {
            late_stop(s, 0, 20_200);
            s.server_only();
        },
        "6",
        "after the end",
    ),
    forgery(
        "end",
        "the status changes after the end",
        |s| {
            let mut status = s.at_revision(34).object["status"].clone();
            status["executions"][0]["message"] = "more".into();
            s.records(60, [20_200, 20_210], status);
        },
        "6",
        "the status changed after the end",
    ),
    forgery(
        "end",
        "the end is taken back",
        |s| {
            let mut status = s.at_revision(34).object["status"].clone();
            status["completionTime"] = Value::Null;
            s.records(60, [20_200, 20_210], status);
        },
        "6",
        "the end was taken back",
    ),
    forgery(
        "end",
        "it has observed a generation that there is not",
        |s| {
            let mut status = s.at_revision(34).object["status"].clone();
            status["observedGeneration"] = 7.into();
            s.records(60, [20_200, 20_210], status);
        },
        "6",
        "a generation was observed",
    ),
    forgery(
        "end",
        "it is stopped after the end",
        |s| {
            s.ends_as(&status(["Failed WriteFailed", "Settled", "Refused WrongState"], true));
            let stopped = s.at_revision(32).object.clone();
            s.at_revision(32).object = s.at_revision(10).object.clone();
            s.version(35, "executions", "stop-me", 20_300, (*stopped).clone());
        },
        "6",
        "stopped after the end",
    ),
    forgery(
        "refusals",
        "a refusal without a read",
        |s| s.without("get", "refuse-me"),
        "2",
        "no read has shown that",
    ),
    forgery(
        "refusals",
        "the read was before the BulkUpdate was known",
        |s| s.sent_at("get", "refuse-me", 15_000),
        "2",
        "no read has shown that",
    ),
    forgery(
        "refusals",
        "the read has failed",
        |s| s.answered("get", "refuse-me", code(500)),
        "2",
        "no read has shown that",
    ),
    forgery(
        "refusals",
        "the read has shown something else",
        |s| {
            s.changes(13, 12, -40_000, json!({"status": {"state": "STOPPED"}}));
            s.changes(29, 13, 19_000, json!({"status": {"state": "RUNNING"}}));
            s.answered("get", "refuse-me", shows("refuse-me", 13));
        },
        "2",
        "no read has shown that",
    ),
    forgery(
        "refusals",
        "the DELETE has failed, and nothing else shows that it is gone",
        |s| {
            s.answered("delete", "delete-me", code(404));
            s.facts.sights.retain(|sight| sight.revision != 33);
        },
        "2",
        "delete-me is Settled, and no read",
    ),
    forgery(
        "refusals",
        "an event alone shows that it is gone, and no DELETE was accepted",
        |s| s.answered("delete", "delete-me", code(404)),
        "2",
        "delete-me is Settled, and no read",
    ),
    forgery(
        "created",
        "what was created later is planned",
        |s| {
            s.at_revision(11).object["metadata"]["creationTimestamp"] = super::history::second(21_000).into();
        },
        "created",
        "which was created later",
    ),
    forgery(
        "created",
        "in doubt it is refused, and its watch is behind",
        |s| {
            same_second(s, "CreatedLater");
            s.changes(29, 12, 19_990, json!({}));
            s.answered("get", "refuse-me", shows("refuse-me", 29));
        },
        "created",
        "its watch was behind",
    ),
    forgery(
        "created",
        "what was created in an earlier second is refused",
        |s| {
            same_second(s, "CreatedLater");
            s.at_revision(12).object["metadata"]["creationTimestamp"] = super::history::second(19_000).into();
        },
        "created",
        "was known to be older",
    ),
    forgery(
        "created",
        "what the watch has shown to be older is refused",
        |s| same_second(s, "CreatedLater"),
        "created",
        "was known to be older",
    ),
];

type Genuine = (&'static str, fn(&mut History));

pub const GENUINE: &[Genuine] = &[
    ("in doubt, it is refused", |s| {
        same_second(s, "CreatedLater");
        // The BulkUpdate came from a list.
        s.facts.sights.iter_mut().find(|sight| sight.revision == 30).unwrap().listed = true;
        s.facts.calls.clear();
    }),
    ("the flag is off when all was sent", |s| {
        s.changes(29, 3, 20_100, json!({"data": {"bulkUpdates": "{}"}}));
        s.sees(29, 20_120, false);
        s.facts.others = Others::of(&s.facts);
    }),
    ("a reading that took two seconds, and a write right after it", |s| {
        s.without("get", "ai-api-meta");
        let sent = s.moment(18_000);
        let ended = s.moment(20_100);
        let at = s.facts.exchanges.iter().position(crate::Exchange::is_flag_read).unwrap();
        s.facts.exchanges[at].sent = sent;
        s.facts.exchanges[at].ended.as_mut().unwrap().0 = ended;
        s.in_order();
        // The plan was recorded by an earlier process.
        let record = s.exchange("update", BULK);
        record.body["status"]["summary"]["planned"] = 0.into();
        for (name, verb) in [("stop-me", "patch"), ("delete-me", "delete")] {
            let sent = s.moment(20_100);
            s.exchange(verb, name).sent = sent;
        }
        s.in_order();
        s.facts.calm = None;
    }),
    (
        "a reading that is older than a report, after the plan of a process that was killed as it sent it",
        |s| {
            let killed = Life {
                name: "life-1".into(),
                started: s.moment(0),
                ended: Some(s.moment(20_085)),
                ..Life::default()
            };
            s.facts.lives.push(killed);
            s.facts.settings.elects = false;
            let shown: Vec<_> =
                s.facts.sights.iter().map(|sight| Sight { life: 1, ..sight.clone() }).collect();
            s.facts.sights.extend(shown);
            s.facts.sights.sort_by_key(|sight| sight.when);
            // The API server has carried it out, but no longer says so to a connection that is closed.
            s.exchange("update", BULK).life = 1;
            s.exchange("update", BULK).ended = None;
            let plan = s.facts.requests.iter_mut().find(|r| r.is_record()).unwrap();
            (plan.life, plan.code, plan.revision) = (Some(1), 0, None);
            s.without("get", "ai-api-meta");
            s.sent_at("get", "ai-api-meta", 20_000);
            s.sends("get", "bulkupdates", BULK, Value::Null, [20_091, 20_096], shows(BULK, 31));
            s.in_order();
            let report = s.facts.exchanges.iter_mut().rfind(|e| e.is_record()).unwrap();
            report.body["status"]["summary"]["planned"] = 1.into();
            s.facts.calm = None;
        },
    ),
];
