//! Replacing and patching objects, and their status.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    Kubernetes,
    admission::{self, Operation},
    builtin, create, delete,
    handle::{Asked, MOST_READ, Reply},
    invalid::{self, Flaw},
    kinds::{Definition, Shape},
    metadata,
    options::{Unknown, WriteOptions},
    ownership,
    refusal::{Outcome, Refusal},
    state::{State, Stored, whole_numbers},
    validate,
};

/// Replaces an object or its status.
pub fn replace(state: &mut State, kind: usize, asked: &Asked) -> Outcome<Reply> {
    let definition = Arc::clone(&state.kinds[kind]);
    let call = asked.call;
    if asked.body.len() > MOST_READ {
        return Err(Refusal::too_large(MOST_READ));
    }
    let options = WriteOptions::read(asked, state.kubernetes, "UpdateOptions")?;
    let mut object = create::decode(state, &definition, &asked.body, options.unknown)?;
    check_name(&definition, &mut object, call)?;
    let key = definition.key(&call.namespace, &call.name);
    let existing = state.objects[kind].get(key.as_str()).cloned();
    let uid = metadata::text(&object, "uid");
    let existing_uid = existing.as_ref().map_or("", |stored| metadata::text(&stored.object, "uid"));
    // The newest server looks first whether there is such an object.
    let looks_first = state.kubernetes == Kubernetes::V1_37 && !definition.allows_create_on_update();
    let is_missing = existing.is_none() && looks_first;
    if !uid.is_empty() && uid != existing_uid && !is_missing {
        let why = delete::unmet(options.dry_run, &definition, &key, ("UID", uid, existing_uid));
        return Err(Refusal::conflict(&definition, &call.name, &why));
    }
    let Some(existing) = existing else {
        if !definition.allows_create_on_update() || !call.subresource.is_empty() {
            return Err(Refusal::not_found(&definition, &call.name));
        }
        version_of(&object)?;
        if !options.dry_run {
            object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        }
        let created = create::create_decoded(state, kind, asked, &options, object);
        return created.map(|bytes| Reply::new(201, bytes));
    };
    update(state, kind, asked, &options, (&existing, object))
}

/// The name in the object has to be the one of the path.
fn check_name(definition: &Definition, object: &mut Value, call: &crate::request::Call) -> Outcome<()> {
    let name = metadata::text(object, "name");
    if name.is_empty() {
        let message = format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.name
        );
        return Err(Refusal::bad_request(message));
    }
    if name != call.name {
        let message =
            format!("the name of the object ({name}) does not match the name on the URL ({})", call.name);
        return Err(Refusal::bad_request(message));
    }
    if definition.namespaced {
        let namespace = metadata::text(object, "namespace");
        if !namespace.is_empty() && namespace != call.namespace {
            let message =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Refusal::bad_request(message));
        }
        object["metadata"]["namespace"] = call.namespace.as_str().into();
    }
    Ok(())
}

/// Patches an object or its status.
pub fn patch(state: &mut State, kind: usize, asked: &Asked) -> Outcome<Reply> {
    let definition = Arc::clone(&state.kinds[kind]);
    let call = asked.call;
    let content_type = asked.content_type.split(';').next().unwrap_or_default().trim();
    if content_type != "application/merge-patch+json" {
        let accepted =
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        return Err(Refusal::new(415, "UnsupportedMediaType", message));
    }
    if asked.body.len() > MOST_READ {
        return Err(Refusal::too_large(MOST_READ));
    }
    let options = WriteOptions::read(asked, state.kubernetes, "PatchOptions")?;
    let patch = serde_json::from_slice::<Value>(&asked.body);
    if patch.is_err() && state.kubernetes == Kubernetes::V1_37 {
        return Err(Refusal::bad_request("invalid JSON patch"));
    }
    let key = definition.key(&call.namespace, &call.name);
    let existing = state.objects[kind].get(key.as_str()).cloned();
    let existing = existing.ok_or_else(|| Refusal::not_found(&definition, &call.name))?;
    let patch = patch.map_err(|error| match options.unknown {
        Unknown::Ignore => Refusal::bad_request("Invalid JSON Patch"),
        _ => Refusal::bad_request(format!("error decoding patch: {error}")),
    })?;
    if patch.is_null() || (!patch.is_object() && !patch.is_array() && options.unknown == Unknown::Ignore) {
        return Err(Refusal::bad_request("Invalid JSON Patch"));
    }
    if !patch.is_object() && options.unknown != Unknown::Ignore {
        return Err(Refusal::bad_request("error decoding patch: json: cannot unmarshal"));
    }
    let mut object = Value::clone(&existing.object);
    merge(&mut object, &patch);
    let object = create::coerce(state, &definition, object, options.unknown);
    let mut object = object.map_err(|refusal| bad_patch(state.kubernetes, &refusal))?;
    check_name(&definition, &mut object, call)?;
    update(state, kind, asked, &options, (&existing, object))
}

