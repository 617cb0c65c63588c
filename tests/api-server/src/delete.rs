//! Deleting objects.

use std::sync::Arc;

use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    admission::{self, Operation},
    builtin,
    handle::{Asked, Reply},
    kinds::{BuiltIn, Definition, Shape},
    list, metadata,
    options::DeleteOptions,
    refusal::{Outcome, Refusal},
    state::{State, Stored},
    times, workloads,
};

/// The finalizer that keeps an object until its dependents are orphaned.
pub const ORPHAN: &str = "orphan";
/// The finalizer that keeps an object until its dependents are deleted.
pub const FOREGROUND: &str = "foregroundDeletion";

/// What is said to who deletes a Job without saying what becomes of its Pods.
const ORPHANS: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove \
    them or set propagationPolicy=Orphan to suppress this warning";

/// What the storage says about a precondition that does not hold.
pub fn unmet(
    is_dry_run: bool,
    definition: &Definition,
    key: &str,
    (what, wanted, found): (&str, &str, &str),
) -> String {
    let registry = if is_dry_run { "" } else { "/registry" };
    let group = if definition.is_custom() { format!("/{}", definition.group) } else { String::new() };
    let path = format!("{registry}{group}/{}/{key}", definition.plural);
    format!(
        "StorageError: invalid object, Code: 4, Key: {path}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
         {what} in precondition: {wanted}, {what} in object meta: {found}"
    )
}

/// Deletes an object, or marks it if it has finalizers.
pub fn delete(state: &mut State, kind: usize, asked: &Asked) -> Outcome<Reply> {
    let definition = Arc::clone(&state.kinds[kind]);
    let options = DeleteOptions::read(asked, state.kubernetes)?;
    let key = definition.key(&asked.call.namespace, &asked.call.name);
    if definition.is(BuiltIn::Namespace)
        && ["default", "kube-system", "kube-public"].contains(&asked.call.name.as_str())
    {
        let why = "this namespace may not be deleted";
        return Err(Refusal::forbidden("", "namespaces", &asked.call.name, why));
    }
    delete_one(state, kind, asked, &options, &key)
}

fn delete_one(
    state: &mut State,
    kind: usize,
    asked: &Asked,
    options: &DeleteOptions,
    key: &str,
) -> Outcome<Reply> {
    let definition = Arc::clone(&state.kinds[kind]);
    let name = key.rsplit('/').next().unwrap_or_default();
    let existing = state.objects[kind].get(key).cloned();
    let existing = existing.ok_or_else(|| Refusal::not_found(&definition, name))?;
    check_preconditions(&definition, name, &existing, options)?;
    admission::admit(state, &definition, asked, Operation::Delete, (None, Some(&existing.object)))?;
    if definition.is(BuiltIn::Job) && options.propagation.is_none() && options.orphan.is_none() {
        state.warnings.push(ORPHANS.to_owned());
    }
    let (finalizers, wanted) = wanted_finalizers(&definition, &existing.object, options);
    // A Pod that is ending does not get more time.
    let granted = existing.object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let grace = workloads::grace(&existing.object, options.grace).min(granted.unwrap_or(i64::MAX));
    let waits = grace > 0 || (!definition.is(BuiltIn::Pod) && builtin::waits(&definition, &existing.object));
    if !wanted.is_empty() || waits {
        let marked = mark(state, &existing.object, &wanted, grace);
        let unchanged = marked == *existing.object;
        let body = if options.dry_run || unchanged {
            serde_json::to_vec(&marked).unwrap().into()
        } else {
            state.put(kind, key, marked)?.bytes.clone()
        };
        let accepted = options.orphan == Some(false);
        return Ok(Reply::new(if accepted { 202 } else { 200 }, body));
    }
    if finalizers != wanted && options.dry_run {
        // The server answers with the object that it would have written first, which it has not read.
        let mut nothing = json!({"apiVersion": definition.api_version(), "kind": definition.kind});
        if let Shape::BuiltIn(kind) = definition.shape {
            nothing["metadata"] = json!({});
            nothing.as_object_mut().unwrap().extend(builtin::empty(kind).as_object().unwrap().clone());
        }
        return Ok(Reply::of(200, &nothing));
    }
    if finalizers != wanted && options.resource_version.is_some() {
        // The server compares the resource version with that of an object that it has not written after all.
        let found = existing.revision.to_string();
        let why = unmet(false, &definition, key, ("ResourceVersion", "", &found));
        return Err(Refusal::conflict(&definition, name, &why));
    }
    if !options.dry_run {
        state.remove(kind, key);
    }
    let mut details = definition.details(name);
    details["uid"] = metadata::text(&existing.object, "uid").into();
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    Ok(Reply::of(200, &status))
}

