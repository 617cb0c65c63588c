//! Watches: what is sent to them, and how they begin.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, channel::mpsc};
use serde_json::{Value, json};

use crate::{
    builtin,
    kinds::{BuiltIn, Definition, Shape},
    list,
    options::WatchOptions,
    refusal::{Outcome, Refusal},
    request::Call,
    selectors::Selector,
    state::{State, Stored},
};

/// The events of a watch: a line of JSON each. It never ends by itself, unless the server has forgotten what it asks for.
#[derive(Debug)]
pub struct Watch {
    events: mpsc::UnboundedReceiver<Bytes>,
    timeout: Option<Duration>,
}

impl Watch {
    /// After how long the server ends it; if the request does not say, after half an hour to an hour.
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
}

impl Stream for Watch {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}

/// The server's side of a watch.
#[derive(Debug)]
pub struct Watcher {
    /// Empty for all namespaces.
    namespace: String,
    selector: Selector,
    /// Only what is newer is sent.
    after: u64,
    bookmarks: bool,
    sender: mpsc::UnboundedSender<Bytes>,
}

/// The line of an event.
fn line(type_: &str, object: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(object.len() + 40);
    line.put_slice(b"{\"type\":\"");
    line.put_slice(type_.as_bytes());
    line.put_slice(b"\",\"object\":");
    line.put_slice(object);
    line.put_slice(b"}\n");
    line.freeze()
}

impl Watcher {
    /// Tells it of a change; whether it is still there.
    pub fn changed(
        &self,
        of: &Definition,
        old: Option<&Arc<Stored>>,
        new: Option<&Arc<Stored>>,
        last: &Arc<Stored>,
    ) -> bool {
        if self.sender.is_closed() {
            return false;
        }
        if last.revision <= self.after {
            return true;
        }
        let takes = |stored: &&Arc<Stored>| self.takes(of, &stored.object);
        let type_ = match (old.filter(takes), new.filter(takes)) {
            (None, None) => return true,
            (None, Some(_)) => "ADDED",
            (Some(_), Some(_)) => "MODIFIED",
            (Some(old), None) if new.is_some() => {
                // It is not selected any more: as it was last selected, with the revision of the change.
                let mut object = Value::clone(&old.object);
                object["metadata"]["resourceVersion"] = last.revision.to_string().into();
                return self.send("DELETED", &serde_json::to_vec(&object).unwrap());
            }
            (Some(_), None) => "DELETED",
        };
        self.send(type_, &last.bytes)
    }

    fn takes(&self, of: &Definition, object: &Value) -> bool {
        let here =
            self.namespace.is_empty() || !of.namespaced || object["metadata"]["namespace"] == *self.namespace;
        here && self.selector.takes(object)
    }

    fn send(&self, type_: &str, object: &[u8]) -> bool {
        self.sender.unbounded_send(line(type_, object)).is_ok()
    }

    /// Sends a bookmark, if it has asked for them; whether it is still there.
    pub fn bookmark(&self, of: &Definition, revision: u64, initial_events_end: bool) -> bool {
        if !self.bookmarks || revision < self.after {
            return !self.sender.is_closed();
        }
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object = json!({"kind": of.kind, "apiVersion": of.api_version(), "metadata": metadata});
        if let Shape::BuiltIn(kind) = of.shape {
            let empty = builtin::empty(kind);
            object.as_object_mut().unwrap().extend(empty.as_object().unwrap().clone());
        }
        self.send("BOOKMARK", &serde_json::to_vec(&object).unwrap())
    }
}

/// Starts a watch.
pub fn start(state: &mut State, kind: usize, call: &Call) -> Outcome<Watch> {
    let definition = Arc::clone(&state.kinds[kind]);
    let options = WatchOptions::read(call, state.kubernetes)?;
    let selector =
        Selector::read(call.parameter("fieldSelector"), call.parameter("labelSelector"), &definition)?;
    let namespace = if definition.namespaced { call.namespace.clone() } else { String::new() };
    let (sender, events) = mpsc::unbounded();
    let watcher =
        Watcher { namespace, selector, after: state.revision, bookmarks: options.bookmarks, sender };
    let watch = Watch { events, timeout: options.timeout };
    match options.since {
        None if !options.initial_events => {}
        None => first_events(state, kind, &definition, &watcher, options.initial_events_end),
        Some(since) if since < state.compacted => {
            // Events have no cache: it is etcd that says so.
            let message = if definition.is(BuiltIn::Event) {
                "The resourceVersion for the provided watch is too old.".to_owned()
            } else {
                format!("too old resource version: {since} ({})", state.compacted)
            };
            let status = Refusal::expired(message).status();
            watcher.send("ERROR", &serde_json::to_vec(&status).unwrap());
            // The sender is dropped, so this watch ends.
            return Ok(watch);
        }
        Some(since) => missed_events(state, kind, &definition, &watcher, since),
    }
    let after = options.since.map_or(state.revision, |since| since.max(state.revision));
    state.watchers[kind].push(Watcher { after, ..watcher });
    Ok(watch)
}

/// The present objects, as events.
fn first_events(state: &State, kind: usize, of: &Definition, watcher: &Watcher, announce_end: bool) {
    for (_, stored) in state.all_of(kind, &watcher.namespace) {
        if watcher.selector.takes(&stored.object) {
            watcher.send("ADDED", &stored.bytes);
        }
    }
    if announce_end {
        watcher.bookmark(of, state.revision, true);
    }
}

/// What has happened since a revision.
fn missed_events(state: &State, kind: usize, of: &Definition, watcher: &Watcher, since: u64) {
    let missed = state.history.since(since).iter().filter(|version| version.kind == kind);
    let watcher = Watcher { after: since, selector: watcher.selector.clone(), ..watcher.copy() };
    for version in missed {
        let old = list::version_before(state, kind, &version.key, version.revision);
        let object = Arc::clone(&version.object);
        let bytes = Bytes::from(serde_json::to_vec(&*object).unwrap());
        let last = Arc::new(Stored::seen(object, bytes, version.revision));
        watcher.changed(of, old.as_ref(), Some(&last).filter(|_| !version.deleted), &last);
    }
}

impl Watcher {
    fn copy(&self) -> Self {
        Self {
            namespace: self.namespace.clone(),
            selector: Selector::default(),
            after: self.after,
            bookmarks: self.bookmarks,
            sender: self.sender.clone(),
        }
    }
}
