//! Chooses again what was refused or failed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    arguments::RetryArguments,
    batches::is_run,
    choice::{Choice, Criteria},
    follow::seen::Seen,
    found,
    modify::Modification,
    names::bulk_updates,
    problem::Problem,
    selection::objects,
    session::{BRIEFLY, Session},
};
use crate::{
    api::{ConditionReason, ItemResult, Kind, REQUESTER, TargetStatus},
    observed::Observed,
};

pub async fn retry(session: &Session, arguments: &RetryArguments) -> Result<(), Problem> {
    let RetryArguments { what, send } = arguments;
    let mut found = found::bulk_updates(session, what).await?;
    if is_run(what) {
        // Anybody who may create or change BulkUpdates can make one look like a part of it; nobody can forge who asked.
        let user = session.user().await?;
        let requester =
            |seen: &Seen| seen.metadata.annotations.as_ref().and_then(|all| all.get(REQUESTER).cloned());
        let all = found.len();
        found.retain(|seen| requester(seen).is_none_or(|requester| requester == user));
        if found.len() < all {
            session.console.note(format_args!("{} of others left out", bulk_updates(all - found.len())));
        }
    }
    if found.is_empty() && is_run(what) {
        return Err(found::nothing(session, what));
    }
    if let Some(open) =
        found.iter().find(|seen| !seen.is_over() && seen.metadata.deletion_timestamp.is_none())
    {
        let (namespace, name) = open.key();
        return Err(Problem::Failed(format!(
            "BulkUpdate {namespace}/{name} is not over yet: wait for its end (kubectl aiapi status {name}), or call it off"
        )));
    }
    if let Some(dry) =
        found.iter().find(|seen| seen.spec.as_ref().is_some_and(|spec| spec.dry_run == Some(true)))
    {
        let name = dry.key().1;
        return Err(Problem::Usage(format!(
            "BulkUpdate {name} was a dry run: give its command without --dry-run"
        )));
    }
    let (mut nothing, mut outcome) = (true, Ok(()));
    for operation in [TargetStatus::Stopped, TargetStatus::Deleted] {
        for kind in Kind::ALL {
            let items: Vec<_> = found.iter().flat_map(|seen| not_done(seen, kind, operation)).collect();
            if items.is_empty() {
                continue;
            }
            nothing = false;
            let chosen = choose(session, kind, operation, items, send.verbose).await?;
            let modification = Modification { kind, operation, stop_first: false };
            match modification.carry_out(session, chosen, send).await {
                // The others are not worse for that.
                Ok(()) => {}
                Err(Problem::NotAllDone) => outcome = Err(Problem::NotAllDone),
                Err(problem) => return Err(problem),
            }
        }
    }
    if nothing {
        session.console.note("Nothing was refused, and nothing failed.");
    }
    outcome
}

/// An item that was not done, and which object it meant.
struct Open {
    namespace: String,
    id: String,
    /// The uid that was asked for, or decided on.
    uid: Option<String>,
    /// When the BulkUpdate was created: without a uid, what was created later is not meant.
    asked: Option<Time>,
}

impl Open {
    fn means(&self, object: &Observed) -> bool {
        match &self.uid {
            Some(uid) => object.metadata.uid.as_ref() == Some(uid),
            None => match (&object.metadata.creation_timestamp, &self.asked) {
                (Some(created), Some(asked)) => created.0 < asked.0,
                _ => false,
            },
        }
    }
}

/// The items of a BulkUpdate that were not done; all of them if it was rejected.
fn not_done(seen: &Seen, kind: Kind, operation: TargetStatus) -> Vec<Open> {
    let Some(spec) = &seen.spec else { return Vec::new() };
    let results = seen.status.as_ref().map(|status| status.items(kind)).unwrap_or_default();
    // What nobody was permitted to ask for was never a request.
    let rejected =
        seen.rejection().is_some_and(|(reason, _)| reason != ConditionReason::NotAuthorized.to_string());
    let namespace = seen.key().0;
    let asked = spec.items(kind).iter().filter(|item| item.target_status == operation);
    let open = asked.filter_map(|item| {
        let result = results.iter().find(|result| *result.id == *item.id);
        let failed = result.is_some_and(|r| matches!(r.result, ItemResult::Refused | ItemResult::Failed));
        // Of one that was refused because of what it is, the uid is that of another object.
        let decided = result
            .filter(|result| result.result == ItemResult::Failed)
            .and_then(|result| result.uid.as_deref());
        (rejected || failed).then(|| Open {
            namespace: namespace.clone(),
            id: item.id.clone(),
            uid: item.uid.clone().or_else(|| decided.map(ToOwned::to_owned)),
            asked: seen.metadata.creation_timestamp.clone(),
        })
    });
    open.collect()
}

/// What of it is eligible now. Another object under the name was never chosen by anybody.
async fn choose(
    session: &Session,
    kind: Kind,
    operation: TargetStatus,
    items: Vec<Open>,
    verbose: bool,
) -> Result<Choice, Problem> {
    let criteria = Criteria::any(kind, operation);
    let read = objects(session, BRIEFLY, kind, items, |open| (&open.namespace, &open.id)).await?;
    let mut choice = Choice::new(verbose);
    for (open, found) in read {
        let (namespace, id) = (&open.namespace, &open.id);
        match found {
            None => {
                choice.incomplete |= operation == TargetStatus::Stopped;
                choice.leave_out("gone".into(), namespace, id);
            }
            Some(object) if !open.means(&object) => {
                choice.incomplete = true;
                choice.leave_out("another object has the name now".into(), namespace, id);
            }
            Some(object) => choice.add_named(&criteria, &object, session.clock.now().earliest),
        }
    }
    choice.complete();
    Ok(choice)
}
