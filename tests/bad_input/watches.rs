//! What must hold for every list and watch of the operator: no object makes one fail.

use support::{World, until};

use super::judge::Known;

/// The API server's answers right after a change of a CRD.
const CHANGED: [&str; 5] = [
    "too old resource version",
    "Expired",
    "(re)initializing",
    "the server could not find",
    "the watch ended at once",
];

/// No list or watch of the present process has failed, by its own count.
pub async fn none_has_failed(world: &World) {
    let samples = world.operator.samples().await;
    let restarts = samples.iter().filter(|(name, _)| name.starts_with("aiapi_watch_restarts_total{"));
    let restarts: Vec<_> = restarts.collect();
    assert!(!restarts.is_empty(), "no such metric");
    let failed = restarts.iter().find(|(_, count)| **count > 0.0);
    assert_eq!(failed, None, "{}", failures(&world.operator.log()).join("\n"));
}

/// None has failed in any process, except because of changes of the CRDs, and every answer of the API server could be
/// decoded.
pub fn each_failure_was_a_changed_crd(log: &str) {
    let other = failures(log);
    let other: Vec<_> = other.iter().filter(|line| !CHANGED.iter().any(|why| line.contains(why))).collect();
    assert!(other.is_empty(), "{} of them: {:?}", other.len(), &other[..other.len().min(5)]);
}

fn failures(log: &str) -> Vec<&str> {
    let bad = |line: &&str| line.contains("a watch failed") || line.contains("an answer that cannot be read");
    log.lines().filter(bad).collect()
}

/// The unreadable objects that the present process has found are counted.
pub async fn the_unreadable_are_counted(world: &World, known: &Known) {
    let count = known.found_unreadable();
    until(&format!("a count of {count} unreadable BulkUpdates"), || async {
        let counted = world.operator.samples().await;
        let counted = counted.get(r#"aiapi_unreadable_total{resource="bulkupdates"}"#);
        counted.is_some_and(|counted| *counted >= f64::from(u32::try_from(count).unwrap()))
    })
    .await;
}
