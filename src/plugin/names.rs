//! How kinds, numbers and durations are written in messages.

use k8s_openapi::jiff::Timestamp;

use crate::api::Kind;

/// "1 Execution", "2 Deployments".
pub fn counted(count: usize, kind: Kind) -> String {
    if count == 1 { format!("1 {}", kind.name()) } else { format!("{count} {}s", kind.name()) }
}

/// "1 BulkUpdate", "2 BulkUpdates".
pub fn bulk_updates(count: usize) -> String {
    if count == 1 { "1 BulkUpdate".into() } else { format!("{count} BulkUpdates") }
}

/// Where something is permitted; an empty namespace means all.
pub fn place(namespace: &str) -> String {
    if namespace.is_empty() { "all namespaces".into() } else { format!("namespace {namespace}") }
}

/// How long ago it was, as kubectl writes it: 45s, 12m, 5h, 8d.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
