//! Fourth step: the requests about targets. Each write carries its guard; all go out side by side, as many at once as
//! there are slots.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span};

use crate::{
    api::{ItemResult, ItemStatus, TargetStatus},
    bulk_update::{
        context::{Context, Latest},
        decide::{accepted_delete, accepted_stop},
        facts::{Deadline, Start},
        request::{Item, Request},
        work::Work,
    },
    client::{Failure, requests, slots::Slot},
    observed::target::{self, Observed, Target},
    telemetry::metrics,
};

/// A request to be sent about the item at this place.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Read its target.
    Read(usize),
    /// Write to its target, as it was seen.
    Write(usize, Arc<Target>),
}

/// The requests of one BulkUpdate that have not been answered yet.
#[derive(Debug, Default)]
pub struct Flight {
    requests: JoinSet<(usize, Answer)>,
    called_off: CancellationToken,
}

impl Flight {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Waits for one answer and takes it in; says whether it asks for a new decision. `None` if there is nothing to wait for.
    pub async fn take_in_next(&mut self, work: &mut Work) -> Option<bool> {
        let answered = self.requests.join_next().await?;
        Some(take_in(work, answered))
    }

    /// Sends nothing more, and waits for what was sent: its outcome belongs into the log, and nothing may be sent beside it.
    pub async fn drain(&mut self, work: &mut Work) {
        self.called_off.cancel();
        while self.take_in_next(work).await.is_some() {}
    }
}

/// What came of a request.
#[derive(Debug)]
pub enum Answer {
    /// A read.
    Read(Result<Option<Target>, Failure>),
    /// A write, and the resource version that guarded it.
    Written(Box<str>, Result<Accepted, Failure>),
    /// A write that was not sent, because something forbade it at the last moment.
    NotSent,
}

/// What an accepted write has left.
#[derive(Debug)]
pub enum Accepted {
    /// The object as it is now.
    Left(Target),
    /// Nothing: it is gone.
    Gone,
}

/// How long one pass sends before it reports, or looks whether there is anything else to do.
const STINT: Duration = Duration::from_secs(1);

/// Sends what is wanted, and takes in answers until there are none to wait for, one asks for a new decision, or it is
/// time to report.
pub async fn apply(
    ctx: &Arc<Context>,
    latest: &Latest,
    work: &mut Work,
    flight: &mut Flight,
    wanted: Vec<Wanted>,
) {
    let until = Instant::now() + STINT;
    let request = Arc::clone(&work.request);
    let _writing = (!wanted.is_empty()).then(|| ctx.writing.enter(&work.request.namespace));
    let mut queue: VecDeque<_> = wanted.into();
    // One place in the line at a time, kept while this pass waits. It is given up between passes, when the status may want a
    // slot.
    let place = || ctx.slots.acquire(&request.namespace, &request.uid);
    let mut slots = place();
    let mut look_again = false;
    // Reads sent together are decided on together: what they correct takes one status write.
    while !queue.is_empty() || !(flight.is_empty() || (look_again && work.reading == 0)) {
        tokio::select! {
            biased;
            Some(again) = flight.take_in_next(work) => look_again |= again,
            slot = &mut slots, if !queue.is_empty() => {
                slots = place();
                if let Some(wanted) = queue.pop_front() {
                    start(ctx, latest, work, flight, slot, wanted);
                }
            }
            () = sleep_until(until) => return,
        }
        if latest.stopped() {
            return;
        }
    }
}

fn start(
    ctx: &Arc<Context>,
    latest: &Latest,
    work: &mut Work,
    flight: &mut Flight,
    slot: Slot,
    wanted: Wanted,
) {
    let (ctx, latest, request) = (Arc::clone(ctx), latest.clone(), Arc::clone(&work.request));
    let called_off = flight.called_off.clone();
    match wanted {
        Wanted::Read(at) => {
            work.reading += 1;
            let entry = &mut work.entries[at];
            entry.progress.in_flight = true;
            let item = entry.item.clone();
            let span = info_span!("read", kind = item.kind.name(), id = &*item.id);
            let ask = async move {
                let answer = target::read(&ctx.client, item.kind, &request.namespace, &item.id).await;
                if let Err(failure) = &answer {
                    ctx.metrics.failed(item.kind.plural(), failure);
                }
                drop(slot);
                (at, Answer::Read(answer))
            };
            flight.requests.spawn(ask.instrument(span));
        }
        Wanted::Write(at, target) => {
            // Intent before effect, whatever the steps before have done.
            let intended = work.is_intended(at, &target);
            let Some(planned) = work.start.filter(|_| intended) else { return };
            let item = work.entries[at].item.clone();
            work.entries[at].progress.in_flight = true;
            let since = work.since;
            let span = info_span!("write", kind = item.kind.name(), id = &*item.id, uid = %target.uid,
                verb = metrics::verb(item.target));
            let ask = async move {
                let may = || !called_off.is_cancelled() && !latest.stopped();
                let answer = write(&ctx, may, &request, since, planned, &item, target).await;
                drop(slot);
                (at, answer)
            };
            flight.requests.spawn(ask.instrument(span));
        }
    }
}

