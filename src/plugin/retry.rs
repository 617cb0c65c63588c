//! Chooses again what was refused or failed.

use futures::{StreamExt, stream};

use super::{
    arguments::RetryArguments,
    batches::is_run,
    choice::{Choice, Criteria},
    follow::seen::Seen,
    found,
    modify::Modification,
    problem::Problem,
    selection::{READS, object},
    session::Session,
};
use crate::api::{BulkUpdateItem, ItemResult, Kind, TargetStatus};

pub async fn retry(session: &Session, arguments: &RetryArguments) -> Result<(), Problem> {
    let RetryArguments { what, send } = arguments;
    let found = found::bulk_updates(session, what).await?;
    if found.is_empty() && is_run(what) {
        return Err(found::nothing(session, what));
    }
    if let Some(open) = found.iter().find(|seen| !seen.is_over()) {
        let (namespace, name) = open.key();
        return Err(Problem::Failed(format!(
            "BulkUpdate {namespace}/{name} is not over yet: wait for its end (kubectl aiapi status {name}), or call it off"
        )));
    }
    let mut nothing = true;
    for operation in [TargetStatus::Stopped, TargetStatus::Deleted] {
        for kind in Kind::ALL {
            let items: Vec<_> = found.iter().flat_map(|seen| not_done(seen, kind, operation)).collect();
            if items.is_empty() {
                continue;
            }
            nothing = false;
            let chosen = choose(session, kind, operation, items, send.verbose).await?;
            Modification { kind, operation, stop_first: false }.carry_out(session, chosen, send).await?;
        }
    }
    if nothing {
        session.console.note("Nothing was refused, and nothing failed.");
    }
    Ok(())
}

/// The items of a BulkUpdate that were not done, each with its namespace; all of them if it was rejected.
fn not_done(seen: &Seen, kind: Kind, operation: TargetStatus) -> Vec<(String, BulkUpdateItem)> {
    let Some(spec) = &seen.spec else { return Vec::new() };
    let results = seen.status.as_ref().map(|status| status.items(kind)).unwrap_or_default();
    let rejected = seen.rejection().is_some();
    let is_open = |item: &&BulkUpdateItem| {
        let result = results.iter().find(|result| *result.id == *item.id);
        rejected || result.is_some_and(|r| matches!(r.result, ItemResult::Refused | ItemResult::Failed))
    };
    let asked = spec.items(kind).iter().filter(|item| item.target_status == operation);
    let namespace = seen.key().0;
    asked.filter(is_open).map(|item| (namespace.clone(), item.clone())).collect()
}

/// What of it is eligible now. Another object under the name was never chosen by anybody.
async fn choose(
    session: &Session,
    kind: Kind,
    operation: TargetStatus,
    items: Vec<(String, BulkUpdateItem)>,
    verbose: bool,
) -> Result<Choice, Problem> {
    let criteria = Criteria {
        kind,
        operation,
        states: Vec::new(),
        older_than: None,
        created_before: None,
        stop_first: false,
    };
    let read = stream::iter(items).map(async |(namespace, item)| {
        let found = object(session, kind, &namespace, &item.id).await;
        (namespace, item, found)
    });
    let read: Vec<_> = read.buffered(READS).collect().await;
    let mut choice = Choice::new(verbose);
    for (namespace, item, found) in read {
        match found? {
            None => choice.leave_out("gone".into(), &namespace, &item.id),
            Some(object) if item.uid.is_some() && item.uid != object.metadata.uid => {
                choice.leave_out("another object has the name now".into(), &namespace, &item.id);
            }
            Some(object) => {
                let verdict = criteria.assess(&object, session.clock.now().earliest);
                choice.add(verdict, &namespace, &item.id);
            }
        }
    }
    choice.complete();
    Ok(choice)
}
