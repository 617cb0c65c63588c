//! The BulkUpdates that a command means: those of a run, or one by its name.

use std::{
    collections::{BTreeSet, HashSet},
    io,
};

use kube::ResourceExt;

use super::{
    batches::{RUN, is_run, run_of},
    follow::seen::Seen,
    named::Named,
    problem::{Problem, failed},
    record::{Plan, Record},
    session::{Selectors, Session},
};

const WHAT: &str = "BulkUpdates";

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
    let recorded = Record::of(run).map_or(Ok(None), |record| record.read());
    let recorded = recorded.map_err(|error| unreadable(run, &error))?;
    if let Some((plan, _)) = recorded.as_ref().filter(|(plan, _)| plan.server != session.server) {
        return Err(Problem::Usage(format!(
            "run {run} is one of {}, and this is {}: choose the context that it was sent with",
            plan.server, session.server
        )));
    }
    Ok(recorded)
}

/// The record of a run that cannot be used.
pub fn unreadable(run: &str, error: &io::Error) -> Problem {
    Problem::Failed(format!("the record of run {run} cannot be read: {error}"))
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
    let (url, label) = (Seen::url(namespace), format!("{RUN}={run}"));
    let labelled = Selectors { labels: Some(&label), ..Selectors::default() };
    let mut found: Vec<Seen> = session.list_all(WHAT, &url, labelled).await?;
    // Anybody who may change a BulkUpdate can give it the label.
    found.retain(|seen| run_of(&seen.name_any()) == Some(run));
    // They can take it away just as well: the names say what belongs to the run.
    let names = Selectors::METADATA;
    let mut hidden = BTreeSet::new();
    let listed = session.list(&url, names, |named: Named| {
        if run_of(&named.name) == Some(run) {
            hidden.insert((named.namespace, named.name));
        }
    });
    listed.await.map_err(|failure| failed(format_args!("{WHAT} cannot be listed"), &failure))?;
    for seen in &found {
        hidden.remove(&seen.key());
    }
    for (namespace, name) in hidden {
        let read = session.read::<Seen>(&Seen::url(Some(&namespace)), &name).await;
        found.extend(
            read.map_err(|failure| failed(format_args!("BulkUpdate {name} cannot be read"), &failure))?,
        );
    }
    // A list that began again has brought some twice.
    found.sort_by_key(Seen::key);
    found.dedup_by_key(|seen| seen.key());
    found.sort_by_key(ResourceExt::name_any);
    Ok(found)
}

/// What to say where a run has no BulkUpdates.
pub fn nothing(session: &Session, run: &str) -> Problem {
    let place = session.place();
    Problem::Failed(format!(
        "{place} has no BulkUpdates of run {run}: they may be in another namespace (-n, -A), or deleted a week after their end"
    ))
}
