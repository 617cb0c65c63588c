//! Forged histories about authors, events, the log, callers, and a run that nothing disturbed.

mod genuine;

use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{BULK, History, at, code, second, shows, status, unplanned},
};
use crate::{Life, Others, Program};

pub use genuine::GENUINE;

const POLICIES: &str = "validatingadmissionpolicies";

fn policy(s: &mut History, revision: u64, millis: i64, change: serde_json::Value) {
    s.changes(revision, 1, millis, change);
    s.sees(revision, millis + 10, false);
    s.facts.others = Others::of(&s.facts);
}

/// Somebody weakens the policy, and restores it.
pub fn weak(s: &mut History, [from, to]: [i64; 2]) {
    policy(s, 4, from, json!({"metadata": {"generation": 2}, "spec": {"validations": ["stop"]}}));
    policy(s, 5, to, json!({"metadata": {"generation": 3}}));
}

/// It is rejected because of its author, after the Lease has said that it is accepted.
fn rejected_after_all(s: &mut History) {
    weak(s, [1_000, 2_000]);
    s.at_revision(28).object["metadata"]["annotations"] = json!({
        "aiapi.dev/admission-accepted": "uid-of-policy/3 uid-of-policy/1",
        "aiapi.dev/admission-record": "uid-of-policy",
    });
    for revision in [31, 34] {
        s.at_revision(revision).object["status"] = unplanned("False", "NotAuthorized");
    }
    s.facts.calm = None;
    s.facts.calls.clear();
}

/// For long enough that all events are published.
fn leads_on(s: &mut History) {
    let renewal = (*s.exchange("update", "ai-api-operator").body).clone();
    s.sends("update", "leases", "ai-api-operator", renewal, [40_000, 40_010], code(200));
}

/// The policy is listed, and cannot be watched from this moment on.
fn unwatched(s: &mut History, since: i64) {
    for (verb, sent, answer) in [("list", -60_000, code(200)), ("watch", since, code(403))] {
        let [sent, ended] = [s.moment(sent), s.moment(sent + 10)];
        let mut streams = s.facts.exchanges.iter_mut();
        let stream = streams.find(|e| e.resource == POLICIES && e.verb == verb).unwrap();
        (stream.sent, stream.ended) = (sent, Some((ended, answer)));
    }
    s.in_order();
}

