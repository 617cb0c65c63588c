//! `apps/v1` Deployment. It serves, so it never completes, and nothing that goes wrong is final: it is tried again for as long as
//! it is there.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    api::EngineKind,
    decode::json::{Malformed, part},
    workload::{
        conditions::{Condition, holds, is_false, unknown},
        engine::{Engine, Names, Parts, Phase, PodSelector, Pods, Seen, Stop, StopPatch},
    },
};

pub static DEPLOYMENT: Engine = Engine {
    kind: EngineKind::Deployment,
    names: Names { longest: 253, letter_first: false },
    queued_by_kueue: false,
    ignored: Some("see whether kube-controller-manager is running"),
    left_behind: Some(of_its_replica_sets),
    observe,
    pods,
};

static SCALE_TO_ZERO: StopPatch =
    StopPatch { subresource: Some("scale"), merge: r#"{"spec":{"replicas":0}}"# };

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    generation: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    /// 1 if absent.
    replicas: Option<u32>,
    selector: Selector,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Selector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<Expression>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Expression {
    key: String,
    operator: String,
    values: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: i64,
    replicas: u32,
    available_replicas: u32,
    /// Absent before Kubernetes 1.35.
    terminating_replicas: u32,
    conditions: Vec<Condition>,
}

fn observe(object: &Parts<'_>) -> Result<Seen, Malformed> {
    let metadata: Metadata = part(object.metadata, "metadata")?;
    let spec: Spec = part(object.spec, "spec")?;
    let status: Status = part(object.status, "status")?;
    let to_zero = spec.replicas == Some(0);
    let phase = if to_zero && status.observed_generation >= metadata.generation && status.replicas == 0 {
        Phase::Stopped
    } else if status.available_replicas > 0 {
        Phase::Running
    } else {
        Phase::Pending
    };
    // Which Pods it could not create, such as for want of quota, or that a roll-out takes longer than its deadline.
    let trouble = || {
        holds(&status.conditions, "ReplicaFailure").or_else(|| is_false(&status.conditions, "Progressing"))
    };
    Ok(Seen {
        phase,
        message: if phase == Phase::Stopped { None } else { trouble().and_then(Condition::text) },
        started: if phase == Phase::Running {
            holds(&status.conditions, "Available").and_then(Condition::since)
        } else {
            None
        },
        completed: None,
        url: None,
        stop: if to_zero { Stop::Requested } else { Stop::By(&SCALE_TO_ZERO) },
        pods: if status.replicas > 0 || status.terminating_replicas > 0 {
            Pods::Left
        } else {
            // The counts are sums of those of its ReplicaSets, which lag: right after the creation of Pods they are still 0.
            Pods::Listed(pods_of(object.name, &spec)?)
        },
    })
}

fn pods(object: &Parts<'_>) -> Result<Vec<PodSelector>, Malformed> {
    pods_of(object.name, &part(object.spec, "spec")?)
}

fn pods_of(name: &str, spec: &Spec) -> Result<Vec<PodSelector>, Malformed> {
    let labels = spec.selector.as_text()?;
    Ok(vec![PodSelector { labels, ..of_its_replica_sets(name) }])
}

/// Those of its `ReplicaSets`, whatever its selector is: its template may have another one by now.
fn of_its_replica_sets(name: &str) -> PodSelector {
    PodSelector { labels: String::new(), controller: Some(("ReplicaSet", name.to_owned())) }
}

/// How long the selector may be that is kept, and sent, in bytes: more can hardly be a part of a URL.
const LONGEST_SELECTOR: usize = 1024;

impl Selector {
    /// The selector as in a URL. One that is too long loses some of its requirements: then more Pods match, but no other ReplicaSet's
    /// count.
    fn as_text(&self) -> Result<String, Malformed> {
        let labels = self.match_labels.iter().map(|(key, value)| Ok(format!("{key}={value}")));
        let expressions = self.match_expressions.iter().map(Expression::as_text);
        let all = labels.chain(expressions).collect::<Result<Vec<_>, _>>()?;
        let mut text = String::new();
        for requirement in &all {
            if text.len() + 1 + requirement.len() <= LONGEST_SELECTOR {
                if !text.is_empty() {
                    text.push(',');
                }
                text.push_str(requirement);
            }
        }
        if text.is_empty() {
            // As a selector in a URL it would match every Pod of the namespace.
            let why = if all.is_empty() { "it is empty" } else { "it is too long" };
            return Err(Malformed { place: "spec.selector".into(), why: why.into() });
        }
        Ok(text)
    }
}

impl Expression {
    fn as_text(&self) -> Result<String, Malformed> {
        let Self { key, operator, values } = self;
        Ok(match operator.as_str() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            other => return Err(unknown("spec.selector.matchExpressions.operator", other)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workload::engines::tests::see;

    /// A Deployment with this number of replicas, at generation 3.
    fn with(replicas: u32, status: &Value) -> Value {
        json!({"metadata": {"generation": 3}, "status": status,
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "model"}}}})
    }

    fn seen(object: &Value) -> Seen {
        see(&DEPLOYMENT, object).unwrap()
    }

    fn listed(labels: &str) -> Pods {
        Pods::Listed(vec![PodSelector {
            labels: labels.into(),
            controller: Some(("ReplicaSet", "work".into())),
        }])
    }

    #[test]
    fn it_runs_while_a_replica_is_available() {
        let new = seen(&with(2, &json!({})));
        assert_eq!(
            (new.phase, new.stop, new.pods),
            (Phase::Pending, Stop::By(&SCALE_TO_ZERO), listed("app=model"))
        );
        let starting = seen(&with(
            2,
            &json!({"observedGeneration": 3, "replicas": 2, "unavailableReplicas": 2, "conditions": [
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]}),
        ));
        assert_eq!((starting.phase, starting.message, starting.pods), (Phase::Pending, None, Pods::Left));
        let serving = seen(&with(
            2,
            &json!({"observedGeneration": 3, "replicas": 2, "availableReplicas": 1, "conditions": [
            {"type": "Available", "status": "True", "lastTransitionTime": "2026-11-28T10:00:00Z"}]}),
        ));
        assert_eq!((serving.phase, serving.pods), (Phase::Running, Pods::Left));
        assert_eq!(serving.started, "2026-11-28T10:00:00Z".parse().ok());
        // One replica, if the number is left out.
        let one = json!({"spec": {"selector": {"matchLabels": {"app": "model"}}}});
        assert_eq!(seen(&one).stop, Stop::By(&SCALE_TO_ZERO));
    }

    #[test]
    fn it_has_stopped_when_that_is_observed_and_no_replica_is_left() {
        let conditions =
            json!([{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True"}]);
        let status = |generation: u32, replicas: u32, terminating: u32| {
            json!({"observedGeneration": generation, "replicas": replicas, "availableReplicas": replicas,
                "terminatingReplicas": terminating, "conditions": conditions})
        };
        let asked = seen(&with(0, &status(2, 2, 0)));
        assert_eq!((asked.phase, asked.stop, asked.pods), (Phase::Running, Stop::Requested, Pods::Left));
        // The generation before had no replica either: whether this one has any is not known.
        assert_eq!(seen(&with(0, &status(2, 0, 0))).phase, Phase::Pending);
        assert_eq!(seen(&with(0, &status(3, 2, 0))).phase, Phase::Running);
        let ending = seen(&with(0, &status(3, 0, 2)));
        assert_eq!((ending.phase, ending.pods), (Phase::Stopped, Pods::Left));
        let stopped = seen(&with(0, &status(3, 0, 0)));
        assert_eq!((stopped.phase, stopped.pods), (Phase::Stopped, listed("app=model")));
        // Before Kubernetes 1.35 nothing says whether any terminates.
        let older = seen(&with(0, &json!({"observedGeneration": 3, "conditions": conditions})));
        assert_eq!((older.phase, older.pods), (Phase::Stopped, listed("app=model")));
        // Somebody has undone it.
        assert_eq!(seen(&with(2, &status(3, 0, 0))).stop, Stop::By(&SCALE_TO_ZERO));
    }

    #[test]
    fn what_goes_wrong_is_reported_and_not_final() {
        let late = json!({"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"});
        let seen_late =
            seen(&with(2, &json!({"observedGeneration": 3, "replicas": 2, "conditions": [late]})));
        assert_eq!(seen_late.phase, Phase::Pending);
        assert_eq!(seen_late.message.as_deref(), Some("ProgressDeadlineExceeded: too slow"));
        // The old replicas still serve.
        let half = seen(&with(
            2,
            &json!({"observedGeneration": 3, "replicas": 2, "availableReplicas": 1, "conditions": [late]}),
        ));
        assert_eq!(
            (half.phase, half.message.as_deref()),
            (Phase::Running, Some("ProgressDeadlineExceeded: too slow"))
        );
        let quota = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"});
        let refused = seen(&with(2, &json!({"observedGeneration": 3, "conditions": [late, quota]})));
        assert_eq!(
            (refused.phase, refused.message.as_deref()),
            (Phase::Pending, Some("FailedCreate: exceeded quota"))
        );
    }

    #[test]
    fn its_selector_is_written_as_in_a_url() {
        let selector = json!({"matchLabels": {"app": "model", "tier": "gpu"}, "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["x", "y"]}, {"key": "b", "operator": "NotIn", "values": ["z"]},
            {"key": "c", "operator": "Exists"}, {"key": "d", "operator": "DoesNotExist"}]});
        let pods = seen(&json!({"spec": {"selector": selector}})).pods;
        assert_eq!(pods, listed("app=model,tier=gpu,a in (x,y),b notin (z),c,!d"));
        let place = |spec: Value| see(&DEPLOYMENT, &json!({"spec": spec})).unwrap_err().place;
        assert_eq!(place(json!({"selector": {}})), "spec.selector");
        assert_eq!(place(json!({})), "spec.selector");
        // What does not fit is left out, and the rest still says whose Pods they are.
        let many: Vec<_> = (0..200).map(|n| format!("value-{n}")).collect();
        let long = json!({"key": "a", "operator": "NotIn", "values": many});
        let one = json!({"selector": {"matchLabels": {"app": "model"}, "matchExpressions": [long]}});
        assert_eq!(seen(&json!({"spec": one})).pods, listed("app=model"));
        assert_eq!(place(json!({"selector": {"matchExpressions": [long]}})), "spec.selector");
        let odd = json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}});
        assert_eq!(place(odd), "spec.selector.matchExpressions.operator");
    }

    #[test]
    fn one_that_cannot_be_understood_says_where() {
        let odd = see(&DEPLOYMENT, &json!({"spec": {"replicas": -1}})).unwrap_err();
        assert_eq!(odd.place, "spec.replicas");
    }
}
