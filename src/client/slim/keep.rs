//! Which fields of a custom resource are kept, and how much of each.

use super::machine::Keep::{self, List, Object, Scalar};
use crate::api::{MAX_ITEMS, REQUESTER};

/// Strips successful answers about Executions, Deployments and BulkUpdates, except for what decisions need or the AI API shows.
#[derive(Clone, Copy, Debug)]
pub enum Slim {
    ForDecisions,
    ForTheAiApi,
}

impl Slim {
    /// What is kept of answers at this path; `None` if all is.
    pub(super) fn keep(self, path: &str) -> Option<&'static Keep> {
        if is_pods(path) {
            return matches!(self, Self::ForTheAiApi).then_some(&PODS);
        }
        match (self, resource(path)?) {
            (Self::ForDecisions, "executions" | "deployments") => Some(&TARGETS),
            (Self::ForTheAiApi, "executions" | "deployments") => Some(&SHOWN),
            (Self::ForDecisions | Self::ForTheAiApi, "bulkupdates") => Some(&BULK_UPDATES),
            _ => None,
        }
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

/// Whether it is the path of the Pods of a namespace.
fn is_pods(path: &str) -> bool {
    let rest = path.strip_prefix("/api/v1/namespaces/").and_then(|rest| rest.strip_suffix("/pods"));
    rest.is_some_and(|namespace| !namespace.contains('/'))
}

/// A word, a time or a number.
const WORD: Keep = Scalar(64);
/// The name of an object, a field or a controller: 253 characters at most.
const NAME: Keep = Scalar(260);
/// Only whether it is there, and its type.
const PRESENCE: Keep = Scalar(0);
/// The message of a condition: 1024 bytes if the operator wrote it, each of which may take six in JSON.
const MESSAGE: Keep = Scalar(6 * 1024 + 6);
/// The message of an item: 120 bytes.
const ITEM_MESSAGE: Keep = Scalar(6 * 120 + 6);

/// One more than is allowed, so that a list that is too long is noticed.
const ITEMS: usize = MAX_ITEMS + 1;

// An answer may be an object, a list, a `Status` or an event of a watch, which is known only once its fields arrive: so the fields
// of all four are listed together.
macro_rules! object {
    ($metadata:expr, $spec:expr, $status:expr $(, $more:expr)*) => {
        Object(&[
            (&["apiVersion", "kind"], WORD),
            (&["metadata"], $metadata), (&["spec"], $spec), (&["status"], $status),
            // A `Status`, by itself or in an event of a watch.
            (&["code"], WORD), (&["reason"], NAME), (&["message"], MESSAGE),
            $($more),*
        ])
    };
}

macro_rules! answer {
    ($($part:expr),*) => {{
        const OBJECT: Keep = object!($($part),*);
        // An event of a watch, and a list.
        object!($($part),*, (&["type"], WORD), (&["object"], OBJECT), (&["items"], List(usize::MAX, &OBJECT)))
    }};
}

macro_rules! metadata {
    ($($more:expr)?) => {
        Object(&[
            (&["name", "namespace"], NAME),
            (&["uid", "resourceVersion"], Scalar(128)),
            (&["generation", "creationTimestamp", "deletionTimestamp"], WORD),
            (&["annotations"], Object(&[(&[REQUESTER], Scalar(512))])),
            (&["labels", "finalizers", "ownerReferences", "generateName"], PRESENCE),
            // A list.
            (&["continue"], Scalar(8192)),
            (&["remainingItemCount"], WORD),
            $($more)?
        ])
    };
}

/// What [`crate::api::bare_metadata`] reads, and the token that continues a list.
const METADATA: Keep = metadata!();

const STOP_REQUEST: Keep = Object(&[(&["uid"], Scalar(128))]);
/// What is to run: which object, not how.
const MANIFEST: Keep = Object(&[(&["apiVersion", "kind"], NAME)]);
const REFERENCE: Keep = Object(&[(&["apiVersion", "kind", "name"], NAME), (&["uid"], Scalar(128))]);
const TARGET_SPEC: Keep =
    Object(&[(&["managedBy"], NAME), (&["template"], MANIFEST), (&["workloadRef"], REFERENCE)]);
const TARGET_STATUS: Keep = Object(&[(&["state", "targetStatus"], WORD), (&["stopRequest"], STOP_REQUEST)]);

/// Executions and Deployments: what [`crate::observed::target::Target`] is read from.
static TARGETS: Keep = answer!(METADATA, TARGET_SPEC, TARGET_STATUS);

/// The same, and when each of the first hundred field managers wrote last.
const METADATA_WITH_TIMES: Keep = metadata!((&["managedFields"], List(100, &Object(&[(&["time"], WORD)]))));
const SHOWN_SPEC: Keep = Object(&[
    (&["managedBy", "scenarioId", "configurationId", "executableId"], NAME),
    (&["configurationName"], MESSAGE),
    (&["template"], MANIFEST),
    (&["workloadRef"], REFERENCE),
]);
const SHOWN_STATUS: Keep = Object(&[
    (&["state", "targetStatus", "stateTime", "submissionTime", "startTime", "completionTime"], WORD),
    (&["stopRequest"], STOP_REQUEST),
    (&["message"], MESSAGE),
    (&["workload"], REFERENCE),
    // 2048 characters, of which a few hundred may take six bytes.
    (&["url"], Scalar(4096)),
    (
        &["conditions"],
        List(9, &Object(&[(&["type", "reason"], NAME), (&["status", "lastTransitionTime"], WORD)])),
    ),
]);

/// Executions and Deployments: what the gateway shows of them.
static SHOWN: Keep = answer!(METADATA_WITH_TIMES, SHOWN_SPEC, SHOWN_STATUS);

const OWNER: Keep = Object(&[(&["kind", "name"], NAME), (&["controller"], WORD)]);
const CONTAINERS: Keep = List(100, &Object(&[(&["name"], NAME)]));
const POD: Keep = Object(&[
    (&["metadata"], Object(&[(&["name"], NAME), (&["ownerReferences"], List(16, &OWNER))])),
    (&["spec"], Object(&[(&["containers", "initContainers"], CONTAINERS)])),
]);

/// Pods: whose they are, and what containers they have.
static PODS: Keep = Object(&[(&["metadata"], METADATA), (&["items"], List(usize::MAX, &POD))]);

const ITEM: Keep = Object(&[(&["id"], Scalar(80)), (&["targetStatus"], WORD), (&["uid"], Scalar(128))]);
const SPEC: Keep = Object(&[
    (&["executions", "deployments"], List(ITEMS, &ITEM)),
    (&["dryRun", "notAfter"], WORD),
    (&["startingDeadlineSeconds", "activeDeadlineSeconds", "ttlSecondsAfterFinished"], WORD),
]);
const RESULT: Keep = Object(&[
    (&["id"], Scalar(80)),
    (&["uid"], Scalar(128)),
    (&["targetStatus", "result", "reason", "observedState"], WORD),
    (&["message"], ITEM_MESSAGE),
]);
const CONDITION: Keep = Object(&[
    (&["type", "reason"], NAME),
    (&["status", "observedGeneration", "lastTransitionTime"], WORD),
    (&["message"], MESSAGE),
]);
const SUMMARY: Keep =
    Object(&[(&["total", "planned", "eligible", "scheduled", "settled", "refused", "failed"], WORD)]);
const STATUS: Keep = Object(&[
    (&["observedGeneration", "startTime", "completionTime"], WORD),
    (&["conditions"], List(9, &CONDITION)),
    (&["summary"], SUMMARY),
    (&["executions", "deployments"], List(ITEMS, &RESULT)),
]);

/// BulkUpdates: what [`crate::bulk_update::Stored`] is read from.
static BULK_UPDATES: Keep = answer!(METADATA, SPEC, STATUS);