/// A gateway that knows the API server's clock has created the BulkUpdate, which ends then.
fn by_gateway(s: &mut History, not_after: i64) {
    let (program, started) = (Program::Gateway, s.moment(0));
    s.facts.lives.push(Life { program, name: "life-1".into(), started, ..Life::default() });
    s.sends_by(1, "get", "bulkupdates", "another", Value::Null, [1000, 1010], shows("another", 9));
    s.sends_by(1, "create", "bulkupdates", BULK, Value::Null, [19_990, 20_010], shows(BULK, 30));
    s.made(30);
    s.in_order();
    s.facts.calls[0].sent = at(19_990);
    s.spec(&json!({"notAfter": second(not_after)}));
}

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "authors",
        "the policy never was",
        |s| s.facts.versions.retain(|v| v.plural != POLICIES),
        "15",
        "nobody had checked",
    ),
    forgery(
        "authors",
        "the policy was gone",
        |s| {
            policy(s, 13, 5_000, json!({}));
            s.at_revision(13).deleted = true;
        },
        "15",
        "nobody had checked",
    ),
    forgery(
        "authors",
        "the policy was young",
        |s| {
            s.at_revision(1).object["metadata"]["creationTimestamp"] = second(12_000).into();
        },
        "15",
        "nobody had checked",
    ),
    forgery(
        "authors",
        "the policy was weak",
        |s| {
            policy(s, 13, 19_000, json!({"metadata": {"generation": 2}, "spec": {"validations": ["stop"]}}));
        },
        "15",
        "nobody had checked",
    ),
    forgery(
        "authors",
        "the policy was weak until a moment before",
        |s| weak(s, [5_000, 15_000]),
        "15",
        "nobody had checked",
    ),
    forgery(
        "authors",
        "the binding only warns",
        |s| {
            s.changes(
                13,
                2,
                5_000,
                json!({"metadata": {"generation": 2}, "spec": {"validationActions": ["Warn"]}}),
            );
            s.sees(13, 5_010, false);
        },
        "15",
        "nobody had checked",
    ),
    forgery(
        "authors",
        "the policy is gone when it is planned",
        |s| {
            policy(s, 13, 20_010, json!({}));
            s.at_revision(13).revision = 31;
            let gone =
                s.facts.versions.iter_mut().find(|v| v.plural == POLICIES && v.revision == 31).unwrap();
            gone.deleted = true;
            // The plan is the version after it.
            gone.revision = 30;
            s.facts.versions.sort_by_key(|v| v.revision);
            let place = s.facts.versions.iter().position(|v| v.name == BULK).unwrap();
            let gone =
                s.facts.versions.iter().position(|v| v.plural == POLICIES && v.revision == 30).unwrap();
            if gone < place {
                s.facts.versions.swap(gone, place);
            }
            let when = s.moment(20_015);
            let mut sight = s.facts.sights.iter().find(|sight| sight.resource == POLICIES).unwrap().clone();
            (sight.when, sight.deleted, sight.revision, sight.listed) = (when, true, 30, false);
            s.facts.sights.push(sight);
            s.facts.sights.sort_by_key(|sight| sight.when);
        },
        "15",
        "without the policy or its binding",
    ),
    forgery(
        "authors",
        "rejected, though its author was checked",
        |s| {
            for revision in [31, 34] {
                s.at_revision(revision).object["status"] = unplanned("False", "NotAuthorized");
            }
        },
        "15",
        "and the policy covered it",
    ),
    forgery(
        "authors",
        "rejected, though the Lease had said that it is accepted",
        rejected_after_all,
        "15",
        "the Lease had said that it is accepted",
    ),
    forgery(
        "authors",
        "the policy could not be watched for too long",
        |s| unwatched(s, -12_000),
        "15",
        "could not be watched",
    ),
    forgery(
        "events",
        "a status is too large, and nothing says so",
        |s| {
            s.answered("update", BULK, code(413));
            leads_on(s);
        },
        "9",
        "it is too large for a status, and no event FailedUpdateStatus says so",
    ),
    forgery(
        "events",
        "it cannot be read, and only a condition says so",
        |s| {
            s.exchange("update", BULK).body["status"] = unplanned("False", "Unreadable");
            leads_on(s);
        },
        "9",
        "it cannot be read, and no event Unreadable says so",
    ),
    forgery(
        "events",
        "an event before the status",
        |s| s.sent_at("create", "Finished", 20_110),
        "6",
        "an event Finished that no status says",
    ),
    forgery(
        "events",
        "an event that says something else",
        |s| {
            s.request("create", "Finished").body["note"] = "all is well".into();
        },
        "6",
        "an event Finished that no status says",
    ),
    forgery(
        "events",
        "an event with other counts",
        |s| {
            s.request("create", "Accepted").body["note"] = "3 items: 3 planned, 0 eligible, 0 refused".into();
        },
        "6",
        "an event Accepted that no status says",
    ),
    forgery(
        "events",
        "an event twice",
        |s| {
            let again = s.request("create", "Finished").clone();
            s.facts.requests.push(again);
        },
        "6",
        "two events Finished",
    ),
    forgery(
        "events",
        "a rejection that there was not",
        |s| {
            let event = s.request("create", "Finished");
            event.body["reason"] = "Rejected".into();
        },
        "6",
        "an event Rejected that no status says",
    ),
    forgery(
        "events",
        "an event about nothing",
        |s| {
            s.request("create", "Finished").body["regarding"]["uid"] = "nothing".into();
        },
        "6",
        "that there is not",
    ),
    forgery(
        "log",
        "a write that is not logged",
        |s| {
            s.facts.lives[0].log.as_mut().unwrap().pop();
        },
        "13",
        "has sent 2 writes and logged 1",
    ),
    forgery(
        "log",
        "a write that is logged and was not sent",
        |s| {
            let log = s.facts.lives[0].log.as_mut().unwrap();
            log.push(log[0].clone());
        },
        "13",
        "has sent 2 writes and logged 3",
    ),
    forgery(
        "log",
        "a line without a uid",
        |s| {
            let line = &mut s.facts.lives[0].log.as_mut().unwrap()[0];
            *line = line.replace("target_uid=", "uid=");
        },
        "13",
        "without target_uid=",
    ),
    forgery(
        "log",
        "a line about another object",
        |s| {
            let line = &mut s.facts.lives[0].log.as_mut().unwrap()[0];
            *line = line.replace("Execution/stop-me", "Execution/stop-it");
        },
        "13",
        "is not in the log",
    ),
    forgery(
        "gateway",
        "scheduled, and it never was",
        |s| {
            s.facts.calls[0].body["executions"][2] = json!({"id": "refuse-me", "message": "scheduled"});
        },
        "gateway",
        "the status never said so",
    ),
    forgery(
        "gateway",
        "an error for what was done",
        |s| {
            s.facts.calls[0].body["executions"][0]["error"] = json!({"message": "Current status RUNNING"});
        },
        "gateway",
        "stop-me was written to",
    ),
    forgery(
        "gateway",
        "an item is missing",
        |s| s.facts.calls[0].body = json!({"executions": []}),
        "gateway",
        "no entry for stop-me",
    ),
    forgery(
        "gateway",
        "nothing was done, and it was",
        |s| {
            s.facts.calls[0].code = 503;
            s.facts.calls[0].body = json!({"error": {"message": "nothing was done, and nothing will be"}});
        },
        "gateway",
        "stop-me was written to",
    ),
    forgery(
        "gateway",
        "a deletion was done, and it says that nothing was",
        |s| {
            s.facts.calls[0].code = 503;
            s.facts.calls[0].items.remove(0);
            s.facts.calls[0].body = json!({"error": {"message": "nothing was done, and nothing will be"}});
        },
        "gateway",
        "delete-me was written to",
    ),
    forgery(
        "events",
        "the same event again and again",
        |s| {
            for millis in [30_000, 32_000, 34_000] {
                s.event("Unreadable", "it cannot be read", millis);
            }
        },
        "memory",
        "3 events Unreadable",
    ),
    forgery(
        "gateway",
        "the BulkUpdate ends later than it should",
        |s| by_gateway(s, 66_000),
        "clock",
        "has notAfter",
    ),
    forgery(
        "gateway",
        "the BulkUpdate ends earlier than it should",
        |s| by_gateway(s, 54_000),
        "clock",
        "has notAfter",
    ),
    forgery(
        "gateway",
        "not known of which BulkUpdate",
        |s| {
            s.facts.calls[0].code = 504;
            s.facts.calls[0].body = json!({"error": {"message": "the outcome is not known"}});
        },
        "gateway",
        "does not name its BulkUpdate",
    ),
    forgery(
        "calm",
        "refused for nothing",
        |s| {
            s.ends_as(&status(["Settled", "Failed WriteFailed", "Refused WrongState"], true));
        },
        "6",
        "without faults it is Settled",
    ),
    forgery(
        "calm",
        "never written to",
        |s| {
            s.at_revision(33).deleted = false;
            assert!(s.facts.end.unwrap() > at(0));
        },
        "3",
        "delete-me: deleted false, stopped false",
    ),
];

type Genuine = (&'static str, fn(&mut History));
