//! What is stored, and how it changes: one revision for each change, as in etcd.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::{
    Kubernetes,
    history::{History, Version},
    kinds::{BuiltIn, Definition, built_in},
    policies::Policies,
    rbac::Rbac,
    refusal::{Outcome, Refusal},
    times::Clock,
    users::{Identity, User},
    watch::Watcher,
};

/// What etcd takes: the object, its key, and what they are wrapped in.
const MOST_STORED: usize = 1_572_864;
/// What its client sends at most.
const MOST_SENT: usize = 2_097_152;
/// What etcd's request has besides the object and twice its key.
const WRAPPING: usize = 100;

/// A stored object.
#[derive(Debug)]
pub struct Stored {
    pub object: Arc<Value>,
    pub bytes: Bytes,
    pub revision: u64,
    /// Whether it is stored without the defaults that it is read with: the next write stores them, even if it changes
    /// nothing else.
    pub without_defaults: bool,
    /// Whether the garbage collector has to look at it: it has owners, or is being deleted.
    pub concerns_the_collector: bool,
}

/// By user and body.
pub type Reviews = Arc<Mutex<HashMap<(String, Bytes), Bytes>>>;

impl Stored {
    /// What was stored at a revision, and is only to be shown.
    pub fn seen(object: Arc<Value>, bytes: Bytes, revision: u64) -> Self {
        Self { object, bytes, revision, without_defaults: false, concerns_the_collector: false }
    }
}

pub struct State {
    pub kubernetes: Kubernetes,
    pub clock: Clock,
    pub revision: u64,
    /// What was before this revision is forgotten.
    pub compacted: u64,
    pub kinds: Vec<Arc<Definition>>,
    by_path: HashMap<(String, String), usize>,
    /// The objects of each kind, by their keys.
    pub objects: Vec<BTreeMap<Arc<str>, Arc<Stored>>>,
    pub watchers: Vec<Vec<Watcher>>,
    pub history: History,
    pub policies: Policies,
    pub rbac: Arc<Rbac>,
    /// Who has sent something.
    identities: HashMap<User, Option<Arc<Identity>>>,
    /// The answers to access reviews, until the rules change.
    pub reviews: Reviews,
    /// Whether objects have `managedFields`.
    pub tracks_managers: bool,
    /// The last revision that the garbage collector has seen.
    pub collected: Option<u64>,
    /// About the request that is being answered.
    pub warnings: Vec<String>,
    ids: u64,
}

