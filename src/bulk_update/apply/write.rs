//! The writes to targets. Each takes an [`Intent`], which only a recorded plan gives.

use serde_json::json;
use tokio::time::Instant;
use tracing::info;

use crate::{
    api::TargetStatus,
    bulk_update::{
        context::Context,
        work::{Accepted, Answer, Intent},
    },
    client::{
        Failure,
        requests::{self, Only},
    },
    observed::target::{self, Observed},
    telemetry::metrics,
};

/// Carries out an intent, once.
pub(super) async fn write(ctx: &Context, intent: Intent) -> Answer {
    let (item, target, request) = (intent.item(), intent.target(), intent.request());
    let in_flight = ctx.metrics.write_begins();
    let outcome = match item.target {
        TargetStatus::Stopped => stop(ctx, &intent).await,
        TargetStatus::Deleted => delete(ctx, &intent).await,
    };
    let at = Instant::now();
    drop(in_flight);
    ctx.metrics.written((item.kind, item.target), &request.uid, &outcome);
    if let Err(failure) = &outcome {
        ctx.metrics.failed(item.kind.plural(), failure);
    }
    info!(
        bulk_update = %request.full_name(),
        bulk_update_uid = %request.uid,
        target = %format_args!("{}/{}", item.kind.name(), item.id),
        target_uid = %target.uid,
        verb = metrics::verb(item.target),
        requester = ctx.requester(request),
        outcome = %match &outcome { Ok(_) => "accepted".to_owned(), Err(failure) => failure.to_string() },
        "wrote to a target"
    );
    Answer::Written(target.resource_version.clone(), at, outcome)
}

async fn stop(ctx: &Context, intent: &Intent) -> Result<Accepted, Failure> {
    let (item, target, request) = (intent.item(), intent.target(), intent.request());
    let mut status = json!({
        "targetStatus": "STOPPED",
        "stopRequest": {
            "bulkUpdate": request.name,
            "uid": request.uid,
            "time": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(ctx.clock.now().earliest),
        },
        "message": format!("stop requested by BulkUpdate {}", request.name),
    });
    if !target.managed_by_other {
        // Without work nothing runs, so there is nothing to wait for.
        status["state"] = if target.work.is_some() { "STOPPING" } else { "STOPPED" }.into();
        status["stateTime"] = status["stopRequest"]["time"].clone();
    }
    let patch = json!({"metadata": {"resourceVersion": target.resource_version}, "status": status});
    let url = target::url(item.kind, &request.namespace);
    let answer = requests::patch_status(&ctx.client, url, &item.id, &patch).await?;
    target::answered(&item.id, &answer).map(Accepted::Left)
}

async fn delete(ctx: &Context, intent: &Intent) -> Result<Accepted, Failure> {
    let (item, target) = (intent.item(), intent.target());
    let url = target::url(item.kind, &intent.request().namespace);
    let only = Only { uid: &target.uid, resource_version: &target.resource_version };
    // Its work ends first, Pods and all, so that the item settles when nothing runs any more.
    let foreground = target.work.is_some();
    let answer: Observed = requests::delete(&ctx.client, url, &item.id, only, foreground).await?;
    // The API server answers with the object if it has finalizers, else with a Status.
    if answer.is_status() {
        return Ok(Accepted::Gone);
    }
    target::answered(&item.id, &answer).map(Accepted::Left)
}

#[cfg(test)]
mod tests;
