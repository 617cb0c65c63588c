//! What runs: Pods, Jobs, `ReplicaSets` and Deployments (`apps/v1`), as far as who creates, stops and deletes them sees it.
//!
//! There are the defaults and the rules that a Job or Deployment of one container meets, and the graceful deletion of Pods.
//! Fields of a spec that no real server knows are kept, and of what a Pod's spec may have, little is validated.

use serde_json::{Map, Value, json};

use crate::{invalid::Flaw, kinds::BuiltIn, metadata};

/// How long a Pod may take to end if it does not say, in seconds.
const GRACE: i64 = 30;

/// Fills in defaults; the error is Go's.
pub fn decode(kind: BuiltIn, object: &mut Map<String, Value>) -> Result<(), String> {
    let spec = object.entry("spec").or_insert_with(|| json!({}));
    let Some(spec) = spec.as_object_mut() else {
        return Err("json: cannot unmarshal into Go struct field .spec".to_owned());
    };
    spec.retain(|_, value| !value.is_null());
    match kind {
        BuiltIn::Pod => default_pod(spec),
        BuiltIn::Job => default_job(spec)?,
        _ => default_replicas(kind, spec)?,
    }
    if let Some(pod) = spec.get_mut("template").and_then(|template| template.get_mut("spec")) {
        pod.as_object_mut().into_iter().for_each(default_pod);
    }
    object.entry("status").or_insert_with(|| json!({}));
    Ok(())
}

fn whole(spec: &Map<String, Value>, field: &str, of: &str) -> Result<(), String> {
    let fits = |value: &Value| value.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
    if spec.get(field).is_none_or(fits) {
        return Ok(());
    }
    Err(format!("json: cannot unmarshal string into Go struct field {of}.spec.{field} of type int32"))
}

fn default_job(spec: &mut Map<String, Value>) -> Result<(), String> {
    for field in ["parallelism", "completions", "backoffLimit"] {
        whole(spec, field, "JobSpec")?;
    }
    if spec.get("suspend").is_some_and(|suspend| !suspend.is_boolean()) {
        return Err(
            "json: cannot unmarshal string into Go struct field JobSpec.spec.suspend of type bool".into()
        );
    }
    if !spec.contains_key("parallelism") {
        spec.entry("completions").or_insert_with(|| 1.into());
    }
    let defaults = json!({
        "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false, "manualSelector": false,
        "podReplacementPolicy": "TerminatingOrFailed",
    });
    for (field, value) in defaults.as_object().into_iter().flatten() {
        spec.entry(field).or_insert_with(|| value.clone());
    }
    Ok(())
}

fn default_replicas(kind: BuiltIn, spec: &mut Map<String, Value>) -> Result<(), String> {
    whole(spec, "replicas", "DeploymentSpec")?;
    spec.entry("replicas").or_insert_with(|| 1.into());
    if kind == BuiltIn::Deployment {
        let rolling =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}});
        spec.entry("strategy").or_insert(rolling);
        spec.entry("revisionHistoryLimit").or_insert_with(|| 10.into());
        spec.entry("progressDeadlineSeconds").or_insert_with(|| 600.into());
    }
    Ok(())
}

fn default_pod(spec: &mut Map<String, Value>) {
    let defaults = json!({
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {},
        "terminationGracePeriodSeconds": GRACE,
    });
    for (field, value) in defaults.as_object().into_iter().flatten() {
        spec.entry(field).or_insert_with(|| value.clone());
    }
    for container in spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(container) = container.as_object_mut() else { continue };
        let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
        let tagged =
            image.rsplit('/').next().is_some_and(|last| last.contains(':') && !last.ends_with(":latest"));
        let pull = if tagged { "IfNotPresent" } else { "Always" };
        let defaults = json!({"imagePullPolicy": pull, "resources": {}, "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File"});
        for (field, value) in defaults.as_object().into_iter().flatten() {
            container.entry(field).or_insert_with(|| value.clone());
        }
    }
}