impl State {
    pub fn new(kubernetes: Kubernetes, now: Timestamp) -> Self {
        let mut state = Self {
            kubernetes,
            clock: Clock::at(now),
            revision: 1,
            compacted: 0,
            kinds: Vec::new(),
            by_path: HashMap::new(),
            objects: Vec::new(),
            watchers: Vec::new(),
            history: History::default(),
            policies: Policies::default(),
            rbac: Arc::default(),
            identities: HashMap::new(),
            reviews: Reviews::default(),
            tracks_managers: true,
            collected: None,
            warnings: Vec::new(),
            ids: 0,
        };
        for kind in built_in() {
            state.add_kind(kind);
        }
        for namespace in ["default", "kube-system"] {
            let manifest = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}");
            crate::manifests::apply(&mut state, &manifest);
        }
        state
    }

    pub fn fork(&self) -> Self {
        Self {
            kubernetes: self.kubernetes,
            clock: self.clock.clone(),
            revision: self.revision,
            compacted: self.compacted,
            kinds: self.kinds.clone(),
            by_path: self.by_path.clone(),
            objects: self.objects.clone(),
            watchers: self.kinds.iter().map(|_| Vec::new()).collect(),
            history: self.history.fork(),
            policies: self.policies.clone(),
            rbac: Arc::clone(&self.rbac),
            identities: self.identities.clone(),
            reviews: Arc::clone(&self.reviews),
            tracks_managers: self.tracks_managers,
            collected: None,
            warnings: Vec::new(),
            ids: self.ids,
        }
    }

    /// Serves a kind from now on; one that is served already gets this definition.
    pub fn add_kind(&mut self, kind: Arc<Definition>) {
        let path = (kind.group.clone(), kind.plural.clone());
        if let Some(at) = self.by_path.get(&path) {
            self.kinds[*at] = kind;
            return;
        }
        self.by_path.insert(path, self.kinds.len());
        self.kinds.push(kind);
        self.objects.push(BTreeMap::new());
        self.watchers.push(Vec::new());
    }

    /// The index of the kind with this plural.
    pub fn kind(&self, group: &str, version: &str, plural: &str) -> Option<usize> {
        let at = *self.by_path.get(&(group.to_owned(), plural.to_owned()))?;
        (self.kinds[at].version == version).then_some(at)
    }

    /// The index of a built-in kind.
    pub fn built_in(&self, kind: BuiltIn) -> usize {
        self.kinds.iter().position(|definition| definition.is(kind)).unwrap()
    }

    /// The objects of a kind, in one namespace or in all, in the order of their keys.
    pub fn all_of(&self, kind: usize, namespace: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<Stored>)> {
        let prefix = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let from = (Bound::Included(Arc::from(prefix.as_str())), Bound::Unbounded);
        self.objects[kind].range::<Arc<str>, _>(from).take_while(move |(key, _)| key.starts_with(&prefix))
    }

    /// Whether there is an active namespace of this name, or one that is being deleted.
    pub fn namespace(&self, name: &str) -> Option<&Arc<Stored>> {
        self.objects[self.built_in(BuiltIn::Namespace)].get(name)
    }

    /// Name and groups of a user; none if the credentials are not accepted.
    pub fn identity(&mut self, user: &User) -> Option<Arc<Identity>> {
        if let Some(known) = self.identities.get(user) {
            return known.clone();
        }
        let identity = user.identity().map(Arc::new);
        self.identities.insert(user.clone(), identity.clone());
        identity
    }

    /// An identifier in the form of a uid, which occurs once.
    pub fn new_id(&mut self) -> String {
        self.ids += 1;
        let (a, b) = (mix(self.ids), mix(mix(self.ids) ^ 0x9e37_79b9_7f4a_7c15));
        // Version 4, and the variant that goes with it.
        let a = (a & !0xf000) | 0x4000;
        let b = (b & !(0b11 << 62)) | (0b10 << 62);
        let digits = (0..32u32).map(|nth| (if nth < 16 { a } else { b }) >> (60 - 4 * (nth % 16)) & 0xf);
        let mut id = String::with_capacity(36);
        for (nth, digit) in digits.enumerate() {
            if matches!(nth, 8 | 12 | 16 | 20) {
                id.push('-');
            }
            id.push(char::from(b"0123456789abcdef"[usize::try_from(digit).unwrap()]));
        }
        id
    }

    /// The end of a generated name.
    pub fn new_suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        self.ids += 1;
        let mut bits = mix(self.ids);
        let letter = |_| {
            let at = usize::try_from(bits % LETTERS.len() as u64).unwrap();
            bits /= LETTERS.len() as u64;
            char::from(LETTERS[at])
        };
        (0..5).map(letter).collect()
    }

    /// Stores an object.
    pub fn put(&mut self, kind: usize, key: &str, object: Value) -> Outcome<Arc<Stored>> {
        self.put_as(kind, key, object, false)
    }

    /// Stores an object, which may be stored without its defaults.
    pub fn put_as(
        &mut self,
        kind: usize,
        key: &str,
        mut object: Value,
        without_defaults: bool,
    ) -> Outcome<Arc<Stored>> {
        let revision = self.revision + 1;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        whole_numbers(&mut object);
        let bytes = Bytes::from(serde_json::to_vec(&object).unwrap());
        let size = bytes.len() + 2 * key.len() + WRAPPING;
        if size > MOST_SENT {
            let message = format!(
                "rpc error: code = ResourceExhausted desc = trying to send message larger than max ({size} vs. {MOST_SENT})"
            );
            return Err(Refusal::unclassified(message));
        }
        if size > MOST_STORED {
            return Err(Refusal::unclassified("etcdserver: request is too large"));
        }
        let set = |field: &str| !object["metadata"][field].is_null();
        let concerns_the_collector = set("ownerReferences") || set("deletionTimestamp");
        let object = Arc::new(object);
        let stored = Arc::new(Stored { object, bytes, revision, without_defaults, concerns_the_collector });
        let key: Arc<str> = key.into();
        let old = self.objects[kind].insert(Arc::clone(&key), Arc::clone(&stored));
        self.changed(kind, &key, (old.as_ref(), Some(&stored)), &stored);
        Ok(stored)
    }

    /// Removes an object; returns it with the revision of its removal.
    pub fn remove(&mut self, kind: usize, key: &str) -> Arc<Stored> {
        let revision = self.revision + 1;
        let (key, old) = self.objects[kind].remove_entry(key).unwrap();
        let mut object = Value::clone(&old.object);
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        let bytes = Bytes::from(serde_json::to_vec(&object).unwrap());
        let last = Arc::new(Stored::seen(Arc::new(object), bytes, revision));
        self.changed(kind, &key, (Some(&old), None), &last);
        last
    }

    fn changed(
        &mut self,
        kind: usize,
        key: &Arc<str>,
        (old, new): (Option<&Arc<Stored>>, Option<&Arc<Stored>>),
        last: &Arc<Stored>,
    ) {
        self.revision = last.revision;
        let definition = Arc::clone(&self.kinds[kind]);
        let text = |field: &str| last.object["metadata"][field].as_str().unwrap_or_default().to_owned();
        self.history.versions.push(Version {
            revision: last.revision,
            group: definition.group.clone(),
            plural: definition.plural.clone(),
            namespace: text("namespace"),
            name: text("name"),
            uid: text("uid"),
            deleted: new.is_none(),
            object: Arc::clone(&last.object),
            time: self.clock.now,
            kind,
            key: Arc::clone(key),
        });
        self.watchers[kind].retain(|watcher| watcher.changed(&definition, old, new, last));
        if let crate::kinds::Shape::BuiltIn(built_in) = definition.shape {
            self.enforce(built_in);
        }
    }

    /// Takes in a change of what is enforced.
    fn enforce(&mut self, changed: BuiltIn) {
        match changed {
            BuiltIn::Policy | BuiltIn::PolicyBinding => {
                let objects = |kind| -> Vec<_> {
                    let all = self.objects[self.built_in(kind)].values();
                    all.map(|stored| Arc::clone(&stored.object)).collect()
                };
                let (policies, bindings) = (objects(BuiltIn::Policy), objects(BuiltIn::PolicyBinding));
                self.policies.changed(self.clock.now, &policies, &bindings);
            }
            BuiltIn::Role | BuiltIn::ClusterRole | BuiltIn::RoleBinding | BuiltIn::ClusterRoleBinding => {
                self.rbac = Arc::new(Rbac::of(self));
                self.reviews = Reviews::default();
            }
            _ => {}
        }
    }

    /// Sends a bookmark to each watch that has asked for them.
    pub fn bookmark(&mut self) {
        let revision = self.revision;
        for (kind, watchers) in self.kinds.iter().zip(&mut self.watchers) {
            watchers.retain(|watcher| watcher.bookmark(kind, revision, false));
        }
    }
}

/// Makes integers of numbers that are whole, as they are after they were stored.
pub fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 9e15);
            if let Some(whole) = whole.and_then(|number| format!("{number}").parse::<i64>().ok()) {
                *value = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// A permutation that looks random (splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
