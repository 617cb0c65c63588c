//! First step: what decisions are based on. The flag, read live before anything is written; the cache; live reads.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    api::{ItemResult, Kind},
    bulk_update::{
        context::Context,
        decide::PATIENCE,
        facts::{Gate, Gates, Lookup, Observation, Obstacle, Rejection},
        request::Request,
        work::Work,
    },
    observed::{flag::Flags, index::Following},
};

pub async fn observe(ctx: &Context, work: &mut Work, following: &Following<Request>) -> Observation {
    let not_listed = not_listed(ctx, work).await;
    for change in following.mailbox().take() {
        work.seen(&change);
    }
    let gates = gates(ctx, work).await;
    let lookups = match not_listed {
        Some(kind) if work.start().is_none() => {
            work.entries().iter().map(|_| Lookup::Failed(Obstacle::NotListed(kind))).collect()
        }
        _ => {
            let request = Arc::clone(work.request());
            work.lookups(|item| ctx.index.get(item.kind, &request.namespace, &item.id))
        }
    };
    Observation { at: Instant::now(), admission: ctx.policies.admission(), gates, lookups, not_listed }
}

/// A kind that the request names and whose first list has not succeeded yet, after a grace period.
async fn not_listed(ctx: &Context, work: &Work) -> Option<Kind> {
    let patience = || PATIENCE.saturating_sub(work.since().elapsed());
    for kind in Kind::ALL.into_iter().filter(|kind| work.request().names(*kind)) {
        if tokio::time::timeout(patience(), ctx.index.listed(kind)).await.is_err() {
            return Some(kind);
        }
    }
    if work.start().is_none() {
        // Whether the policy is in force is decided on its own.
        let _ = tokio::time::timeout(patience(), ctx.policies.listed()).await;
    }
    None
}

/// The flag: read live before planning, and no older than a second while writes are still to be sent.
async fn gates(ctx: &Context, work: &Work) -> Gates {
    if work.start().is_some() && !work.any(ItemResult::Planned) {
        return Gates { executions: Gate::Open, deployments: Gate::Open };
    }
    let read = ctx.flag.read_since(work.since()).await;
    if let Err(failure) = &read {
        ctx.metrics.failed("configmaps", failure);
    }
    let place = || ctx.flag.place();
    let gate = |kind: Kind| match &read {
        Ok(flags) if flags.on(kind) => Gate::Open,
        Ok(Flags::Invalid(why)) => Gate::Closed(Rejection::InvalidFlag { place: place(), why: why.clone() }),
        Ok(Flags::Valid { .. }) => {
            let (namespace, name) = ctx.flag.key();
            Gate::Closed(Rejection::Disabled { kind, config_map: format!("{namespace}/{name}") })
        }
        Err(failure) => Gate::Unknown(Obstacle::Flag { place: place(), failure: failure.clone() }),
    };
    Gates { executions: gate(Kind::Execution), deployments: gate(Kind::Deployment) }
}
