//! Manifests, applied as an admin.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::Request;
use serde_json::{Map, Value};

use crate::{
    Answer, User, handle,
    kinds::{Definition, Shape, api_version},
    metadata,
    schema::Schema,
    state::State,
};

/// Creates or replaces what is in these YAML documents.
pub fn apply(state: &mut State, manifests: &str) {
    for manifest in parsed(manifests).iter().filter(|manifest| !manifest.is_null()) {
        if manifest["kind"] == "CustomResourceDefinition" {
            for kind in definitions(manifest) {
                state.add_kind(Arc::new(kind));
            }
        } else {
            apply_object(state, manifest.clone());
        }
    }
}

/// The documents of a text. The same few are applied again and again.
fn parsed(manifests: &str) -> Arc<Vec<Value>> {
    thread_local! {
        static PARSED: RefCell<HashMap<String, Arc<Vec<Value>>>> = RefCell::default();
    }
    PARSED.with_borrow_mut(|parsed| {
        if let Some(known) = parsed.get(manifests) {
            return Arc::clone(known);
        }
        let new = Arc::new(serde_saphyr::from_multiple(manifests).expect("manifests are YAML"));
        parsed.insert(manifests.to_owned(), Arc::clone(&new));
        new
    })
}

/// The kinds that a `CustomResourceDefinition` defines.
fn definitions(crd: &Value) -> Vec<Definition> {
    let (spec, names) = (&crd["spec"], &crd["spec"]["names"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let served =
        spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] == true);
    let definition = |version: &Value| Definition {
        group: text(&spec["group"]),
        version: text(&version["name"]),
        api_version: api_version(&text(&spec["group"]), &text(&version["name"])),
        plural: text(&names["plural"]),
        singular: text(&names["singular"]),
        kind: text(&names["kind"]),
        namespaced: spec["scope"] == "Namespaced",
        status: version["subresources"]["status"].is_object(),
        short_names: list(&names["shortNames"]),
        categories: list(&names["categories"]),
        shape: Shape::Custom(Arc::new(root(&version["schema"]["openAPIV3Schema"]))),
    };
    served.map(definition).collect()
}

/// The schema of whole objects. What all objects have need not be in it.
fn root(schema: &Value) -> Schema {
    let mut schema = Schema::read(schema);
    "object".clone_into(&mut schema.kind);
    schema
}

fn apply_object(state: &mut State, mut manifest: Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
    let definition = state.kinds.iter().find(|one| one.kind == kind && one.api_version() == api_version);
    let definition =
        definition.unwrap_or_else(|| panic!("api_server does not serve {kind} of {api_version}"));
    let (name, namespace) =
        (metadata::text(&manifest, "name").to_owned(), metadata::text(&manifest, "namespace"));
    let namespace = if definition.namespaced && namespace.is_empty() { "default" } else { namespace };
    let prefix = if definition.group.is_empty() { "api" } else { "apis" };
    let place = if definition.namespaced { format!("/namespaces/{namespace}") } else { String::new() };
    let path = format!("/{prefix}/{api_version}{place}/{}", definition.plural);
    let (at, key) = (
        state.kind(&definition.group, &definition.version, &definition.plural),
        definition.key(namespace, &name),
    );
    let existing = state.objects[at.unwrap()].get(key.as_str()).cloned();
    let request = if let Some(existing) = existing {
        let version = metadata::text(&existing.object, "resourceVersion");
        let fields = manifest["metadata"].as_object_mut().unwrap_or_else(|| panic!("{name} has no metadata"));
        fields.insert("resourceVersion".into(), version.into());
        Request::put(format!("{path}/{name}"))
    } else {
        Request::post(path)
    };
    let body = Bytes::from(serde_json::to_vec(&manifest).unwrap());
    let request = request.header("content-type", "application/json").body(body).unwrap();
    let Answer::Whole(answer) = handle::handle(state, &User::Admin, "api-server/apply", request) else {
        return;
    };
    assert!(answer.status().is_success(), "{kind} {name}: {}", String::from_utf8_lossy(answer.body()));
    state.history.requests.pop();
    let status = manifest.get_mut("status").map(Value::take).unwrap_or_default();
    if !status.is_null() {
        put_status(state, at.unwrap(), &key, status);
    }
}

/// Sets the status that a manifest has, as a controller would.
fn put_status(state: &mut State, kind: usize, key: &str, status: Value) {
    let mut object = Value::clone(&state.objects[kind][key].object);
    object.as_object_mut().unwrap_or(&mut Map::new()).insert("status".into(), status);
    state.put(kind, key, object).unwrap_or_else(|refusal| panic!("{}", refusal.message));
}
