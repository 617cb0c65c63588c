//! First step: what decisions rest on. The flag, read live where something may be written; the index; live reads.

use std::time::Duration;

use crate::{
    api::{ItemResult, Kind},
    bulk_update::{
        context::Context,
        facts::{Gate, Gates, Look},
        request::Request,
        work::{Entry, Work},
    },
    observed::{
        admission::Admission,
        flag::Flags,
        index::{Change, Following, What},
    },
};

/// How long the first list of targets may take, from when a BulkUpdate was taken up, or a watch may be behind, before the status
/// says that it is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What one pass decides on.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whether authors are checked.
    pub admission: Admission,
    /// The flag.
    pub gates: Gates,
    /// What is known of each item's target.
    pub looks: Vec<Look>,
    /// That a kind which the request names has not been listed yet: nothing is planned, and what was planned is read item by
    /// item.
    pub unlisted: Option<String>,
}

/// Observes everything that a pass needs.
pub async fn observe(ctx: &Context, work: &mut Work, following: &Following<Request>) -> Seen {
    let unlisted = unlisted(ctx, work).await;
    for change in following.mailbox().take() {
        take_in(work, &change);
    }
    let gates = gates(ctx, work).await;
    let namespace = &work.request.namespace;
    let look = |entry: &mut Entry| match &unlisted {
        Some(why) if work.start.is_none() => Look::Failed(why.clone()),
        _ => {
            let indexed = ctx.index.get(entry.item.kind, namespace, &entry.item.id);
            entry.share(indexed.as_ref());
            entry.look(indexed)
        }
    };
    let looks = work.entries.iter_mut().map(look).collect();
    Seen { admission: ctx.policies.admission(), gates, looks, unlisted }
}

/// That a kind which the request names has not been listed yet, within patience.
async fn unlisted(ctx: &Context, work: &Work) -> Option<String> {
    for kind in Kind::ALL.into_iter().filter(|kind| work.request.names(*kind)) {
        let patience = PATIENCE.saturating_sub(work.since.elapsed());
        if tokio::time::timeout(patience, ctx.index.listed(kind)).await.is_err() {
            return Some(format!("{} can't be listed yet; the operator's log says why", kind.plural()));
        }
    }
    if work.start.is_none() {
        // What they have to say is asked for by itself.
        let patience = PATIENCE.saturating_sub(work.since.elapsed());
        let _ = tokio::time::timeout(patience, ctx.policies.listed()).await;
    }
    None
}

fn take_in(work: &mut Work, change: &Change) {
    let entries = work.entries.iter_mut();
    for entry in entries.filter(|e| e.item.kind == change.kind && *e.item.id == *change.name) {
        match &change.what {
            What::Deleted(gone) => entry.may_be_gone(Some(gone)),
            What::Vanished => entry.may_be_gone(None),
            What::Updated => {}
        }
        let uid = entry.record.as_ref().and_then(|r| r.uid.as_deref());
        match &change.what {
            What::Deleted(gone) if uid == Some(&**gone) => {
                entry.progress.gone = true;
                entry.progress.seen = None;
            }
            What::Vanished if entry.is_underway() => entry.progress.must_look = true,
            What::Deleted(_) | What::Updated | What::Vanished => {}
        }
    }
}

/// The flag: live before planning, and no older than a second while anything is still to be written.
async fn gates(ctx: &Context, work: &Work) -> Gates {
    if work.start.is_some() && !work.any(ItemResult::Planned) {
        return Gates { executions: Gate::Open, deployments: Gate::Open, invalid: false };
    }
    let read = ctx.meta.read_since(work.since).await;
    if let Err(failure) = &read {
        ctx.metrics.failed("configmaps", failure);
    }
    let gate = |kind: Kind| match &read {
        Ok(flags) if flags.on(kind) => Gate::Open,
        Ok(Flags::Invalid(why)) => Gate::Closed(format!("invalid {}: {why}", ctx.meta.place())),
        Ok(Flags::Valid { .. }) => {
            Gate::Closed(format!("{} is not true in {}", kind.plural(), ctx.meta.place()))
        }
        Err(failure) => Gate::Unknown(format!("can't read {}: {failure}", ctx.meta.place())),
    };
    Gates {
        executions: gate(Kind::Execution),
        deployments: gate(Kind::Deployment),
        invalid: matches!(read, Ok(Flags::Invalid(_))),
    }
}
