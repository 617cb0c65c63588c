//! Goes on with a run that was interrupted.

use std::collections::HashSet;

use kube::ResourceExt;

use super::{
    arguments::ResumeArguments,
    batches::is_run,
    follow::{Following, Run},
    found,
    names::bulk_updates,
    problem::Problem,
    record::{Plan, Record},
    session::Session,
};
use crate::api::BulkUpdate;

pub async fn resume(session: &Session, arguments: &ResumeArguments) -> Result<(), Problem> {
    let run = &*arguments.run;
    if !is_run(run) {
        return Err(Problem::Usage(format!("{run} is not the name of a run, such as 20261130-081500-0a1b")));
    }
    let record = held(session, run)?;
    let (plan, confirmed) = match found::recorded(session, run)? {
        Some((plan, confirmed)) => (Some(plan), confirmed),
        None => (None, HashSet::new()),
    };
    if let Some(plan) = &plan {
        chosen_by_this_user(session, run, plan).await?;
    }
    let found = found::of_plan(session, run, plan.as_ref()).await?;
    let exists = |bulk: &BulkUpdate| {
        found
            .iter()
            .any(|seen| seen.metadata.name == bulk.metadata.name && seen.namespace() == bulk.namespace())
    };
    let rest = plan.into_iter().flat_map(|plan| plan.bulk_updates).filter(|bulk| !exists(bulk));
    let (gone, unsent): (Vec<_>, Vec<_>) = rest.partition(|bulk| confirmed.contains(&bulk.name_any()));
    if !gone.is_empty() {
        // Somebody has called it off, perhaps on another machine, or it has been over for a week.
        session.console.note(format_args!(
            "{} of run {run} deleted since it was interrupted, so it was called off: nothing is sent. To choose again, give the \
             command of the run again",
            bulk_updates(gone.len())
        ));
        return Err(Problem::CalledOff);
    }
    let now = session.clock.now().latest;
    if unsent.iter().any(|bulk| bulk.spec.not_after.as_ref().is_some_and(|time| time.0 < now)) {
        return Err(Problem::Failed(format!(
            "run {run} was chosen more than an hour ago, and what was chosen may have changed: nothing is sent. Give the command of the \
             run again"
        )));
    }
    if found.is_empty() && unsent.is_empty() {
        return Err(found::nothing(session, run));
    }
    session.console.note(format_args!(
        "Run {run}: {} sent before, {} to send",
        bulk_updates(found.len()),
        unsent.len()
    ));
    let mut run = Run::new(session, run, unsent, record);
    for seen in &found {
        run.sent_before(seen);
    }
    run.carry_out(Following::from(&arguments.follow)).await
}

/// The record of the run, if there is one, held by this process.
fn held(session: &Session, run: &str) -> Result<Option<Record>, Problem> {
    let mut record = Record::of(run).filter(Record::is_there);
    if let Some(record) = &mut record
        && !record.hold().map_err(|error| found::unreadable(run, &error))?
    {
        return Err(Problem::Failed(format!(
            "another process is sending run {run} at the moment: kubectl aiapi status {run}{} shows how far it is",
            session.flags
        )));
    }
    Ok(record)
}

async fn chosen_by_this_user(session: &Session, run: &str, plan: &Plan) -> Result<(), Problem> {
    let user = session.user().await?;
    if plan.user == user {
        return Ok(());
    }
    let chooser = &plan.user;
    Err(Problem::Usage(format!(
        "run {run} was chosen by {chooser}, and you are {user}: give the command of the run again"
    )))
}
