//! First step: what decisions rest on. The flag, read live where something may be written; the index; live reads.

use std::sync::Arc;

use crate::{
    api::{ItemResult, Kind},
    bulk_update::{
        context::Context,
        decide::PATIENCE,
        facts::{Gate, Gates, Lookup, Observation},
        work::Work,
    },
    observed::{flag::Flags, index::Following},
};

/// Observes everything that a pass needs.
pub async fn observe(ctx: &Context, work: &mut Work, following: &Following) -> Observation {
    let unlisted = unlisted(ctx, work).await;
    for change in following.mailbox().take() {
        work.seen(&change);
    }
    let gates = gates(ctx, work).await;
    let looks = match &unlisted {
        Some(why) if work.start().is_none() => {
            work.entries().iter().map(|_| Lookup::Failed(why.clone())).collect()
        }
        _ => {
            let request = Arc::clone(work.request());
            work.looks(|item| ctx.index.get(item.kind, &request.namespace, &item.id))
        }
    };
    Observation { admission: ctx.policies.admission(), gates, looks, unlisted }
}

/// That a kind which the request names has not been listed yet, within patience.
async fn unlisted(ctx: &Context, work: &Work) -> Option<String> {
    for kind in Kind::ALL.into_iter().filter(|kind| work.request().names(*kind)) {
        let patience = PATIENCE.saturating_sub(work.since().elapsed());
        if tokio::time::timeout(patience, ctx.index.listed(kind)).await.is_err() {
            return Some(format!("{} can't be listed yet; the operator's log says why", kind.plural()));
        }
    }
    if work.start().is_none() {
        // What they have to say is asked for by itself.
        let patience = PATIENCE.saturating_sub(work.since().elapsed());
        let _ = tokio::time::timeout(patience, ctx.policies.listed()).await;
    }
    None
}

/// The flag: live before planning, and no older than a second while anything is still to be written.
async fn gates(ctx: &Context, work: &Work) -> Gates {
    if work.start().is_some() && !work.any(ItemResult::Planned) {
        return Gates { executions: Gate::Open, deployments: Gate::Open, invalid: false };
    }
    let read = ctx.flag.read_since(work.since()).await;
    if let Err(failure) = &read {
        ctx.metrics.failed("configmaps", failure);
    }
    let gate = |kind: Kind| match &read {
        Ok(flags) if flags.on(kind) => Gate::Open,
        Ok(Flags::Invalid(why)) => Gate::Closed(format!("invalid {}: {why}", ctx.flag.place())),
        Ok(Flags::Valid { .. }) => {
            Gate::Closed(format!("{} is not true in {}", kind.plural(), ctx.flag.place()))
        }
        Err(failure) => Gate::Unknown(format!("can't read {}: {failure}", ctx.flag.place())),
    };
    Gates {
        executions: gate(Kind::Execution),
        deployments: gate(Kind::Deployment),
        invalid: matches!(read, Ok(Flags::Invalid(_))),
    }
}
