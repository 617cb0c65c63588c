//! Forged histories about requests that are sent again, and about their number.

use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{BULK, History, at, code, shows, status},
};
use crate::{Answer, Exchange, Life, Request, Whole};

/// Another process.
pub fn second_life(history: &mut History, started: i64) {
    let started = history.moment(started);
    history.facts.lives.push(Life { name: "life-1".into(), started, ..Life::default() });
}

/// The stop again, by the same process.
pub fn stop_again(history: &mut History, guard: &str, [sent, ended]: [i64; 2], answer: Answer) {
    let mut body = (*history.exchange("patch", "stop-me").body).clone();
    body["metadata"]["resourceVersion"] = guard.into();
    history.sends("patch", "executions/status", "stop-me", body, [sent, ended], answer);
    history.in_order();
}

fn read_again(history: &mut History, [sent, ended]: [i64; 2]) {
    history.sends("get", "executions", "stop-me", Value::Null, [sent, ended], shows("stop-me", 10));
    history.in_order();
}

/// The first stop fails, and the second one is what has stopped it.
fn stopped_by_the_second(history: &mut History, first: Answer, read: Option<[i64; 2]>, second: [i64; 2]) {
    history.answered("patch", "stop-me", first);
    history.request("patch", "stop-me").revision = None;
    if history.request("patch", "stop-me").code == 200 {
        history.request("patch", "stop-me").code = 504;
    }
    if let Some(read) = read {
        read_again(history, read);
    }
    stop_again(history, "10", second, shows("stop-me", 32));
    let is_stop = |r: &&mut Request| r.verb == "patch" && r.name == "stop-me";
    history.facts.requests.iter_mut().rfind(is_stop).unwrap().revision = Some(32);
    history.facts.calm = None;
    history.facts.lives[0].log = None;
}

/// The stop fails for so long, and succeeds then.
fn fails_for(s: &mut History, millis: i64) {
    let end = s.facts.exchanges.iter_mut().rfind(|e| e.is_record()).unwrap();
    *end = Exchange { life: end.life, sent: end.sent, ..Exchange::default() };
    s.answered("patch", "stop-me", code(503));
    let body = (*s.exchange("patch", "stop-me").body).clone();
    for after in [millis / 2, millis] {
        let sent = 20_110 + after;
        s.sends("patch", "executions/status", "stop-me", body.clone(), [sent, sent + 8], code(503));
    }
    s.in_order();
}

fn asks_to_wait(code: u16) -> Answer {
    Answer::Whole(Whole { code, retry_after: Some(1), ..Whole::default() })
}

/// One target after the other, in one slot, and another BulkUpdate has two turns in between.
fn turns(s: &mut History) {
    s.facts.settings.max_in_flight = 1;
    let names = ["more-of-it", "even-more-of-it"];
    let item = |name: &&str| json!({"id": name, "targetStatus": "DELETED"});
    let spec = json!({"executions": names.iter().map(item).collect::<Vec<_>>()});
    s.version(13, "bulkupdates", "request-two", 20_000, json!({"spec": spec}));
    for (millis, name) in [20_111, 20_113].into_iter().zip(names) {
        s.sends("delete", "executions", name, Value::Null, [millis, millis + 1], code(200));
    }
    s.sent_at("delete", "delete-me", 20_117);
}

