//! Forged histories about a status: its conditions, counts and times.

use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{History, code, second, status, unplanned},
    results::off,
};

/// It was never planned, and its last status says this.
fn unplanned_as(s: &mut History, accepted: &str, reason: &str) {
    s.facts.versions.retain(|v| ![31, 32, 33].contains(&v.revision));
    s.facts
        .requests
        .retain(|r| !r.is_target_write() && r.resource != "events" && r.guard_number() != Some(30));
    s.facts.exchanges.iter_mut().for_each(|e| {
        if e.is_target_write() || e.resource == "events" || e.guard_number() == Some(30) {
            (e.verb, e.resource, e.name) = Default::default();
        }
    });
    let record = s.facts.exchanges.iter_mut().rfind(|e| e.is_record()).unwrap();
    record.body["metadata"]["resourceVersion"] = "30".into();
    let record = s.facts.requests.iter_mut().rfind(|r| r.is_record()).unwrap();
    record.body["metadata"]["resourceVersion"] = "30".into();
    s.facts.sights.retain(|sight| ![32, 33].contains(&sight.revision));
    s.ends_as(&unplanned(accepted, reason));
    s.facts.calm = None;
    s.facts.calls.clear();
    s.facts.lives[0].log = None;
    s.facts.quiet_since = None;
}

/// Unreadable, with an id twice.
fn twice(s: &mut History) {
    let item = json!({"id": "stop-me", "targetStatus": "STOPPED"});
    s.spec(&json!({"executions": [item, item]}));
    unplanned_as(s, "False", "Unreadable");
}

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "status",
        "a summary that does not add up",
        |s| {
            s.at_revision(31).object["status"]["summary"]["settled"] = 1.into();
        },
        "6",
        "does not add up",
    ),
    forgery(
        "status",
        "an item is missing",
        |s| {
            s.at_revision(34).object["status"]["executions"].as_array_mut().unwrap().pop();
        },
        "6",
        "asked for",
    ),
    forgery(
        "status",
        "items in another order",
        |s| {
            s.at_revision(34).object["status"]["executions"].as_array_mut().unwrap().swap(0, 1);
        },
        "6",
        "asked for",
    ),
    forgery(
        "status",
        "it has finished, and an item is planned",
        |s| {
            s.ends_as(&status(["Planned", "Settled", "Refused WrongState"], true));
        },
        "6",
        "whether it has finished does not match",
    ),
    forgery(
        "status",
        "all is done, and it has not finished",
        |s| {
            s.at_revision(34).object["status"]["completionTime"] = Value::Null;
        },
        "6",
        "whether it has finished does not match",
    ),
    forgery(
        "status",
        "a plan without a start",
        |s| s.at_revision(31).object["status"]["startTime"] = Value::Null,
        "6",
        "items, and no start",
    ),
    forgery(
        "status",
        "an end in the future",
        |s| {
            s.at_revision(34).object["status"]["completionTime"] = second(30_000).into();
        },
        "6",
        "in the future",
    ),
    forgery(
        "status",
        "an end before the start",
        |s| {
            s.at_revision(34).object["status"]["completionTime"] = second(10_000).into();
        },
        "6",
        "it ends before it starts",
    ),
    forgery(
        "status",
        "settled, and an item was refused",
        |s| {
            let mut settled = status(["Settled", "Settled", "Settled"], true);
            settled["executions"] = s.at_revision(34).object["status"]["executions"].clone();
            settled["summary"] = s.at_revision(34).object["status"]["summary"].clone();
            s.at_revision(34).object["status"] = settled;
        },
        "6",
        "which should be",
    ),
    forgery(
        "status",
        "a condition has changed only its time",
        |s| {
            s.at_revision(34).object["status"]["conditions"][0]["lastTransitionTime"] = second(19_000).into();
        },
        "6",
        "Accepted has changed only its time",
    ),
    forgery(
        "status",
        "waits, and nothing has failed",
        |s| {
            s.at_revision(31).object["status"]["conditions"][1]["message"] =
                "1 of 3; waiting: for nothing".into();
        },
        "5",
        "nothing was blocked",
    ),
    forgery(
        "status",
        "rejected because of a flag that was on",
        |s| unplanned_as(s, "False", "BulkUpdatesDisabled"),
        "6",
        "which is not true",
    ),
    forgery(
        "status",
        "rejected because of a flag that was well-formed",
        |s| {
            off(s, 19_000, "{}");
            unplanned_as(s, "False", "MetaInvalid");
        },
        "6",
        "which is not true",
    ),
    forgery(
        "status",
        "rejected because of a deadline that had not passed",
        |s| {
            s.spec(&json!({"notAfter": second(30_000), "startingDeadlineSeconds": 5}));
            unplanned_as(s, "False", "DeadlineExceeded");
        },
        "6",
        "which is not true",
    ),
    forgery(
        "status",
        "waits for a flag that can be read",
        |s| unplanned_as(s, "Unknown", "FlagUnreadable"),
        "6",
        "which is not true",
    ),
    forgery(
        "status",
        "waits for nothing",
        |s| unplanned_as(s, "Unknown", "Waiting"),
        "6",
        "which is not true",
    ),
    forgery(
        "status",
        "unreadable, and it can be read",
        |s| unplanned_as(s, "False", "Unreadable"),
        "6",
        "which is not true",
    ),
    forgery(
        "status",
        "unreadable, and the schema has accepted it",
        |s| {
            twice(s);
            s.facts.settings.keeps_the_schema = true;
        },
        "6",
        "which is not true",
    ),
    forgery(
        "status",
        "it is planned twice",
        |s| s.at_revision(34).object["status"]["startTime"] = second(21_000).into(),
        "6",
        "it was planned at",
    ),
    forgery(
        "guards",
        "a condition without a reason",
        |s| {
            let record = s.facts.requests.iter_mut().find(|r| r.is_record()).unwrap();
            record.body["status"]["conditions"][0]["reason"] = "".into();
        },
        "9",
        "a condition that the schema refuses",
    ),
    forgery(
        "guards",
        "a status takes the labels away from who manages them",
        |s| {
            let others = json!([{"manager": "people", "fieldsV1": {"f:metadata": {"f:labels": {}}}}]);
            s.at_revision(30).object["metadata"]["managedFields"] = others;
        },
        "6",
        "others manage less of",
    ),
];

type Genuine = (&'static str, fn(&mut History));

pub const GENUINE: &[Genuine] = &[
    ("rejected because of the flag", |s| {
        off(s, 19_000, "{}");
        unplanned_as(s, "False", "BulkUpdatesDisabled");
    }),
    ("rejected because the flag is no text that can be understood", |s| {
        off(s, 19_000, "execution: true");
        unplanned_as(s, "False", "MetaInvalid");
    }),
    ("rejected because notAfter may have passed", |s| {
        s.spec(&json!({"notAfter": second(21_000)}));
        unplanned_as(s, "False", "DeadlineExceeded");
    }),
    ("waits for a flag that cannot be read", |s| {
        unplanned_as(s, "Unknown", "FlagUnreadable");
        s.answered("get", "ai-api-meta", code(500));
    }),
    ("unreadable, with an id twice", twice),
    ("somebody has put the items in another order before it was planned", |s| {
        for revision in [31, 34] {
            let object = &mut s.at_revision(revision).object;
            object["spec"]["executions"].as_array_mut().unwrap().swap(0, 1);
            object["status"]["executions"].as_array_mut().unwrap().swap(0, 1);
        }
    }),
];
