//! What all engines have in common, and how their tests read objects.

use proptest::prelude::*;
use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::{
    decode::json::{Malformed, tests::any_json},
    workload::engine::{Parts, Phase, Pods, Seen, Stop},
};

/// Calls `read` with the parts of an object.
pub fn with_parts<T>(object: &Value, read: impl FnOnce(&Parts<'_>) -> T) -> T {
    let raw = |field: &str| object.get(field).map(|part| to_raw_value(part).unwrap());
    let (metadata, spec, status) = (raw("metadata"), raw("spec"), raw("status"));
    read(&Parts {
        name: "work",
        uid: "uid",
        metadata: metadata.as_deref(),
        spec: spec.as_deref(),
        status: status.as_deref(),
    })
}

/// What `engine` sees of an object.
pub fn see(engine: &Engine, object: &Value) -> Result<Seen, Malformed> {
    with_parts(object, engine.observe)
}

#[test]
fn each_engine_is_found_by_its_kind() {
    for kind in EngineKind::ALL {
        assert_eq!(of(*kind).map(|engine| engine.kind), Some(*kind));
    }
    assert_eq!(ENGINES.len(), EngineKind::ALL.len());
}

/// An object with every field that some engine reads.
fn full() -> Value {
    json!({
        "metadata": {"generation": 2, "annotations": {"serving.kserve.io/stop": "false", "serving.kserve.io/deploymentMode": "Standard"}},
        "spec": {
            "suspend": false, "replicas": 1, "shutdown": "", "jobId": "", "submissionMode": "K8sJobMode",
            "shutdownAfterJobFinishes": false, "clusterSelector": {"a": "b"}, "deletionStrategy": {"deletionRules": []},
            "selector": {"matchLabels": {"app": "model"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
        },
        "status": {
            "active": 1, "terminating": 0, "replicas": 1, "availableReplicas": 1, "terminatingReplicas": 0, "observedGeneration": 2,
            "conditions": [{"type": "Available", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-11-28T10:00:00Z"}],
            "replicatedJobsStatus": [{"active": 1, "ready": 1, "succeeded": 0}],
            "jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "reason": "R", "message": "m", "phase": "Running",
            "startTime": "2026-11-28T10:00:00Z", "endTime": "2026-11-28T10:00:00Z", "completionTime": "2026-11-28T10:00:00Z",
            "startedAt": "2026-11-28T10:00:00Z", "finishedAt": "2026-11-28T10:00:00Z", "url": "http://a", "deploymentMode": "Standard",
            "modelStatus": {"transitionStatus": "UpToDate", "lastFailureInfo": {"reason": "R", "message": "m"}},
        },
    })
}

/// The places of all values in `value`, as JSON pointers.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &format!("{at}/{}", escaped(name)), into));
        }
        Value::Array(elements) => {
            elements
                .iter()
                .enumerate()
                .for_each(|(index, value)| places(value, &format!("{at}/{index}"), into));
        }
        _ => {}
    }
}

/// Every place in [`full`] but the whole.
fn any_place() -> impl Strategy<Value = String> {
    let mut all = Vec::new();
    places(&full(), "", &mut all);
    proptest::sample::select(all.split_off(1))
}

fn check(engine: &Engine, seen: &Seen) {
    let Seen { phase, message, stop, pods, .. } = seen;
    if *phase == Phase::Stopped {
        assert_eq!(*stop, Stop::Requested, "{}", engine.kind);
    }
    assert!(message.as_ref().is_none_or(|message| message.len() <= 512), "{}", engine.kind);
    if let Pods::Listed(selectors) = pods {
        // An empty selector would take every Pod of the namespace. What is submitted to a cluster that is there already may have none.
        assert!(selectors.iter().all(|selector| !selector.labels.is_empty()), "{}", engine.kind);
    }
}

#[test]
fn what_all_have_is_understood_by_each() {
    for engine in ENGINES {
        check(engine, &see(engine, &full()).unwrap());
    }
}

proptest! {
    #[test]
    fn anything_is_read_or_refused(object in any_json()) {
        for engine in ENGINES {
            if let Ok(seen) = see(engine, &object) {
                check(engine, &seen);
            }
        }
    }

    #[test]
    fn what_is_odd_is_named(place in any_place(), odd in any_json()) {
        let mut object = full();
        *object.pointer_mut(&place).unwrap() = odd;
        let fields = |place: &str| place.split(['.', '[', '/']).take(2).map(str::to_owned).collect::<Vec<_>>();
        for engine in ENGINES {
            match see(engine, &object) {
                Ok(seen) => check(engine, &seen),
                Err(malformed) => {
                    let (named, meant) = (fields(&malformed.place), fields(&place[1..]));
                    prop_assert!(named.starts_with(&meant) || meant.starts_with(&named), "{}: {malformed}, not {place}", engine.kind);
                }
            }
        }
    }
}
