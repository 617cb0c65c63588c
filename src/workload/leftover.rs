//! A STOPPING without a template: nothing runs, so that nobody else would ever take it to STOPPED.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::{info, warn};

use crate::{
    api::Kind,
    bulk_update::{Context, apply::patch_status},
    client::{Next, backoff, send},
    target::{Observed, Target},
};

/// One that was seen: its kind, namespace, name.
pub type Seen = (Kind, String, String);

/// Takes each to STOPPED, however often that has to be tried, until the process is to end.
pub async fn run(ctx: Arc<Context>, mut seen: mpsc::UnboundedReceiver<Seen>) {
    let mut tasks: JoinSet<Seen> = JoinSet::new();
    let mut underway = HashSet::new();
    loop {
        let one = tokio::select! {
            Some(one) = seen.recv() => one,
            Some(ended) = tasks.join_next() => {
                let one = crate::unpanicked(ended);
                underway.remove(&one);
                // It may have come back while its task was ending.
                if find(&ctx, &one).is_none() {
                    continue;
                }
                one
            }
            else => return,
        };
        if underway.insert(one.clone()) {
            let ctx = Arc::clone(&ctx);
            tasks.spawn(async move {
                tokio::select! {
                    () = settle(&ctx, &one) => {}
                    () = ctx.shutdown.cancelled() => std::future::pending().await,
                }
                one
            });
        }
    }
}

fn find(ctx: &Context, (kind, namespace, name): &Seen) -> Option<Target> {
    ctx.index.get(*kind, namespace, name).filter(Target::is_leftover)
}

/// Writes STOPPED until the index has it.
async fn settle(ctx: &Arc<Context>, one: &Seen) {
    let mut attempt = 0;
    while let Some(target) = find(ctx, one) {
        attempt += 1;
        let (of, what) = (Arc::clone(ctx), one.clone());
        // What was sent is waited for at the end, when all else here is dropped.
        let written = ctx.tracker.spawn(async move { write(&of, &what, &target).await });
        let wait = crate::unpanicked(written.await);
        tokio::time::sleep(wait.unwrap_or_else(|| backoff(attempt))).await;
    }
}

/// Sends one guarded write; says how long the server asks to wait, if it does.
async fn write(ctx: &Context, (kind, namespace, name): &Seen, target: &Target) -> Option<Duration> {
    let patch = json!({
        "metadata": {"resourceVersion": target.resource_version},
        "status": {"state": "STOPPED", "message": "it was STOPPING, and nothing runs for it"},
    });
    // The semaphore is never closed.
    let _slot = ctx.slots.acquire().await;
    if ctx.shutdown.is_cancelled() {
        return None;
    }
    let full_name = format!("{}/{namespace}/{name}", kind.name());
    match send::<Observed>(&ctx.client, patch_status(*kind, namespace, name, &patch)).await {
        Ok(_) => {
            info!(target = full_name, target_uid = %target.uid, "a leftover STOPPING was taken to STOPPED");
            None
        }
        // It has changed, as the index will say in a moment.
        Err(failure) if failure.next() == Next::LookAgain => None,
        Err(failure) => {
            warn!(target = full_name, %failure, "a leftover STOPPING could not be taken to STOPPED; trying again");
            failure.retry_after()
        }
    }
}
