//! Forged histories about lists and watches, and about the annotations of the Lease.

use serde_json::{Value, json};

use super::{
    Forgery, forgery,
    history::{History, code, second},
    repeats::second_life,
};
use crate::{Answer, Whole};

/// A list and what comes after it, at these times.
fn lists(s: &mut History, answers: &[(i64, Answer)]) {
    for (millis, answer) in answers {
        s.sends("list", "executions", "", Value::Null, [*millis, millis + 10], answer.clone());
    }
}

fn watches(s: &mut History, answers: &[(i64, u16)]) {
    for (millis, answer) in answers {
        s.sends("watch", "executions", "", Value::Null, [*millis, millis + 10], code(*answer));
    }
}

/// Of the objects of an engine.
fn looks(s: &mut History, answers: &[(i64, u16)]) {
    for (millis, answer) in answers {
        s.sends("list", "jobsets", "", Value::Null, [*millis, millis + 10], code(*answer));
    }
}

fn asks_to_wait() -> Answer {
    Answer::Whole(Whole { code: 429, retry_after: Some(1), ..Whole::default() })
}

/// The Lease says so when it is renewed for the last time.
fn accepts(s: &mut History, accepted: &str) {
    let last = s.facts.exchanges.iter_mut().rfind(|e| e.resource == "leases").unwrap();
    last.body["metadata"]["annotations"] = json!({"aiapi.dev/admission-accepted": accepted});
}

/// The policy is changed at this time.
fn changes_policy(s: &mut History, millis: i64) {
    let change = json!({"metadata": {"generation": 2}});
    s.changes(29, 1, millis, change);
    s.sees(29, millis + 5, false);
}

const BOTH: &str = "uid-of-policy/1 uid-of-policy/1";

pub const FORGERIES: &[Forgery] = &[
    forgery(
        "namespaces",
        "it serves a namespace that it does not watch",
        |s| s.facts.settings.watch_namespaces = vec!["another-one".into()],
        "namespaces",
        "is not watched",
    ),
    forgery(
        "streams",
        "a list that is repeated before Retry-After",
        |s| lists(s, &[(30_000, asks_to_wait()), (30_900, code(200))]),
        "watch",
        "after one that asked to wait",
    ),
    forgery(
        "streams",
        "a list that is repeated at once",
        |s| lists(s, &[(30_000, code(500)), (30_300, code(200))]),
        "watch",
        "after 1 that failed",
    ),
    forgery(
        "streams",
        "no longer back-off for the third one",
        |s| lists(s, &[(30_000, code(500)), (31_000, code(500)), (32_100, code(500)), (33_200, code(500))]),
        "watch",
        "after 3 that failed",
    ),
    forgery(
        "streams",
        "a list that succeeds ends the back-off",
        |s| {
            watches(s, &[(30_000, 500)]);
            lists(s, &[(31_000, code(200))]);
            watches(s, &[(31_100, 500), (31_700, 200)]);
        },
        "watch",
        "after 2 that failed",
    ),
    forgery(
        "streams",
        "a watch that was too old is not followed by a list",
        |s| watches(s, &[(30_000, 410), (31_000, 200)]),
        "watch",
        "after one that was too old",
    ),
    forgery(
        "streams",
        "an engine that cannot be listed is looked for at once",
        |s| looks(s, &[(30_000, 404), (40_000, 404), (45_000, 404)]),
        "watch",
        "after 2 that failed",
    ),
    forgery(
        "streams",
        "a list of an engine that can be listed is repeated at once",
        |s| looks(s, &[(30_000, 404), (40_000, 200), (40_020, 500), (40_200, 500)]),
        "watch",
        "after 1 that failed",
    ),
    forgery(
        "notes",
        "it accepts under a policy that was just changed",
        |s| {
            changes_policy(s, 20_000);
            accepts(s, "uid-of-policy/2 uid-of-policy/1");
        },
        "15",
        "which was not in force for long",
    ),
    forgery(
        "notes",
        "it still accepts under the policy of before",
        |s| {
            changes_policy(s, 10_000);
            accepts(s, BOTH);
        },
        "15",
        "which was not in force for long",
    ),
    forgery(
        "notes",
        "another process says so, which was shown nothing",
        |s| {
            second_life(s, 100);
            accepts(s, BOTH);
            s.facts.exchanges.iter_mut().rfind(|e| e.resource == "leases").unwrap().life = 1;
        },
        "15",
        "which was not in force for long",
    ),
    forgery(
        "notes",
        "an annotation of others is lost",
        |s| {
            let lease = s.facts.versions.iter_mut().rfind(|v| v.plural == "leases" && v.revision == 41);
            lease.unwrap().object["metadata"]["annotations"] = json!({"example.com/note": "ours"});
        },
        "14",
        "has lost the annotation example.com/note",
    ),
    forgery(
        "notes",
        "a Lease without room is written again as it was",
        |s| {
            for millis in [30_000, 30_100] {
                let guard = json!({"metadata": {"resourceVersion": "43"}});
                s.sends("update", "leases", "ai-api-operator", guard, [millis, millis + 10], code(422));
            }
        },
        "14",
        "it was refused before",
    ),
];

type Genuine = (&'static str, fn(&mut History));

pub const GENUINE: &[Genuine] = &[
    ("lists that are repeated ever more rarely", |s| {
        lists(s, &[(30_000, code(500)), (30_600, code(500)), (31_700, code(500)), (33_800, code(200))]);
    }),
    ("a watch that was accepted ends the back-off", |s| {
        watches(s, &[(30_000, 500), (30_600, 500), (31_700, 200), (40_000, 500), (40_600, 200)]);
    }),
    ("a watch that was too old is followed by a list", |s| {
        watches(s, &[(30_000, 410)]);
        lists(s, &[(31_000, code(200))]);
    }),
    ("it accepts under what has long been in force", |s| accepts(s, BOTH)),
    ("it accepts ten seconds after the policy has changed", |s| {
        changes_policy(s, 10_000);
        accepts(s, "uid-of-policy/2 uid-of-policy/1");
    }),
    ("others remove their annotation", |s| {
        let note = json!({"example.com/note": "ours"});
        s.facts.versions.iter_mut().find(|v| v.revision == 41).unwrap().object["metadata"]["annotations"] =
            note;
        let removes = s.facts.requests.iter_mut().find(|r| r.revision == Some(42)).unwrap();
        (removes.life, removes.exchange) = (None, None);
    }),
    ("a Lease without room is written without what has none", |s| {
        for (millis, answer) in [(30_000, 422), (30_100, 200), (32_000, 422), (32_100, 200)] {
            let guard = json!({"metadata": {"resourceVersion": "43"}});
            s.sends("update", "leases", "ai-api-operator", guard, [millis, millis + 10], code(answer));
        }
    }),
    ("nothing is said of a policy that need not be there", |s| {
        s.facts.settings.require_admission_policy = false;
        changes_policy(s, 20_000);
        accepts(s, &second(0));
    }),
];
