//! What has happened, according to etcd: every change, in commit order. Neither the operator nor the API server can
//! hide anything from it or add to it. A watch of the API server would not do: after a restart it knows nothing of what
//! its clients have missed.

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
    /// The API server's resource version: one counter for all objects.
    pub revision: u64,
    /// The plural.
    pub resource: String,
    pub name: String,
    /// The object before the change; absent if it was created.
    pub before: Option<Value>,
    /// The object after the change; absent if it was deleted.
    pub after: Option<Value>,
}

impl Change {
    /// The uid of the object.
    pub fn uid(&self) -> &str {
        let object = self.after.as_ref().or(self.before.as_ref()).unwrap();
        object["metadata"]["uid"].as_str().unwrap()
    }
}

/// The changes of a namespace's objects after `first` up to `last`, which has to be one of them.
pub fn read(folder: &Path, namespace: &str, first: u64, last: u64) -> Vec<Change> {
    // The path of a socket may have about 100 bytes only: relative to the project's folder, where tests run, it is
    // short.
    let socket = folder.join("etcd.sock");
    let here = std::env::current_dir().unwrap();
    let etcd = UnixStream::connect(socket.strip_prefix(here).unwrap_or(&socket)).unwrap();
    etcd.set_read_timeout(Some(DEADLINE)).unwrap();
    let bytes = |text: &str| json!(ByteString(text.into()));
    let request = json!({"create_request": {"key": bytes("/registry/aiapi.dev/"),
        "range_end": bytes("/registry/aiapi.dev0"), "start_revision": first + 1, "prev_kv": true}});
    let request = request.to_string();
    // With HTTP 1.0 an answer is not chunked.
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
