//! What is kept of an answer about a custom resource.

use super::machine::Keep::{self, List, Object, Scalar};
use crate::api::{MAX_ITEMS, REQUESTER};

/// What is kept of answers about a resource of ours for decisions; `None` for any other path.
#[must_use]
pub fn for_decisions(path: &str) -> Option<&'static Keep> {
    match resource(path)? {
        "executions" | "deployments" => Some(&TARGETS),
        "bulkupdates" => Some(&BULK_UPDATES),
        _ => None,
    }
}

/// The same for what the AI API shows.
#[must_use]
pub fn for_the_ai_api(path: &str) -> Option<&'static Keep> {
    match resource(path)? {
        "executions" | "deployments" => Some(&SHOWN),
        "bulkupdates" => Some(&BULK_UPDATES),
        _ => None,
    }
}

fn resource(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/apis/aiapi.dev/")?;
    let mut parts = rest.split('/').skip(1);
    match parts.next()? {
        "namespaces" => parts.nth(1),
        resource => Some(resource),
    }
}

/// A word, a time, a number.
const WORD: Keep = Scalar(64);
/// A name of an object, of a field, of a controller: 253 characters at the most.
const NAME: Keep = Scalar(260);
/// Only that it is there, and of which type.
const PRESENCE: Keep = Scalar(0);
/// A sentence of a condition, of 1024 bytes where the operator has written it; in JSON a byte may take six.
const MESSAGE: Keep = Scalar(6 * 1024 + 6);
/// The same of an item, of 120 bytes.
const ITEM_MESSAGE: Keep = Scalar(6 * 120 + 6);

/// One element more than there may be shows that there are too many.
const ITEMS: usize = MAX_ITEMS + 1;

// What the answer to a list has beside its items, a failure, and an event of a watch beside its object. All stand in one place
// with what an object has, because an answer may be any of them.
macro_rules! answer {
    ($object:expr, $metadata:expr, $spec:expr, $status:expr) => {
        Object(&[
            // An event of a watch.
            ("type", WORD),
            ("object", $object),
            // A list.
            ("items", List(usize::MAX, &$object)),
            // A failure, or that something is gone.
            ("code", WORD),
            ("reason", NAME),
            ("message", MESSAGE),
            // An object, and those as well.
            ("apiVersion", WORD),
            ("kind", WORD),
            ("metadata", $metadata),
            ("spec", $spec),
            ("status", $status),
        ])
    };
}

macro_rules! object {
    ($metadata:expr, $spec:expr, $status:expr) => {
        Object(&[
            ("apiVersion", WORD),
            ("kind", WORD),
            ("metadata", $metadata),
            ("spec", $spec),
            ("status", $status),
            // Of a failure in a watch.
            ("code", WORD),
            ("reason", NAME),
            ("message", MESSAGE),
        ])
    };
}

macro_rules! metadata {
    ($($more:expr)?) => {
        Object(&[
            ("name", NAME),
            ("namespace", NAME),
            ("uid", Scalar(128)),
            ("resourceVersion", Scalar(128)),
            ("generation", WORD),
            ("creationTimestamp", WORD),
            ("deletionTimestamp", WORD),
            ("annotations", Object(&[(REQUESTER, Scalar(512))])),
            ("labels", PRESENCE),
            ("finalizers", PRESENCE),
            ("ownerReferences", PRESENCE),
            ("generateName", PRESENCE),
            // Of a list.
            ("continue", Scalar(8192)),
            ("remainingItemCount", WORD),
            $($more)?
        ])
    };
}

/// As [`crate::api::bare_metadata`] takes it; and where a list goes on.
const METADATA: Keep = metadata!();

const TARGET_SPEC: Keep = Object(&[("managedBy", NAME), ("template", PRESENCE)]);
const TARGET_STATUS: Keep =
    Object(&[("state", WORD), ("targetStatus", WORD), ("stopRequest", Object(&[("uid", Scalar(128))]))]);
const TARGET: Keep = object!(METADATA, TARGET_SPEC, TARGET_STATUS);

/// Executions and Deployments: what [`crate::observed::target::Target`] is made of.
static TARGETS: Keep = answer!(TARGET, METADATA, TARGET_SPEC, TARGET_STATUS);

/// The same, and when each of the first so many managers has written last.
const METADATA_WITH_TIMES: Keep = metadata!(("managedFields", List(100, &Object(&[("time", WORD)]))));
const SHOWN_SPEC: Keep = Object(&[
    ("managedBy", NAME),
    ("template", PRESENCE),
    ("scenarioId", NAME),
    ("configurationId", NAME),
    ("configurationName", MESSAGE),
    ("executableId", NAME),
]);
const SHOWN_STATUS: Keep = Object(&[
    ("state", WORD),
    ("targetStatus", WORD),
    ("stopRequest", Object(&[("uid", Scalar(128))])),
    ("message", MESSAGE),
    ("submissionTime", WORD),
    ("startTime", WORD),
    ("completionTime", WORD),
]);
const SHOWN_OBJECT: Keep = object!(METADATA_WITH_TIMES, SHOWN_SPEC, SHOWN_STATUS);

/// Executions and Deployments: what the gateway shows of them.
static SHOWN: Keep = answer!(SHOWN_OBJECT, METADATA_WITH_TIMES, SHOWN_SPEC, SHOWN_STATUS);

const ITEM: Keep = Object(&[("id", Scalar(80)), ("targetStatus", WORD), ("uid", Scalar(128))]);
const SPEC: Keep = Object(&[
    ("executions", List(ITEMS, &ITEM)),
    ("deployments", List(ITEMS, &ITEM)),
    ("dryRun", WORD),
    ("notAfter", WORD),
    ("startingDeadlineSeconds", WORD),
    ("activeDeadlineSeconds", WORD),
    ("ttlSecondsAfterFinished", WORD),
]);
const RESULT: Keep = Object(&[
    ("id", Scalar(80)),
    ("targetStatus", WORD),
    ("result", WORD),
    ("reason", WORD),
    ("message", ITEM_MESSAGE),
    ("uid", Scalar(128)),
    ("observedState", WORD),
]);
const CONDITION: Keep = Object(&[
    ("type", NAME),
    ("status", WORD),
    ("reason", NAME),
    ("message", MESSAGE),
    ("observedGeneration", WORD),
    ("lastTransitionTime", WORD),
]);
const STATUS: Keep = Object(&[
    ("observedGeneration", WORD),
    ("conditions", List(9, &CONDITION)),
    ("startTime", WORD),
    ("completionTime", WORD),
    (
        "summary",
        Object(&[
            ("total", WORD),
            ("planned", WORD),
            ("eligible", WORD),
            ("scheduled", WORD),
            ("settled", WORD),
            ("refused", WORD),
            ("failed", WORD),
        ]),
    ),
    ("executions", List(ITEMS, &RESULT)),
    ("deployments", List(ITEMS, &RESULT)),
]);
const BULK_UPDATE: Keep = object!(METADATA, SPEC, STATUS);

/// BulkUpdates: what [`crate::bulk_update::Stored`] is made of.
static BULK_UPDATES: Keep = answer!(BULK_UPDATE, METADATA, SPEC, STATUS);
