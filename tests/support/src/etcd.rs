//! Direct access to etcd, bypassing the validation of the API server, which serves whatever etcd has.

use std::{fs::File, os::fd::AsRawFd, path::Path};

use futures::{StreamExt, stream};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use super::control_plane::ControlPlane;

/// The most writes in flight.
const IN_FLIGHT: usize = 16;

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

/// Stores values under their keys, each in its own revision: the API server's watches lose events that share one.
pub async fn put(plane: &ControlPlane, values: impl IntoIterator<Item = (String, String)>) {
    let put = |(key, value): (String, String)| async move {
        ask(plane, "put", &json!({"key": bytes(&key), "value": bytes(&value)})).await;
    };
    stream::iter(values).for_each_concurrent(IN_FLIGHT, put).await;
}

/// Deletes these keys, each in its own revision.
pub async fn remove(plane: &ControlPlane, keys: impl IntoIterator<Item = String>) {
    let remove = |key: String| async move {
        ask(plane, "deleterange", &json!({"key": bytes(&key)})).await;
    };
    stream::iter(keys).for_each_concurrent(IN_FLIGHT, remove).await;
}

/// Compacts and defragments: frees the disk space of earlier revisions.
pub async fn compact(plane: &ControlPlane) {
    let now = ask(plane, "range", &json!({"key": bytes("compact")})).await;
    let revision = now["header"]["revision"].clone();
    ask(plane, "compaction", &json!({"revision": revision, "physical": true})).await;
    post(plane, "/v3/maintenance/defragment", &json!({})).await;
}

fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

async fn ask(plane: &ControlPlane, what: &str, body: &Value) -> Value {
    post(plane, &format!("/v3/kv/{what}"), body).await
}

/// One request to etcd's JSON gateway, over a new connection.
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

/// The path of a socket may have about 100 bytes only, which that of the folder may exceed: so it goes through /proc.
async fn connect(folder: &Path) -> UnixStream {
    let folder = File::open(folder).unwrap();
    UnixStream::connect(format!("/proc/self/fd/{}/etcd.sock", folder.as_raw_fd())).await.unwrap()
}
