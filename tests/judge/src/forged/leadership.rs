//! Forged histories about who leads, and takes over what another one has planned.

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{BULK, at, code, shows},
    repeats::second_life,
};
use crate::Moment;

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "leases",
        "a write without the Lease",
        |s| {
            for e in s.facts.exchanges.iter_mut().filter(|e| e.resource == "leases") {
                e.ended.as_mut().unwrap().1 = code(409);
            }
        },
        "14",
        "it does not hold the Lease",
    ),
    forgery(
        "leases",
        "a write long after the last renewal",
        |s| {
            s.facts.settings.renew_deadline = SignedDuration::from_secs(1);
        },
        "14",
        "its last renewal was at",
    ),
    forgery(
        "leases",
        "a write in the moment in which it continues, long after the last renewal",
        |s| {
            s.facts.settings.renew_deadline = SignedDuration::from_secs(4);
            let (begin, sent) = (s.moment(17_000), s.exchange("patch", "stop-me").sent);
            s.facts.lives[0].pauses.push([begin, Moment { nth: sent.nth - 1, ..sent }]);
        },
        "14",
        "patch of executions/stop-me by process 0",
    ),
    forgery(
        "leases",
        "a write after it was released",
        |s| {
            let at = s.facts.exchanges.iter().rposition(|e| e.resource == "leases" && e.sent.at < at(20_000));
            s.facts.exchanges[at.unwrap()].body["spec"] = json!({"holderIdentity": null});
        },
        "14",
        "it does not hold the Lease",
    ),
    forgery(
        "leases",
        "a write after another has been seen to lead",
        |s| {
            s.changes(29, 28, 19_000, json!({"spec": {"holderIdentity": "life-1"}}));
            s.sends(
                "get",
                "leases",
                "ai-api-operator",
                Value::Null,
                [19_500, 19_510],
                shows("ai-api-operator", 29),
            );
            s.in_order();
        },
        "14",
        "another was seen to lead",
    ),
    forgery(
        "leases",
        "nobody ever leads, by the API server's side alone",
        |s| {
            s.server_only();
            s.facts.requests.retain(|r| r.resource != "leases");
        },
        "14",
        "no replica ever took the Lease",
    ),
    forgery(
        "leases",
        "a process that never led, by the API server's side alone",
        |s| {
            second_life(s, 0);
            s.server_only();
            s.request("patch", "stop-me").life = Some(1);
        },
        "14",
        "it has never held the Lease",
    ),
    forgery(
        "leases",
        "an old renewal, by the API server's side alone",
        |s| {
            s.server_only();
            s.facts.settings.renew_deadline = SignedDuration::from_secs(1);
        },
        "14",
        "its last renewal was at",
    ),
    forgery(
        "leases",
        "another has taken it, by the API server's side alone",
        |s| {
            second_life(s, 0);
            s.server_only();
            s.facts.settings.retry_period = SignedDuration::from_millis(100);
            let mut taken = s.request("create", "ai-api-operator").clone();
            (taken.life, taken.received, taken.answered) = (Some(1), at(19_000), at(19_001));
            let place = s.facts.requests.partition_point(|r| r.received < at(19_000));
            s.facts.requests.insert(place, taken);
        },
        "14",
        "has taken the Lease",
    ),
    forgery(
        "leases",
        "it has released it, by the API server's side alone",
        |s| {
            s.server_only();
            let last =
                s.facts.versions.iter_mut().rfind(|v| v.plural == "leases" && v.at < at(20_000)).unwrap();
            last.object["spec"] = json!({"holderIdentity": ""});
            s.facts.others.changed_lease = false;
        },
        "14",
        "it has released the Lease",
    ),
    forgery(
        "leases",
        "the Lease is taken from one that renews it",
        |s| {
            second_life(s, 0);
            let last = s.facts.versions.iter_mut().rfind(|v| v.plural == "leases").unwrap();
            last.object["spec"] = json!({"holderIdentity": "life-1"});
        },
        "14",
        "took the Lease of life-0",
    ),
    forgery(
        "plans",
        "another process carries the plan out, and has not read it",
        |s| {
            second_life(s, 20_050);
            s.exchange("patch", "stop-me").life = 1;
        },
        "3",
        "has neither recorded nor read the plan",
    ),
    forgery(
        "plans",
        "it reads the BulkUpdate after the write",
        |s| {
            second_life(s, 20_050);
            s.exchange("patch", "stop-me").life = 1;
            s.sends_by(1, "get", "bulkupdates", BULK, Value::Null, [20_098, 20_103], shows(BULK, 31));
        },
        "3",
        "has neither recorded nor read the plan",
    ),
    forgery(
        "plans",
        "its own record met a conflict",
        |s| {
            s.answered("update", BULK, code(409));
        },
        "3",
        "has neither recorded nor read the plan",
    ),
];
