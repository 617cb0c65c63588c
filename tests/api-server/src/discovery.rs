//! What is about no object: versions, groups and resources, health, and access reviews.

use serde_json::{Value, json};

use crate::{
    Kubernetes,
    handle::{Asked, Reply},
    kinds::Definition,
    options::WriteOptions,
    ownership,
    refusal::{Outcome, Refusal},
    request::Call,
    state::State,
};

/// The answer, if it is such a request.
pub fn answer(state: &State, asked: &Asked) -> Outcome<Option<Reply>> {
    let call = asked.call;
    if call.is_resource {
        let is_review = call.group == "authorization.k8s.io" && call.resource == "selfsubjectaccessreviews";
        return if is_review { review(state, asked).map(Some) } else { Ok(None) };
    }
    if call.verb != "get" {
        return Err(Refusal::no_such_path());
    }
    let parts: Vec<&str> = call.path.split('/').filter(|part| !part.is_empty()).collect();
    let object = match parts.as_slice() {
        ["version"] => version(state.kubernetes),
        ["healthz" | "livez" | "readyz"] => return Ok(Some(Reply::new(200, "ok".into()))),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups(state)}),
        ["api", version] => resources(state, "", version)?,
        ["apis", group] => {
            let found = groups(state).into_iter().find(|one| one["name"] == *group);
            let mut found = found.ok_or_else(Refusal::no_such_path)?;
            found["kind"] = "APIGroup".into();
            found["apiVersion"] = "v1".into();
            found
        }
        ["apis", group, version] => resources(state, group, version)?,
        _ => return Err(Refusal::no_such_path()),
    };
    Ok(Some(Reply::of(200, &object)))
}

fn version(kubernetes: Kubernetes) -> Value {
    let (minor, version) = match kubernetes {
        Kubernetes::V1_33 => ("33", "v1.33.0"),
        Kubernetes::V1_37 => ("37", "v1.37.0"),
    };
    json!({"major": "1", "minor": minor, "gitVersion": version, "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": ""})
}

fn groups(state: &State) -> Vec<Value> {
    let mut groups: Vec<(&str, &str)> =
        state.kinds.iter().map(|kind| (kind.group.as_str(), kind.version.as_str())).collect();
    groups.push(("authorization.k8s.io", "v1"));
    groups.sort_unstable();
    groups.dedup();
    let group = |(name, version): (&str, &str)| {
        let version = json!({"groupVersion": format!("{name}/{version}"), "version": version});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    groups.into_iter().filter(|(name, _)| !name.is_empty()).map(group).collect()
}

fn resources(state: &State, group: &str, version: &str) -> Outcome<Value> {
    let of_group = state.kinds.iter().filter(|kind| kind.group == group && kind.version == version);
    let mut kinds: Vec<&Definition> = of_group.map(|kind| &**kind).collect();
    if kinds.is_empty() {
        return Err(Refusal::no_such_path());
    }
    kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
    let version = kinds[0].api_version();
    let mut resources = Vec::new();
    for kind in kinds {
        let verbs = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
        let mut resource = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": verbs});
        if !kind.short_names.is_empty() {
            resource["shortNames"] = kind.short_names.clone().into();
        }
        if !kind.categories.is_empty() {
            resource["categories"] = kind.categories.clone().into();
        }
        resources.push(resource);
        if kind.status {
            resources.push(json!({"name": format!("{}/status", kind.plural), "singularName": "",
                "namespaced": kind.namespaced, "kind": kind.kind, "verbs": ["get", "patch", "update"]}));
        }
    }
    Ok(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}),
    )
}

/// The verbs that are known here: `Call` has no others.
const VERBS: [&str; 10] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "stop", "*"];

/// The attributes that are given: others are left out.
fn drop_empty(mut spec: Value) -> Value {
    if let Some(attributes) = spec["resourceAttributes"].as_object_mut() {
        attributes.retain(|_, value| !value.is_null() && value != "");
    }
    spec
}

/// Whether the user may do something. Without managed fields, it is always the same answer.
fn review(state: &State, asked: &Asked) -> Outcome<Reply> {
    if state.tracks_managers || !asked.call.query.is_empty() {
        return reviewed(state, asked);
    }
    let key = (asked.user.name.clone(), asked.body.clone());
    let mut known = state.reviews.lock().unwrap();
    if let Some(body) = known.get(&key) {
        return Ok(Reply::new(201, body.clone()));
    }
    let reply = reviewed(state, asked)?;
    known.insert(key, reply.body.clone());
    Ok(reply)
}

fn reviewed(state: &State, asked: &Asked) -> Outcome<Reply> {
    let mut review: Value = serde_json::from_slice(&asked.body).map_err(|error| {
        Refusal::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    let wanted = &review["spec"]["resourceAttributes"];
    let text = |field: &str| wanted[field].as_str().unwrap_or_default().to_owned();
    let verb = text("verb");
    let call = Call {
        verb: VERBS.into_iter().find(|known| *known == verb).unwrap_or_default(),
        is_resource: true,
        group: text("group"),
        version: text("version"),
        resource: text("resource"),
        subresource: text("subresource"),
        namespace: text("namespace"),
        name: text("name"),
        ..Call::default()
    };
    let mut status = json!({});
    match state.rbac.allows(asked.user, &call) {
        Ok(why) => {
            status["allowed"] = true.into();
            let why = why.to_string();
            if !why.is_empty() {
                status["reason"] = why.into();
            }
        }
        Err(why) => {
            status["allowed"] = false.into();
            if !why.is_empty() {
                status["reason"] = why.into();
            }
        }
    }
    review["kind"] = "SelfSubjectAccessReview".into();
    review["apiVersion"] = "authorization.k8s.io/v1".into();
    let options = WriteOptions::read(asked, state.kubernetes, "CreateOptions")?;
    let write = ownership::Write {
        manager: &options.manager,
        subresource: "",
        api_version: "authorization.k8s.io/v1",
        time: &state.clock.text,
        schema: None,
        has_status: true,
        kubernetes: state.kubernetes,
        is_tracked: state.tracks_managers,
    };
    let mut spec = json!({"spec": drop_empty(review["spec"].take())});
    let owners = ownership::after(&json!({"spec": {}}), &spec, &write);
    review["spec"] = spec["spec"].take();
    review["metadata"] = json!({"managedFields": owners});
    if state.kubernetes == Kubernetes::V1_33 {
        review["metadata"]["creationTimestamp"] = Value::Null;
    }
    review["status"] = status;
    Ok(Reply::of(201, &review))
}
