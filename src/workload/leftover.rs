//! A STOPPING without a template: nothing runs, so that nobody else would ever take it to STOPPED.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::{
    api::Kind,
    bulk_update::{Context, apply::patch_status},
    client::{Next, backoff, send},
    target::{Observed, Target},
};

/// How long one such object is tried before it is left until it changes.
const ATTEMPTS: u32 = 12;

/// One that was seen: its kind, namespace, name.
pub type Seen = (Kind, String, String);

/// Takes each to STOPPED, one at a time: they are rare.
pub async fn run(ctx: Arc<Context>, mut seen: mpsc::UnboundedReceiver<Seen>) {
    while let Some((kind, namespace, name)) = seen.recv().await {
        for attempt in 1..=ATTEMPTS {
            let Some(target) = ctx.index.get(kind, &namespace, &name).filter(Target::is_leftover) else {
                break;
            };
            match settle(&ctx, kind, &namespace, &name, &target).await {
                None => break,
                Some(wait) => tokio::time::sleep(wait.max(backoff(attempt))).await,
            }
        }
    }
}

/// Writes STOPPED; says how long to wait for another attempt, if one makes sense.
async fn settle(ctx: &Context, kind: Kind, namespace: &str, name: &str, target: &Target) -> Option<Duration> {
    let patch = json!({
        "metadata": {"resourceVersion": target.resource_version},
        "status": {"state": "STOPPED", "message": "it was STOPPING, and nothing runs for it"},
    });
    // The semaphore is never closed.
    let _slot = ctx.slots.acquire().await.ok()?;
    let written = send::<Observed>(&ctx.client, patch_status(kind, namespace, name, &patch)).await;
    let full_name = format!("{}/{namespace}/{name}", kind.name());
    match written {
        Ok(_) => {
            info!(target = full_name, target_uid = %target.uid, "a leftover STOPPING was taken to STOPPED");
            None
        }
        // It has changed: its event comes, and says whether there is still something to do.
        Err(failure) if failure.next() == Next::LookAgain => None,
        Err(failure) => {
            warn!(target = full_name, %failure, "a leftover STOPPING could not be taken to STOPPED");
            (failure.next() != Next::GiveUp).then(|| failure.wait(1))
        }
    }
}
