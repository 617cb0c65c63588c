//! A Kubernetes API server in memory, as far as the operator, the gateway and their tests ask it: the custom resources of
//! `crds/`, the built-in kinds beside them, what runs (Jobs, Deployments and their Pods), RBAC, and the shipped admission
//! policies.
//!
//! It is a deterministic state machine without a clock, threads or randomness of its own: [`Server::set_time`] sets its
//! time, and [`Server::handle`] answers one request at once. What a real API server does differently is listed in
//! `tests/differential/differences.rs`, which sends the same requests to both.

#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, reason = "a panic fails the test")]
#![allow(clippy::must_use_candidate, reason = "only tests use it")]

mod admission;
mod builtin;
mod cel;
mod create;
mod defaults;
mod delete;
mod discovery;
mod garbage;
mod handle;
mod history;
mod invalid;
mod kinds;
mod list;
mod manifests;
mod metadata;
mod names;
mod options;
mod ownership;
mod policies;
mod rbac;
mod refusal;
mod request;
mod scale;
mod schema;
mod selectors;
mod state;
mod times;
mod update;
mod users;
mod validate;
mod watch;
mod work_admission;
mod workloads;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use http::Request as HttpRequest;
use k8s_openapi::jiff::Timestamp;

use state::State;

pub use history::{Request, Version};
pub use users::User;
pub use watch::Watch;

/// The API server. Clones share its state; [`Server::fork`] copies it.
#[derive(Clone)]
pub struct Server(Arc<Mutex<State>>);

/// Which API server it is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kubernetes {
    /// The oldest supported one.
    V1_33,
    /// The newest.
    V1_37,
}

/// The answer to one request.
#[derive(Debug)]
pub enum Answer {
    Whole(http::Response<Bytes>),
    /// The head, and the events as they happen.
    Watch(http::Response<()>, Watch),
}

impl Server {
    /// One with the built-in kinds and the namespaces that every cluster has.
    pub fn new(kubernetes: Kubernetes, now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(State::new(kubernetes, now))))
    }

    /// A copy that goes on by itself. It has no watches.
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().fork())))
    }

    /// Sets the clock of the server.
    pub fn set_time(&self, now: Timestamp) {
        self.state().clock.set(now);
    }

    /// How long the server takes to enforce a change of an admission policy or a binding. At first it takes no time.
    pub fn set_policy_delay(&self, delay: Duration) {
        self.state().policies.delay = delay;
    }

    /// Leaves `managedFields` out from now on, as no real server does: they are most of what is written and read, and
    /// hardly anybody looks at them.
    pub fn leave_out_managed_fields(&self) {
        self.state().tracks_managers = false;
    }

    /// Creates or replaces what is in these manifests: `CustomResourceDefinitions` and objects of the kinds served.
    ///
    /// # Panics
    /// If it cannot be served as it is in the manifests: an unknown kind, or a CEL rule that `cel.rs` does not know.
    pub fn apply(&self, manifests: &str) {
        manifests::apply(&mut self.state(), manifests);
    }

    /// Answers a request. `agent` is the user agent.
    pub fn handle(&self, user: &User, agent: &str, request: HttpRequest<Bytes>) -> Answer {
        handle::handle(&mut self.state(), user, agent, request)
    }

    /// Every stored version of every object, in the order of their revisions.
    pub fn versions(&self) -> Vec<Version> {
        self.state().history.versions.clone()
    }

    /// Every answered request, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state().history.requests.clone()
    }

    /// The same two, taken out of the server, which has no past afterwards.
    pub fn take_history(&self) -> (Vec<Version>, Vec<Request>) {
        let history = std::mem::take(&mut self.state().history);
        (history.versions, history.requests)
    }

    /// The last revision.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// Sends a bookmark to each watch that has asked for them.
    pub fn bookmark(&self) {
        self.state().bookmark();
    }

    /// Forgets what was before this revision: watches from there and lists that continue from there get 410.
    pub fn compact(&self, revision: u64) {
        let mut state = self.state();
        state.compacted = state.compacted.max(revision.min(state.revision));
    }

    /// One step of the garbage collector and of the namespace controller: deletes objects whose owners are gone, finishes
    /// deletions that wait for dependents, and empties namespaces that are being deleted.
    pub fn collect_garbage(&self) {
        garbage::collect(&mut self.state());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("revision", &self.revision()).finish_non_exhaustive()
    }
}
