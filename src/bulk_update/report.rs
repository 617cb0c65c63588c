//! Fifth step: events, log lines and metrics, after what they report is on record.

use kube::runtime::events::EventType;
use tracing::info;

use crate::{
    api::{ACCEPTED, BulkUpdateStatus, READY},
    bulk_update::{context::Context, events::reference, request::Request, work::Work},
    client::Failure,
    telemetry::metrics::StatusWritten,
};

/// Reports what a status write changed; `before` is the status before.
pub fn report(ctx: &Context, work: &Work, before: &BulkUpdateStatus) {
    let (request, after) = (work.request(), work.on_api_server());
    ctx.metrics.recorded(&StatusWritten {
        uid: &request.uid,
        created: request.created,
        last_write: work.last_write(),
        before,
        after,
        expired: expired(request, after),
        now: ctx.clock.now().earliest,
    });
    let requester = ctx.requester(request);
    let by = requester.map(|name| format!("; requested by {name}")).unwrap_or_default();
    let ended = before.completion_time.is_none() && after.completion_time.is_some();

    if let Some(rejected) = after.condition(ACCEPTED).filter(|c| ended && c.status == "False") {
        info!(bulk_update = %request.full_name(), uid = %request.uid, requester, reason = rejected.reason,
            message = rejected.message, "rejected");
        publish(ctx, request, EventType::Warning, "Rejected", &format!("{}{by}", rejected.message));
        return;
    }
    let summary = after.summary.unwrap_or_default();
    if before.start_time.is_none() && after.start_time.is_some() {
        let plural = if summary.total == 1 { "" } else { "s" };
        let note = format!(
            "{} item{plural}: {} planned, {} eligible, {} refused{by}",
            summary.total, summary.planned, summary.eligible, summary.refused
        );
        info!(bulk_update = %request.full_name(), uid = %request.uid, requester, dry_run = request.dry_run,
            total = summary.total, planned = summary.planned, refused = summary.refused, "accepted");
        publish(ctx, request, EventType::Normal, "Accepted", &note);
    }
    if ended {
        let (ready, message) =
            after.condition(READY).map(|c| (c.status == "True", c.message.as_str())).unwrap_or_default();
        info!(bulk_update = %request.full_name(), uid = %request.uid, ready,
            settled = summary.settled, refused = summary.refused, failed = summary.failed, "finished");
        let type_ = if ready { EventType::Normal } else { EventType::Warning };
        publish(ctx, request, type_, "Finished", message);
    }
}

/// Whether one that was never planned ended because of `startingDeadlineSeconds`. A `notAfter` that passed is
/// intended. (It may pass up to a second before the status shows it.)
fn expired(request: &Request, status: &BulkUpdateStatus) -> bool {
    let end = status.completion_time.as_ref().map(|end| end.0);
    end.is_some_and(|end| {
        end >= request.starting_deadline && request.not_after.is_none_or(|not_after| end <= not_after)
    })
}

/// Reports that the object is too large for a status.
pub fn too_large(ctx: &Context, request: &Request, failure: &Failure) {
    let note = format!(
        "the object is too large for a status, so nothing more is done for it: {failure}; remove labels, annotations, \
        finalizers, ownerReferences or managedFields, or create a smaller BulkUpdate"
    );
    publish(ctx, request, EventType::Warning, "FailedUpdateStatus", &note);
}

fn publish(ctx: &Context, request: &Request, type_: EventType, reason: &str, note: &str) {
    let (namespace, name) = (Some(request.namespace.clone()), Some(request.name.clone()));
    let regarding = reference("BulkUpdate", namespace, name, Some(request.uid.to_string()));
    ctx.events.publish(regarding, type_, reason, note);
}

#[cfg(test)]
mod tests;