/// What is said about a patch whose result cannot be decoded.
fn bad_patch(kubernetes: Kubernetes, refusal: &Refusal) -> Refusal {
    let why =
        refusal.message.split_once(" cannot be handled as a ").and_then(|(_, why)| why.split_once(": "));
    match why {
        Some((_, why)) => {
            let flaw = Flaw::invalid("patch", &"".into(), why);
            invalid::refusal(kubernetes, ("", ""), "", &[flaw])
        }
        None => refusal.clone(),
    }
}

/// Applies a JSON merge patch (RFC 7396), which the server takes further: what is new has no nulls, not even in its lists.
pub fn merge(value: &mut Value, patch: &Value) {
    match (value, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (name, patch) in patch {
                if patch.is_null() {
                    fields.remove(name);
                } else {
                    merge(fields.entry(name.clone()).or_insert(Value::Null), patch);
                }
            }
        }
        (value, patch) => {
            let keeps_nulls = value.is_object();
            value.clone_from(patch);
            if !keeps_nulls {
                drop_nulls(value);
            }
        }
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Stores `object` in place of the existing one, if nothing is wrong with it.
pub fn update(
    state: &mut State,
    kind: usize,
    asked: &Asked,
    options: &WriteOptions,
    (existing, mut object): (&Arc<Stored>, Value),
) -> Outcome<Reply> {
    let definition = Arc::clone(&state.kinds[kind]);
    let (call, old) = (asked.call, &existing.object);
    let write = ownership::Write {
        manager: &options.manager,
        subresource: &call.subresource,
        api_version: definition.api_version(),
        time: &state.clock.text,
        schema: definition.schema(),
        has_status: definition.status,
        kubernetes: state.kubernetes,
        is_tracked: state.tracks_managers,
    };
    let owners = ownership::after(old, &object, &write);
    object["metadata"]["managedFields"] = owners.into();
    check_version(state.kubernetes, &definition, existing, &object)?;
    let is_status = call.subresource == "status";
    let mut object = prepared(&definition, object, old, is_status);
    if !options.dry_run {
        // It is not stored.
        object["metadata"].as_object_mut().unwrap().remove("selfLink");
    }
    let flaws = flaws_of(state, &definition, &object, old, is_status);
    if !flaws.is_empty() {
        return Err(create::invalid(state.kubernetes, &definition, &object, &flaws));
    }
    if !is_status {
        metadata::warn(state, &definition, &object, Some(old));
    }
    admission::admit(state, &definition, asked, Operation::Update, (Some(&object), Some(old)))?;
    let key = definition.key(&call.namespace, &call.name);
    whole_numbers(&mut object);
    let gone = metadata::is_terminating(&object) && metadata::finalizers(&object).is_empty();
    let unchanged = object == **old && !existing.without_defaults;
    let body = if gone && !builtin::waits(&definition, &object) {
        if !options.dry_run {
            state.remove(kind, &key);
        }
        serde_json::to_vec(&object).unwrap().into()
    } else if options.dry_run || unchanged {
        serde_json::to_vec(&object).unwrap().into()
    } else {
        state.put(kind, &key, object)?.bytes.clone()
    };
    Ok(Reply::new(200, body))
}

/// The resource version of an object as a number, 0 if it has none.
fn version_of(object: &Value) -> Outcome<u64> {
    let text = metadata::text(object, "resourceVersion");
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let number = text.bytes().all(|byte| byte.is_ascii_digit());
        let why = if number { "value out of range" } else { "invalid syntax" };
        Refusal::unclassified(format!("strconv.ParseUint: parsing {text:?}: {why}"))
    })
}

