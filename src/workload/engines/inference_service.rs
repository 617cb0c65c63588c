//! `serving.kserve.io/v1beta1` InferenceService.

use serde::Deserialize;

use crate::{
    api::EngineKind,
    decode::json::{Malformed, part},
    workload::{
        conditions::{Condition, holds, is_false, message},
        engine::{Engine, Names, Parts, Phase, PodSelector, Pods, Seen, Stop, StopPatch},
    },
};

pub static INFERENCE_SERVICE: Engine = Engine {
    kind: EngineKind::InferenceService,
    // Its Service is called NAME-predictor.
    names: Names { longest: 53, letter_first: true },
    queued_by_kueue: false,
    ignored: Some(IGNORED),
    left_behind: Some(of_its_name),
    observe,
    pods,
};

static STOP: StopPatch = StopPatch {
    subresource: None,
    merge: r#"{"metadata":{"annotations":{"serving.kserve.io/stop":"true"}}}"#,
};

const IGNORED: &str = "KServe takes no notice of the annotation before 0.16 (0.15.1 in serverless mode), nor where \
    serving.kserve.io/disable-auto-update is set: update KServe, or delete the InferenceService";
const MODEL_MESH: &str = "KServe does not stop what ModelMesh serves: delete the InferenceService";

/// The longest address that is kept, in bytes.
const LONGEST_URL: usize = 2048;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "serving.kserve.io/stop")]
    stop: String,
    #[serde(rename = "serving.kserve.io/deploymentMode")]
    deployment_mode: String,
}

#[allow(clippy::struct_field_names, reason = "the names are KServe's")]
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    conditions: Vec<Condition>,
    deployment_mode: String,
    url: Option<String>,
    model_status: ModelStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ModelStatus {
    transition_status: String,
    last_failure_info: Failure,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    reason: Option<String>,
    message: Option<String>,
}

fn observe(object: &Parts<'_>) -> Result<Seen, Malformed> {
    let Metadata { annotations } = part(object.metadata, "metadata")?;
    let status: Status = part(object.status, "status")?;
    let stop = annotations.stop.eq_ignore_ascii_case("true");
    let model_mesh =
        [&annotations.deployment_mode, &status.deployment_mode].contains(&&"ModelMesh".to_owned());
    let failure = || {
        let Failure { reason, message: sentence } = &status.model_status.last_failure_info;
        message(reason.as_deref(), sentence.as_deref())
    };
    let unready = || is_false(&status.conditions, "Ready").and_then(Condition::text);
    let ready = holds(&status.conditions, "Ready");
    let (phase, message) = if stop && holds(&status.conditions, "Stopped").is_some() {
        (Phase::Stopped, None)
    } else if ready.is_some() {
        (Phase::Running, None)
    } else {
        match &*status.model_status.transition_status {
            "InvalidSpec" => (Phase::Dead, failure().or_else(unready)),
            // Its container is started again and again, and may load the model at last.
            "BlockedByFailedLoad" => (Phase::Pending, failure().or_else(unready)),
            _ => (Phase::Pending, unready()),
        }
    };
    Ok(Seen {
        phase,
        message,
        started: ready.filter(|_| phase == Phase::Running).and_then(Condition::since),
        completed: None,
        url: status.url.filter(|url| !url.is_empty() && url.len() <= LONGEST_URL).map(Into::into),
        stop: if phase == Phase::Stopped {
            Stop::Requested
        } else if model_mesh {
            Stop::Impossible(MODEL_MESH)
        } else if stop {
            Stop::Requested
        } else {
            Stop::By(&STOP)
        },
        pods: Pods::Listed(vec![of_its_name(object.name)]),
    })
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "the spec of other engines is needed for this, and can be malformed"
)]
fn pods(object: &Parts<'_>) -> Result<Vec<PodSelector>, Malformed> {
    Ok(vec![of_its_name(object.name)])
}