/// The plan meets a conflict, and is repeated after the BulkUpdate was read.
fn conflict(s: &mut History) {
    let plan = (*s.exchange("update", BULK).body).clone();
    s.sends("update", "bulkupdates/status", BULK, plan, [20_062, 20_063], code(409));
    s.sends("get", "bulkupdates", BULK, Value::Null, [20_064, 20_065], shows(BULK, 30));
    s.in_order();
}

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "conflicts",
        "after a conflict that means nothing it begins again",
        |s| {
            conflict(s);
            s.sends("get", "bulkupdates", BULK, Value::Null, [20_066, 20_067], shows(BULK, 30));
            s.in_order();
        },
        "6",
        "nothing but its version had changed",
    ),
    forgery(
        "outcomes",
        "again after a conflict, without a read",
        |s| {
            stopped_by_the_second(s, code(409), None, [20_112, 20_118]);
        },
        "4",
        "after a conflict",
    ),
    forgery(
        "outcomes",
        "again after a time-out, without a read",
        |s| {
            stopped_by_the_second(s, Answer::None, None, [20_112, 20_118]);
        },
        "5",
        "after a lost answer",
    ),
    forgery(
        "outcomes",
        "again after a 500, without a read",
        |s| {
            stopped_by_the_second(s, code(500), None, [20_112, 20_118]);
        },
        "5",
        "after a lost answer",
    ),
    forgery(
        "outcomes",
        "the read was sent before the answer was lost",
        |s| {
            stopped_by_the_second(s, Answer::None, Some([20_105, 20_111]), [20_112, 20_118]);
        },
        "5",
        "after a lost answer",
    ),
    forgery(
        "outcomes",
        "the next process does not look at what the one before may have written",
        |s| {
            s.exchange("patch", "stop-me").ended = None;
            s.facts.lives[0].ended = Some(s.moment(20_150));
            s.facts.settings.elects = false;
            second_life(s, 20_200);
            let body = (*s.exchange("patch", "stop-me").body).clone();
            s.sends_by(1, "patch", "executions/status", "stop-me", body, [20_300, 20_310], code(409));
        },
        "5",
        "after a lost answer",
    ),
    forgery(
        "outcomes",
        "two writes to an object at once",
        |s| {
            stop_again(s, "10", [20_105, 20_109], code(409));
        },
        "3",
        "has no answer yet",
    ),
    forgery(
        "outcomes",
        "Retry-After is ignored",
        |s| {
            stopped_by_the_second(s, asks_to_wait(429), None, [20_900, 20_918]);
        },
        "5",
        "asked to wait",
    ),
    forgery(
        "outcomes",
        "Retry-After is ignored once the work has started again",
        |s| {
            let plan = (*s.exchange("update", BULK).body).clone();
            s.sends("update", "bulkupdates/status", BULK, plan, [20_062, 20_063], asks_to_wait(429));
            s.sends("get", "bulkupdates", BULK, Value::Null, [20_064, 20_065], shows(BULK, 30));
            s.in_order();
        },
        "5",
        "asked to wait",
    ),
    forgery(
        "outcomes",
        "Retry-After of the flag is ignored",
        |s| {
            s.answered("get", "ai-api-meta", asks_to_wait(429));
        },
        "5",
        "asked to wait",
    ),
    forgery(
        "outcomes",
        "no back-off",
        |s| {
            stopped_by_the_second(s, code(429), None, [20_150, 20_160]);
        },
        "5",
        "after one that failed",
    ),
    forgery(
        "silence",
        "nothing says that a write fails",
        |s| fails_for(s, 14_000),
        "5",
        "nothing says that it has failed since",
    ),
    forgery(
        "slots",
        "more requests than slots",
        |s| s.facts.settings.max_in_flight = 1,
        "12",
        "2 requests in flight",
    ),
    forgery("turns", "another one gets all the turns", turns, "12", "waited for its turn"),
    forgery(
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
    forgery(
        "cost",
        "a write that is refused",
        |s| {
            let body = json!({"preconditions": {"uid": "uid-of-delete-me", "resourceVersion": "10"}});
            s.sends("delete", "executions", "delete-me", body, [20_099, 20_100], code(409));
        },
        "11",
        "3 writes for 2 items",
    ),
    forgery(
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
    forgery(
        "liveness",
        "the same read again and again",
        |s| {
            for n in 0..21 {
                s.sends("get", "bulkupdates", BULK, Value::Null, [25_000 + n, 25_005 + n], shows(BULK, 34));
            }
        },
        "watch",
        "within a second",
    ),
    forgery(
        "liveness",
        "it does not end",
        |s| {
            s.at_revision(34).object["status"] = status(["Planned", "Planned", "Refused WrongState"], false);
        },
        "watch",
        "has not ended: it says Applying",
    ),
    forgery(
        "liveness",
        "it waits for what has settled",
        |s| {
            s.at_revision(34).object["status"] =
                status(["Scheduled", "Settled", "Refused WrongState"], false);
        },
        "watch",
        "stop-me has settled",
    ),
    forgery(
        "liveness",
        "it is kept beyond its TTL",
        |s| s.spec(&json!({"ttlSecondsAfterFinished": 10})),
        "watch",
        "was not deleted after its TTL",
    ),
    forgery(
        "liveness",
        "a new generation is never acknowledged",
        |s| s.changes(60, 34, 40_000, json!({"metadata": {"generation": 2}})),
        "watch",
        "has generation 2, and 1 was observed",
    ),
];

type Genuine = (&'static str, fn(&mut History));

pub const GENUINE: &[Genuine] = &[
    ("a read after a conflict", |s| {
        stopped_by_the_second(s, code(409), Some([20_112, 20_114]), [20_115, 20_118]);
    }),
    ("a plan that met a conflict", |s| {
        conflict(s);
        s.facts.calm = None;
    }),
    ("it has waited, and looked", |s| {
        stopped_by_the_second(s, asks_to_wait(503), Some([21_100, 21_105]), [21_115, 21_118]);
        let flag = shows("ai-api-meta", 3);
        s.sends("get", "configmaps", "ai-api-meta", Value::Null, [21_106, 21_110], flag);
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
];
