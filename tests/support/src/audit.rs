//! The API server's audit log: who requested what. The operator has no influence on it.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// One answered request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its audit id, which a client may choose.
    pub id: String,
    pub verb: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub code: u64,
    pub body: Value,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// Which of its user's tokens it was sent with.
    pub token: String,
    /// The user agent.
    pub agent: String,
    /// When it was received and answered: RFC 3339, so that sorting as text sorts by time.
    pub received: String,
    pub answered: String,
}

impl Request {
    /// Whether it writes to an Execution or Deployment.
    pub fn is_target_write(&self) -> bool {
        self.is_target() && matches!(self.verb.as_str(), "patch" | "update" | "delete" | "deletecollection")
    }

    /// Whether it is about Executions or Deployments.
    pub fn is_target(&self) -> bool {
        matches!(self.resource.as_str(), "executions" | "deployments")
    }

    /// Whether it writes the status of a BulkUpdate.
    pub fn is_record(&self) -> bool {
        self.resource == "bulkupdates" && self.subresource == "status"
    }

    pub fn succeeded(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The resource version that guards it.
    pub fn guard(&self) -> Option<&str> {
        let at = if self.verb == "delete" {
            "/preconditions/resourceVersion"
        } else {
            "/metadata/resourceVersion"
        };
        self.body.pointer(at)?.as_str()
    }

    /// Whether promise 11 of docs/guarantees.md counts it among the other requests of a BulkUpdate: reads of the flag, reads and
    /// writes of the BulkUpdate.
    pub fn is_overhead(&self) -> bool {
        matches!(self.resource.as_str(), "configmaps" | "bulkupdates" | "executions" | "deployments")
            && !matches!(self.verb.as_str(), "watch" | "list")
            && !(self.is_target_write() && self.succeeded())
    }
}

/// How many other requests these accepted writes may have cost: five, and for each second that the writing took a reading of the flag
/// and a status more (promise 11 of docs/guarantees.md). The second of a reading begins before the first write that rests on it.
pub fn most_overhead(writes: &[&Request]) -> usize {
    let times = |of: fn(&Request) -> &str| writes.iter().map(move |r| of(r).parse::<Timestamp>().unwrap());
    let (first, last) = (times(|r| &r.received).min().unwrap(), times(|r| &r.answered).max().unwrap());
    5 + 2 * usize::try_from((last.duration_since(first).as_millis() + 500) / 1000).unwrap()
}

/// The requests of one user (of all, if `user` is empty) in the order in which they were received, from this offset in the log.
pub fn read(log: &Path, from: u64, user: &str) -> Vec<Request> {
    let mut bytes = Vec::new();
    if let Ok(mut log) = File::open(log) {
        log.seek(SeekFrom::Start(from)).unwrap();
        log.read_to_end(&mut bytes).unwrap();
    }
    // Request bodies are logged as they were sent, which need not be UTF-8.
    let text = String::from_utf8_lossy(&bytes);
    // Most lines belong to other tests, and parsing them takes long.
    let lines = text.lines().filter(|line| line.contains(user));
    let entries = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_user = entries.filter(|e| user.is_empty() || e["user"]["username"] == user);
    let answered = of_user.filter(|e| e["stage"] == "ResponseComplete");
    let mut requests: Vec<_> = answered.map(|e| request(&e)).collect();
    requests.sort_by(|a, b| a.received.cmp(&b.received));
    requests
}

/// The requests of service accounts, read incrementally as the log grows.
#[derive(Default)]
pub struct Tail {
    read: u64,
    rest: Vec<u8>,
    by_user: HashMap<String, Vec<Request>>,
}

impl Tail {
    /// The requests of one of them, in the order in which they were received.
    pub fn read(&mut self, log: &Path, user: &str) -> Vec<Request> {
        let mut file = File::open(log).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        self.read += file.read_to_end(&mut self.rest).unwrap() as u64;
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        for line in String::from_utf8(lines).unwrap().lines().filter(|l| l.contains("system:serviceaccount:"))
        {
            let entry: Value = serde_json::from_str(line).unwrap();
            let user = entry["user"]["username"].as_str().unwrap_or_default();
            if entry["stage"] == "ResponseComplete" {
                self.by_user.entry(user.to_owned()).or_default().push(request(&entry));
            }
        }
        let mut requests = self.by_user.get(user).cloned().unwrap_or_default();
        requests.sort_by(|a, b| a.received.cmp(&b.received));
        requests
    }
}

fn request(entry: &Value) -> Request {
    let text = |at: &str| entry.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    Request {
        id: text("/auditID"),
        verb: text("/verb"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        code: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
        body: entry["requestObject"].clone(),
        token: text("/user/extra/authentication.kubernetes.io~1credential-id/0"),
        dry_run: text("/requestURI").contains("dryRun=All"),
        agent: text("/userAgent"),
        received: text("/requestReceivedTimestamp"),
        answered: text("/stageTimestamp"),
    }
}