fn of_its_name(name: &str) -> PodSelector {
    PodSelector::labels(format!("serving.kserve.io/inferenceservice={name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workload::engines::tests::see;

    fn with(annotations: &Value, status: &Value) -> Seen {
        see(&INFERENCE_SERVICE, &json!({"metadata": {"annotations": annotations}, "status": status})).unwrap()
    }

    fn serving() -> Value {
        json!({"url": "http://work.team.example.com", "deploymentMode": "Standard",
            "modelStatus": {"transitionStatus": "UpToDate", "states": {"activeModelState": "Loaded"}, "copies": {"failedCopies": 0}},
            "conditions": [{"type": "PredictorReady", "status": "True"}, {"type": "Stopped", "status": "False"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-28T10:00:00Z"}]})
    }

    #[test]
    fn it_runs_while_it_is_ready() {
        let new = see(&INFERENCE_SERVICE, &json!({"metadata": {}, "spec": {"predictor": {}}})).unwrap();
        assert_eq!((new.phase, new.stop, new.url), (Phase::Pending, Stop::By(&STOP), None));
        let running = with(&json!({}), &serving());
        assert_eq!(
            (running.phase, running.url.as_deref()),
            (Phase::Running, Some("http://work.team.example.com"))
        );
        assert_eq!(running.started, "2026-11-28T10:00:00Z".parse().ok());
        // No node has room for its Pod.
        let unready = json!({"type": "Ready", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "none"});
        let waiting = with(
            &json!({}),
            &json!({"modelStatus": {"transitionStatus": "InProgress"}, "conditions": [unready]}),
        );
        assert_eq!(
            (waiting.phase, waiting.message.as_deref()),
            (Phase::Pending, Some("MinimumReplicasUnavailable: none"))
        );
    }

    #[test]
    fn what_fails_to_load_is_tried_again_and_what_is_invalid_is_not() {
        let failed = |transition: &str| {
            with(
                &json!({}),
                &json!({"modelStatus": {"transitionStatus": transition,
                "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "no such bucket", "exitCode": 1}}}),
            )
        };
        let blocked = failed("BlockedByFailedLoad");
        assert_eq!(
            (blocked.phase, blocked.message.as_deref()),
            (Phase::Pending, Some("ModelLoadFailed: no such bucket"))
        );
        let invalid = failed("InvalidSpec");
        assert_eq!(
            (invalid.phase, invalid.message.as_deref()),
            (Phase::Dead, Some("ModelLoadFailed: no such bucket"))
        );
        // The failure is over.
        assert_eq!(failed("InProgress").message, None);
        // A change is invalid, and what was there before still serves.
        let mut status = serving();
        status["modelStatus"]["transitionStatus"] = json!("InvalidSpec");
        assert_eq!(with(&json!({}), &status).phase, Phase::Running);
    }

    #[test]
    fn it_has_stopped_once_it_says_so() {
        let stop = json!({"serving.kserve.io/stop": "true", "other": "x"});
        let stopped = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "Stopped"}, {"type": "Stopped", "status": "True"}]});
        let seen = with(&stop, &stopped);
        assert_eq!((seen.phase, seen.stop, seen.url), (Phase::Stopped, Stop::Requested, None));
        assert_eq!(
            seen.pods,
            Pods::Listed(vec![PodSelector::labels("serving.kserve.io/inferenceservice=work".into())])
        );
        assert_eq!(with(&json!({"serving.kserve.io/stop": "True"}), &stopped).stop, Stop::Requested);
        // Somebody has undone it: the condition is behind.
        let undone = with(&json!({"serving.kserve.io/stop": "false"}), &stopped);
        assert_eq!((undone.phase, undone.stop), (Phase::Pending, Stop::By(&STOP)));
    }

    #[test]
    fn one_that_ignores_the_annotation_runs_on() {
        let seen = with(&json!({"serving.kserve.io/stop": "true"}), &serving());
        assert_eq!((seen.phase, seen.stop), (Phase::Running, Stop::Requested));
    }

    #[test]
    fn what_model_mesh_serves_cannot_be_stopped() {
        let annotated =
            json!({"serving.kserve.io/deploymentMode": "ModelMesh", "serving.kserve.io/stop": "true"});
        assert_eq!(with(&annotated, &json!({})).stop, Stop::Impossible(MODEL_MESH));
        assert_eq!(
            with(&json!({}), &json!({"deploymentMode": "ModelMesh"})).stop,
            Stop::Impossible(MODEL_MESH)
        );
    }

    #[test]
    fn an_address_has_a_limit() {
        let url = |length: usize| with(&json!({}), &json!({"url": "h".repeat(length)})).url;
        assert!(url(LONGEST_URL).is_some());
        assert_eq!((url(LONGEST_URL + 1), url(0)), (None, None));
    }

    #[test]
    fn one_that_cannot_be_understood_says_where() {
        let odd = see(&INFERENCE_SERVICE, &json!({"status": {"modelStatus": {"transitionStatus": 3}}}))
            .unwrap_err();
        assert_eq!(odd.place, "status.modelStatus.transitionStatus");
    }
}
