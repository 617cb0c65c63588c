//! The cache of what runs: a few fields of each engine's objects, fed by watches, and whose they are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
};

use kube::runtime::watcher::Event;

use crate::{
    api::Kind,
    observed::target::not_older,
    tasks::lock,
    workload::{
        engine::{Engine, Phase, Seen, Stop},
        work::{Object, Work},
    },
};

/// The list and watch of one engine's objects, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    pub engine: &'static str,
    pub namespace: Option<String>,
}

/// Namespace and name.
type Key = (Box<str>, Box<str>);

/// An owner to be looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Wake {
    pub namespace: Box<str>,
    pub owner: Box<str>,
    /// Whether a stop of what runs for it may have been undone: none is requested (any more), or it is not seen any more.
    pub undone: bool,
}

#[derive(Default)]
pub struct Works(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By the plural of the engine.
    objects: HashMap<&'static str, BTreeMap<Key, Known>>,
    /// How many lists each scope has begun.
    lists: HashMap<Scope, u32>,
    /// Those that were listed, and whose watch works.
    watched: HashSet<Scope>,
}

struct Known {
    work: Arc<Work>,
    /// The number of the list in which it was last seen.
    list: u32,
}

impl Works {
    /// What is cached under this name; nothing where changes are not seen.
    pub fn get(&self, engine: &Engine, namespace: &str, name: &str) -> Option<Arc<Work>> {
        let inner = lock(&self.0);
        inner.is_watched(engine, namespace).then_some(())?;
        let known = inner.objects.get(engine.kind.plural())?.get(&(namespace.into(), name.into()))?;
        Some(Arc::clone(&known.work))
    }

    /// Whether changes of this engine's objects are seen in a namespace.
    pub fn is_watched(&self, engine: &Engine, namespace: &str) -> bool {
        lock(&self.0).is_watched(engine, namespace)
    }

    /// The owners of this engine's objects that were seen where changes of them are not seen any more.
    pub fn unwatched(&self, engine: &Engine) -> Vec<Wake> {
        let inner = lock(&self.0);
        let objects = inner.objects.get(engine.kind.plural()).into_iter().flatten();
        let unseen = objects.filter(|((namespace, _), _)| !inner.is_watched(engine, namespace));
        unseen.filter_map(|(key, known)| wake(engine, key, &known.work, false)).collect()
    }

    /// The watch of `scope` fails, or works again.
    pub fn set_watched(&self, scope: &Scope, works: bool) {
        let mut inner = lock(&self.0);
        if works && inner.lists.contains_key(scope) {
            inner.watched.insert(scope.clone());
        } else {
            inner.watched.remove(scope);
        }
    }

    /// Takes in an event of the watch of `scope`. Returns the owners of what has changed.
    pub fn take_in(&self, scope: &Scope, engine: &'static Engine, event: Event<Object>) -> Vec<Wake> {
        let mut inner = lock(&self.0);
        match event {
            Event::Init => {
                *inner.lists.entry(scope.clone()).or_default() += 1;
                Vec::new()
            }
            // What a list brings may be as it was before something that was read live in the meantime.
            Event::InitApply(object) => inner.apply(scope, engine, &object, true),
            Event::Apply(object) => inner.apply(scope, engine, &object, false),
            Event::Delete(object) => inner.delete(engine, &object),
            Event::InitDone => {
                inner.watched.insert(scope.clone());
                inner.drop_unlisted(scope, engine)
            }
        }
    }
}

impl Inner {
    fn is_watched(&self, engine: &Engine, namespace: &str) -> bool {
        let scope = |namespace| Scope { engine: engine.kind.plural(), namespace };
        [None, Some(namespace.to_owned())]
            .into_iter()
            .any(|namespace| self.watched.contains(&scope(namespace)))
    }

    fn apply(&mut self, scope: &Scope, engine: &'static Engine, object: &Object, listed: bool) -> Vec<Wake> {
        let Some(key) = key(object) else { return Vec::new() };
        let list = self.lists.get(scope).copied().unwrap_or_default();
        let work = Arc::new(Work::read(engine, object));
        let objects = self.objects.entry(engine.kind.plural()).or_default();
        if let Some(known) = objects.get_mut(&key) {
            known.list = list;
            if known.work == work || !not_older(&work.version, &known.work.version) {
                return Vec::new();
            }
            if !listed && known.work.says_the_same(&work) {
                // What is decided stays decided; a write is guarded by the version.
                known.work = work;
                return Vec::new();
            }
        }
        let now = wake(engine, &key, &work, false);
        // Anybody can give an object the label: only what runs for something is kept.
        let before = match &now {
            Some(_) => objects.insert(key.clone(), Known { work, list }),
            None => objects.remove(&key),
        };
        // It may have changed hands.
        let before = before.and_then(|known| wake(engine, &key, &known.work, now.is_none()));
        let same_owner = before.as_ref().map(|wake| &wake.owner) == now.as_ref().map(|wake| &wake.owner);
        now.into_iter().chain(before.filter(|_| !same_owner)).collect()
    }

    fn delete(&mut self, engine: &Engine, object: &Object) -> Vec<Wake> {
        let Some(key) = key(object) else { return Vec::new() };
        let Some(objects) = self.objects.get_mut(engine.kind.plural()) else { return Vec::new() };
        match objects.get(&key) {
            Some(known) if Some(&*known.work.uid) == object.metadata.uid.as_deref() => objects
                .remove(&key)
                .and_then(|known| wake(engine, &key, &known.work, true))
                .into_iter()
                .collect(),
            _ => Vec::new(),
        }
    }

    /// After a list: what it did not have is gone.
    fn drop_unlisted(&mut self, scope: &Scope, engine: &Engine) -> Vec<Wake> {
        let list = self.lists.get(scope).copied().unwrap_or_default();
        let Some(objects) = self.objects.get_mut(scope.engine) else { return Vec::new() };
        let within = |namespace: &str| scope.namespace.as_deref().is_none_or(|only| only == namespace);
        let gone = objects.extract_if(.., |(namespace, _), known| within(namespace) && known.list != list);
        gone.filter_map(|(key, known)| wake(engine, &key, &known.work, true)).collect()
    }
}

fn key(object: &Object) -> Option<Key> {
    let name = object.metadata.name.as_deref()?;
    Some((object.metadata.namespace.as_deref().unwrap_or_default().into(), name.into()))
}

/// Its owner, if it is an Execution or Deployment that this engine runs.
fn wake(engine: &Engine, (namespace, _): &Key, work: &Work, gone: bool) -> Option<Wake> {
    let of = engine.kind.of();
    let runs = |seen: &Seen| {
        let ended = of == Kind::Execution && matches!(seen.phase, Phase::Completed | Phase::Dead);
        matches!(seen.stop, Stop::By(_)) && !ended
    };
    let owner = work.controller(of)?.into();
    let undone = gone || work.seen.as_ref().is_ok_and(runs);
    Some(Wake { namespace: namespace.clone(), owner, undone })
}

#[cfg(test)]
mod tests;