/// The optimistic lock.
fn check_version(
    kubernetes: Kubernetes,
    definition: &Definition,
    existing: &Stored,
    object: &Value,
) -> Outcome<()> {
    let name = metadata::text(&existing.object, "name");
    let given = version_of(object)?;
    if given == 0 {
        if definition.allows_unconditional_update() {
            return Ok(());
        }
        let flaw = Flaw::unset("metadata.resourceVersion", "must be specified for an update");
        let of = (definition.group.as_str(), definition.plural.as_str());
        return Err(invalid::refusal(kubernetes, of, name, &[flaw]));
    }
    if given == existing.revision { Ok(()) } else { Err(Refusal::modified(definition, name)) }
}

/// The object with what an update cannot change.
fn prepared(definition: &Definition, mut object: Value, old: &Value, is_status: bool) -> Value {
    if is_status {
        let mut whole = old.clone();
        let owners = object["metadata"]["managedFields"].take();
        whole["metadata"]["managedFields"] = owners;
        let fields = whole.as_object_mut().unwrap();
        match object.get_mut("status") {
            Some(status) => drop(fields.insert("status".into(), status.take())),
            None => drop(fields.remove("status")),
        }
        tidy(&mut whole);
        return whole;
    }
    let (new, known) = (object["metadata"].as_object_mut().unwrap(), &old["metadata"]);
    new.insert("resourceVersion".into(), known["resourceVersion"].clone());
    new.insert("creationTimestamp".into(), known["creationTimestamp"].clone());
    new.entry("uid").or_insert_with(|| known["uid"].clone());
    for field in ["deletionTimestamp", "generation"] {
        if let Some(value) = known.get(field) {
            new.insert(field.into(), value.clone());
        } else if field == "generation" {
            new.remove(field);
        }
    }
    if let Some(grace) = known.get("deletionGracePeriodSeconds") {
        new.entry("deletionGracePeriodSeconds").or_insert_with(|| grace.clone());
    }
    if definition.status {
        let fields = object.as_object_mut().unwrap();
        match old.get("status") {
            Some(status) => drop(fields.insert("status".into(), status.clone())),
            None => drop(fields.remove("status")),
        }
    }
    let changed = |field: &&String| *field != "metadata" && object.get(*field) != old.get(*field);
    let names = || object.as_object().unwrap().keys().chain(old.as_object().unwrap().keys());
    if definition.has_generation() && names().any(|field| changed(&field)) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        object["metadata"]["generation"] = (generation + 1).into();
    }
    tidy(&mut object);
    object
}

fn tidy(object: &mut Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    if metadata.get("managedFields").and_then(Value::as_array).is_some_and(Vec::is_empty) {
        metadata.remove("managedFields");
    }
}

fn flaws_of(
    state: &State,
    definition: &Definition,
    object: &Value,
    old: &Value,
    is_status: bool,
) -> Vec<Flaw> {
    let mut flaws = create::type_flaws(definition, object);
    let is_other = !flaws.is_empty();
    metadata::validate_changed(
        definition,
        (&object["metadata"], &old["metadata"]),
        state.kubernetes,
        &mut flaws,
    );
    match &definition.shape {
        Shape::Custom(schema) => {
            if is_other {
                // What is of another kind is not validated any further.
            } else if !is_status {
                validate::validate(state.kubernetes, object, schema, "", &mut flaws);
            } else if let (Some(status), Some(schema)) = (object.get("status"), schema.field("status")) {
                validate::validate(state.kubernetes, status, schema, "status", &mut flaws);
            }
            validate::uniqueness(object, schema, "", &mut flaws);
            create::rules(state.kubernetes, (object, Some(old)), schema, &mut flaws);
        }
        Shape::BuiltIn(kind) => builtin::validate(*kind, object, Some(old), &mut flaws),
    }
    flaws
}
