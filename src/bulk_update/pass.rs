//! Reconciles one BulkUpdate, pass by pass: observe, decide, record, apply, report, settle.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{Instrument, info_span, warn};

use crate::{
    api::{BulkUpdate, BulkUpdateStatus},
    bulk_update::{
        apply::{self, InFlight, Outgoing},
        context::{Context, Latest},
        decide::{Decision, decide},
        finished::Finished,
        observe,
        record::{self, Recorded},
        report,
        request::Request,
        resource,
        settle::{self, Waiting},
        work::Work,
    },
    client::Failure,
    observed::target::version_number,
    telemetry::health::Pulse,
};

// Most of the time the task waits, as perhaps a thousand others do, so large futures are boxed and dropped before.
/// Reconciles one BulkUpdate, first seen like this, until it finishes, is deleted, or the process shuts down. Returns
/// what to keep of it if its completion is on record.
pub async fn run(ctx: Arc<Context>, mut latest: Latest, bulk: Box<BulkUpdate>) -> Option<Finished> {
    let pulse = ctx.health.pulse();
    let creation_version = latest.current.borrow_and_update().creation_version;
    let asked = Request { creation_version, ..Request::from(&*bulk) };
    let _unplanned = ctx.metrics.taken_up(&asked.uid, asked.created, bulk.status.as_ref());
    let planned = bulk.status.as_ref().filter(|status| status.start_time.is_some());
    let left = planned.and_then(BulkUpdateStatus::planned).unwrap_or(asked.items.len());
    let version = version_number(&bulk.metadata);
    let _underway = ctx.metrics.load.taken_up(&asked.namespace, &asked.uid, version, left);
    // A watch may deliver an old state, from before its completion or deletion: a recorded plan is continued only if a
    // live read shows it.
    let mut work = match Work::unplanned(&bulk, creation_version) {
        Some(_) if latest.stopped() || bulk.metadata.deletion_timestamp.is_some() => return None,
        Some(work) => work,
        None => Box::pin(read_current(&ctx, &mut latest, &asked, &pulse)).await?,
    };
    drop((bulk, asked));
    work.hold_back(ctx.held_back.until(&work.request().uid));
    while !work.is_finished() && run_passes(&ctx, &mut latest, &mut work, &pulse).await == End::Superseded {
        let before = work;
        work = Box::pin(read_current(&ctx, &mut latest, before.request(), &pulse)).await?;
        work.starts_after(&before);
        work.hold_back(ctx.held_back.until(&work.request().uid));
    }
    work.finished()
}

/// Reads the BulkUpdate until that succeeds: nothing is done based on an older state. `None` if it is gone or no new
/// work may be started.
async fn read_current(ctx: &Context, latest: &mut Latest, request: &Request, pulse: &Pulse) -> Option<Work> {
    for attempt in 1.. {
        pulse.beat();
        let answer = {
            let _slot = pulse.in_line(ctx.slots.acquire(&request.namespace, &request.uid)).await;
            resource::get(&ctx.client, request).await
        };
        let why = match answer {
            Ok(live) if live.metadata.uid.as_deref() != Some(&*request.uid) => break,
            Ok(live) => match live.flaw() {
                None if latest.stopped() || live.metadata.deletion_timestamp.is_some() => break,
                None => return Some(Work::new(&live, request.creation_version)),
                // The watch reports it as well, unless it was corrected meanwhile.
                Some(why) => Failure::Unreadable(why.into()),
            },
            Err(failure) if failure.is_not_found() => break,
            Err(failure) => {
                ctx.metrics.failed("bulkupdates", &failure);
                failure
            }
        };
        warn!(bulk_update = %request.full_name(), %why, "cannot read the BulkUpdate; retrying");
        tokio::select! {
            biased;
            () = ctx.shutdown.cancelled() => break,
            () = latest.until_stopped() => break,
            () = tokio::time::sleep(why.wait(attempt)) => {}
        }
    }
    None
}

/// How a series of passes ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Nothing more to do in this process.
    Finished,
    /// Somebody else changed the record: start again from the current state.
    Superseded,
}

async fn run_passes(ctx: &Arc<Context>, latest: &mut Latest, work: &mut Work, pulse: &Pulse) -> End {
    let following = ctx.index.follow(&work.request().namespace, Arc::clone(work.request()), Request::targets);
    let mut in_flight = InFlight::new(ctx, latest);
    let mut blocked = 0;
    loop {
        pulse.beat();
        if latest.stopped() {
            wind_up(ctx, work, &mut in_flight, pulse).await;
            return End::Finished;
        }
        // While its status cannot be written it is not planned either: a plan must be based on current facts.
        if work.start().is_none() && work.throttle().held_back().is_some() {
            let decided = (Instant::now(), ctx.clock.now());
            let waiting = Waiting { following: &following, blocked, to_record: true, decided };
            settle::settle(ctx, latest, work, &mut in_flight, waiting).await;
            continue;
        }
        let observation = tokio::select! {
            biased;
            () = ctx.shutdown.cancelled() => continue,
            observation = Box::pin(observe::observe(ctx, work, &following)).instrument(info_span!("observe")) => observation,
        };
        let decided = (observation.at, ctx.clock.now());
        let decision = info_span!("decide").in_scope(|| decide(work, &observation, ctx.rules, decided.1));
        // Not kept in memory while the task waits.
        drop(observation);
        let Decision { phase, became, reads, writes, again, blocked: is_blocked } = decision;
        work.decided(phase.as_ref(), became);
        let recorded = match phase {
            Some(phase) => {
                Box::pin(record::record(ctx, work, phase, pulse)).instrument(info_span!("record")).await
            }
            None => Recorded::Unchanged,
        };
        if matches!(recorded, Recorded::Superseded) {
            // It may be terminating and still there because of finalizers: what was done is recorded all the same.
            wind_up(ctx, work, &mut in_flight, pulse).await;
            return End::Superseded;
        }
        let wanted = Outgoing::of(work, reads, writes);
        let idle = wanted.is_empty() && in_flight.is_empty();
        apply::apply(work, &mut in_flight, wanted).instrument(info_span!("apply")).await;
        let (has_more, to_record) = match &recorded {
            Recorded::Written(_) => (again, false),
            Recorded::Adopted(_) => (true, false),
            recorded => (false, matches!(recorded, Recorded::Deferred)),
        };
        if let Recorded::Written(before) | Recorded::Adopted(before) = recorded {
            info_span!("report").in_scope(|| report::report(ctx, work, &before));
        }
        if work.is_finished() {
            return End::Finished;
        }
        blocked = if is_blocked { blocked + 1 } else { 0 };
        if idle && !has_more {
            let waiting = Waiting { following: &following, blocked, to_record, decided };
            let settle = settle::settle(ctx, latest, work, &mut in_flight, waiting);
            settle.instrument(info_span!("settle")).await;
        }
    }
}

/// Starts no more writes, waits for those in flight, and records what they did.
async fn wind_up(ctx: &Arc<Context>, work: &mut Work, in_flight: &mut InFlight, pulse: &Pulse) {
    in_flight.drain(work).await;
    Box::pin(record::record_final(ctx, work, pulse)).await;
}

#[cfg(test)]
mod tests;
