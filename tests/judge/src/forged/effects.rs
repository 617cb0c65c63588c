//! Forged histories about writes and what they did.

use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{BULK, History, code, shows},
    repeats::stop_again,
    results::{not_stopped, refused},
};

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "guards",
        "a DELETE without preconditions",
        |s| *s.request("delete", "delete-me").body = json!({}),
        "1",
        "unguarded",
    ),
    forgery(
        "guards",
        "a DELETE with the uid alone",
        |s| s.request("delete", "delete-me").body["preconditions"] = json!({"uid": "uid-of-delete-me"}),
        "1",
        "unguarded",
    ),
    forgery(
        "guards",
        "a DELETE in the foreground",
        |s| s.request("delete", "delete-me").body["propagationPolicy"] = "Foreground".into(),
        "1",
        "unguarded",
    ),
    forgery(
        "guards",
        "a stop without a version",
        |s| s.request("patch", "stop-me").body["metadata"] = json!({}),
        "1",
        "unguarded",
    ),
    forgery(
        "guards",
        "a stop by PUT",
        |s| s.request("patch", "stop-me").verb = "update".into(),
        "1",
        "unguarded",
    ),
    forgery(
        "guards",
        "DELETECOLLECTION",
        |s| s.request("delete", "delete-me").verb = "deletecollection".into(),
        "1",
        "unguarded",
    ),
    forgery(
        "guards",
        "a look at Secrets",
        |s| {
            s.sends("get", "secrets", "token", Value::Null, [30_000, 30_010], code(200));
        },
        "1",
        "must not send get of secrets",
    ),
    forgery(
        "guards",
        "a status without a guard",
        |s| s.request("update", BULK).body["metadata"] = json!({}),
        "1",
        "without a guard",
    ),
    forgery(
        "guards",
        "a status that says what is stored",
        |s| {
            let same = s.at_revision(34).object["status"].clone();
            s.records(60, [20_200, 20_210], same);
        },
        "6",
        "had not changed",
    ),
    forgery(
        "guards",
        "a renewal without a guard",
        |s| *s.exchange("update", "ai-api-operator").body = json!({}),
        "14",
        "without a guard",
    ),
    forgery(
        "guards",
        "a finalizer",
        |s| s.at_revision(32).object["metadata"]["finalizers"] = json!(["aiapi.dev/operator"]),
        "8",
        "has finalizers",
    ),
    forgery(
        "guards",
        "an owner",
        |s| s.at_revision(32).object["metadata"]["ownerReferences"] = json!([{"uid": "uid-of-request-abc"}]),
        "8",
        "has finalizers or owners",
    ),
    forgery(
        "intent",
        "a write to a version that never was",
        |s| {
            s.request("patch", "stop-me").body["metadata"]["resourceVersion"] = "9".into();
        },
        "1",
        "never seen: 9",
    ),
    forgery(
        "intent",
        "a stop of what has ended",
        |s| s.at_revision(10).object["status"]["state"] = "DEAD".into(),
        "1",
        "which was",
    ),
    forgery(
        "intent",
        "a DELETE that nobody asked for",
        |s| {
            s.spec(&json!({"executions": [{"id": "stop-me", "targetStatus": "STOPPED"}]}));
        },
        "7",
        "no BulkUpdate asked for it",
    ),
    forgery(
        "intent",
        "a stop of an object with another uid than the item's",
        |s| {
            s.spec(&json!({"executions": [{"id": "stop-me", "targetStatus": "STOPPED", "uid": "another"},
            {"id": "delete-me", "targetStatus": "DELETED"}, {"id": "refuse-me", "targetStatus": "DELETED"}]}));
        },
        "7",
        "no BulkUpdate asked for it",
    ),
    forgery(
        "intent",
        "a write for a dry run",
        |s| s.spec(&json!({"dryRun": true})),
        "7",
        "no BulkUpdate asked for it",
    ),
    forgery(
        "intent",
        "a write before the plan is recorded",
        |s| {
            s.at_revision(31).object["status"] = json!({"observedGeneration": -1});
        },
        "3",
        "before the plan was recorded",
    ),
    forgery(
        "intent",
        "a second accepted stop",
        |s| {
            s.changes(35, 32, 20_118, json!({"metadata": {"labels": {"a": "b"}}}));
            stop_again(s, "10", [20_115, 20_119], shows("stop-me", 35));
        },
        "3",
        "twice",
    ),
    forgery(
        "intent",
        "an object is gone without a plan",
        |s| {
            s.changes(35, 12, 20_118, json!({}));
            s.at_revision(35).deleted = true;
        },
        "3",
        "is gone, without a plan",
    ),
    forgery(
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
    forgery(
        "intent",
        "a stop that does not say who did it",
        |s| {
            s.at_revision(32).object["metadata"]["managedFields"] = json!([{"manager": "somebody"}]);
        },
        "13",
        "does not say who has stopped it",
    ),
    forgery(
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
    forgery(
        "refusals",
        "refused for good, and nobody has looked at it since",
        |s| {
            not_stopped(s, "WriteFailed");
            refused(s, code(422), 20_101);
        },
        "5",
        "was not looked at since",
    ),
];

type Genuine = (&'static str, fn(&mut History));

pub const GENUINE: &[Genuine] = &[("only the API server's side is known", History::server_only)];