async fn write(
    ctx: &Context,
    may: impl Fn() -> bool,
    request: &Request,
    since: Instant,
    start: Start,
    item: &Item,
    target: Arc<Target>,
) -> Answer {
    let flags = ctx.meta.read_since(since).await;
    // From here to the sending nothing waits: what is seen now is what the write rests on.
    let may = flags.is_ok_and(|flags| flags.on(item.kind))
        && may()
        && Deadline::at(request, start, ctx.clock.now()) == Deadline::Ahead;
    if !may {
        return Answer::NotSent;
    }
    let in_flight = ctx.metrics.write_begins();
    let outcome = match item.target {
        TargetStatus::Stopped => stop(ctx, request, item, &target).await,
        TargetStatus::Deleted => delete(ctx, request, item, &target).await,
    };
    drop(in_flight);
    ctx.metrics.written(item.kind, item.target, &outcome);
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
    Answer::Written(target.resource_version.clone(), outcome)
}

async fn stop(ctx: &Context, request: &Request, item: &Item, target: &Target) -> Result<Accepted, Failure> {
    let mut status = json!({
        "targetStatus": "STOPPED",
        "stopRequest": {
            "bulkUpdate": request.name,
            "uid": request.uid,
            "time": k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(ctx.clock.now().earliest),
        },
        "message": format!("BulkUpdate {} asked for a stop", request.name),
    });
    if !target.managed_by_other {
        // Without a template nothing runs, so that there is nothing to wait for.
        status["state"] = if target.has_template { "STOPPING" } else { "STOPPED" }.into();
    }
    let patch = json!({"metadata": {"resourceVersion": target.resource_version}, "status": status});
    let url = target::url(item.kind, &request.namespace);
    let answer = requests::patch_status(&ctx.client, url, &item.id, &patch).await?;
    target::answered(&item.id, &answer).map(Accepted::Left)
}

async fn delete(ctx: &Context, request: &Request, item: &Item, target: &Target) -> Result<Accepted, Failure> {
    let url = target::url(item.kind, &request.namespace);
    let (uid, version) = (&target.uid, &target.resource_version);
    let answer: Observed = requests::delete(&ctx.client, url, &item.id, uid, version).await?;
    // The API server answers with the object if finalizers keep it, else with a Status.
    if answer.is_status() {
        return Ok(Accepted::Gone);
    }
    target::answered(&item.id, &answer).map(Accepted::Left)
}

/// Takes in an answer; says whether it asks for a new decision.
pub(super) fn take_in(work: &mut Work, answered: Result<(usize, Answer), JoinError>) -> bool {
    let (at, answer) = crate::tasks::unpanicked(answered);
    let entry = &mut work.entries[at];
    match answer {
        Answer::Read(answer) => {
            entry.read(answer);
            work.reading -= 1;
            work.keep_few_words();
        }
        Answer::NotSent => entry.progress.in_flight = false,
        Answer::Written(guard, Err(failure)) => {
            entry.write_failed(&failure, &guard);
            work.keep_few_words();
        }
        Answer::Written(_, Ok(accepted)) => {
            let Some(record) = entry.record.clone() else { return true };
            let (record, left) = match (accepted, entry.item.target) {
                (Accepted::Gone, _) => (ItemStatus { result: ItemResult::Settled, ..record }, None),
                (Accepted::Left(target), TargetStatus::Stopped) => {
                    entry.progress.written = target.version();
                    (accepted_stop(&record, &target), Some(target))
                }
                (Accepted::Left(target), TargetStatus::Deleted) => {
                    (accepted_delete(&record, &target), Some(target))
                }
            };
            entry.accepted(left);
            work.last_write = Some(Instant::now());
            let entry = &mut work.entries[at];
            entry.becomes(record, None);
            return false;
        }
    }
    true
}
