//! Fourth step: the requests about targets. Every write is guarded; they are sent concurrently, as many as there are
//! slots.

mod write;

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use crate::{
    bulk_update::{
        context::{Context, Latest},
        facts::Deadline,
        work::{Answer, Intent, Work},
    },
    client::slots::Slot,
    observed::target::{self, Target},
    tasks::resume_panic,
    telemetry::metrics,
};

#[derive(Debug)]
pub enum Outgoing {
    /// With the index of the item.
    Read(usize),
    Write(Intent),
}

impl Outgoing {
    /// These reads, and those of the writes that the record intends, in the order of the items.
    pub fn of(work: &Work, reads: Vec<usize>, writes: Vec<(usize, Arc<Target>)>) -> Vec<Self> {
        let writes = work.intents(writes).into_iter().map(Self::Write);
        let mut wanted: Vec<_> = reads.into_iter().map(Self::Read).chain(writes).collect();
        wanted.sort_by_key(|wanted| match wanted {
            Self::Read(at) => *at,
            Self::Write(intent) => intent.at(),
        });
        wanted
    }
}

pub struct InFlight {
    ctx: Arc<Context>,
    latest: Latest,
    requests: JoinSet<(usize, Answer)>,
    called_off: CancellationToken,
}

impl InFlight {
    pub fn new(ctx: &Arc<Context>, latest: &Latest) -> Self {
        let (ctx, latest) = (Arc::clone(ctx), latest.clone());
        Self { ctx, latest, requests: JoinSet::new(), called_off: CancellationToken::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Waits for one answer and processes it. Returns whether a new decision is needed, or `None` if nothing is in
    /// flight.
    pub async fn next_answer(&mut self, work: &mut Work) -> Option<bool> {
        let answered = self.requests.join_next().await?;
        let (at, answer) = resume_panic(answered);
        Some(work.answered(at, answer))
    }

    /// Sends nothing more, and waits for what was sent: its outcome must be logged, and nothing may be sent
    /// concurrently.
    pub async fn drain(&mut self, work: &mut Work) {
        self.called_off.cancel();
        while self.next_answer(work).await.is_some() {}
    }
}

/// How long one pass sends requests before it reports or looks for changes.
const LONGEST_APPLY: Duration = Duration::from_secs(1);

/// Sends the requests and processes answers until none is left, one needs a new decision, or it is time to report.
pub async fn apply(work: &mut Work, in_flight: &mut InFlight, wanted: Vec<Outgoing>) {
    let ctx = Arc::clone(&in_flight.ctx);
    let until = Instant::now() + LONGEST_APPLY;
    let request = Arc::clone(work.request());
    let _writing = (!wanted.is_empty()).then(|| ctx.writers.enter(&request.namespace));
    let mut queue: VecDeque<_> = wanted.into();
    // One place in the queue for slots at a time, kept while this pass waits. Given up between passes, when the status
    // may need a slot.
    let place = || ctx.slots.acquire(&request.namespace, &request.uid);
    let mut slots = pin!(place());
    let mut look_again = false;
    // Reads that were sent together are decided on together, so that their corrections take one status write.
    while !queue.is_empty() || !(in_flight.is_empty() || (look_again && !work.is_reading())) {
        tokio::select! {
            biased;
            Some(again) = in_flight.next_answer(work) => look_again |= again,
            slot = slots.as_mut(), if !queue.is_empty() => {
                slots.set(place());
                if let Some(wanted) = queue.pop_front() {
                    start(work, in_flight, slot, wanted);
                }
            }
            () = sleep_until(until) => return,
        }
        if in_flight.latest.stopped() {
            return;
        }
    }
}

fn start(work: &mut Work, in_flight: &mut InFlight, slot: Slot, wanted: Outgoing) {
    let (ctx, latest) = (Arc::clone(&in_flight.ctx), in_flight.latest.clone());
    let request = Arc::clone(work.request());
    let called_off = in_flight.called_off.clone();
    match wanted {
        Outgoing::Read(at) => {
            let item = work.sent_read(at).clone();
            let span = info_span!("read", kind = item.kind.name(), id = &*item.id);
            let ask = async move {
                let answer = target::read(&ctx.client, item.kind, &request.namespace, &item.id).await;
                if let Err(failure) = &answer {
                    ctx.metrics.failed(item.kind.plural(), failure);
                }
                drop(slot);
                (at, Answer::Read(answer))
            };
            in_flight.requests.spawn(ask.instrument(span));
        }
        Outgoing::Write(intent) => {
            let since = work.since();
            work.sent_write(&intent);
            let item = intent.item();
            let span = info_span!("write", kind = item.kind.name(), id = &*item.id, uid = %intent.target().uid,
                verb = metrics::verb(item.target));
            let ask = async move {
                let at = intent.at();
                let flags = ctx.flag.read_since(since).await;
                // No await from here until the request is sent: these checks hold for the write.
                let may = flags.is_ok_and(|flags| flags.on(intent.item().kind))
                    && !called_off.is_cancelled()
                    && !latest.stopped()
                    && Deadline::at(&request, intent.start(), ctx.clock.now()) == Deadline::Ahead;
                let answer = if may { write::write(&ctx, intent).await } else { Answer::NotSent };
                drop(slot);
                (at, answer)
            };
            in_flight.requests.spawn(ask.instrument(span));
        }
    }
}
