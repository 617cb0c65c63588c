//! Tests that change what the whole cluster shares: CRDs and the admission policy; and tests about the same second,
//! which need an API server that is not so busy that it ends slow watches. They run one at a time, and in a program of
//! their own, so that no other test runs at the same time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic fails the test")]

mod admission;
mod not_served;
mod plugin;
mod same_second;
mod unreadable;

use support::control_plane::ControlPlane;
use tokio::sync::{Mutex, MutexGuard};

/// Each test holds this guard. It starts with CRDs and policy as shipped, and need not restore them.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let guard = ALONE.lock().await;
    let plane = ControlPlane::get();
    for crd in ["executions.aiapi.dev", "deployments.aiapi.dev", "bulkupdates.aiapi.dev"] {
        let (ok, generation) =
            plane.kubectl(&["get", "crd", crd, "-o", "jsonpath={.metadata.generation}"], "");
        assert!(ok, "{generation}");
        // Generation 1: never changed.
        if generation != "1" {
            plane.restore_crd(crd);
        }
    }
    plane.until_watched().await;
    admission::restore(plane);
    guard
}
