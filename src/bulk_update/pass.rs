//! The life of one BulkUpdate, pass by pass: observe, decide, record, apply, report, settle.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{Instrument, info_span, warn};

use crate::{
    api::BulkUpdate,
    bulk_update::{
        apply::{self, Flight, Wanted},
        context::{Context, Latest},
        decide::{Decision, decide},
        observe,
        over::Over,
        record::{self, Recorded},
        report,
        request::Request,
        resource,
        settle::{self, Waiting},
        stored::Stored,
        work::Work,
    },
    client::Failure,
    telemetry::health::Pulse,
};

// Most of its time it waits, as perhaps a thousand others do: what it needs otherwise is in boxes, and goes with them.
/// Carries out one BulkUpdate, which was first seen like this, to its end; or until it is deleted, or the process ends. Gives back
/// what is left to be known of it if its end is on record.
pub async fn carry_out(ctx: Arc<Context>, mut latest: Latest, mut bulk: Box<BulkUpdate>) -> Option<Over> {
    let pulse = ctx.health.pulse();
    let made_at = latest.current.borrow_and_update().made_at;
    let _unplanned = {
        let request = Request::from(&*bulk);
        ctx.metrics.taken_up(&request.uid, request.created, bulk.status.as_ref())
    };
    if bulk.status.as_ref().is_some_and(|status| status.start_time.is_some()) {
        // What a watch shows may be old, and come from before the end or the deletion: a plan is carried out only if it
        // stands there now. (Where there is none, the writing of the plan finds that out.)
        bulk = Box::pin(read_again(&ctx, &mut latest, &Request::from(&*bulk), &pulse)).await?;
    }
    loop {
        if latest.stopped() || bulk.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let mut work = Work::take_up(&bulk, made_at);
        drop(bulk);
        if work.is_over() || pass_by_pass(&ctx, &mut latest, &mut work, &pulse).await == End::Over {
            return work.over();
        }
        bulk = Box::pin(read_again(&ctx, &mut latest, work.request(), &pulse)).await?;
    }
}

/// Reads a BulkUpdate until there is an answer: nothing is done on the strength of an older one. `None` if it is gone,
/// or nothing new may be begun.
async fn read_again(
    ctx: &Context,
    latest: &mut Latest,
    request: &Request,
    pulse: &Pulse,
) -> Option<Box<BulkUpdate>> {
    for attempt in 1.. {
        pulse.beat();
        let answer = {
            let _slot = pulse.in_line(ctx.slots.acquire(&request.namespace, &request.uid)).await;
            resource::get(ctx, request).await
        };
        let why = match answer {
            Ok(Stored { bulk: live, .. }) if live.metadata.uid.as_deref() != Some(&*request.uid) => break,
            Ok(Stored { bulk: live, flaw: None }) => return Some(Box::new(live)),
            // The watch says so as well, unless it is mended by then.
            Ok(Stored { flaw: Some(why), .. }) => Failure::NoAnswer(why),
            Err(failure) if failure.is_not_found() => break,
            Err(failure) => {
                ctx.metrics.failed("bulkupdates", &failure);
                failure
            }
        };
        warn!(bulk_update = %request.full_name(), %why, "can't be read; trying again");
        tokio::select! {
            () = tokio::time::sleep(why.wait(attempt)) => {}
            () = latest.until_stopped() => break,
            () = ctx.shutdown.cancelled() => break,
        }
    }
    None
}

/// How a series of passes has ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// There is nothing more to do in this process.
    Over,
    /// Somebody else has changed the record: begin anew with what stands there now.
    Overtaken,
}

async fn pass_by_pass(ctx: &Arc<Context>, latest: &mut Latest, work: &mut Work, pulse: &Pulse) -> End {
    let following = ctx.index.follow(&work.request().namespace, work.request().targets());
    let mut flight = Flight::new(ctx, latest);
    let mut hindered = 0;
    loop {
        pulse.beat();
        if latest.stopped() {
            flight.drain(work).await;
            Box::pin(record::record_last(ctx, work, pulse)).await;
            return End::Over;
        }
        // What can't be written yet is not planned yet either: a plan rests on what is known when it is.
        if work.start().is_none() && work.throttle().held_back().is_some() {
            let decided = (Instant::now(), ctx.clock.now());
            let waiting = Waiting { following: &following, hindered, to_record: true, decided };
            settle::settle(ctx, latest, work, &mut flight, waiting).await;
            continue;
        }
        let observation = tokio::select! {
            observation = Box::pin(observe::observe(ctx, work, &following)).instrument(info_span!("observe")) => observation,
            () = ctx.shutdown.cancelled() => continue,
        };
        let decided = (Instant::now(), ctx.clock.now());
        let decision = info_span!("decide").in_scope(|| decide(work, &observation, ctx.rules, decided.1));
        // Whatever is kept from here on is kept for as long as it has to wait.
        drop(observation);
        let Decision { phase, became, reads, writes, again, hindered: is_hindered } = decision;
        work.decided(phase.as_ref(), became);
        let recorded = match phase {
            Some(phase) => {
                Box::pin(record::record(ctx, work, phase, pulse)).instrument(info_span!("record")).await
            }
            None => Recorded::Unchanged,
        };
        if matches!(recorded, Recorded::Overtaken) {
            flight.drain(work).await;
            // It is being deleted, perhaps, and only lingers: what was done is told all the same.
            Box::pin(record::record_last(ctx, work, pulse)).await;
            return End::Overtaken;
        }
        let wanted = Wanted::of(work, reads, writes);
        let idle = wanted.is_empty() && flight.is_empty();
        apply::apply(work, &mut flight, wanted).instrument(info_span!("apply")).await;
        let (goes_on, to_record) = match &recorded {
            Recorded::Written(_) => (again, false),
            Recorded::Adopted(_) => (true, false),
            recorded => (false, matches!(recorded, Recorded::Later)),
        };
        if let Recorded::Written(before) | Recorded::Adopted(before) = recorded {
            info_span!("report").in_scope(|| report::report(ctx, work, &before));
        }
        if work.is_over() {
            return End::Over;
        }
        hindered = if is_hindered { hindered + 1 } else { 0 };
        if idle && !goes_on {
            let waiting = Waiting { following: &following, hindered, to_record, decided };
            let settle = settle::settle(ctx, latest, work, &mut flight, waiting);
            settle.instrument(info_span!("settle")).await;
        }
    }
}

#[cfg(test)]
mod tests;
