//! Forged histories about what has become of an item.

mod genuine;

use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{BULK, History, at, code, second, shows, status},
};
use crate::{Answer, Exchange, Others};

pub use genuine::GENUINE;

/// The stop has not been carried out, and its item says this.
pub fn not_stopped(s: &mut History, reason: &str) {
    s.facts.requests.retain(|r| !(r.verb == "patch" && r.name == "stop-me"));
    s.without_exchange("patch", "stop-me");
    let before = s.at_revision(10).object.clone();
    s.at_revision(32).object = before;
    s.ends_as(&status([&format!("Failed {reason}"), "Settled", "Refused WrongState"], true));
    s.facts.calm = None;
    s.facts.calls.clear();
    s.facts.lives[0].log = None;
    note(s, "it is ItemsFailed");
}

/// The stop has not settled in time, which is reported at this moment.
fn not_settled_at(s: &mut History, millis: i64) {
    s.ends_as(&status(["Failed NotSettledInTime", "Settled", "Refused WrongState"], true));
    let [sent, ended] = [s.moment(millis), s.moment(millis + 10)];
    let record = s.facts.exchanges.iter_mut().rfind(|e| e.is_record()).unwrap();
    record.sent = sent;
    record.ended.as_mut().unwrap().0 = ended;
    s.at_revision(34).at = at(millis + 5);
    s.in_order();
    s.facts.calm = None;
}

/// It is deleted once all was written, a finalizer keeps it for a while, and what was done is never reported.
fn kept(s: &mut History, [from, to]: [i64; 2]) {
    let end = s.facts.exchanges.iter_mut().rfind(|e| e.is_record()).unwrap();
    *end = Exchange { life: end.life, sent: end.sent, ..Exchange::default() };
    s.facts.requests.retain(|r| r.guard_number() != Some(31) && r.name != "Finished");
    s.facts.versions.retain(|v| v.revision != 34);
    s.changes(35, 31, from, json!({"metadata": {"deletionTimestamp": second(from)}}));
    s.changes(36, 35, to, json!({}));
    s.at_revision(36).deleted = true;
    s.facts.calm = None;
    s.facts.calls.clear();
}

/// The last event says what the status says.
fn note(s: &mut History, note: &str) {
    s.request("create", "Finished").body["note"] = note.into();
}

/// A write was refused like this.
pub fn refused(s: &mut History, answer: Answer, sent: i64) {
    let body = json!({"metadata": {"resourceVersion": "10"}, "status": {"stopRequest": {"uid": "uid-of-request-abc"}}});
    s.sends("patch", "executions/status", "stop-me", body, [sent, sent + 2], answer);
    s.in_order();
}

/// Somebody changes the flag.
pub fn off(s: &mut History, millis: i64, text: &str) {
    s.changes(29, 3, millis, json!({"data": {"bulkUpdates": text}}));
    s.facts.others = Others::of(&s.facts);
}

/// Somebody switches the flag off, and on again.
fn off_and_on(s: &mut History, [off, on]: [i64; 2]) {
    let before = s.at_revision(3).object["data"].clone();
    s.changes(29, 3, off, json!({"data": {"bulkUpdates": "{}"}}));
    s.changes(39, 3, on, json!({"data": before}));
    s.facts.others = Others::of(&s.facts);
}

/// The API server has carried out the deletion, and a proxy has sent it again, with this answer for the process.
fn refused_when_repeated(s: &mut History, answer: u16) {
    s.ends_as(&status(["Settled", "Failed DeadlineExceeded", "Refused WrongState"], true));
    s.spec(&json!({"notAfter": second(21_000)}));
    let first = s.request("delete", "delete-me").clone();
    s.answered("delete", "delete-me", code(answer));
    s.facts.requests.push(first);
    s.facts.others = Others::of(&s.facts);
    s.facts.calm = None;
    s.facts.calls.clear();
    s.facts.lives[0].log = None;
    note(s, "it is ItemsFailed");
}

