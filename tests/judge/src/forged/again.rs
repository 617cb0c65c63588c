//! Forged histories about what is begun again without a reason, or not again although there is one.

use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{BULK, History, code, second, shows, status, unplanned},
    promises::weak,
};
use crate::Answer;

/// The plan gets no answer, and the next one meets a conflict with it.
fn unanswered(s: &mut History) {
    s.answered("update", BULK, Answer::None);
    let plan = (*s.exchange("update", BULK).body).clone();
    s.sends("update", "bulkupdates/status", BULK, plan, [20_091, 20_092], code(409));
    s.sends("get", "bulkupdates", BULK, Value::Null, [20_093, 20_094], shows(BULK, 31));
    s.in_order();
    s.facts.calm = None;
}

/// A stop finds nothing under the name, and then there is an object that claims to be old.
fn nothing_there(s: &mut History, made: i64) {
    s.answered("patch", "stop-me", code(404));
    let another = json!({"metadata": {"uid": "uid-of-another", "creationTimestamp": second(-50_000)},
        "status": {"state": "RUNNING"}});
    s.version(35, "executions", "stop-me", made, another);
    let mut planned = status(["Planned", "Settled", "Refused WrongState"], false);
    planned["executions"][0]["uid"] = "uid-of-another".into();
    s.records(36, [20_160, 20_180], planned);
}

/// It is reported that it cannot be read, which meets a conflict.
fn reported(s: &mut History, sent: i64, answer: Answer) {
    let ready = json!({"type": "Ready", "status": "False", "reason": "Unreadable"});
    let body = json!({"metadata": {"resourceVersion": "34"}, "status": {"conditions": [ready]}});
    s.sends("patch", "bulkupdates/status", BULK, body, [sent, sent + 10], answer);
    s.facts.calm = None;
}

/// It is shown to be deleted while a finalizer keeps it, and a plan of it is sent at this moment.
fn planned_again(s: &mut History, sent: i64) {
    let going =
        json!({"metadata": {"deletionTimestamp": second(30_000), "finalizers": ["example.com/keep"]}});
    s.changes(35, 34, 30_000, going);
    s.sees(35, 30_010, false);
    let plan = (*s.exchange("update", BULK).body).clone();
    s.sends("update", "bulkupdates/status", BULK, plan, [sent, sent + 10], code(409));
    s.facts.calm = None;
}

/// The operator takes the record of the policy out of the Lease, and then rejects what it would have accepted.
fn record_lost(s: &mut History, refused: bool) {
    weak(s, [1_000, 2_000]);
    s.at_revision(28).object["metadata"]["annotations"] = json!({
        "aiapi.dev/admission-accepted": "uid-of-policy/3 uid-of-policy/1",
        "aiapi.dev/admission-record": "uid-of-policy",
    });
    s.facts.versions.retain(|v| ![32, 33].contains(&v.revision));
    let renewal = (*s.exchange("update", "ai-api-operator").body).clone();
    if refused {
        s.sends("update", "leases", "ai-api-operator", renewal.clone(), [20_040, 20_045], code(422));
    }
    s.sends("update", "leases", "ai-api-operator", renewal, [20_050, 20_055], shows("lease", 32));
    s.made(32);
    s.version(32, "leases", "ai-api-operator", 20_052, json!({"spec": {"holderIdentity": "life-0"}}));
    s.at_revision(31).object["status"] = unplanned("Unknown", "Waiting");
    s.at_revision(34).object["status"] = unplanned("False", "NotAuthorized");
    s.facts.calm = None;
    s.facts.calls.clear();
}

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "conflicts",
        "it begins again because of a status of its own",
        |s| {
            unanswered(s);
            s.sends("get", "bulkupdates", BULK, Value::Null, [20_095, 20_096], shows(BULK, 31));
            s.in_order();
        },
        "6",
        "or only by what it had sent itself",
    ),
    forgery(
        "created",
        "planned where a write had found nothing",
        |s| nothing_there(s, 20_130),
        "created",
        "where a write had found nothing",
    ),
    forgery(
        "silence",
        "a report is given up after a conflict",
        |s| reported(s, 25_000, code(409)),
        "9",
        "and it was not sent again",
    ),
    forgery(
        "stops",
        "a plan long after it was seen to be deleted",
        |s| planned_again(s, 50_000),
        "10",
        "it had been seen to go long before",
    ),
    forgery(
        "stops",
        "a plan long after another one got its name",
        |s| {
            planned_again(s, 50_000);
            s.at_revision(35).deleted = true;
            s.facts.sights.iter_mut().rfind(|sight| sight.revision == 35).unwrap().deleted = true;
            let successor = json!({"metadata": {"uid": "uid-of-another"}});
            s.version(36, "bulkupdates", BULK, 31_000, successor);
            s.sees(36, 31_010, false);
        },
        "10",
        "it had been seen to go long before",
    ),
    forgery(
        "authors",
        "rejected, because the operator itself has lost its record of the policy",
        |s| record_lost(s, false),
        "15",
        "the Lease had said that it is accepted",
    ),
];

type Genuine = (&'static str, fn(&mut History));

pub const GENUINE: &[Genuine] = &[
    ("it goes on with a status of its own", unanswered),
    ("a report that is sent again after a conflict", |s| {
        reported(s, 25_000, code(409));
        reported(s, 25_200, code(404));
    }),
    ("a report that met a conflict, and then the process ends", |s| {
        reported(s, 25_000, code(409));
        let ends = s.moment(27_000);
        s.facts.lives[0].asked_to_end = Some(ends);
    }),
    ("a last status soon after it was seen to be deleted", |s| planned_again(s, 30_200)),
];