fn check_preconditions(
    definition: &Definition,
    name: &str,
    existing: &Stored,
    options: &DeleteOptions,
) -> Outcome<()> {
    let uid = metadata::text(&existing.object, "uid");
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been \
             deleted and then recreated"
        );
        return Err(Refusal::unmet(definition, name, &why));
    }
    let version = existing.revision.to_string();
    if let Some(wanted) = options.resource_version.as_deref().filter(|wanted| *wanted != version) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). \
             The object might have been modified"
        );
        return Err(Refusal::unmet(definition, name, &why));
    }
    Ok(())
}

/// The finalizers that it has, and those that it has to have with these options.
fn wanted_finalizers(
    definition: &Definition,
    object: &Value,
    options: &DeleteOptions,
) -> (Vec<String>, Vec<String>) {
    let present: Vec<String> = metadata::finalizers(object).into_iter().map(ToOwned::to_owned).collect();
    let has = |name: &str| present.iter().any(|one| one == name);
    let (orphan, foreground) = match (options.orphan, options.propagation.as_deref()) {
        (Some(orphan), _) => (orphan, false),
        (None, Some(policy)) => (policy == "Orphan", policy == "Foreground"),
        // The Pods of a Job have always been left behind.
        (None, None) if !has(FOREGROUND) => (has(ORPHAN) || definition.is(BuiltIn::Job), false),
        (None, None) => (has(ORPHAN), !has(ORPHAN)),
    };
    let mut wanted: Vec<String> =
        present.iter().filter(|name| *name != ORPHAN && *name != FOREGROUND).cloned().collect();
    wanted.extend(orphan.then(|| ORPHAN.to_owned()));
    wanted.extend(foreground.then(|| FOREGROUND.to_owned()));
    let same = wanted.len() == present.len() && wanted.iter().all(|name| present.contains(name));
    if same { (present.clone(), present) } else { (present, wanted) }
}

/// The object with its deletion timestamp: when its time to end is over.
pub fn mark(state: &State, object: &Value, finalizers: &[String], grace: i64) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), finalizers.into());
    }
    if !metadata.contains_key("deletionTimestamp") {
        if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
            metadata.insert("generation".into(), (generation + 1).into());
        }
        let end = state.clock.now + SignedDuration::from_secs(grace);
        metadata.insert("deletionTimestamp".into(), times::rfc3339(end).into());
        if object["kind"] == "Namespace" {
            object["status"] = json!({"phase": "Terminating"});
        } else {
            object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        }
    } else if metadata
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .is_some_and(|old| old > grace)
    {
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    }
    object
}

/// Deletes all objects that are selected.
pub fn delete_all(state: &mut State, kind: usize, asked: &Asked) -> Outcome<Reply> {
    let options = DeleteOptions::read(asked, state.kubernetes)?;
    let listed = list::list(state, kind, asked.call)?;
    let answer: Value = serde_json::from_slice(&listed).unwrap();
    let definition = Arc::clone(&state.kinds[kind]);
    for item in answer["items"].as_array().into_iter().flatten() {
        let key = definition.key(metadata::text(item, "namespace"), metadata::text(item, "name"));
        delete_one(state, kind, asked, &options, &key)?;
    }
    Ok(Reply::new(200, listed))
}
