//! Goes on with a run that was interrupted.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{
    arguments::ResumeArguments,
    batches::{VALID, is_run},
    follow::{Following, Run, seen::Seen},
    found,
    names::bulk_updates,
    problem::Problem,
    record::{Plan, Record},
    session::Session,
};
use crate::api::{BulkUpdate, time::later};

pub async fn resume(session: &Session, arguments: &ResumeArguments) -> Result<(), Problem> {
    let run = &*arguments.run;
    if !is_run(run) {
        return Err(Problem::Usage(format!("{run} is not the name of a run, such as 20261130-081500-0a1b")));
    }
    let record = Record::of(run);
    let unreadable = |error| Problem::Failed(format!("the record of run {run} cannot be read: {error}"));
    let recorded = record.as_ref().map_or(Ok(None), Record::read).map_err(unreadable)?;
    let (plan, confirmed) = match recorded {
        Some((plan, confirmed)) => (Some(plan), confirmed),
        None => (None, std::collections::HashSet::new()),
    };
    if let Some(plan) = plan.as_ref().filter(|plan| plan.server != session.server) {
        return Err(Problem::Usage(format!(
            "run {run} was sent to {}, and this is {}: choose the context that it was sent with",
            plan.server, session.server
        )));
    }
    let found = sent_before(session, run, plan.as_ref()).await?;
    let exists = |bulk: &BulkUpdate| {
        found
            .iter()
            .any(|seen| seen.metadata.name == bulk.metadata.name && seen.namespace() == bulk.namespace())
    };
    let rest = plan.into_iter().flat_map(|plan| plan.bulk_updates).filter(|bulk| !exists(bulk));
    // What was there and is gone has been called off, or is over for a week.
    let (gone, unsent): (Vec<_>, Vec<_>) = rest.partition(|bulk| confirmed.contains(&bulk.name_any()));
    if !gone.is_empty() {
        session
            .console
            .note(format_args!("{} of this run deleted since; not sent again", bulk_updates(gone.len())));
    }
    if found.is_empty() && unsent.is_empty() {
        return Err(found::nothing(session, run));
    }
    session.console.note(format_args!(
        "Run {run}: {} sent before, {} to send",
        bulk_updates(found.len()),
        unsent.len()
    ));
    let mut run =
        Run::new(session, run, unsent.into_iter().map(|bulk| valid_again(session, bulk)).collect(), record);
    for seen in &found {
        let (namespace, name) = seen.key();
        run.sent_before(&namespace, &name, seen);
    }
    run.carry_out(Following::from(&arguments.follow)).await.map(|_| ())
}

/// The BulkUpdates of the run that exist, in the namespaces of the plan, or else of the command.
async fn sent_before(session: &Session, run: &str, plan: Option<&Plan>) -> Result<Vec<Seen>, Problem> {
    let Some(plan) = plan else {
        return found::of_run(session, run, session.namespace.as_deref()).await;
    };
    let namespaces: BTreeSet<_> = plan.bulk_updates.iter().filter_map(ResourceExt::namespace).collect();
    let mut found = Vec::new();
    for namespace in &namespaces {
        found.extend(found::of_run(session, run, Some(namespace)).await?);
    }
    Ok(found)
}

/// It was not sent, so the time in which it may be carried out begins now.
fn valid_again(session: &Session, mut bulk: BulkUpdate) -> BulkUpdate {
    let until = later(session.clock.now().earliest, VALID.as_secs().cast_signed());
    bulk.spec.not_after = Some(Time(until));
    bulk
}