/// What the server adds to a new object: a Job selects its Pods by its uid.
pub fn prepare(kind: BuiltIn, object: &mut Value) {
    object["status"] = if kind == BuiltIn::Pod { json!({"phase": "Pending"}) } else { json!({}) };
    if kind != BuiltIn::Job {
        return;
    }
    let [uid, name] = ["uid", "name"].map(|field| metadata::text(object, field).to_owned());
    object["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("job-name", &name),
    ];
    for (label, value) in labels {
        object["spec"]["template"]["metadata"]["labels"][label] = value.as_str().into();
    }
}

/// What is wrong with an object.
pub fn validate(kind: BuiltIn, object: &Value, old: Option<&Value>, flaws: &mut Vec<Flaw>) {
    let spec = &object["spec"];
    let pod = if kind == BuiltIn::Pod { "spec" } else { "spec.template.spec" };
    let containers = object.pointer(&format!("/{}/containers", pod.replace('.', "/")));
    if containers.and_then(Value::as_array).is_none_or(Vec::is_empty) {
        flaws.push(Flaw::required(format!("{pod}.containers"), ""));
    }
    match kind {
        BuiltIn::Job => validate_job(spec, old.map(|old| &old["spec"]), flaws),
        BuiltIn::ReplicaSet | BuiltIn::Deployment => {
            validate_selector(spec, old.map(|old| &old["spec"]), flaws);
        }
        _ => {}
    }
}

fn negative(spec: &Value, field: &str, flaws: &mut Vec<Flaw>) {
    if spec[field].as_i64().is_some_and(|number| number < 0) {
        let detail = "must be greater than or equal to 0";
        flaws.push(Flaw::invalid(format!("spec.{field}"), &spec[field], detail));
    }
}

fn immutable(spec: &Value, old: &Value, field: &str, flaws: &mut Vec<Flaw>) {
    if spec[field] != old[field] {
        flaws.push(Flaw::invalid(format!("spec.{field}"), &spec[field], "field is immutable"));
    }
}

fn validate_job(spec: &Value, old: Option<&Value>, flaws: &mut Vec<Flaw>) {
    for field in ["parallelism", "completions", "backoffLimit"] {
        negative(spec, field, flaws);
    }
    let restarts = spec.pointer("/template/spec/restartPolicy").and_then(Value::as_str);
    if !matches!(restarts, Some("Never" | "OnFailure")) {
        let detail = "valid values: \"OnFailure\", \"Never\"";
        flaws.push(Flaw::required("spec.template.spec.restartPolicy", detail));
    }
    if let Some(old) = old {
        for field in ["completions", "selector", "template", "completionMode"] {
            immutable(spec, old, field, flaws);
        }
    }
}

fn validate_selector(spec: &Value, old: Option<&Value>, flaws: &mut Vec<Flaw>) {
    negative(spec, "replicas", flaws);
    let wanted = spec.pointer("/selector/matchLabels").and_then(Value::as_object);
    let labels = spec.pointer("/template/metadata/labels");
    match wanted {
        None if spec.pointer("/selector/matchExpressions").is_none() => {
            flaws.push(Flaw::required("spec.selector", ""));
        }
        None => {}
        Some(wanted) => {
            let has =
                |(key, value): (&String, &Value)| labels.is_some_and(|labels| labels.get(key) == Some(value));
            if !wanted.iter().all(has) {
                let detail = "`selector` does not match template `labels`";
                let labels = labels.unwrap_or(&Value::Null);
                flaws.push(Flaw::invalid("spec.template.metadata.labels", labels, detail));
            }
        }
    }
    if let Some(old) = old {
        immutable(spec, old, "selector", flaws);
    }
}

/// How long an object may take to end once it is deleted, in seconds: a Pod on a node, as it says or as it is asked to.
pub fn grace(object: &Value, asked: Option<i64>) -> i64 {
    if object["kind"] != "Pod" || object["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        return 0;
    }
    let own = || object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(GRACE);
    asked.unwrap_or_else(own).max(0)
}
