//! Reads: one object, or a list of them, page by page.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use crate::{
    kinds::{BuiltIn, Definition},
    options::ListOptions,
    refusal::{Outcome, Refusal},
    request::Call,
    selectors::Selector,
    state::{State, Stored},
};

/// What is said about a token of a revision that is forgotten.
const TOKEN_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a \
    new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
    results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
    deleted between the time the first chunk was returned and now may show up in the list.";

/// Reads one object.
pub fn get(state: &State, kind: usize, call: &Call) -> Outcome<Bytes> {
    let definition = &state.kinds[kind];
    let key = definition.key(&call.namespace, &call.name);
    let found = state.objects[kind].get(key.as_str());
    let stored = found.ok_or_else(|| Refusal::not_found(definition, &call.name))?;
    Ok(stored.bytes.clone())
}

/// A place in a list.
#[derive(Debug)]
struct Token {
    /// The revision of the list, or none: the present one, whatever it is.
    revision: Option<u64>,
    /// The key from which it goes on, after what all keys of the list begin with.
    start: String,
}

impl Token {
    fn read(text: &str) -> Outcome<Self> {
        let invalid = |why: &str| Refusal::bad_request(format!("continue key is not valid: {why}"));
        let decoded = URL_SAFE_NO_PAD.decode(text).map_err(|error| invalid(&error.to_string()))?;
        let fields: Value = serde_json::from_slice(&decoded).map_err(|error| invalid(&error.to_string()))?;
        let start = fields["start"].as_str().unwrap_or_default();
        let revision = fields["rv"].as_i64().unwrap_or_default();
        if fields["v"] != "meta.k8s.io/v1" || start.is_empty() || revision == 0 {
            return Err(invalid("encoded start key empty (version meta.k8s.io/v1)"));
        }
        Ok(Self { revision: u64::try_from(revision).ok(), start: start.to_owned() })
    }

    fn text(&self) -> String {
        let revision = self.revision.map_or(-1, |revision| i64::try_from(revision).unwrap());
        let fields = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": self.start});
        URL_SAFE_NO_PAD.encode(fields.to_string())
    }
}

/// A page of a list, with the metadata of the answer.
struct Page {
    items: Vec<Arc<Stored>>,
    revision: u64,
    token: Option<String>,
    /// How many are left, where it is known.
    remaining: Option<usize>,
}

/// Reads a list, or a page of one.
pub fn list(state: &State, kind: usize, call: &Call) -> Outcome<Bytes> {
    let definition = &state.kinds[kind];
    let options = ListOptions::read(call, state.kubernetes)?;
    let selector =
        Selector::read(call.parameter("fieldSelector"), call.parameter("labelSelector"), definition)?;
    let page = page(state, kind, call, &options, &selector)?;
    Ok(if call.metadata_only { metadata_of(&page) } else { answer(definition, &page) })
}

fn page(
    state: &State,
    kind: usize,
    call: &Call,
    options: &ListOptions,
    selector: &Selector,
) -> Outcome<Page> {
    let namespace = if state.kinds[kind].namespaced { call.namespace.as_str() } else { "" };
    let token = options.token.as_deref().map(Token::read).transpose()?;
    if token.is_some() && options.revision.is_some_and(|revision| revision != 0) {
        let message = "specifying resource version is not allowed when using continue";
        return Err(Refusal::bad_request(message));
    }
    let asked = match &token {
        Some(token) => token.revision,
        None => options.revision.filter(|_| options.exact),
    };
    let newest = asked.or(options.revision).unwrap_or_default();
    if newest > state.revision {
        return Err(too_new(newest, state.revision));
    }
    let revision = asked.unwrap_or(state.revision);
    let start = token.as_ref().map_or("", |token| token.start.as_str());
    if revision < state.compacted {
        let mut refusal = Refusal::expired(TOKEN_EXPIRED);
        match token {
            Some(token) => refusal.continues = Some(Token { revision: None, ..token }.text()),
            None => "The resourceVersion for the provided list is too old.".clone_into(&mut refusal.message),
        }
        return Err(refusal);
    }
    let prefix = if namespace.is_empty() { 0 } else { namespace.len() + 1 };
    let all = objects_at(state, kind, namespace, revision);
    let mut rest = all.into_iter().filter(|(key, _)| &key[prefix..] >= start);
    // The cache, which answers for any version, has no pages; Events have no cache.
    let limit = options
        .limit
        .filter(|_| options.revision != Some(0) || token.is_some() || state.kinds[kind].is(BuiltIn::Event))
        .unwrap_or(usize::MAX);
    let mut items = Vec::new();
    let mut last = String::new();
    for (key, stored) in rest.by_ref().filter(|(_, stored)| selector.takes(&stored.object)).take(limit) {
        key[prefix..].clone_into(&mut last);
        items.push(stored);
    }
    let left = rest.count();
    let more = left > 0 && items.len() == limit;
    let token = more.then(|| Token { revision: Some(revision), start: format!("{last}\0") }.text());
    let remaining = Some(left).filter(|_| more && selector.is_empty());
    Ok(Page { items, revision, token, remaining })
}

