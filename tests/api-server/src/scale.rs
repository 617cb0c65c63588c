//! The subresource `scale` of Deployments: their number of replicas, as an object of its own.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    handle::{Asked, Reply},
    options::WriteOptions,
    refusal::{Outcome, Refusal},
    request::Call,
    state::{State, Stored},
    update,
};

fn stored(state: &State, kind: usize, call: &Call) -> Outcome<Arc<Stored>> {
    let definition = &state.kinds[kind];
    let found = state.objects[kind].get(definition.key(&call.namespace, &call.name).as_str()).cloned();
    found.ok_or_else(|| Refusal::not_found(definition, &call.name))
}

fn of(object: &Value) -> Value {
    let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {}, "spec": {},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or_default()}});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        scale["metadata"][field] = object["metadata"][field].clone();
    }
    // 0 is left out.
    if let Some(replicas) = object["spec"]["replicas"].as_i64().filter(|replicas| *replicas != 0) {
        scale["spec"]["replicas"] = replicas.into();
    }
    let labels = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let selector =
        labels.into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
    scale["status"]["selector"] = selector.collect::<Vec<_>>().join(",").into();
    scale
}

/// Reads it.
pub fn get(state: &State, kind: usize, call: &Call) -> Outcome<Reply> {
    Ok(Reply::of(200, &of(&stored(state, kind, call)?.object)))
}

/// Changes the number by a merge patch. Its resourceVersion is that of the Deployment; a uid is not looked at.
pub fn patch(state: &mut State, kind: usize, asked: &Asked) -> Outcome<Reply> {
    if asked.content_type.split(';').next().unwrap_or_default().trim() != "application/merge-patch+json" {
        return Err(Refusal::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format",
        ));
    }
    let options = WriteOptions::read(asked, state.kubernetes, "PatchOptions")?;
    let existing = stored(state, kind, asked.call)?;
    let patch: Value =
        serde_json::from_slice(&asked.body).map_err(|_| Refusal::bad_request("invalid JSON patch"))?;
    let mut scale = of(&existing.object);
    update::merge(&mut scale, &patch);
    let replicas = &scale["spec"]["replicas"];
    let number = if replicas.is_null() { Some(0) } else { replicas.as_i64() };
    let Some(number) = number.filter(|number| *number >= 0) else {
        return Err(Refusal::bad_request("spec.replicas must be greater than or equal to 0"));
    };
    let mut object = Value::clone(&existing.object);
    object["spec"]["replicas"] = number.into();
    object["metadata"]["resourceVersion"] = scale["metadata"]["resourceVersion"].clone();
    let reply = update::update(state, kind, asked, &options, (&existing, object))?;
    let scaled: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    Ok(Reply::of(200, &of(&scaled)))
}
