//! What is asked of the operator while things go wrong: small requests, each with what becomes of it in peace.

use ai_api_operator::api::Kind::{self, Deployment, Execution};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fault::{Change, Resource};

/// A target as it is made.
pub struct Made {
    pub kind: Kind,
    pub name: &'static str,
    /// Its state; none, if empty.
    pub state: &'static str,
    /// Whether another controller runs it (and never stops it).
    pub managed_by_other: bool,
}

/// What somebody does as soon as something happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    None,
    /// Does this when the first target has been stopped, before the operator has the answer; the watch of that resource
    /// tells of it.
    InTheMiddle(Change, Resource),
    /// Makes a target anew when it is gone.
    Recreate,
}

pub struct Scenario {
    pub name: &'static str,
    pub max_in_flight: usize,
    pub targets: &'static [Made],
    /// Made at the same time as the BulkUpdates.
    pub at_the_same_moment: &'static [Made],
    pub bulk_updates: fn() -> Vec<(&'static str, Value)>,
    pub reaction: Reaction,
    /// What becomes of each item where nobody but the operator changes anything; empty where that is a matter of luck.
    pub outcomes: &'static [(Kind, &'static str, &'static str)],
    /// Whether the objects that are written to in peace are written to exactly once whatever fails.
    pub written: &'static [&'static str],
}

impl Scenario {
    /// Whether its BulkUpdate is deleted before it ends.
    pub fn deletes_its_bulk_update(&self) -> bool {
        matches!(self.reaction, Reaction::InTheMiddle(Change::DeleteBulkUpdate, _))
    }

    /// Whether what fails for a while may fail for good.
    pub fn has_a_deadline(&self) -> bool {
        (self.bulk_updates)()
            .iter()
            .any(|(_, spec)| spec["activeDeadlineSeconds"].is_number() || spec["notAfter"].is_string())
    }
}

const fn own(kind: Kind, name: &'static str, state: &'static str) -> Made {
    Made { kind, name, state, managed_by_other: false }
}

const fn others(kind: Kind, name: &'static str, state: &'static str) -> Made {
    Made { kind, name, state, managed_by_other: true }
}

fn three() -> Value {
    json!({"executions": [
        {"id": "stop-me", "targetStatus": "STOPPED"},
        {"id": "delete-me", "targetStatus": "DELETED"},
        {"id": "refuse-me", "targetStatus": "DELETED"},
    ]})
}

fn with(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

const THREE: &[Made] = &[
    own(Execution, "stop-me", "RUNNING"),
    own(Execution, "delete-me", "STOPPED"),
    own(Execution, "refuse-me", "RUNNING"),
    own(Execution, "bystander", "STOPPED"),
];

const THREE_OUTCOMES: &[(Kind, &str, &str)] = &[
    (Execution, "stop-me", "Settled"),
    (Execution, "delete-me", "Settled"),
    (Execution, "refuse-me", "Refused WrongState"),
];

/// Written to one after the other, with something happening after the first write.
const ONE_BY_ONE: Scenario = Scenario {
    name: "",
    max_in_flight: 1,
    targets: &[
        own(Execution, "stop-1", "RUNNING"),
        own(Execution, "stop-2", "RUNNING"),
        own(Execution, "delete-me", "STOPPED"),
    ],
    bulk_updates: || {
        let item = |id: &str, verb: &str| json!({"id": id, "targetStatus": verb});
        let items = [item("stop-1", "STOPPED"), item("stop-2", "STOPPED"), item("delete-me", "DELETED")];
        vec![("bulk", json!({"executions": items}))]
    },
    outcomes: &[],
    written: &[],
    ..PLAIN
};

const PLAIN: Scenario = Scenario {
    name: "three-items",
    max_in_flight: 16,
    targets: THREE,
    at_the_same_moment: &[],
    bulk_updates: || vec![("bulk", three())],
    reaction: Reaction::None,
    outcomes: THREE_OUTCOMES,
    written: &["stop-me", "delete-me"],
};

pub static SCENARIOS: &[Scenario] = &[
    PLAIN,
    Scenario {
        name: "both-kinds",
        targets: &[
            own(Execution, "exec-stop", "RUNNING"),
            own(Deployment, "depl-stop", "PENDING"),
            own(Deployment, "depl-delete", "DEAD"),
            own(Execution, "exec-delete", ""),
        ],
        bulk_updates: || {
            let item = |id: &str, verb: &str| json!({"id": id, "targetStatus": verb});
            let spec = json!({
                "executions": [item("exec-stop", "STOPPED"), item("exec-delete", "DELETED")],
                "deployments": [item("depl-stop", "STOPPED"), item("depl-delete", "DELETED")],
            });
            vec![("bulk", spec)]
        },
        outcomes: &[
            (Execution, "exec-stop", "Settled"),
            (Execution, "exec-delete", "Settled"),
            (Deployment, "depl-stop", "Settled"),
            (Deployment, "depl-delete", "Settled"),
        ],
        written: &["exec-stop", "exec-delete", "depl-stop", "depl-delete"],
        ..PLAIN
    },
    Scenario {
        name: "dry-run",
        bulk_updates: || vec![("bulk", with(three(), "dryRun", true.into()))],
        outcomes: &[
            (Execution, "stop-me", "Eligible"),
            (Execution, "delete-me", "Eligible"),
            (Execution, "refuse-me", "Refused WrongState"),
        ],
        written: &[],
        ..PLAIN
    },
    Scenario {
        name: "ttl",
        bulk_updates: || vec![("bulk", with(three(), "ttlSecondsAfterFinished", 1.into()))],
        ..PLAIN
    },
    Scenario {
        name: "deadlines",
        targets: &[
            others(Execution, "stop-me", "RUNNING"),
            own(Execution, "delete-me", "STOPPED"),
            own(Execution, "refuse-me", "RUNNING"),
        ],
        bulk_updates: || {
            let end = Timestamp::now() + SignedDuration::from_hours(1);
            let spec = with(three(), "activeDeadlineSeconds", 2.into());
            vec![("bulk", with(spec, "notAfter", end.to_string().into()))]
        },
        outcomes: &[
            (Execution, "stop-me", "Failed NotSettledInTime"),
            (Execution, "delete-me", "Settled"),
            (Execution, "refuse-me", "Refused WrongState"),
        ],
        ..PLAIN
    },
    Scenario {
        name: "not-after",
        bulk_updates: || {
            let end = Timestamp::now() + SignedDuration::from_secs(2);
            vec![("bulk", with(three(), "notAfter", end.to_string().into()))]
        },
        ..PLAIN
    },
    Scenario {
        name: "flag-off",
        reaction: Reaction::InTheMiddle(Change::FlagOff, Resource::ConfigMaps),
        ..ONE_BY_ONE
    },
    Scenario {
        name: "deleted-midway",
        reaction: Reaction::InTheMiddle(Change::DeleteBulkUpdate, Resource::BulkUpdates),
        ..ONE_BY_ONE
    },
    Scenario {
        name: "two-bulk-updates",
        bulk_updates: || vec![("one-bulk", three()), ("two-bulk", three())],
        outcomes: &[],
        ..PLAIN
    },
    Scenario {
        name: "same-moment",
        targets: &[],
        at_the_same_moment: THREE,
        outcomes: &[],
        written: &[],
        ..PLAIN
    },
    Scenario { name: "names-reused", reaction: Reaction::Recreate, ..PLAIN },
];
