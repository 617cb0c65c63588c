//! What has happened, as etcd tells it: every change, in the one order in which they took hold. Neither the operator nor
//! the API server can keep anything from it or add to it. A watch of the API server would not do: one that is
//! restarted knows nothing of what its clients have missed.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use support::DEADLINE;

/// One change of an object of the group `aiapi.dev`.
#[derive(Clone, Debug)]
pub struct Change {
    /// What the API server calls the resource version: they count up through all objects.
    pub revision: u64,
    /// The plural.
    pub resource: String,
    pub name: String,
    /// What the object was; absent if it was made.
    pub before: Option<Value>,
    /// What it is now; absent if it was deleted.
    pub after: Option<Value>,
}

impl Change {
    /// The uid of the object.
    pub fn uid(&self) -> &str {
        let object = self.after.as_ref().or(self.before.as_ref()).unwrap();
        object["metadata"]["uid"].as_str().unwrap()
    }
}

/// The changes of a namespace's objects from the one after `first` to `last`, which has to be one of them.
pub fn read(folder: &Path, namespace: &str, first: u64, last: u64) -> Vec<Change> {
    // The path of a socket may have about 100 bytes only: from the project's folder, where tests run, it is short.
    let socket = folder.join("etcd.sock");
    let here = std::env::current_dir().unwrap();
    let etcd = UnixStream::connect(socket.strip_prefix(here).unwrap_or(&socket)).unwrap();
    etcd.set_read_timeout(Some(DEADLINE)).unwrap();
    let bytes = |text: &str| json!(ByteString(text.into()));
    let request = json!({"create_request": {"key": bytes("/registry/aiapi.dev/"),
        "range_end": bytes("/registry/aiapi.dev0"), "start_revision": first + 1, "prev_kv": true}});
    let request = request.to_string();
    // In version 1.0 an answer comes as it is, not in chunks.
    let head = format!("POST /v3/watch HTTP/1.0\r\nContent-Length: {}\r\n\r\n", request.len());
    (&etcd).write_all([head, request].concat().as_bytes()).unwrap();

    let mut changes = Vec::new();
    for line in BufReader::new(etcd).lines().map(Result::unwrap).skip_while(|line| !line.starts_with('{')) {
        let message: Value = serde_json::from_str(&line).unwrap();
        let result = &message["result"];
        assert!(result.is_object() && result["canceled"] != true, "etcd has no such history: {line}");
        for event in result["events"].as_array().into_iter().flatten() {
            let change = change(event, namespace);
            let revision = number(&event["kv"]["mod_revision"]);
            changes.extend(change);
            if revision >= last {
                return changes;
            }
        }
    }
    panic!("etcd's history ends before {last}");
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

fn change(event: &Value, namespace: &str) -> Option<Change> {
    let bytes = |at: &Value| at.as_str().map(|_| serde_json::from_value::<ByteString>(at.clone()).unwrap().0);
    let key = String::from_utf8(bytes(&event["kv"]["key"])?).unwrap();
    let mut parts = key.rsplit('/');
    let (name, of, resource) = (parts.next()?, parts.next()?, parts.next()?);
    let object = |kv: &Value| bytes(&kv["value"]).map(|json| serde_json::from_slice(&json).unwrap());
    (of == namespace).then(|| Change {
        revision: number(&event["kv"]["mod_revision"]),
        resource: resource.into(),
        name: name.into(),
        before: object(&event["prev_kv"]),
        after: object(&event["kv"]),
    })
}
