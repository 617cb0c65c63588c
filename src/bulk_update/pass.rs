//! The life of one BulkUpdate, pass by pass: observe, decide, record, apply, report, settle.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{Instrument, info_span, warn};

use crate::{
    api::{BulkUpdate, ItemResult, Reason},
    bulk_update::{
        apply::{self, Flight, Wanted},
        context::{Context, Latest},
        decide::{self, Plan, Step},
        facts::{Deadline, Hindrance, Rules, Start},
        observe::{self, Seen},
        over::Over,
        record::{self, Recorded},
        report,
        request::Request,
        resource,
        settle::{self, Waiting},
        status::Phase,
        stored::Stored,
        work::{Entry, Work},
    },
    client::{Failure, clock::Now},
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
        let mut work = Work::take_up(&bulk).made_at(made_at);
        drop(bulk);
        if work.is_over() || pass_by_pass(&ctx, &mut latest, &mut work, &pulse).await == End::Over {
            return work.over();
        }
        bulk = Box::pin(read_again(&ctx, &mut latest, &work.request, &pulse)).await?;
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
    let following = ctx.index.follow(Arc::clone(&work.request));
    let mut flight = Flight::default();
    let mut hindered = 0;
    loop {
        pulse.beat();
        if latest.stopped() {
            flight.drain(work).await;
            Box::pin(record::record_last(ctx, work, pulse)).await;
            return End::Over;
        }
        let seen = tokio::select! {
            seen = Box::pin(observe::observe(ctx, work, &following)).instrument(info_span!("observe")) => seen,
            () = ctx.shutdown.cancelled() => continue,
        };
        let decided = (Instant::now(), ctx.clock.now());
        let turn = info_span!("decide").in_scope(|| decide(work, &seen, ctx.rules, decided.1));
        // Whatever is kept from here on is kept for as long as it has to wait.
        drop(seen);
        let recorded = match &turn.phase {
            Some(phase) => {
                Box::pin(record::record(ctx, work, phase, pulse)).instrument(info_span!("record")).await
            }
            None => Recorded::Unchanged,
        };
        if matches!(recorded, Recorded::Overtaken) {
            flight.drain(work).await;
            work.keep_to_the_record();
            // It is being deleted, perhaps, and only lingers: what was done is told all the same.
            Box::pin(record::record_last(ctx, work, pulse)).await;
            return End::Overtaken;
        }
        work.keep_to_the_record();
        let idle = turn.wanted.is_empty() && flight.is_empty();
        apply::apply(ctx, latest, work, &mut flight, turn.wanted).instrument(info_span!("apply")).await;
        let (goes_on, to_record) = match &recorded {
            Recorded::Written(_) => (turn.again, false),
            Recorded::Adopted(_) => (true, false),
            recorded => (false, matches!(recorded, Recorded::Later)),
        };
        if let Recorded::Written(before) | Recorded::Adopted(before) = recorded {
            info_span!("report").in_scope(|| report::report(ctx, work, &before));
        }
        if work.is_over() {
            return End::Over;
        }
        hindered = if turn.hindered { hindered + 1 } else { 0 };
        if idle && !goes_on {
            let waiting = Waiting { hindered, to_record, decided };
            let settle = settle::settle(ctx, latest, work, &mut flight, &following, waiting);
            settle.instrument(info_span!("settle")).await;
        }
    }
}

/// What one pass has decided.
#[derive(Debug, Default)]
struct Turn {
    /// What the status is to say; absent where there is nothing to say yet.
    phase: Option<Phase>,
    /// What to ask the API server about targets.
    wanted: Vec<Wanted>,
    /// Whether the next pass has something to do, once this one is on record.
    again: bool,
    /// Whether something stands in the way.
    hindered: bool,
}

fn decide(work: &mut Work, seen: &Seen, rules: Rules, now: Now) -> Turn {
    match work.start {
        None => plan(work, seen, rules, now),
        Some(start) => {
            let deadline = Deadline::at(&work.request, start, now);
            carry_on(work, seen, rules, deadline, deadline.remark(&work.request, start, now).as_deref())
        }
    }
}

fn plan(work: &mut Work, seen: &Seen, rules: Rules, now: Now) -> Turn {
    match decide::plan(&work.request, &seen.looks, &seen.admission, &seen.gates, now, rules) {
        Plan::Reject(why, message) => Turn { phase: Some(Phase::Rejected(why, message)), ..Turn::default() },
        // It catches up within a moment; the status says so only where it does not.
        Plan::Wait(Hindrance::Behind, _) if !work.has_waited(observe::PATIENCE) => {
            Turn { hindered: true, ..Turn::default() }
        }
        Plan::Wait(why, message) => {
            work.entries.iter_mut().for_each(Entry::planning_waits);
            Turn { phase: Some(Phase::Waiting(why, message)), hindered: true, ..Turn::default() }
        }
        Plan::Read(unsure) => {
            let due = unsure.into_iter().filter(|at| work.entries[*at].may_ask());
            Turn { wanted: due.map(Wanted::Read).collect(), ..Turn::default() }
        }
        // What is being read about an item belongs to its plan.
        Plan::Planned(_) if work.reading > 0 => Turn::default(),
        Plan::Planned(plan) => {
            for (entry, (record, rests_on)) in work.entries.iter_mut().zip(plan) {
                entry.becomes(record, rests_on);
            }
            work.start = Some(Start { time: now.to_record(), instant: Some(now.instant) });
            Turn { phase: Some(Phase::Planned(None)), again: true, ..Turn::default() }
        }
    }
}

/// `remark` belongs to what ends because of the deadline.
fn carry_on(work: &mut Work, seen: &Seen, rules: Rules, deadline: Deadline, remark: Option<&str>) -> Turn {
    let steps = decide::steps(&work.request, &work.entries, &seen.looks, &seen.gates, deadline, rules);
    let mut turn = Turn::default();
    let mut hindrance = seen.unlisted.clone();
    for (at, step) in steps.into_iter().enumerate() {
        work.entries[at].decided();
        match step {
            Step::Hold(why) => hindrance = hindrance.or(why),
            Step::Read if work.entries[at].may_ask() => turn.wanted.push(Wanted::Read(at)),
            Step::Write(target) if work.entries[at].may_ask() && work.is_intended(at, &target) => {
                turn.wanted.push(Wanted::Write(at, target));
            }
            Step::Read | Step::Write(_) => {}
            Step::Become(mut record, rests_on) => {
                let late = matches!(record.reason, Some(Reason::DeadlineExceeded | Reason::NotSettledInTime));
                if let (true, Some(remark), Some(message)) = (late, remark, &mut record.message) {
                    *message = format!("{message} {remark}").into();
                }
                turn.again |= record.result == ItemResult::Planned;
                work.entries[at].becomes(record, rests_on);
            }
        }
    }
    turn.hindered = hindrance.is_some();
    let hindrance = hindrance.or_else(|| work.entries.iter().find_map(Entry::waits_for));
    turn.phase = Some(Phase::Planned(hindrance));
    turn
}

#[cfg(test)]
mod tests;
