//! What changes the cluster for everybody in it, the CRDs and the admission policy: one test at a time, and none of the others
//! beside them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod admission;
mod not_served;
mod unreadable;

use support::control_plane::ControlPlane;
use tokio::sync::{Mutex, MutexGuard};

/// Only one test at a time may change the cluster. It finds it as shipped, and may leave it as it is.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let guard = ALONE.lock().await;
    let plane = ControlPlane::get();
    for crd in ["executions.aiapi.dev", "deployments.aiapi.dev", "bulkupdates.aiapi.dev"] {
        let (ok, generation) =
            plane.kubectl(&["get", "crd", crd, "-o", "jsonpath={.metadata.generation}"], "");
        assert!(ok, "{generation}");
        // One that was never changed is as shipped.
        if generation != "1" {
            plane.put_back(crd);
        }
    }
    plane.until_watched().await;
    admission::put_back(plane);
    guard
}