fn too_new(asked: u64, now: u64) -> Refusal {
    let message = format!("Timeout: Too large resource version: {asked}, current: {now}");
    let mut refusal = Refusal::new(504, "Timeout", message);
    let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    refusal.details = Some(json!({"causes": [cause], "retryAfterSeconds": 1}));
    refusal
}

/// The objects of a kind at a revision, in the order of their keys.
fn objects_at(state: &State, kind: usize, namespace: &str, revision: u64) -> Vec<(Arc<str>, Arc<Stored>)> {
    let changed = state.history.since(revision).iter().filter(|version| version.kind == kind);
    let now = || state.all_of(kind, namespace).map(|(key, stored)| (Arc::clone(key), Arc::clone(stored)));
    let mut changed = changed.map(|version| Arc::clone(&version.key)).collect::<Vec<_>>();
    if changed.is_empty() {
        return now().collect();
    }
    changed.sort_unstable();
    changed.dedup();
    let mut objects: Vec<_> = now().filter(|(key, _)| changed.binary_search(key).is_err()).collect();
    let prefix = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    for key in changed.into_iter().filter(|key| key.starts_with(&prefix)) {
        if let Some(stored) = version_before(state, kind, &key, revision + 1) {
            objects.push((key, stored));
        }
    }
    objects.sort_by(|(a, _), (b, _)| a.cmp(b));
    objects
}

/// An object as it was before a revision, if there was one.
pub fn version_before(state: &State, kind: usize, key: &str, revision: u64) -> Option<Arc<Stored>> {
    let versions = &state.history.versions;
    let end = versions.partition_point(|version| version.revision < revision);
    let version = versions[..end].iter().rev().find(|v| v.kind == kind && *v.key == *key)?;
    if version.deleted {
        return None;
    }
    let bytes = Bytes::from(serde_json::to_vec(&*version.object).unwrap());
    Some(Arc::new(Stored::seen(Arc::clone(&version.object), bytes, version.revision)))
}

/// The metadata of an answer.
fn own_metadata(page: &Page) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), page.revision.to_string().into());
    if let Some(token) = &page.token {
        metadata.insert("continue".into(), token.as_str().into());
    }
    if let Some(remaining) = page.remaining {
        metadata.insert("remainingItemCount".into(), remaining.into());
    }
    metadata
}

/// The same objects without anything but their metadata; a list of none has null in place of its items.
fn metadata_of(page: &Page) -> Bytes {
    let item = |stored: &Arc<Stored>| json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": stored.object["metadata"]});
    let items: Vec<Value> = page.items.iter().map(item).collect();
    let items = if items.is_empty() { Value::Null } else { items.into() };
    let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": own_metadata(page),
        "items": items});
    serde_json::to_vec(&list).unwrap().into()
}

fn answer(definition: &Definition, page: &Page) -> Bytes {
    let mut metadata = own_metadata(page);
    if definition.is_custom() {
        metadata.entry("continue").or_insert_with(|| "".into());
    }
    let head = json!({
        "apiVersion": definition.api_version(), "kind": format!("{}List", definition.kind), "metadata": metadata,
    });
    let mut head = head.to_string();
    head.pop();
    let size = page.items.iter().map(|item| item.bytes.len() + 1).sum::<usize>();
    let mut bytes = BytesMut::with_capacity(head.len() + size + 20);
    bytes.put_slice(head.as_bytes());
    bytes.put_slice(b",\"items\":[");
    for (at, item) in page.items.iter().enumerate() {
        if at > 0 {
            bytes.put_u8(b',');
        }
        if definition.is_custom() {
            bytes.put_slice(&item.bytes);
        } else {
            // The items of built-in kinds do not name their kind.
            let mut object = Value::clone(&item.object);
            let fields = object.as_object_mut().unwrap();
            fields.remove("kind");
            fields.remove("apiVersion");
            bytes.put_slice(&serde_json::to_vec(&object).unwrap());
        }
    }
    bytes.put_slice(b"]}");
    bytes.freeze()
}
