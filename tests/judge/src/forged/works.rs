//! Forged histories of what runs.

use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{History, JOB, RUN, code, owner, second, shows},
};
use crate::{Answer, Whole};

/// A history in which something runs.
fn runs(s: &mut History, forge: impl FnOnce(&mut History)) {
    s.runs();
    forge(s);
}

/// A Job that exists already is adopted for an Execution that refers to a Job with this uid.
fn adopts(s: &mut History, uid: &str, owners: &Value) {
    runs(s, |s| {
        let reference = json!({"kind": "Job", "name": "found", "uid": uid});
        let created = json!({"metadata": {"creationTimestamp": second(24_500)}, "spec": {"workloadRef": reference},
            "status": {"state": "PENDING"}});
        s.version(70, "executions", "adopter", 24_500, created);
        s.version(71, "jobs", "found", 24_400, json!({"metadata": {"ownerReferences": owners}}));
        let mut owner = owner();
        owner[0]["uid"] = "uid-of-adopter".into();
        let metadata = json!({"uid": "uid-of-found", "resourceVersion": "71", "ownerReferences": owner});
        s.sends(
            "patch",
            "jobs",
            "found",
            json!({"metadata": metadata}),
            [24_600, 24_610],
            shows("found", 72),
        );
        s.made(72);
        s.changes(72, 71, 24_605, json!({"metadata": {"ownerReferences": owner}}));
    });
}

/// The Job gets its label back, with these metadata besides its uid and resourceVersion.
fn labels(s: &mut History, metadata: &Value) {
    runs(s, |s| {
        let mut patch = json!({"metadata": metadata});
        patch["metadata"]["uid"] = format!("uid-of-{JOB}").into();
        patch["metadata"]["resourceVersion"] = "66".into();
        s.sends("patch", "jobs", JOB, patch, [24_300, 24_310], shows(JOB, 69));
        s.made(69);
        s.changes(69, 66, 24_305, json!({"metadata": metadata}));
    });
}

/// The Job is read, which is refused for five seconds, and read again then.
fn reads_again(s: &mut History, then: i64) {
    runs(s, |s| {
        let wait = Answer::Whole(Whole { code: 429, retry_after: Some(5), ..Whole::default() });
        s.sends("get", "jobs", JOB, Value::Null, [25_000, 25_010], wait);
        s.sends("get", "jobs", JOB, Value::Null, [then, then + 10], shows(JOB, 66));
    });
}

