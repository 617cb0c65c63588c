//! The requests to the operator while faults occur: small ones, each with its outcome without faults.

use ai_api_operator::api::Kind::{self, Deployment, Execution};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fault::{Change, Resource};

/// A target as it is created.
pub struct Made {
    pub kind: Kind,
    pub name: &'static str,
    /// Its state; none, if empty.
    pub state: &'static str,
    /// Whether another controller runs it (and never stops it).
    pub managed_by_other: bool,
    /// Whether a finalizer keeps it until everything is written and waits for it to go.
    pub kept: bool,
}

/// What somebody does when something happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    None,
    /// Makes this change when the first target has been stopped, before the operator gets the answer; the watch of that
    /// resource shows it.
    InTheMiddle(Change, Resource),
    /// Creates a target again when it is gone.
    Recreate,
}

/// A placeholder for the uid of the target that has the item's name.
pub const ITS_UID: &str = "its uid";

pub struct Scenario {
    pub name: &'static str,
    pub max_in_flight: usize,
    pub targets: &'static [Made],
    /// Created at the same time as the BulkUpdates.
    pub at_the_same_moment: &'static [Made],
    pub bulk_updates: fn() -> Vec<(&'static str, Value)>,
    pub reaction: Reaction,
    /// The outcome of each item where only the operator changes anything; empty where that depends on timing.
    pub outcomes: &'static [(Kind, &'static str, &'static str)],
    /// Whether each object that is written to without faults is written to exactly once with any fault.
    pub written: &'static [&'static str],
    /// Whether it adds little to the others: only crashes and races are run.
    pub in_short: bool,
}

impl Scenario {
    /// Whether a plan and an end are reported.
    pub fn reports_twice(&self) -> bool {
        self.name != "dry-run" && !self.deletes_its_bulk_update()
    }

    /// Whether its BulkUpdate is deleted before it ends.
    pub fn deletes_its_bulk_update(&self) -> bool {
        matches!(self.reaction, Reaction::InTheMiddle(Change::DeleteBulkUpdate, _))
    }

    /// Whether it is deleted some time after its end.
    pub fn has_a_ttl(&self) -> bool {
        (self.bulk_updates)().iter().any(|(_, spec)| spec["ttlSecondsAfterFinished"].is_number())
    }

    /// Whether a failure that lasts may be final for an item.
    pub fn has_a_deadline(&self) -> bool {
        (self.bulk_updates)()
            .iter()
            .any(|(_, spec)| spec["activeDeadlineSeconds"].is_number() || spec["notAfter"].is_string())
    }
}

const fn own(kind: Kind, name: &'static str, state: &'static str) -> Made {
    Made { kind, name, state, managed_by_other: false, kept: false }
}

const fn others(kind: Kind, name: &'static str, state: &'static str) -> Made {
    Made { managed_by_other: true, ..own(kind, name, state) }
}

fn three() -> Value {
    json!({"executions": [
        {"id": "stop-me", "targetStatus": "STOPPED"},
        {"id": "delete-me", "targetStatus": "DELETED"},
        {"id": "refuse-me", "targetStatus": "DELETED"},
    ]})
}

/// A stop and a delete of each kind.
fn four() -> Value {
    json!({
        "executions": [
            {"id": "exec-stop", "targetStatus": "STOPPED"},
            {"id": "exec-delete", "targetStatus": "DELETED"},
        ],
        "deployments": [
            {"id": "depl-stop", "targetStatus": "STOPPED"},
            {"id": "depl-delete", "targetStatus": "DELETED"},
        ],
    })
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

/// Written one after the other, with a change after the first write.
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
    in_short: false,
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
        bulk_updates: || vec![("bulk", four())],
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
            let end = Timestamp::now() + SignedDuration::from_secs(4);
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
    Scenario {
        name: "uids",
        targets: &[
            own(Execution, "stop-me", "RUNNING"),
            own(Execution, "delete-me", "STOPPED"),
            own(Execution, "another", "STOPPED"),
        ],
        bulk_updates: || {
            let item = |id: &str, verb: &str, uid: &str| json!({"id": id, "targetStatus": verb, "uid": uid});
            let items = [
                item("stop-me", "STOPPED", ITS_UID),
                item("delete-me", "DELETED", ITS_UID),
                item("another", "DELETED", "00000000-0000-4000-8000-000000000000"),
            ];
            vec![("bulk", json!({"executions": items}))]
        },
        outcomes: &[
            (Execution, "stop-me", "Settled"),
            (Execution, "delete-me", "Settled"),
            (Execution, "another", "Refused Replaced"),
        ],
        in_short: true,
        ..PLAIN
    },
    Scenario {
        name: "kept",
        targets: &[
            own(Execution, "stop-me", "RUNNING"),
            Made { kept: true, ..own(Execution, "delete-me", "STOPPED") },
            own(Execution, "refuse-me", "RUNNING"),
            own(Execution, "bystander", "STOPPED"),
        ],
        in_short: true,
        ..PLAIN
    },
    Scenario {
        name: "one-kind-off",
        max_in_flight: 1,
        targets: &[
            own(Execution, "exec-stop", "RUNNING"),
            own(Execution, "exec-delete", "STOPPED"),
            own(Deployment, "depl-stop", "RUNNING"),
            own(Deployment, "depl-delete", "STOPPED"),
        ],
        bulk_updates: || vec![("bulk", four())],
        reaction: Reaction::InTheMiddle(Change::DeploymentsOff, Resource::ConfigMaps),
        outcomes: &[],
        written: &["exec-stop", "exec-delete"],
        in_short: true,
        ..PLAIN
    },
];
