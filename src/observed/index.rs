//! The cache of Executions and Deployments: just what decisions need of them, fed by watches, and which BulkUpdates
//! follow which of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map, hash_map},
    sync::{Arc, Mutex},
};

use kube::runtime::watcher::Event;
use tokio::sync::{Notify, watch};

use crate::{
    api::Kind,
    observed::target::{Observed, Target, not_older},
    tasks::lock,
};

/// A list and watch of one kind, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    pub kind: Kind,
    /// The namespace; all if absent.
    pub namespace: Option<String>,
}

type Name = Box<str>;
type Namespace = Box<str>;
type Place = (Kind, Namespace);

/// The cache, and who follows what in it. No call blocks for longer than a look-up.
pub struct Index {
    inner: Mutex<Inner>,
    unlisted: watch::Sender<HashSet<Scope>>,
}

#[derive(Default)]
struct Inner {
    targets: HashMap<Place, HashMap<Name, Known>>,
    /// The names that are followed, each with the number of the follower's mailbox, in the order in which followers hear of them.
    followed: BTreeMap<Place, BTreeSet<(Arc<str>, u64)>>,
    mailboxes: HashMap<u64, Arc<Mailbox>>,
    numbers: u64,
    /// How many lists each scope has begun.
    lists: HashMap<Scope, u32>,
}

struct Known {
    target: Arc<Target>,
    /// The number of the list in which it was last seen: if a list ends without it, it is gone.
    list: u32,
}

/// What has happened to followed targets since the follower last took it.
#[derive(Default)]
pub struct Mailbox {
    changes: Mutex<Vec<Change>>,
    arrived: Notify,
}

/// One change of a followed target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: Kind,
    pub name: Arc<str>,
    pub what: What,
}

/// What happened to a followed target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The index has a newer version of it.
    Updated,
    /// A watch has brought a DELETED event for this uid.
    Deleted(Name),
    /// A new list does not have it; when it went was not seen.
    Vanished,
}

impl Mailbox {
    pub fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *lock(&self.changes))
    }

    /// Waits until something has arrived since the last [`Self::take`] (or may have).
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// Reads from a follower the kinds and names of its targets.
pub type TargetsOf<T> = fn(&T) -> Vec<(Kind, Arc<str>)>;

/// Follows targets until it is dropped.
pub struct Following<T> {
    index: Arc<Index>,
    mailbox: Arc<Mailbox>,
    number: u64,
    namespace: Name,
    /// Whose targets these are: they are taken from it again at the end, so that they are not kept twice.
    follower: Arc<T>,
    targets: TargetsOf<T>,
}

impl<T> Following<T> {
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }
}

impl<T> Drop for Following<T> {
    fn drop(&mut self) {
        let mut inner = lock(&self.index.inner);
        inner.mailboxes.remove(&self.number);
        for (kind, name) in (self.targets)(&self.follower) {
            if let btree_map::Entry::Occupied(mut names) =
                inner.followed.entry((kind, self.namespace.clone()))
            {
                names.get_mut().remove(&(name, self.number));
                if names.get().is_empty() {
                    names.remove();
                }
            }
        }
    }
}

impl Index {
    /// An empty index that `scopes` will feed.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), unlisted: watch::Sender::new(scopes.into_iter().collect()) })
    }

    /// Waits until a kind has been listed once in every scope.
    pub async fn listed(&self, kind: Kind) {
        let listed = |unlisted: &HashSet<Scope>| unlisted.iter().all(|scope| scope.kind != kind);
        // The sender is part of self, so waiting cannot fail.
        let _ = self.unlisted.subscribe().wait_for(listed).await;
    }

    /// Waits until what this scope watches has been listed once.
    pub async fn listed_in(&self, scope: &Scope) {
        let _ = self.unlisted.subscribe().wait_for(|unlisted| !unlisted.contains(scope)).await;
    }

    /// How many targets of a kind it has.
    pub fn len(&self, kind: Kind) -> usize {
        let inner = lock(&self.inner);
        inner.targets.iter().filter(|((of, _), _)| *of == kind).map(|(_, names)| names.len()).sum()
    }

    /// The target with this name, if it has one.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Target>> {
        let inner = lock(&self.inner);
        let entry = inner.targets.get(&(kind, namespace.into()))?.get(name)?;
        Some(Arc::clone(&entry.target))
    }

    /// Follows the targets of `follower`, their kinds and names, in a namespace from now on.
    pub fn follow<T>(self: &Arc<Self>, ns: &str, follower: Arc<T>, targets: TargetsOf<T>) -> Following<T> {
        let mailbox = Arc::<Mailbox>::default();
        let mut inner = lock(&self.inner);
        inner.numbers += 1;
        let number = inner.numbers;
        inner.mailboxes.insert(number, Arc::clone(&mailbox));
        for (kind, name) in targets(&follower) {
            inner.followed.entry((kind, ns.into())).or_default().insert((name, number));
        }
        drop(inner);
        Following { index: Arc::clone(self), mailbox, number, namespace: ns.into(), follower, targets }
    }

    /// Takes in an event of the watch of `scope`. Returns the object that is new or changed, if one is, and what was read of it.
    pub fn take_in(&self, scope: &Scope, event: Event<Observed>) -> Option<(Observed, Arc<Target>)> {
        let mut inner = lock(&self.inner);
        match event {
            Event::InitApply(object) | Event::Apply(object) => {
                return inner.apply(scope, &object).map(|target| (object, target));
            }
            Event::Init => *inner.lists.entry(scope.clone()).or_default() += 1,
            Event::Delete(object) => inner.delete(scope.kind, &object),
            Event::InitDone => {
                inner.drop_unlisted(scope);
                drop(inner);
                self.unlisted.send_if_modified(|unlisted| unlisted.remove(scope));
            }
        }
        None
    }
}