/// The Execution is deleted by the operator, and is gone.
fn deletes(s: &mut History, propagation: &str) {
    runs(s, |s| {
        let guard = json!({"uid": format!("uid-of-{RUN}"), "resourceVersion": "68"});
        let delete = json!({"preconditions": guard, "propagationPolicy": propagation});
        s.sends("delete", "executions", RUN, delete, [25_000, 25_010], code(200));
        s.made(69);
        let going = json!({"deletionTimestamp": second(25_000), "finalizers": ["foregroundDeletion"]});
        s.changes(69, 68, 25_005, json!({"metadata": going}));
        s.changes(70, 69, 26_000, json!({}));
        s.latest().deleted = true;
    });
}

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "works",
        "a stop without a uid",
        |s| runs(s, |s| drop(s.request("patch", JOB).body["metadata"]["uid"].take())),
        "work",
        "without a guard",
    ),
    forgery(
        "works",
        "a read before the time that the last answer asked to wait for",
        |s| reads_again(s, 29_000),
        "work",
        "after one that asked to wait",
    ),
    forgery(
        "works",
        "the label of another owner",
        |s| labels(s, &json!({"labels": {"aiapi.dev/owner-uid": "uid-of-another"}})),
        "work",
        "it is the label of uid-of-another",
    ),
    forgery(
        "works",
        "a label with more than itself",
        |s| {
            let labels_and_more = json!({"aiapi.dev/owner-uid": format!("uid-of-{RUN}")});
            labels(s, &json!({"labels": labels_and_more, "annotations": {"a": "b"}}));
        },
        "work",
        "more than its label",
    ),
    forgery(
        "works",
        "a change that is no stop",
        |s| runs(s, |s| s.request("patch", JOB).body["spec"] = json!({"parallelism": 0})),
        "work",
        "it is no stop",
    ),
    forgery(
        "works",
        "a stop long after the flag was read",
        |s| runs(s, |s| s.sent_at("patch", JOB, 24_150)),
        "work",
        "without a reading of the flag",
    ),
    forgery(
        "works",
        "a stop that nobody has requested",
        |s| {
            runs(s, |s| {
                for at in [65, 68] {
                    s.at_revision(at).object["status"]["targetStatus"] = Value::Null;
                }
            });
        },
        "work",
        "nobody has requested a stop",
    ),
    forgery(
        "works",
        "a stop of what nobody owns",
        |s| runs(s, |s| s.at_revision(62).object["metadata"]["ownerReferences"] = json!([])),
        "work",
        "it belongs to nobody",
    ),
    forgery(
        "works",
        "a second creation",
        |s| runs(s, |s| s.creates(69, [25_000, 25_010])),
        "work",
        "it was created before",
    ),
    forgery(
        "works",
        "a creation of which nothing is on record",
        |s| runs(s, |s| s.at_revision(61).object["status"]["workload"] = Value::Null),
        "work",
        "nothing says that it is to be created",
    ),
    forgery(
        "works",
        "a creation that no template asks for",
        |s| runs(s, |s| s.at_revision(61).object["spec"] = json!({})),
        "work",
        "without a template",
    ),
    forgery(
        "works",
        "a creation that nobody had checked",
        |s| runs(s, |s| s.at_revision(4).object["metadata"]["creationTimestamp"] = second(21_000).into()),
        "work",
        "nobody had checked whether its author may run it",
    ),
    forgery(
        "works",
        "the adoption of another object",
        |s| adopts(s, "another", &json!([])),
        "work",
        "not the object that was meant",
    ),
    forgery(
        "works",
        "the adoption of what has an owner",
        |s| adopts(s, "uid-of-found", &json!([{"kind": "CronJob", "uid": "nightly", "controller": true}])),
        "work",
        "it has an owner",
    ),
    forgery(
        "works",
        "the deletion of what runs",
        |s| {
            runs(s, |s| {
                s.sends("delete", "jobs", JOB, json!({}), [25_000, 25_010], code(200));
            });
        },
        "1",
        "must not send delete of jobs",
    ),
    forgery(
        "works",
        "the deletion of an Execution before its Job",
        |s| deletes(s, "Background"),
        "1",
        "unguarded",
    ),
    forgery(
        "works",
        "a state without a guard",
        |s| runs(s, |s| s.request("patch", RUN).body["metadata"] = json!({})),
        "work",
        "is not its to tell",
    ),
    forgery(
        "works",
        "UNKNOWN, which may be deleted",
        |s| runs(s, |s| s.at_revision(64).object["status"]["state"] = "UNKNOWN".into()),
        "work",
        "goes from PENDING to UNKNOWN",
    ),
    forgery(
        "works",
        "what has stopped runs again",
        |s| runs(s, |s| s.tells(69, 68, 25_000, &json!({"state": "RUNNING"}))),
        "work",
        "goes from STOPPED to RUNNING",
    ),
    forgery(
        "works",
        "STOPPED while a Pod is left",
        |s| runs(s, |s| s.at_revision(67).deleted = false),
        "work",
        "is STOPPED, and its Pod pod is left",
    ),
    forgery(
        "works",
        "a deletion that ends before the Pods do",
        |s| {
            deletes(s, "Foreground");
            s.at_revision(67).deleted = false;
        },
        "work",
        "is gone, and its Pod pod is left",
    ),
    forgery(
        "works",
        "a Pod that runs after the stop",
        |s| runs(s, |s| s.pod(69, "late", 25_000)),
        "work",
        "has ended, and its Pod late runs",
    ),
    forgery(
        "works",
        "a stop that is never brought about",
        |s| runs(s, |s| s.at_revision(68).object["status"]["state"] = "STOPPING".into()),
        "work",
        "was to be stopped, and is STOPPING",
    ),
];

/// What happens in a history.
type Happens = fn(&mut History);

/// What is no violation.
pub const GENUINE: &[(&str, Happens)] = &[
    ("something runs, is stopped, and ends", |s| s.runs()),
    ("a read at the time that the last answer asked to wait for", |s| reads_again(s, 30_020)),
    ("what has lost its label gets it back", |s| {
        labels(s, &json!({"labels": {"aiapi.dev/owner-uid": format!("uid-of-{RUN}")}}));
    }),
    ("a creation that a proxy delivers again when all is gone", |s| {
        runs(s, |s| {
            let mut again = s.request("create", JOB).clone();
            (again.revision, again.received) = (Some(69), second(25_000).parse().unwrap());
            s.facts.requests.push(again);
        });
    }),
    ("an object that nobody owns is adopted", |s| adopts(s, "uid-of-found", &json!([]))),
];
