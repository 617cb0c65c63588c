//! The garbage collector and the namespace controller, a step at a time.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;

use crate::{
    builtin,
    delete::{self, FOREGROUND, ORPHAN},
    kinds::BuiltIn,
    metadata,
    state::{State, Stored},
    workloads,
};

/// An object, by its kind and key.
type Place = (usize, Arc<str>);

/// Does what there is to do for the objects as they are now.
pub fn collect(state: &mut State) {
    if state.collected == Some(state.revision) {
        return;
    }
    state.collected = Some(state.revision);
    empty_namespaces(state);
    let found = snapshot(state, |stored| stored.concerns_the_collector);
    if found.is_empty() {
        return;
    }
    let uids: HashSet<String> =
        objects(state).map(|(_, (_, stored))| metadata::text(&stored.object, "uid").to_owned()).collect();
    for (place, object) in found {
        let owners: Vec<&str> = owners(&object).collect();
        let kept = owners.iter().any(|owner| uids.contains(*owner) && !is_deleting(state, owner, FOREGROUND));
        if !owners.is_empty() && !kept && !metadata::is_terminating(&object) {
            // What waits for its dependents waits for theirs, too.
            let waited_for = owners.iter().any(|owner| is_deleting(state, owner, FOREGROUND));
            let in_foreground =
                waited_for && objects(state).any(|(_, (_, stored))| is_owned_by(&stored.object, &object));
            mark_or_remove(state, &place, &object, in_foreground);
        } else if metadata::is_terminating(&object) {
            finish(state, &place, Value::clone(&object));
        }
    }
}

fn objects(state: &State) -> impl Iterator<Item = (usize, (&Arc<str>, &Arc<Stored>))> {
    let all = state.objects.iter().enumerate();
    all.flat_map(|(kind, objects)| objects.iter().map(move |object| (kind, object)))
}

/// The objects that are chosen, as they are now.
fn snapshot(state: &State, chosen: impl Fn(&Stored) -> bool) -> Vec<(Place, Arc<Value>)> {
    let all = objects(state).filter(|(_, (_, stored))| chosen(stored));
    all.map(|(kind, (key, stored))| ((kind, Arc::clone(key)), Arc::clone(&stored.object))).collect()
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    references.filter_map(|reference| reference["uid"].as_str())
}

fn is_owned_by(object: &Value, owner: &Value) -> bool {
    owners(object).any(|uid| uid == metadata::text(owner, "uid"))
}

/// Whether the object with this uid is being deleted, with this finalizer.
fn is_deleting(state: &State, uid: &str, finalizer: &str) -> bool {
    objects(state).any(|(_, (_, stored))| {
        let object = &stored.object;
        metadata::text(object, "uid") == uid
            && metadata::is_terminating(object)
            && metadata::finalizers(object).contains(&finalizer)
    })
}

/// Deletes an object, or marks it if it has finalizers, or is to get one, or is a Pod that takes time to end.
fn mark_or_remove(state: &mut State, (kind, key): &Place, object: &Value, in_foreground: bool) {
    let grace = workloads::grace(object, None);
    let mut finalizers: Vec<String> =
        metadata::finalizers(object).into_iter().map(ToOwned::to_owned).collect();
    if in_foreground && !finalizers.iter().any(|name| name == FOREGROUND) {
        finalizers.push(FOREGROUND.to_owned());
    }
    if finalizers.is_empty() && grace == 0 {
        state.remove(*kind, key);
        return;
    }
    let marked = delete::mark(state, object, &finalizers, grace);
    drop(state.put(*kind, key, marked));
}

/// Removes the finalizers of the garbage collector, once what they wait for is done.
fn finish(state: &mut State, (kind, key): &Place, mut object: Value) {
    let uid = metadata::text(&object, "uid").to_owned();
    let dependents = snapshot(state, |stored| is_owned_by(&stored.object, &object));
    // Those that say so.
    let blocks = |dependent: &Value| {
        let references = dependent["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let mut own = references.filter(|reference| reference["uid"] == *uid);
        own.any(|reference| reference["blockOwnerDeletion"] == true)
    };
    let names = metadata::finalizers(&object);
    let done = if names.contains(&ORPHAN) {
        for ((kind, key), dependent) in dependents {
            let mut dependent = Value::clone(&dependent);
            if let Some(references) = dependent["metadata"]["ownerReferences"].as_array_mut() {
                references.retain(|reference| reference["uid"] != *uid);
                if references.is_empty() {
                    dependent["metadata"].as_object_mut().unwrap().remove("ownerReferences");
                }
            }
            drop(state.put(kind, &key, dependent));
        }
        ORPHAN
    } else if names.contains(&FOREGROUND) && !dependents.iter().any(|(_, dependent)| blocks(dependent)) {
        FOREGROUND
    } else {
        return;
    };
    let left: Vec<String> = names.into_iter().filter(|name| *name != done).map(ToOwned::to_owned).collect();
    if left.is_empty() {
        state.remove(*kind, key);
    } else {
        object["metadata"]["finalizers"] = left.into();
        drop(state.put(*kind, key, object));
    }
}

/// Deletes what is in namespaces that are being deleted, and then these.
fn empty_namespaces(state: &mut State) {
    let namespaces = state.built_in(BuiltIn::Namespace);
    let terminating = state.objects[namespaces].iter().filter(|(_, s)| metadata::is_terminating(&s.object));
    let terminating: Vec<String> = terminating.map(|(name, _)| name.to_string()).collect();
    for name in terminating {
        let contents = snapshot(state, |stored| metadata::text(&stored.object, "namespace") == name);
        if contents.is_empty() {
            let mut object = Value::clone(&state.objects[namespaces][name.as_str()].object);
            builtin::finalize(&mut object);
            state.remove(namespaces, &name);
        }
        for (place, object) in contents {
            if !metadata::is_terminating(&object) {
                mark_or_remove(state, &place, &object, false);
            }
        }
    }
}