impl Inner {
    fn apply(&mut self, scope: &Scope, object: &Observed) -> Option<Arc<Target>> {
        let list = self.lists.get(scope).copied().unwrap_or_default();
        let (namespace, name) = object.key();
        let names = self.targets.entry((scope.kind, namespace.into())).or_default();
        let known = names.get_mut(name);
        let target = Arc::new(Target::from(object)).seen_before(known.as_deref().map(|known| &*known.target));
        if let Some(known) = known {
            known.list = list;
            known.target = Arc::clone(&known.target).seen_before(Some(&target));
            // A watch that goes back in time does not replace a newer version.
            if known.target == target || !not_older(&target.resource_version, &known.target.resource_version)
            {
                return None;
            }
        }
        names.insert(name.into(), Known { target: Arc::clone(&target), list });
        self.notify(scope.kind, namespace, name, &What::Updated);
        Some(target)
    }

    fn delete(&mut self, kind: Kind, object: &Observed) {
        let (namespace, name) = object.key();
        let uid: Name = object.metadata.uid.clone().unwrap_or_default().into();
        if let hash_map::Entry::Occupied(mut names) = self.targets.entry((kind, namespace.into())) {
            if names.get().get(name).is_some_and(|known| known.target.uid == uid) {
                names.get_mut().remove(name);
            }
            if names.get().is_empty() {
                names.remove();
            }
        }
        self.notify(kind, namespace, name, &What::Deleted(uid));
    }

    /// After a list: what it did not have is gone, whether it was known here or not.
    fn drop_unlisted(&mut self, scope: &Scope) {
        let list = self.lists.get(scope).copied().unwrap_or_default();
        let within = |kind: Kind, namespace: &str| {
            kind == scope.kind && scope.namespace.as_deref().is_none_or(|only| only == namespace)
        };
        for ((kind, namespace), names) in &mut self.targets {
            if within(*kind, namespace) {
                names.retain(|_, entry| entry.list == list);
            }
        }
        self.targets.retain(|_, names| !names.is_empty());
        for (place, names) in self.followed.iter().filter(|((kind, namespace), _)| within(*kind, namespace)) {
            let known = self.targets.get(place);
            let unknown = |name: &str| !known.is_some_and(|known| known.contains_key(name));
            for (name, follower) in names.iter().filter(|(name, _)| unknown(name)) {
                self.put(*follower, Change { kind: place.0, name: Arc::clone(name), what: What::Vanished });
            }
        }
    }

    fn notify(&self, kind: Kind, namespace: &str, name: &str, what: &What) {
        let Some(names) = self.followed.get(&(kind, namespace.into())) else { return };
        let name: Arc<str> = name.into();
        for (name, follower) in names.range((Arc::clone(&name), 0)..=(name, u64::MAX)) {
            self.put(*follower, Change { kind, name: Arc::clone(name), what: what.clone() });
        }
    }

    fn put(&self, follower: u64, change: Change) {
        let Some(mailbox) = self.mailboxes.get(&follower) else { return };
        let mut changes = lock(&mailbox.changes);
        if !changes.contains(&change) {
            changes.push(change);
        }
        mailbox.arrived.notify_one();
    }
}

#[cfg(test)]
mod tests;
