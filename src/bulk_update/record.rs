//! Third step: the status, written before any effect and whenever there is something to report. At most one write per
//! pass, none if nothing changed.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::{
    api::{BulkUpdateStatus, ItemResult, ItemStatus, READY},
    bulk_update::{
        context::Context,
        report,
        request::Request,
        resource,
        status::status,
        work::{Entry, Phase, Work},
    },
    client::Failure,
    telemetry::health::Pulse,
};

#[cfg(test)]
mod tests;

/// How long the final status is retried: a part of the time for a graceful shutdown.
const FINAL_RECORD_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub enum Recorded {
    Unchanged,
    /// Not written: it can wait for the next report, or has to wait for a retry.
    Deferred,
    /// Written; with the status before.
    Written(BulkUpdateStatus),
    /// Not written: an earlier status of this process, which got no answer, turned out to be stored. With the status
    /// before that. There may be more to report.
    Adopted(BulkUpdateStatus),
    /// Somebody else changed the status or the request: the state of this process is out of date.
    Superseded,
}

/// Writes the status if that is due. A proposed plan that is not written never took effect.
pub async fn record(ctx: &Arc<Context>, work: &mut Work, phase: Phase, pulse: &Pulse) -> Recorded {
    let proposed = matches!(phase, Phase::Proposed(_));
    let recorded = if_due(ctx, work, phase, pulse).await;
    if proposed && work.start().is_none() {
        work.not_planned();
    }
    recorded
}

async fn if_due(ctx: &Arc<Context>, work: &mut Work, phase: Phase, pulse: &Pulse) -> Recorded {
    let wanted = status(work, &phase, ctx.clock.now());
    if wanted == *work.on_api_server() {
        return Recorded::Unchanged;
    }
    if work.throttle().held_back().is_some()
        || !(work.throttle().due(ctx.others(work)) || is_urgent(work, &wanted))
    {
        return Recorded::Deferred;
    }
    write_or_defer(ctx, work, phase, wanted, pulse).await
}

/// Writes the final status before the work is given up unfinished, at best effort: what is not recorded now is derived
/// from the objects by the next process.
pub async fn record_final(ctx: &Arc<Context>, work: &mut Work, pulse: &Pulse) {
    if work.start().is_none() {
        return;
    }
    let attempts = async {
        loop {
            if let Some(time) = work.throttle().held_back() {
                sleep_until(time).await;
            }
            let phase = Phase::Final;
            let wanted = status(work, &phase, ctx.clock.now());
            if wanted == *work.on_api_server() {
                return;
            }
            match write_or_defer(ctx, work, phase, wanted, pulse).await {
                Recorded::Written(_) | Recorded::Adopted(_) | Recorded::Deferred => {}
                Recorded::Unchanged | Recorded::Superseded => return,
            }
        }
    };
    if tokio::time::timeout(FINAL_RECORD_TIMEOUT, attempts).await.is_err() {
        warn!("timed out writing the final status of a BulkUpdate");
    }
}

async fn write_or_defer(
    ctx: &Arc<Context>,
    work: &mut Work,
    phase: Phase,
    wanted: BulkUpdateStatus,
    pulse: &Pulse,
) -> Recorded {
    // Status writes take a slot like all requests: a thousand plans at once must not flood the API server.
    let _slot = pulse.in_line(ctx.slots.acquire(&work.request().namespace, &work.request().uid)).await;
    if matches!(&phase, Phase::Proposed(plan) if plan.writes()) {
        work.plan_is_sent();
        if !work.throttle().failing() {
            read_flag_ahead(ctx, work.since());
        }
    }
    match write(ctx, work, phase, wanted).await {
        Ok(recorded) => recorded,
        Err(failure) => {
            ctx.metrics.failed("bulkupdates", &failure);
            ctx.held_back.failed(&work.request().uid, &failure);
            if work.not_recorded(&failure) {
                warn!(bulk_update = %work.request().full_name(), %failure, "cannot write the status; retrying");
            }
            // No condition can report this.
            if failure.is_too_large() {
                report::too_large(ctx, work.request(), &failure);
            }
            Recorded::Deferred
        }
    }
}

/// The first write of a plan needs the flag as read after the plan was sent; this reads it ahead, in parallel.
/// (Skipped while writing the plan keeps failing.)
fn read_flag_ahead(ctx: &Arc<Context>, since: Instant) {
    let ctx = Arc::clone(ctx);
    // The write reads it again and gets the error then.
    ctx.tracker.clone().spawn(async move { ctx.flag.read_since(since).await });
}

/// Whether the status must not wait for the next report: writes depend on the plan, people and tools on the reason of
/// Ready.
fn is_urgent(work: &Work, wanted: &BulkUpdateStatus) -> bool {
    let reason = |s: &BulkUpdateStatus| s.condition(READY).map(|c| c.reason.clone());
    let planned = |e: &&Entry| e.result() == Some(ItemResult::Planned);
    reason(wanted) != reason(work.on_api_server())
        || work.entries().iter().filter(planned).any(|entry| {
            let uid = |r: &ItemStatus| r.uid.clone();
            work.on_record(&entry.item).map(uid) != entry.record.as_ref().map(uid)
        })
}

/// Writes `wanted` unless somebody else wrote the status or deleted the BulkUpdate (the final status is written to a
/// terminating one, too).
async fn write(
    ctx: &Context,
    work: &mut Work,
    phase: Phase,
    mut wanted: BulkUpdateStatus,
) -> Result<Recorded, Failure> {
    let mut conflicts = 0;
    loop {
        // A plan rests on the policy, which may be gone since it was decided: it has waited for a slot, or met a conflict.
        let proposed = matches!(phase, Phase::Proposed(_));
        if proposed && !ctx.policies.admission().covers(work.request().created) {
            return Ok(Recorded::Superseded);
        }
        let refused = match resource::replace(&ctx.client, work.identity(), &wanted).await {
            Ok(written) => return Ok(Recorded::Written(work.recorded(phase, wanted, written))),
            Err(failure) if failure.is_not_found() => return Ok(Recorded::Superseded),
            Err(failure) => failure,
        };
        // A proxy may refuse what the API server carried out, or send it twice.
        work.sent_without_answer(&wanted);
        // A single conflict is normal; repeated ones are retried with back-off, without holding the slot.
        if !refused.is_conflict() || conflicts > 0 {
            return Err(refused);
        }
        conflicts += 1;
        let live = match resource::get(&ctx.client, work.request()).await {
            Ok(live) => live,
            Err(failure) if failure.is_not_found() => return Ok(Recorded::Superseded),
            Err(failure) => return Err(failure),
        };
        let asked = Request::from(&*live);
        if live.flaw().is_some()
            || asked.uid != work.request().uid
            || !asked.same_items(work.request())
            || (live.metadata.deletion_timestamp.is_some() && phase != Phase::Final)
        {
            return Ok(Recorded::Superseded);
        }
        let none = BulkUpdateStatus::default();
        let stored = live.status.as_ref().unwrap_or(&none);
        let own = work.was_applied(stored);
        if !own && stored != work.on_api_server() {
            return Ok(Recorded::Superseded);
        }
        // Not earlier: with this guard another writer's status could be overwritten.
        work.found(&live);
        if own {
            return Ok(Recorded::Adopted(work.adopted(&live)));
        }
        // Something else changed, such as a label or the TTL.
        wanted = status(work, &phase, ctx.clock.now());
    }
}
