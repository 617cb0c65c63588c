//! What has happened: every stored version, every answered request.

use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// An object at one time.
#[derive(Clone, Debug)]
pub struct Version {
    /// The revision that made this change.
    pub revision: u64,
    pub group: String,
    /// The plural, such as `executions`.
    pub plural: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Whether it was deleted by this change.
    pub deleted: bool,
    pub object: Arc<Value>,
    pub time: Timestamp,
    /// Which of the kinds of the server it is of, and its key there.
    pub(crate) kind: usize,
    pub(crate) key: Arc<str>,
}

/// An answered request.
#[derive(Clone, Debug)]
pub struct Request {
    pub verb: &'static str,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub code: u16,
    /// As it was sent: an object, a patch, or the options of a deletion.
    pub body: Bytes,
    pub dry_run: bool,
    /// The user's name.
    pub user: String,
    /// The user agent.
    pub agent: String,
    /// When it was received and answered, which is the same moment.
    pub time: Timestamp,
    /// The last revision when it was answered; its own, if it has changed anything.
    pub revision: u64,
}

#[derive(Clone, Debug, Default)]
pub struct History {
    pub versions: Vec<Version>,
    pub requests: Vec<Request>,
}

/// How much happens in most histories.
const USUAL: usize = 512;

impl History {
    /// A copy that has room for what comes.
    pub fn fork(&self) -> Self {
        let mut copy = Self { versions: Vec::with_capacity(USUAL), requests: Vec::with_capacity(USUAL) };
        copy.versions.extend_from_slice(&self.versions);
        copy.requests.extend_from_slice(&self.requests);
        copy
    }

    /// The versions after a revision.
    pub fn since(&self, revision: u64) -> &[Version] {
        let from = self.versions.partition_point(|version| version.revision <= revision);
        &self.versions[from..]
    }
}
