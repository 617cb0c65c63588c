//! The BulkUpdates that a command means: those of a run, or one by its name.

use std::collections::HashSet;

use kube::ResourceExt;

use super::{
    batches::{RUN, is_run},
    follow::seen::Seen,
    problem::{Problem, failed},
    record::{Plan, Record},
    session::{Selectors, Session},
};

/// Finds them, in the order of their names.
///
/// # Errors
/// If there are none, or they cannot be read.
pub async fn bulk_updates(session: &Session, what: &str) -> Result<Vec<Seen>, Problem> {
    if is_run(what) {
        let recorded = recorded_or_none(session, what);
        let found = of_plan(session, what, recorded.as_ref().map(|(plan, _)| plan)).await?;
        return if found.is_empty() && recorded.is_none() { Err(nothing(session, what)) } else { Ok(found) };
    }
    let namespace = session.one_namespace("a BulkUpdate belongs to a namespace")?;
    let found = session.read::<Seen>(&Seen::url(Some(namespace)), what).await;
    match found.map_err(|failure| failed(format_args!("BulkUpdate {what} cannot be read"), &failure))? {
        Some(seen) => Ok(vec![seen]),
        None => Err(Problem::Failed(format!(
            "there is no BulkUpdate {what} in namespace {namespace}; kubectl aiapi get bulkupdate shows those that exist"
        ))),
    }
}

/// What is on record of a run on this machine.
///
/// # Errors
/// If it cannot be read, or is that of another cluster.
pub fn recorded(session: &Session, run: &str) -> Result<Option<(Plan, HashSet<String>)>, Problem> {
    let unreadable = |error| Problem::Failed(format!("the record of run {run} cannot be read: {error}"));
    let recorded = Record::of(run).map_or(Ok(None), |record| record.read()).map_err(unreadable)?;
    if let Some((plan, _)) = recorded.as_ref().filter(|(plan, _)| plan.server != session.server) {
        return Err(Problem::Usage(format!(
            "run {run} is one of {}, and this is {}: choose the context that it was sent with",
            plan.server, session.server
        )));
    }
    Ok(recorded)
}

/// The same, where the cluster says what there is: a record that cannot be used is said and left alone.
pub fn recorded_or_none(session: &Session, run: &str) -> Option<(Plan, HashSet<String>)> {
    if !is_run(run) {
        return None;
    }
    recorded(session, run).unwrap_or_else(|problem| {
        session.console.note(format_args!("The record of the run on this machine is not used: {problem}"));
        None
    })
}

/// The BulkUpdates of a run that exist, in the namespaces of its plan, or else of the command.
pub async fn of_plan(session: &Session, run: &str, plan: Option<&Plan>) -> Result<Vec<Seen>, Problem> {
    let Some(plan) = plan else { return of_run(session, run, session.namespace.as_deref()).await };
    let mut found = Vec::new();
    for namespace in plan.namespaces() {
        found.extend(of_run(session, run, Some(&namespace)).await?);
    }
    Ok(found)
}

/// Those of a run; maybe none.
async fn of_run(session: &Session, run: &str, namespace: Option<&str>) -> Result<Vec<Seen>, Problem> {
    let label = format!("{RUN}={run}");
    let selectors = Selectors { labels: Some(&label), fields: None };
    let mut found: Vec<Seen> = session.list_all("BulkUpdates", &Seen::url(namespace), selectors).await?;
    // Anybody who may change a BulkUpdate can give it the label.
    found.retain(|seen| is_name_of(&seen.name_any(), run));
    found.sort_by_key(ResourceExt::name_any);
    Ok(found)
}

/// Whether a BulkUpdate of this run has such a name.
fn is_name_of(name: &str, run: &str) -> bool {
    let rest = ["stop-", "delete-", "dry-run-"].iter().find_map(|verb| name.strip_prefix(verb));
    let number = rest.and_then(|rest| rest.strip_prefix(run)).and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| number.len() >= 3 && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// What to say where a run has no BulkUpdates.
pub fn nothing(session: &Session, run: &str) -> Problem {
    let place = session.place();
    Problem::Failed(format!(
        "{place} has no BulkUpdates of run {run}: they may be in another namespace (-n, -A), or deleted a week after their end"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_alone_makes_nothing_part_of_a_run() {
        let run = "20261130-081500-0a1b";
        assert!(
            is_name_of("stop-20261130-081500-0a1b-001", run)
                && is_name_of("delete-20261130-081500-0a1b-1001", run)
        );
        for name in [
            "nightly",
            "stop-20261130-081500-0a1b",
            "stop-20261130-081500-0a1c-001",
            "delete-20261130-081500-0a1b-x01",
        ] {
            assert!(!is_name_of(name, run), "{name}");
        }
    }
}
