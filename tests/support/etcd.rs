//! etcd itself, beneath the API server: what stands there the API server serves, whoever has written it and however.

use std::{fs::File, os::fd::AsRawFd, path::Path};

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::control_plane::ControlPlane;

/// The most bytes of one request: etcd refuses 1.5 MiB.
const REQUEST: usize = 1 << 20;

/// The most writes of one request: etcd refuses more than 128.
const WRITES: usize = 100;

/// The key under which the API server keeps an object of this project's group.
pub fn key(plural: &str, namespace: &str, name: &str) -> String {
    format!("/registry/aiapi.dev/{plural}/{namespace}/{name}")
}

/// The object under a key, as it is stored.
pub async fn get(plane: &ControlPlane, key: &str) -> Option<Value> {
    let answer = ask(plane, "range", &json!({"key": bytes(key)})).await;
    let value: ByteString = serde_json::from_value(answer.pointer("/kvs/0/value")?.clone()).unwrap();
    Some(serde_json::from_slice(&value.0).unwrap())
}

/// Stores values under their keys, as many at once as etcd takes.
pub async fn put(plane: &ControlPlane, values: impl IntoIterator<Item = (String, String)>) {
    let (mut writes, mut size) = (Vec::new(), 0);
    for (key, value) in values {
        if !writes.is_empty() && (writes.len() == WRITES || size + value.len() > REQUEST) {
            write(plane, std::mem::take(&mut writes)).await;
            size = 0;
        }
        size += value.len();
        writes.push(json!({"requestPut": {"key": bytes(&key), "value": bytes(&value)}}));
    }
    if !writes.is_empty() {
        write(plane, writes).await;
    }
}

/// Takes away all whose key begins so.
pub async fn remove_all(plane: &ControlPlane, prefix: &str) {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().unwrap() += 1;
    ask(plane, "deleterange", &json!({"key": bytes(prefix), "range_end": ByteString(end)})).await;
}

/// Gives back to the disk what the writes so far have taken, but for what stands there now.
pub async fn compact(plane: &ControlPlane) {
    let now = ask(plane, "range", &json!({"key": bytes("compact")})).await;
    let revision = now["header"]["revision"].clone();
    ask(plane, "compaction", &json!({"revision": revision, "physical": true})).await;
    let folder = "/v3/maintenance/defragment";
    post(plane, folder, &json!({})).await;
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

async fn write(plane: &ControlPlane, writes: Vec<Value>) {
    let answer = ask(plane, "txn", &json!({"success": writes})).await;
    assert_eq!(answer["succeeded"], true, "{answer}");
}

async fn ask(plane: &ControlPlane, what: &str, body: &Value) -> Value {
    post(plane, &format!("/v3/kv/{what}"), body).await
}

/// One request to etcd's JSON gateway, over a connection of its own.
async fn post(plane: &ControlPlane, path: &str, body: &Value) -> Value {
    let mut connection = connect(&plane.folder).await;
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n", body.len());
    connection.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{head}: {body}");
    serde_json::from_str(body).unwrap()
}

/// The path of a socket may have about 100 bytes only: this one is as long as a number, whatever the folder's is.
async fn connect(folder: &Path) -> UnixStream {
    let folder = File::open(folder).unwrap();
    UnixStream::connect(format!("/proc/self/fd/{}/etcd.sock", folder.as_raw_fd())).await.unwrap()
}