/// Somebody deletes what was stopped, before it is looked at again, and its item says that it is gone.
fn gone(s: &mut History) {
    s.ends_as(&status(["Failed Gone", "Settled", "Refused WrongState"], true));
    s.at_revision(34).revision = 36;
    s.facts.requests.iter_mut().rfind(|r| r.is_record()).unwrap().revision = Some(36);
    s.changes(35, 32, 20_115, json!({}));
    s.at_revision(35).deleted = true;
    s.sends("get", "executions", "stop-me", Value::Null, [20_116, 20_118], code(404));
    s.in_order();
    s.facts.others = Others::of(&s.facts);
    s.facts.calm = None;
    s.facts.calls.clear();
    s.facts.lives[0].log = None;
    note(s, "it is ItemsFailed");
}

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "truth",
        "planned, and not eligible in any version that was shown",
        |s| {
            s.at_revision(10).object["status"]["state"] = "STOPPING".into();
        },
        "6",
        "stop-me: Planned, which is not true",
    ),
    forgery(
        "truth",
        "scheduled, and not stopped",
        |s| {
            not_stopped(s, "");
            s.ends_as(&status(["Scheduled", "Settled", "Refused WrongState"], false));
        },
        "6",
        "stop-me: Scheduled, which is not true",
    ),
    forgery(
        "truth",
        "settled, and still running",
        |s| {
            s.at_revision(32).object["status"]["state"] = "STOPPING".into();
        },
        "6",
        "stop-me: Settled, which is not true",
    ),
    forgery(
        "truth",
        "deleted, and still there",
        |s| s.at_revision(33).deleted = false,
        "6",
        "delete-me: Settled, which is not true",
    ),
    forgery(
        "truth",
        "deletion scheduled, and nothing has happened",
        |s| {
            s.at_revision(33).deleted = false;
            s.ends_as(&status(["Settled", "Scheduled", "Refused WrongState"], false));
        },
        "6",
        "delete-me: Scheduled, which is not true",
    ),
    forgery(
        "truth",
        "a state in which it never was",
        |s| s.says(34, 2, &json!({"observedState": "DEAD"})),
        "6",
        "was never in the state",
    ),
    forgery(
        "truth",
        "a result without its reason",
        |s| s.says(31, 2, &json!({"reason": null})),
        "6",
        "impossible outcome: Refused",
    ),
    forgery(
        "truth",
        "a reason that does not belong to the result",
        |s| {
            s.says(34, 0, &json!({"reason": "Gone"}));
        },
        "6",
        "impossible outcome: Settled Gone",
    ),
    forgery(
        "truth",
        "eligible without a dry run",
        |s| s.says(31, 1, &json!({"result": "Eligible"})),
        "6",
        "impossible outcome: Eligible",
    ),
    forgery(
        "truth",
        "a refusal that is taken back",
        |s| {
            s.says(34, 2, &json!({"result": "Planned", "reason": null}));
        },
        "6",
        "goes from Refused WrongState to Planned",
    ),
    forgery(
        "truth",
        "scheduled, and then refused",
        |s| {
            s.says(31, 1, &json!({"result": "Scheduled"}));
            s.says(34, 1, &json!({"result": "Refused", "reason": "WrongState"}));
        },
        "6",
        "goes from Scheduled to Refused WrongState",
    ),
    forgery(
        "truth",
        "failed, and it was stopped",
        |s| {
            s.ends_as(&status(["Failed WriteFailed", "Settled", "Refused WrongState"], true));
        },
        "6",
        "stop-me was done, and the status says Failed WriteFailed",
    ),
    forgery(
        "truth",
        "failed, and it was deleted",
        |s| {
            s.ends_as(&status(["Settled", "Failed WriteFailed", "Refused WrongState"], true));
        },
        "6",
        "delete-me was done, and the status says Failed WriteFailed",
    ),
    forgery(
        "truth",
        "in the wrong state, and it was not",
        |s| {
            s.at_revision(12).object["status"]["state"] = "DEAD".into();
        },
        "6",
        "refuse-me: Refused WrongState, which is not true",
    ),
    forgery(
        "truth",
        "not found, and it was there",
        |s| {
            s.says(31, 2, &json!({"reason": "NotFound"}));
        },
        "6",
        "refuse-me: Refused NotFound, which is not true",
    ),
    forgery(
        "truth",
        "replaced, and it was not",
        |s| {
            s.says(31, 2, &json!({"reason": "Replaced"}));
        },
        "6",
        "refuse-me: Refused Replaced, which is not true",
    ),
    forgery(
        "truth",
        "unreadable, and it was not",
        |s| {
            s.says(31, 2, &json!({"reason": "Unreadable"}));
        },
        "6",
        "refuse-me: Refused Unreadable, which is not true",
    ),
    forgery(
        "truth",
        "terminating, and it was not",
        |s| {
            s.says(31, 2, &json!({"reason": "Terminating"}));
        },
        "6",
        "refuse-me: Refused Terminating, which is not true",
    ),
    forgery(
        "truth",
        "not the first reason that applies",
        |s| {
            s.at_revision(12).object["metadata"]["deletionTimestamp"] = second(19_000).into();
        },
        "6",
        "refuse-me: Refused WrongState, which is not true",
    ),
    forgery(
        "truth",
        "disabled, and the flag was on",
        |s| not_stopped(s, "BulkUpdatesDisabled"),
        "6",
        "BulkUpdatesDisabled, which is not true",
    ),
    forgery(
        "truth",
        "disabled, and the flag was off before the plan only",
        |s| {
            not_stopped(s, "BulkUpdatesDisabled");
            off_and_on(s, [19_000, 20_060]);
        },
        "6",
        "BulkUpdatesDisabled, which is not true",
    ),
    forgery(
        "truth",
        "refused when a proxy had sent it again, and the object was read since",
        |s| {
            refused_when_repeated(s, 403);
            s.sends("get", "executions", "delete-me", Value::Null, [20_112, 20_114], code(404));
            s.in_order();
        },
        "6",
        "delete-me was done, and the status says Failed DeadlineExceeded",
    ),
    forgery(
        "truth",
        "a deadline that there is not",
        |s| not_stopped(s, "DeadlineExceeded"),
        "6",
        "DeadlineExceeded, which is not true",
    ),
    forgery(
        "truth",
        "a deadline that has not passed",
        |s| {
            s.spec(&json!({"activeDeadlineSeconds": 5, "notAfter": second(25_000)}));
            not_stopped(s, "DeadlineExceeded");
        },
        "6",
        "DeadlineExceeded, which is not true",
    ),
    forgery(
        "truth",
        "not settled in time, and it is not over",
        |s| {
            s.spec(&json!({"activeDeadlineSeconds": 5}));
            s.ends_as(&status(["Failed NotSettledInTime", "Settled", "Refused WrongState"], true));
        },
        "6",
        "NotSettledInTime, which is not true",
    ),
    forgery(
        "truth",
        "not settled in time, by the second of the start",
        |s| {
            s.spec(&json!({"activeDeadlineSeconds": 5}));
            not_settled_at(s, 25_010);
        },
        "6",
        "NotSettledInTime, which is not true",
    ),
    forgery(
        "truth",
        "what was in flight when it was deleted is never reported",
        |s| kept(s, [20_112, 40_000]),
        "6",
        "stop-me was done, and the status says Planned",
    ),
    forgery(
        "truth",
        "unknown, and every answer was whole",
        |s| {
            off(s, 20_111, "{}");
            not_stopped(s, "OutcomeUnknown");
        },
        "6",
        "OutcomeUnknown, which is not true",
    ),
    forgery(
        "truth",
        "unknown, and it can be tried again",
        |s| {
            not_stopped(s, "OutcomeUnknown");
            refused(s, Answer::None, 20_101);
        },
        "6",
        "OutcomeUnknown, which is not true",
    ),
    forgery(
        "truth",
        "refused for good, and it was not",
        |s| {
            not_stopped(s, "WriteFailed");
            refused(s, code(429), 20_101);
        },
        "6",
        "WriteFailed, which is not true",
    ),
    forgery(
        "truth",
        "forbidden, and only for a moment",
        |s| {
            not_stopped(s, "Forbidden");
            refused(s, code(403), 20_101);
        },
        "6",
        "Forbidden, which is not true",
    ),
    forgery(
        "truth",
        "gone, and its stop had been answered",
        gone,
        "6",
        "stop-me was done, and the status says Failed Gone",
    ),
];

type Genuine = (&'static str, fn(&mut History));
