//! The requests about what runs.

use std::sync::Arc;

use kube::{Client, Resource, api::PostParams, core::ApiResource};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Map, Value, json};

use crate::{
    api::{FIELD_MANAGER, Kind},
    client::{Failure, requests},
    observed::target,
    workload::{
        engine::{Engine, StopPatch},
        owner::Owner,
        work::{OWNER_UID, Object, Work},
    },
};

/// Reads an Execution or Deployment live, and all of it.
pub async fn owner(
    client: &Client,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<Owner>, Failure> {
    requests::if_any(requests::get_whole(client, target::url(kind, namespace), name).await)
}

/// Writes a part of its status, guarded by its resourceVersion; answers with what it is now.
pub async fn record(client: &Client, kind: Kind, owner: &Owner, status: &Value) -> Result<Owner, Failure> {
    let patch = json!({"metadata": {"resourceVersion": owner.version()}, "status": status});
    requests::patch_status_whole(client, target::url(kind, owner.namespace()), owner.name(), &patch).await
}

/// Where an engine's object is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub engine: &'static Engine,
    pub namespace: &'a str,
    pub name: &'a str,
}

/// Reads an engine's object live; `None` if there is none.
pub async fn work(
    client: &Client,
    Place { engine, namespace, name }: Place<'_>,
) -> Result<Option<Arc<Work>>, Failure> {
    let read = object(client, Place { engine, namespace, name }).await?;
    Ok(read.map(|object| Arc::new(Work::read(engine, &object))))
}

/// The same, as it is.
pub async fn object(
    client: &Client,
    Place { engine, namespace, name }: Place<'_>,
) -> Result<Option<Object>, Failure> {
    requests::if_any(requests::get(client, url(engine, namespace), name).await)
}

/// Creates what a template describes, under the owner's name. An apply would take over what has that name.
pub async fn create(
    client: &Client,
    kind: Kind,
    engine: &Engine,
    owner: &Owner,
    template: &Value,
) -> Result<Arc<Work>, Failure> {
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let object = manifest(kind, owner, template);
    let created: Object = requests::create(client, url(engine, owner.namespace()), &object, &params).await?;
    Ok(Arc::new(Work::read(engine, &created)))
}

/// The object that a template describes, with the owner's name, its label and its ownerReference.
fn manifest(kind: Kind, owner: &Owner, template: &Value) -> Value {
    let map = |field: &str| {
        let found = template.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
        found.cloned().unwrap_or_default()
    };
    let mut labels: Map<String, Value> = map("labels");
    labels.insert(OWNER_UID.into(), owner.uid().into());
    let metadata = json!({
        "name": owner.name(), "namespace": owner.namespace(), "labels": labels, "annotations": map("annotations"),
        "ownerReferences": [owner.reference(kind)],
    });
    let mut object = template.as_object().cloned().unwrap_or_default();
    object.insert("metadata".into(), metadata);
    Value::Object(object)
}

/// Makes the spec of an object that of the template, and adds the template's labels and annotations; guarded by its uid and
/// resourceVersion. Without `replicas` in the template, their number stays what it is: an autoscaler may have set it.
pub async fn apply(
    client: &Client,
    engine: &Engine,
    owner: &Owner,
    template: &Value,
    work: &Work,
) -> Result<Arc<Work>, Failure> {
    let url = url(engine, owner.namespace());
    let mut object: Map<String, Value> = requests::get(client, url.clone(), owner.name()).await?;
    let replicas = object.get("spec").and_then(|spec| spec.get("replicas")).cloned();
    let mut spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
    if let (Some(replicas), Value::Object(spec)) = (replicas, &mut spec) {
        spec.entry("replicas").or_insert(replicas);
    }
    object.insert("spec".into(), spec);
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return Err(Failure::unreadable("it has no metadata"));
    };
    metadata.insert("uid".into(), json!(work.uid));
    metadata.insert("resourceVersion".into(), json!(work.version));
    for field in ["labels", "annotations"] {
        let wanted = template.pointer(&format!("/metadata/{field}")).and_then(Value::as_object);
        if let Value::Object(values) = metadata.entry(field).or_insert_with(|| json!({})) {
            values.extend(wanted.cloned().unwrap_or_default());
            if field == "labels" {
                values.insert(OWNER_UID.into(), owner.uid().into());
            }
        }
    }
    let applied: Object = requests::replace(client, url, owner.name(), None, &object).await?;
    Ok(Arc::new(Work::read(engine, &applied)))
}

/// Makes the owner the controller of an object that has no owner.
pub async fn adopt(
    client: &Client,
    kind: Kind,
    place: Place<'_>,
    owner: &Owner,
    work: &Work,
) -> Result<Arc<Work>, Failure> {
    let patch = json!({"metadata": {
        "uid": work.uid, "resourceVersion": work.version,
        "labels": {OWNER_UID: owner.uid()}, "ownerReferences": [owner.reference(kind)],
    }});
    let Place { engine, namespace, name } = place;
    let adopted: Object = requests::patch(client, url(engine, namespace), name, None, &patch).await?;
    Ok(Arc::new(Work::read(engine, &adopted)))
}

/// Puts the label back by which the watch selects it, guarded by its uid and resourceVersion.
pub async fn label(
    client: &Client,
    Place { engine, namespace, name }: Place<'_>,
    owner: &Owner,
    work: &Work,
) -> Result<Arc<Work>, Failure> {
    let patch = json!({"metadata": {
        "uid": work.uid, "resourceVersion": work.version, "labels": {OWNER_UID: owner.uid()},
    }});
    let labelled: Object = requests::patch(client, url(engine, namespace), name, None, &patch).await?;
    Ok(Arc::new(Work::read(engine, &labelled)))
}

/// Requests a stop of an object, guarded by its uid and resourceVersion. Returns what it is now, unless the answer is only about a
/// subresource.
pub async fn stop(
    client: &Client,
    Place { engine, namespace, name }: Place<'_>,
    work: &Work,
    stop: &StopPatch,
) -> Result<Option<Arc<Work>>, Failure> {
    let (url, guard) = (url(engine, namespace), (&*work.uid, &*work.version));
    if stop.subresource.is_some() {
        return guarded::<IgnoredAny>(client, url, name, guard, stop).await.map(|_| None);
    }
    let stopped: Object = guarded(client, url, name, guard, stop).await?;
    Ok(Some(Arc::new(Work::read(engine, &stopped))))
}

/// Sends the patch that requests a stop of what has this uid and resourceVersion.
pub async fn guarded<T: DeserializeOwned>(
    client: &Client,
    url: String,
    name: &str,
    (uid, version): (&str, &str),
    stop: &StopPatch,
) -> Result<T, Failure> {
    let mut patch: Map<String, Value> = serde_json::from_str(stop.merge).map_err(Failure::unreadable)?;
    if let Value::Object(metadata) = patch.entry("metadata").or_insert_with(|| json!({})) {
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("resourceVersion".into(), json!(version));
    }
    requests::patch(client, url, name, stop.subresource, &patch).await
}

/// A list, or a page of one.
#[derive(Deserialize)]
pub struct List<T> {
    #[serde(default)]
    pub metadata: Page,
    /// Null if there are none, of metadata only.
    pub items: Option<Vec<T>>,
}

#[derive(Default, Deserialize)]
pub(super) struct Page {
    pub r#continue: Option<String>,
}

/// The URL of the collection of an engine's objects.
pub(super) fn url(engine: &Engine, namespace: &str) -> String {
    let resource: ApiResource = engine.kind.api_resource();
    Object::url_path(&resource, Some(namespace))
}
