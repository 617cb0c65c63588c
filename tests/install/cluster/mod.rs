//! The operator finds the cluster as kubectl does, or says why not: the same kubeconfig, files and variables are given
//! to `kubectl get --raw /version` and to the operator, row by row.
//!
//! | what | works as with kubectl | is refused with a sentence | is waited out |
//! |---|---|---|---|
//! | which kubeconfig | a list with missing, empty and doubled files and empty names, relative ones, the first that has a name wins, `HOME`, empty `KUBECONFIG` and `AI_API_...`, empty `kind`, UTF-8 with a mark, line breaks in base64 | none, all missing, a folder, unreadable, no YAML, two documents, another kind, a name twice, no context | |
//! | context, cluster, user | paths relative to their own file, no user at all | what does not exist, is empty or contradicts itself | |
//! | server | with a path, plain HTTP without credentials | no scheme, another scheme, credentials, an impossible port, no API server behind it (4xx, redirect, a page) | nothing listens, no such name, 5xx, silence |
//! | credentials | token, token file (LF, CRLF, blanks), both, name and password, exec plugin, `as` | wrong ones (401), a line break in a token, an empty, missing or binary token file, an auth-provider, a plugin that is not there, fails or says nothing, `as-groups` alone | |
//! | trust | a bundle with other things in it, CRLF, an authority of X.509 version 1, a leaf that signed itself, `tls-server-name`, `insecure-skip-tls-verify` | another authority, a certificate that has expired, is not valid yet, is for another name or an authority's own, no certificate in the bundle | |
//! | client certificate | RSA, ECDSA and Ed25519, PKCS#1, SEC1 and PKCS#8 | the key of another, encrypted, none, version 1, P-521, not accepted by the server | |
//! | proxy | `HTTPS_PROXY` in both spellings, without a scheme, `NO_PROXY`, `proxy-url` of all three kinds, with credentials | malformed, another kind, credentials that are wrong or for SOCKS5, plain HTTP through one | one that is away, or what is behind it |
//! | output | a closed pipe, a full disk, a log that cannot be written | | |

mod compare;
mod credentials;
mod kubeconfigs;
mod output;
mod proxies;
mod servers;
mod trust;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{built, control_plane::ControlPlane};

/// This test's own folder, initially empty.
fn folder(name: &str) -> PathBuf {
    let folder = built::folder().join("cluster-files").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a file there.
fn file(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The parts of the admin's kubeconfig: the server's URL, the file of its authority, the token.
fn admin() -> (String, String, String) {
    let text = std::fs::read_to_string(ControlPlane::get().admin_kubeconfig()).unwrap();
    let config: Value = serde_saphyr::from_str(&text).unwrap();
    let cluster = &config["clusters"][0]["cluster"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (
        text(&cluster["server"]),
        text(&cluster["certificate-authority"]),
        text(&config["users"][0]["user"]["token"]),
    )
}

/// A kubeconfig with one context.
fn kubeconfig(cluster: &Value, user: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": "main",
        "clusters": [{"name": "main", "cluster": cluster}],
        "users": [{"name": "main", "user": user}],
        "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main"}}]})
}
