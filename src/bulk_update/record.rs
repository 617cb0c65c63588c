//! Third step: the status, written before any effect and whenever there is something to tell. One write a pass at most,
//! none when nothing has changed.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::{
    api::{BulkUpdateStatus, ItemResult, ItemStatus, READY},
    bulk_update::{
        context::Context,
        identity::Identity,
        report,
        request::Request,
        resource,
        status::status,
        stored::Stored,
        work::{Entry, Phase, Work},
    },
    client::Failure,
    telemetry::health::Pulse,
};

/// How long the last status is tried: a part of the time that a stop may take.
const FINAL_RECORD_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of the record.
#[derive(Debug)]
pub enum Recorded {
    /// There was nothing to write.
    Unchanged,
    /// There is something, which can wait or has to: for the next report, or for another attempt.
    Deferred,
    /// Written; what stood there before.
    Written(BulkUpdateStatus),
    /// Not this one: an earlier one of this process, that got no answer, was found to stand there; and what stood there
    /// before it. There may be more to tell by now.
    Adopted(BulkUpdateStatus),
    /// Somebody else has changed the status or the request: what is known here does not count any more.
    Superseded,
}

/// Writes the status if it is due. What is proposed and does not get there was never planned.
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

/// Records what is known before the work is laid down unfinished. At best effort: what can't be recorded now is read
/// off the objects by whoever takes it up again.
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
        warn!("the last status of a BulkUpdate could not be written");
    }
}

async fn write_or_defer(
    ctx: &Arc<Context>,
    work: &mut Work,
    phase: Phase,
    wanted: BulkUpdateStatus,
    pulse: &Pulse,
) -> Recorded {
    // A status takes a slot like any other request: a thousand plans at once are no reason to flood the API server.
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
            if work.not_recorded(&failure) {
                warn!(bulk_update = %work.request().full_name(), %failure, "the status can't be written; trying again");
            }
            // No condition can say so.
            if failure.is_too_large() {
                report::too_large(ctx, work.request(), &failure);
            }
            Recorded::Deferred
        }
    }
}

/// The plan is being written. Its first write rests on a reading of the flag begun no sooner than that; it is begun at once,
/// for that write would wait for it. (A plan whose writing fails again and again does without.)
fn read_flag_ahead(ctx: &Arc<Context>, since: Instant) {
    let ctx = Arc::clone(ctx);
    // Whoever rests on it asks for it again, and is told then if it has failed.
    ctx.tracker.clone().spawn(async move { ctx.flag.read_since(since).await });
}

/// Whether others wait for this to stand there: the writes for their plan, people and tools for the end or for another
/// reason.
fn is_urgent(work: &Work, wanted: &BulkUpdateStatus) -> bool {
    let reason = |s: &BulkUpdateStatus| s.condition(READY).map(|c| c.reason.clone());
    let planned = |e: &&Entry| e.result() == Some(ItemResult::Planned);
    reason(wanted) != reason(work.on_api_server())
        || work.entries().iter().filter(planned).any(|entry| {
            let uid = |r: &ItemStatus| r.uid.clone();
            work.on_record(&entry.item).map(uid) != entry.record.as_ref().map(uid)
        })
}

/// Writes `wanted` on the condition that nobody else has written or has deleted the BulkUpdate (unless this is the last
/// record of it).
async fn write(
    ctx: &Context,
    work: &mut Work,
    phase: Phase,
    mut wanted: BulkUpdateStatus,
) -> Result<Recorded, Failure> {
    let mut conflicts = 0;
    loop {
        match resource::replace(ctx, work.identity(), &wanted).await {
            Ok(version) => return Ok(Recorded::Written(work.recorded(phase, wanted, version))),
            Err(failure) if failure.is_not_found() => return Ok(Recorded::Superseded),
            // The first conflict is ordinary; what keeps conflicting is not tried at full speed, with a slot in hand.
            Err(failure) if failure.is_conflict() && conflicts > 0 => return Err(failure),
            Err(failure) if failure.is_conflict() => conflicts += 1,
            Err(failure) => {
                // Also one that was refused may have been carried out: what stands between may say so.
                work.sent_without_answer(wanted);
                return Err(failure);
            }
        }
        let live = match resource::get(ctx, work.request()).await {
            Ok(live) => live,
            Err(failure) if failure.is_not_found() => return Ok(Recorded::Superseded),
            Err(failure) => return Err(failure),
        };
        let Stored { bulk: live, flaw: None } = live else { return Ok(Recorded::Superseded) };
        let asked = Request::from(&live);
        if asked.uid != work.request().uid
            || !asked.same_items(work.request())
            || (live.metadata.deletion_timestamp.is_some() && phase != Phase::Final)
        {
            return Ok(Recorded::Superseded);
        }
        let stands = live.status.unwrap_or_default();
        // A write of this process that got no answer has taken hold.
        let own = stands == wanted || work.was_applied(&stands);
        if !own && stands != *work.on_api_server() {
            return Ok(Recorded::Superseded);
        }
        // Only from here on: with this guard, what somebody else has written could be overwritten.
        work.found(Identity::from(&live.metadata), live.metadata.generation);
        if own {
            return Ok(Recorded::Adopted(work.adopted(stands)));
        }
        // Something else has changed, such as a label or the TTL.
        wanted = status(work, &phase, ctx.clock.now());
    }
}
